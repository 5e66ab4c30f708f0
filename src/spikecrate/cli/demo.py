"""The demonstration: a toy recording, its sorting, and how well each unit was found."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from spikecrate._util.progress import Progress
from spikecrate.cli.command import command
from spikecrate.cli.option import about
from spikecrate.cli.sort import SORTING, runtime_about, show_result
from spikecrate.cli.text import say, table

if TYPE_CHECKING:
    from spikecrate.api import Result

COLUMNS: Final = ("unit", "SNR", "events", "found as", "accuracy", "precision", "recall")


@command("demo", SORTING, "spikecrate demo --folder demo", with_json=False)
def demo(
    folder: Annotated[
        str, about("where the toy recording and its sorting go", "DIR", example="toy/")
    ] = "demo",
    runtime: Annotated[str, runtime_about("auto takes the first that this machine has")] = "auto",
    *,
    progress: Progress,
) -> None:
    """Write a toy recording with ground truth, sort it with ms4, show how well each unit was found."""
    from spikecrate import api
    from spikecrate.recordings.toy import write_toy

    place = Path(folder).absolute()
    recording = place / "recording"
    if not recording.exists():
        progress.note(f"writing a toy recording with ground truth to {recording}")
        place.mkdir(parents=True, exist_ok=True)
        write_toy(recording, progress=progress)
    done = api.sort(recording, sorter="ms4", runtime=runtime, output=place / "ms4", progress=progress)
    table(COLUMNS, rows(recording, done))
    say()
    show_result(done)


def rows(recording: Path, done: "Result") -> list[tuple[Any, ...]]:
    """Compare a result with the ground truth beside its recording: a row of `COLUMNS` for every true unit.

    Parameters
    ----------
    recording : Path
        A MountainSort folder with `firings_true.mda`.
    done : Result
        A sorting of it.

    Returns
    -------
    list of tuple
    """
    from spikecrate.recordings import open_recording
    from spikecrate.sortings import compare, unit_quality
    from spikecrate.studies.quality import truth_of
    from spikecrate_harness.traces import open_traces

    opened = open_recording(recording)
    truth = truth_of(opened)
    snr = {unit.unit: unit.snr for unit in unit_quality(open_traces(opened.layout, opened.folder), truth)}
    return [
        (
            match.unit,
            snr[match.unit],
            match.events,
            match.found,
            match.accuracy,
            match.precision,
            match.recall,
        )
        for match in compare(truth, done.sorting).assigned
    ]
