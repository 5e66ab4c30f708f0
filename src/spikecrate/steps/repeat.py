"""Measure how repeatable a sorter is: run one job several times and compare the results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from spikecrate.runtimes import choose
from spikecrate.sortings import read_firings
from spikecrate.sortings.comparison.compare import agree
from spikecrate.steps.paths import FIRINGS
from spikecrate.steps.run import run_uncached

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.sortings import Sorting
    from spikecrate.steps.request import SortRequest
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """The results of several runs of one job.

    Attributes
    ----------
    key : str
        The job key.
    runtime : str
        Name of the runtime.
    equal : bool
        Whether all results have the same bytes.
    runs : list of dict
        For each: `blake3`, `units`, `events`, `wall_s`.
    agreement : list of list of float
        For every pair of runs, the share of events that their matched units have in common.
    """

    key: str
    runtime: str
    equal: bool
    runs: list[dict[str, Any]]
    agreement: list[list[float]]

    @property
    def wall_s(self) -> dict[str, float]:
        """Shortest, median and longest run, in seconds."""
        from statistics import median

        taken = [run["wall_s"] for run in self.runs]
        return {"least": min(taken), "median": round(median(taken), 3), "most": max(taken)}

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that `--json` prints."""
        return {**asdict(self), "wall_s": self.wall_s}


def repeat(request: SortRequest, times: int, store: Store, progress: Progress) -> Repeated:
    """Run a job several times without using or changing its result in the store.

    Parameters
    ----------
    request : SortRequest
        The job.
    times : int
        Number of runs.
    store : Store
        The store.
    progress : Progress
        Receives the sorter's log.

    Returns
    -------
    Repeated

    Raises
    ------
    spikecrate.errors.SpikecrateError
        Any error of a run.
    """
    job = request.job(store, progress)
    job.check()
    engine, limits = choose(request.runtime, store, progress, request=job.build), request.limits
    rate = job.recording.layout.sampling_frequency
    runs: list[dict[str, Any]] = []
    # Equal bytes are equal sortings: read and compare each once.
    sortings: dict[str, Sorting] = {}

    def use(built: Path, record: dict[str, Any]) -> None:
        blake3 = record["files"][FIRINGS]["blake3"]
        runs.append({"blake3": blake3, **{name: record[name] for name in ("units", "events", "wall_s")}})
        if blake3 not in sortings:
            sortings[blake3] = read_firings(built / FIRINGS, rate)

    for number in range(1, times + 1):
        progress.note(f"run {number} of {times}")
        run_uncached(job, runtime=engine, limits=limits, store=store, progress=progress, use=use)
    return Repeated(
        key=job.key,
        runtime=engine.name,
        equal=len(sortings) == 1,
        runs=runs,
        agreement=_matrix([run["blake3"] for run in runs], sortings),
    )


def _matrix(hashes: list[str], sortings: dict[str, Sorting]) -> list[list[float]]:
    known = {(one, one): 1.0 for one in sortings}
    for at, first in enumerate(sortings):
        for second in list(sortings)[:at]:
            overall = round(agree(sortings[first], sortings[second]).overall, 6)
            known[first, second] = known[second, first] = overall
    return [[known[first, second] for second in hashes] for first in hashes]
