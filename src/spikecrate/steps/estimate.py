"""How much memory and time a job will take, judged by runs of the same sorter that were measured."""

from __future__ import annotations

import heapq
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.files import write_atomically
from spikecrate.errors import OutputError
from spikecrate.store import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spikecrate.catalogue.tools import Sorter
    from spikecrate.steps.job import Job
    from spikecrate.store import Store

MEASURED: Final = "measured.json"
"""In a sorter's folder: what runs of it took when the catalogue's quality was measured."""
MEMINFO: Final = Path("/proc/meminfo")
LATEST: Final = 50
"""How many of the store's runs are looked at."""
ALIKE: Final = 1.5
"""Up to this ratio, recordings are of one size: the one that took the most speaks for all."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run took.

    Attributes
    ----------
    values : int
        Samples x channels of the recording.
    cores : int
        Processors that it had.
    memory_bytes : int
        At its peak.
    wall_s : float
        From start to end.
    """

    values: int
    cores: int
    memory_bytes: int
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a job will take.

    Attributes
    ----------
    memory_bytes : int
        At its peak.
    wall_s : float
        From start to end.
    runs : int
        How many runs this is judged by.
    nearest_values : int
        Samples x channels of the recording that is nearest in size: far from the job's own, it is a guess.
    """

    memory_bytes: int
    wall_s: float
    runs: int
    nearest_values: int

    def as_dict(self) -> dict[str, Any]:
        """Give it in JSON types."""
        return asdict(self)


def estimate(job: Job, store: Store) -> Estimate | None:
    """Judge a job by the runs that the store and the sorter's folder know; None where there are none."""
    layout = job.recording.layout
    runs = [*runs_of(job.sorter.name, store), *shipped_runs(job.sorter)]
    return judge(layout.num_samples * layout.num_channels, runs)


def judge(values: int, runs: Iterable[Run]) -> Estimate | None:
    """Judge by the runs on the recordings that are nearest in size.

    Time grows with the number of values; so does memory, at the most: for a smaller recording it is taken to be as
    much, since what a sorter needs for itself does not shrink.

    Parameters
    ----------
    values : int
        Samples x channels of the recording.
    runs : iterable of Run
        Of the same sorter.
    """
    known = list(runs)
    if not known:
        return None

    def distance(run: Run) -> float:
        return abs(math.log(values / run.values))

    nearest = min(known, key=distance)
    alike = [run for run in known if distance(run) <= distance(nearest) + math.log(ALIKE)]
    return Estimate(
        memory_bytes=max(round(run.memory_bytes * max(1.0, values / run.values)) for run in alike),
        wall_s=round(max(run.wall_s * values / run.values for run in alike), 1),
        runs=len(alike),
        nearest_values=nearest.values,
    )


def runs_of(sorter: str, store: Store) -> list[Run]:
    """Give what the latest runs of a sorter in a store took."""
    rows = (row for row in summary.results(store) if row.sorter == sorter)
    latest = heapq.nlargest(LATEST, rows, key=lambda row: row.started)
    found = (_read(store.result(row.key) / "run.json") for row in latest)
    return [run for run in found if run is not None]


def shipped_runs(sorter: Sorter) -> list[Run]:
    """Give what runs of a sorter took elsewhere; none where its folder does not say."""
    try:
        found = json.loads((sorter.folder / MEASURED).read_bytes())
        return [Run(**run) for run in found]
    except (OSError, ValueError, TypeError):
        return []


def ship(sorter: Sorter, store: Store) -> Path:
    """Write what a sorter's runs in a store took into its folder: of recordings of one size, the run that took most.

    Raises
    ------
    OutputError
    """
    largest: dict[int, Run] = {}
    for run in sorted(runs_of(sorter.name, store), key=lambda run: (run.memory_bytes, run.wall_s)):
        largest[run.values] = run
    path = sorter.folder / MEASURED
    try:
        write_atomically(
            path,
            (json.dumps([asdict(largest[values]) for values in sorted(largest)], indent=1) + "\n").encode(),
        )
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise OutputError(message, next_step="measure in a clone that is yours") from None
    return path


def run_of(record: Mapping[str, Any]) -> Run | None:
    """Read what a run took from its record; None where its memory was not measured."""
    layout, memory = record["recording"]["layout"], record["peak_memory_bytes"]
    if not memory:
        return None
    return Run(
        values=layout["num_samples"] * len(layout["channels"]),
        cores=record["limits"]["cores"],
        memory_bytes=int(memory),
        wall_s=record["wall_s"],
    )


def available_memory(meminfo: Path = MEMINFO) -> int | None:
    """Give the bytes of memory that a new process could have on this machine; None where nobody tells."""
    try:
        lines = meminfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _read(path: Path) -> Run | None:
    # A result may go, or be set aside, at any moment; what is unreadable tells nothing.
    try:
        return run_of(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
