"""Decide whether a job is a cache hit, waits for another process, or runs, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from spikecrate.steps.key import differences
from spikecrate.store import results, summary
from spikecrate.store.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate._util.progress import Progress
    from spikecrate.steps.job import Job
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The decision about a job, and its reasons.

    Attributes
    ----------
    action : str
        `hit`: the store has the result. `wait`: another process is making it. `run`: the job must run.
    reasons : tuple of str
        For `run`: the differences from the nearest earlier result, one part each.
    nearest : str or None
        Key of that earlier result, if there is one.
    nearest_parts : dict or None
        Its key parts.
    """

    action: Literal["hit", "wait", "run"]
    reasons: tuple[str, ...]
    nearest: str | None = None
    nearest_parts: dict[str, Any] | None = None


def plan(job: Job, store: Store, progress: Progress, *, force: bool) -> Plan:
    """Decide about a job; the only change is that a corrupt result is set aside.

    Parameters
    ----------
    job : Job
        The job.
    store : Store
        The store with the results.
    progress : Progress
        Receives a note about a corrupt result.
    force : bool
        Whether to run the job even if the store has its result.

    Returns
    -------
    Plan
    """
    stored = results.find(store, job.key, progress.note)
    if stored is not None and not force:
        return Plan(action="hit", reasons=("the store has the result",))
    if stored is not None:
        return Plan(action="run", reasons=("--force replaces the result in the store",))
    if is_running(store, job.key):
        return Plan(action="wait", reasons=("another process is running this job",))
    earlier = nearest(job.parts.as_dict(), summary.history(store, progress))
    if earlier is None:
        return Plan(action="run", reasons=("the store has no earlier result of this tool",))
    key, parts = earlier["key"], earlier["key_parts"]
    changed = differences(job.parts.as_dict(), parts)
    return Plan(action="run", reasons=tuple(changed), nearest=key, nearest_parts=parts)


def is_running(store: Store, key: str) -> bool:
    """Return whether a process holds a job's lock.

    Parameters
    ----------
    store : Store
        The store.
    key : str
        The job key.

    Returns
    -------
    bool
    """
    path = store.lock(key)
    if not path.exists():
        return False
    lock = Lock(path)
    if lock.try_acquire():
        lock.release()
        return False
    return True


def nearest(parts: dict[str, Any], records: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the earlier result of the same tool that shares the most parts with a job.

    Parameters
    ----------
    parts : dict
        Key parts of the job.
    records : iterable of dict
        Run records of earlier results.

    Returns
    -------
    dict or None
        None where the tool has no earlier result.
    """
    best: dict[str, Any] | None = None
    best_score: tuple[bool, int, str] | None = None
    for record in records:
        theirs = record["key_parts"]
        if theirs.get("tool") != parts["tool"]:
            continue
        shared = _shares_samples(parts, theirs)
        # Comparing all parts is slow; of a hundred thousand records only a few get this far.
        if best_score is not None and shared < best_score[0]:
            continue
        score = (shared, -len(differences(parts, theirs)), record["started"])
        # Among equals prefer the latest: users compare with their last run.
        if best_score is None or score > best_score:
            best, best_score = record, score
    return best


def _shares_samples(parts: dict[str, Any], earlier: dict[str, Any]) -> bool:
    """Return whether an input of a job has the samples of the same input of an earlier one."""
    others = earlier.get("inputs", {})
    return any(
        identity.get("samples") is not None and identity["samples"] == others.get(name, {}).get("samples")
        for name, identity in parts["inputs"].items()
    )
