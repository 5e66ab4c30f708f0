"""Estimate the memory and time of a job from measured runs of the same tool."""

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

    from spikecrate.catalogue.tools import Tool
    from spikecrate.steps.job import Job
    from spikecrate.store import Store

MEASURED: Final = "measured.json"
"""File in a tool's folder with the memory and time of measured runs."""
MEMINFO: Final = Path("/proc/meminfo")
LATEST: Final = 50
"""Number of the store's latest runs that count."""
ALIKE: Final = 1.5
"""Recordings within this ratio of sizes count as one size; the highest figures of their runs count."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The memory and time of one run.

    Attributes
    ----------
    values : int
        Samples x channels of the recording.
    cores : int
        Processors of the run.
    memory_bytes : int
        Peak memory.
    wall_s : float
        Wall time in seconds.
    """

    values: int
    cores: int
    memory_bytes: int
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The expected memory and time of a job.

    Attributes
    ----------
    memory_bytes : int
        Peak memory.
    wall_s : float
        Wall time in seconds.
    runs : int
        Number of measured runs that the estimate uses.
    nearest_values : int
        Samples x channels of the recording nearest in size; the farther from the job's, the rougher the estimate.
    """

    memory_bytes: int
    wall_s: float
    runs: int
    nearest_values: int


def estimate(job: Job, store: Store) -> Estimate | None:
    """Estimate a job from the runs in the store and in the tool's folder.

    Parameters
    ----------
    job : Job
        The job.
    store : Store
        The store with earlier runs.

    Returns
    -------
    Estimate or None
        None where no run was measured.
    """
    values = sum(found.layout.num_samples * found.layout.num_channels for found in job.recordings)
    runs = [*runs_of(job.tool.name, store), *shipped_runs(job.tool)]
    return judge(values, runs) if values else None


def judge(values: int, runs: Iterable[Run]) -> Estimate | None:
    """Estimate from the runs on the recordings nearest in size.

    Time and memory grow in proportion to the number of values. Memory never shrinks below that of a measured run,
    because the tool itself needs a constant part.

    Parameters
    ----------
    values : int
        Samples x channels of the recording.
    runs : iterable of Run
        Runs of the same tool.

    Returns
    -------
    Estimate or None
        None where there are no runs.
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
    """Return the latest measured runs of a tool in a store.

    Parameters
    ----------
    sorter : str
        Name of the tool.
    store : Store
        The store.

    Returns
    -------
    list of Run
    """
    rows = (row for row in summary.results(store) if row.sorter == sorter)
    latest = heapq.nlargest(LATEST, rows, key=lambda row: row.started)
    found = (_read(store.result(row.key) / "run.json") for row in latest)
    return [run for run in found if run is not None]


def shipped_runs(sorter: Tool) -> list[Run]:
    """Return the measured runs in a tool's folder.

    Parameters
    ----------
    sorter : Tool
        The tool.

    Returns
    -------
    list of Run
        Empty where the folder has none.
    """
    try:
        return [Run(**run) for run in json.loads((sorter.folder / MEASURED).read_bytes())]
    except (OSError, ValueError, TypeError):
        return []


def write_measured(sorter: Tool, store: Store) -> Path:
    """Write a tool's measured runs from a store to its folder: for each size, the run with the highest figures.

    Parameters
    ----------
    sorter : Tool
        The tool.
    store : Store
        The store.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    largest: dict[int, Run] = {}
    for run in sorted(runs_of(sorter.name, store), key=lambda run: (run.memory_bytes, run.wall_s)):
        largest[run.values] = run
    path = sorter.folder / MEASURED
    text = json.dumps([asdict(largest[values]) for values in sorted(largest)], indent=1) + "\n"
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise OutputError(message, next_step="measure in a clone that you can write to") from None
    return path


def run_of(record: Mapping[str, Any]) -> Run | None:
    """Return the measured run in a record.

    Parameters
    ----------
    record : mapping
        A run record.

    Returns
    -------
    Run or None
        None where its memory was not measured.
    """
    layouts = [facts["layout"] for facts in record["inputs"].values() if facts["kind"] == "recording"]
    values = sum(
        part["num_samples"] * len(part["channels"]) for layout in layouts for part in layout["parts"]
    )
    memory = record["peak_memory_bytes"]
    if not memory or not values:
        return None
    return Run(
        values=values,
        cores=record["limits"]["cores"],
        memory_bytes=int(memory),
        wall_s=record["wall_s"],
    )


def available_memory(meminfo: Path = MEMINFO) -> int | None:
    """Return the bytes of memory available on this machine.

    Parameters
    ----------
    meminfo : Path, optional
        The kernel's report.

    Returns
    -------
    int or None
        None where the kernel does not report it.
    """
    try:
        lines = meminfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _read(path: Path) -> Run | None:
    # Another process may remove the result at any moment; skip a record that cannot be read.
    try:
        return run_of(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
