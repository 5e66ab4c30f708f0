"""Quality of sorters: recordings with ground truth, sorted with each sorter, as rows of one table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Final

from spikecrate import api
from spikecrate.errors import ResultInvalidError, SpikecrateError, StoppedError, UsageError
from spikecrate.recordings import open_recording
from spikecrate.recordings.toy import DIFFICULTIES, write_toy
from spikecrate.steps.paths import TRUTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Tool
    from spikecrate.recordings import Recording
    from spikecrate.sortings import Sorting

GOOD: Final = 0.8
"""Least accuracy of a unit that counts as found; SpikeForest uses the same."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Result of one sorter on one recording.

    Attributes
    ----------
    sorter, version, recording : str
        Name and version of the sorter, and name of the recording's folder.
    channels : int
        Number of channels of the recording.
    duration_s : float
        Length of the recording in seconds.
    true_units : int
        Units of the ground truth.
    found_units : int or None
        Units that the sorter found; None, as all fields below, where it failed.
    mean_accuracy : float or None
        Mean over the true units, each paired with at most one found unit; a unit without a pair counts as 0.
    units_above : int or None
        True units with an accuracy of `GOOD` or more.
    wall_s : float or None
        Duration of the run that made the result, in seconds; on a cache hit, of the earlier run.
    peak_memory_bytes, cores : int or None
        Of the same run.
    runtime : str
        Of the same run; empty where it failed.
    failure : str
        First line of the error; empty where there is a sorting.
    """

    sorter: str
    version: str
    recording: str
    channels: int
    duration_s: float
    true_units: int
    found_units: int | None = None
    mean_accuracy: float | None = None
    units_above: int | None = None
    wall_s: float | None = None
    peak_memory_bytes: int | None = None
    runtime: str = ""
    cores: int | None = None
    failure: str = ""


def toys(folder: Path, progress: Progress) -> dict[str, Path]:
    """Write the toy recordings of the quality table, where they do not exist.

    One minute of four channels in each of the three difficulties, with equal bytes on every machine.

    Parameters
    ----------
    folder : Path
        Parent of their folders `toy_easy`, `toy_medium`, `toy_hard`.
    progress : Progress
        Receives the number of samples written.

    Returns
    -------
    dict
        Name to folder.
    """
    return {
        f"toy_{difficulty}": write_toy(folder / f"toy_{difficulty}", difficulty=difficulty, progress=progress)
        for difficulty in DIFFICULTIES
    }


def measure(
    sorters: Iterable[Tool],
    recordings: Mapping[str, Path],
    *,
    runtime: str,
    progress: Progress,
    seed: int = 0,
) -> Iterator[Score]:
    """Sort every recording with every sorter at its defaults; a cache hit is not run again.

    Parameters
    ----------
    sorters : iterable of Tool
        Sorters of the catalogue.
    recordings : mapping
        Name to folder of recordings with a `firings_true.mda`.
    runtime : str
        `auto`, `docker`, `apptainer` or `host`.
    progress : Progress
        Receives a note before each run.
    seed : int
        Passed to the sorter.

    Yields
    ------
    Score
        One for each recording and sorter, in that order. A failure is a score, too.

    Raises
    ------
    UsageError
        If a recording has no ground truth; nothing runs then.
    StoppedError
        On SIGTERM.
    """
    from spikecrate.sortings import compare

    opened = {name: open_recording(folder) for name, folder in recordings.items()}
    truths = {name: truth_of(recording) for name, recording in opened.items()}
    for (name, recording), sorter in product(opened.items(), sorters):
        progress.note(f"{name}: {sorter.name}")
        score = Score(
            sorter=sorter.name,
            version=sorter.version,
            recording=name,
            channels=recording.layout.num_channels,
            duration_s=recording.duration_s,
            true_units=len(truths[name].unit_ids),
        )
        try:
            done = api.sort(recording.path, sorter=sorter.name, runtime=runtime, seed=seed, progress=progress)
        except StoppedError:
            raise
        except SpikecrateError as error:
            yield replace(score, failure=str(error).splitlines()[0])
            continue
        record = done.record
        accuracies = [match.accuracy for match in compare(truths[name], done.sorting).assigned]
        yield replace(
            score,
            found_units=record["units"],
            mean_accuracy=round(sum(accuracies) / len(accuracies), 4) if accuracies else 0.0,
            units_above=sum(accuracy >= GOOD for accuracy in accuracies),
            wall_s=record["wall_s"],
            peak_memory_bytes=record["peak_memory_bytes"],
            runtime=record["runtime"],
            cores=record["limits"]["cores"],
        )


def truth_of(recording: Recording) -> Sorting:
    """Read the ground truth beside a recording.

    Parameters
    ----------
    recording : Recording
        Of a folder with a `firings_true.mda`.

    Returns
    -------
    Sorting

    Raises
    ------
    UsageError
        If there is no such file.
    ResultInvalidError
        If the file is not a valid sorting of the recording.
    """
    from spikecrate.sortings import read_firings

    folder = recording.path if recording.path.is_dir() else recording.path.parent
    path = folder / TRUTH
    if not path.exists():
        message = f"{folder} has no ground truth ({TRUTH})"
        step = f"write the true spikes there as {TRUTH}, or choose another recording"
        raise UsageError(message, next_step=step)
    layout = recording.layout
    try:
        return read_firings(path, layout.sampling_frequency, num_samples=layout.num_samples)
    except ResultInvalidError as error:
        step = f"correct {TRUTH}: an MDA table of channel, time in samples and unit, one column a spike"
        raise ResultInvalidError(str(error), next_step=step, details=error.details) from None
