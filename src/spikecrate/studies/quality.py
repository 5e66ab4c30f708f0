"""How good every sorter is: recordings whose spikes are known, sorted with each, as rows of one table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate import api
from spikecrate.errors import SpikecrateError, StoppedError, UsageError
from spikecrate.recordings import open_recording
from spikecrate.recordings.toy import DIFFICULTIES, write_toy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Sorter
    from spikecrate.recordings import Recording
    from spikecrate.sortings import Sorting, UnitMatch

TRUTH: Final = "firings_true.mda"
"""Of a recording whose spikes are known, beside its samples."""
GOOD: Final = 0.8
"""The accuracy from which on a unit counts as found; SpikeForest's."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """How one sorter did on one recording.

    Attributes
    ----------
    sorter, version, recording : str
        Which sorter, and the name of the recording's folder.
    channels, duration_s, true_units : float
        Of the recording.
    found_units : int or None
        Units that the sorter gave; None, as all below, where it failed.
    mean_accuracy : float or None
        Of the true units, each paired with one found unit at most; one that was not found counts as 0.
    units_above : int or None
        True units with an accuracy of `GOOD` or more.
    wall_s, peak_memory_bytes, runtime, cores
        Of the run that made the result, which may be an earlier one.
    failure : str
        Why there is no sorting; empty where there is one.
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

    def as_dict(self) -> dict[str, Any]:
        """Give the fields, JSON types only."""
        return asdict(self)


def toys(folder: Path, progress: Progress) -> dict[str, Path]:
    """Write the toy recordings that every sorter is held to, where they are not there yet.

    A minute of four channels in each of the three difficulties: the same bytes everywhere.

    Parameters
    ----------
    folder : Path
        Where their folders go: `toy_easy`, `toy_medium`, `toy_hard`.
    progress : Progress
        Told of the samples written.
    """
    return {
        f"toy_{difficulty}": write_toy(folder / f"toy_{difficulty}", difficulty=difficulty, progress=progress)
        for difficulty in DIFFICULTIES
    }


def measure(
    sorters: Iterable[Sorter],
    recordings: Mapping[str, Path],
    *,
    runtime: str,
    progress: Progress,
    seed: int = 0,
) -> Iterator[Score]:
    """Sort every recording with every sorter at its defaults; what the store holds already is not run again.

    Parameters
    ----------
    sorters : iterable of Sorter
        From the catalogue.
    recordings : mapping
        Name and folder of recordings with a `firings_true.mda`.
    runtime : str
        `auto`, `docker`, `apptainer` or `host`.
    progress : Progress
        Told which is sorted with which.
    seed : int
        Handed to the sorter.

    Yields
    ------
    Score
        In the order of the recordings, then of the sorters. A failure is a score too.

    Raises
    ------
    UsageError
        For a recording without the truth beside it; nothing has run then.
    StoppedError
        On SIGTERM.
    """
    opened = {name: open_recording(folder) for name, folder in recordings.items()}
    truths = {name: truth_of(recording) for name, recording in opened.items()}
    chosen = list(sorters)
    for name, recording in opened.items():
        for sorter in chosen:
            progress.note(f"{name}: {sorter.name}")
            yield _score(sorter, name, recording, truths[name], runtime=runtime, seed=seed, progress=progress)


def truth_of(recording: Recording) -> Sorting:
    """Read the true spikes that lie beside a recording.

    Raises
    ------
    UsageError
        Where there are none.
    """
    from spikecrate.sortings import read_firings

    beside = recording.path if recording.path.is_dir() else recording.path.parent
    path = beside / TRUTH
    if not path.exists():
        message = f"{beside} has no {TRUTH}: nobody knows what is to be found in it"
        raise UsageError(
            message, next_step=f"put the true spikes there as {TRUTH}, or name another recording"
        )
    return read_firings(path, recording.layout.sampling_frequency, num_samples=recording.layout.num_samples)


def summary(matches: Iterable[UnitMatch]) -> dict[str, Any]:
    """Put the fates of the true units into the two figures of a score."""
    accuracies = [match.accuracy for match in matches]
    return {
        "mean_accuracy": round(sum(accuracies) / len(accuracies), 4) if accuracies else 0.0,
        "units_above": sum(accuracy >= GOOD for accuracy in accuracies),
    }


def _score(
    sorter: Sorter,
    name: str,
    recording: Recording,
    truth: Sorting,
    *,
    runtime: str,
    seed: int,
    progress: Progress,
) -> Score:
    from spikecrate.sortings import compare

    layout = recording.layout
    known: dict[str, Any] = {
        "sorter": sorter.name,
        "version": sorter.version,
        "recording": name,
        "channels": layout.num_channels,
        "duration_s": layout.num_samples / layout.sampling_frequency,
        "true_units": len(truth.unit_ids),
    }
    try:
        done = api.sort(recording.path, sorter=sorter.name, runtime=runtime, seed=seed, progress=progress)
    except StoppedError:
        raise
    except SpikecrateError as error:
        return Score(**known, failure=str(error).splitlines()[0])
    record = done.record
    return Score(
        **known,
        **summary(compare(truth, done.sorting).assigned),
        found_units=record["units"],
        wall_s=record["wall_s"],
        peak_memory_bytes=record["peak_memory_bytes"],
        runtime=record["runtime"],
        cores=record["limits"]["cores"],
    )
