"""The demonstration: a toy recording, its sorting, and how well each unit was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate import api
from spikecrate.cli.report_jobs import result
from spikecrate.cli.text import say, table
from spikecrate.recordings import open_recording
from spikecrate.recordings.toy import write_toy
from spikecrate.studies.quality import truth_of

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.api import Result

COLUMNS: Final = ("unit", "SNR", "events", "found as", "accuracy", "precision", "recall")


def run(folder: str, *, runtime: str, progress: Progress) -> None:
    """Write the toy recording where there is none, sort it with ms4, print the table.

    Parameters
    ----------
    folder : str
        Where the recording and the copy of the result go.
    runtime : str
        `auto`, `docker`, `apptainer` or `host`.
    progress : Progress
        Told what happens.
    """
    place = Path(folder).absolute()
    recording = place / "recording"
    if not recording.exists():
        progress.note(f"writing a toy recording with ground truth to {recording}")
        place.mkdir(parents=True, exist_ok=True)
        write_toy(recording, progress=progress)
    done = api.sort(recording, sorter="ms4", runtime=runtime, output=place / "ms4", progress=progress)
    table(COLUMNS, rows(recording, done))
    say("")
    result(done, to_json=False)


def rows(recording: Path, done: Result) -> list[tuple[Any, ...]]:
    """Hold a result to the ground truth beside its recording: a row of `COLUMNS` for every true unit.

    Parameters
    ----------
    recording : Path
        A MountainSort folder with `firings_true.mda`.
    done : Result
        A sorting of it.
    """
    from spikecrate.sortings import compare, unit_quality
    from spikecrate_harness.recording import open_recording as open_traces

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
