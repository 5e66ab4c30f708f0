"""The demonstration: sort a toy recording, compare it with its ground truth, and draw its units."""

import signal
from pathlib import Path
from typing import Final

from spikecrate._util.progress import Once, Progress
from spikecrate.cli.choices import Runtime
from spikecrate.cli.command import command
from spikecrate.cli.show_sort import show_result
from spikecrate.cli.sort import SORTING
from spikecrate.cli.text import say, table
from spikecrate.errors import SpikecrateError, StoppedError

COLUMNS: Final = ("unit", "SNR", "events", "found as", "accuracy", "precision", "recall")


@command("demo", SORTING, "sorting a toy recording")
def demo(folder: str = "demo", runtime: Runtime = "auto", *, progress: Progress) -> None:
    """Write a toy recording with ground truth, sort it with ms4, show how well each unit was found, and draw the units.

    Parameters
    ----------
    folder : DIR
        where the toy recording, its sorting and the picture go; example: toy/
    runtime : RUNTIME
        where to run; auto takes the first that this machine has; example: docker

    Examples
    --------
    spikecrate demo --folder demo
    """
    from spikecrate import api
    from spikecrate.recordings import open_recording
    from spikecrate.recordings.toy import write_toy
    from spikecrate.sortings import compare, unit_quality
    from spikecrate.studies.quality import truth_of
    from spikecrate_harness.traces import open_traces

    progress, place = Once(progress), Path(folder).absolute()
    recording = place / "recording"
    if not recording.exists():
        progress.note(f"writing a toy recording with ground truth to {recording}")
        place.mkdir(parents=True, exist_ok=True)
        write_toy(recording, progress=progress)
    done = api.sort(recording, sorter="ms4", runtime=runtime, output=place / "ms4", progress=progress)
    opened = open_recording(recording)
    truth = truth_of(opened)
    snr = {unit.unit: unit.snr for unit in unit_quality(open_traces(opened.layout, opened.files), truth)}
    rows = [
        (unit.unit, snr[unit.unit], unit.events, unit.found, unit.accuracy, unit.precision, unit.recall)
        for unit in compare(truth, done.sorting).assigned
    ]
    table(COLUMNS, rows)
    say()
    show_result(done, units=False)
    # The sorting is what was asked for: it is there, whatever happens to the picture.
    try:
        picture = done.plot(output=place / "units.png", runtime=runtime, progress=progress)
    except SpikecrateError as error:
        if isinstance(error, StoppedError) and error.signal != signal.SIGINT:
            raise
        progress.note(f"no picture of the units: {error}")
    else:
        say(f"picture {picture.path}")
