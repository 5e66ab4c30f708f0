"""Decide: is there a result, is it being made, or must the job run, and why."""

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
    from spikecrate.store.results import Stored


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would happen to a job, and why.

    Attributes
    ----------
    action : str
        `hit`: the result is there. `wait`: another process makes it. `run`: it has to be made.
    reasons : tuple of str
        For `run`: what is new against the nearest earlier result, part by part.
    nearest : str or None
        Key of that earlier result.
    stored : Stored or None
        For `hit`.
    """

    action: Literal["hit", "wait", "run"]
    reasons: tuple[str, ...]
    nearest: str | None = None
    stored: Stored | None = None


def plan(job: Job, store: Store, progress: Progress, *, force: bool) -> Plan:
    """Decide about a job; nothing is changed, but for a corrupt result set aside.

    Parameters
    ----------
    job : Job
        What is asked for.
    store : Store
        Where results are.
    progress : Progress
        Told of a corrupt result.
    force : bool
        Whether a result that is there is to be made again.
    """
    stored = results.find(store, job.key, progress.note)
    if stored is not None and not force:
        return Plan(action="hit", reasons=("the result is in the store",), stored=stored)
    if stored is not None:
        return Plan(action="run", reasons=("--force: the result in the store is made again",))
    if is_running(store, job.key):
        return Plan(action="wait", reasons=("another process is running this job",))
    earlier = nearest(job.parts.as_dict(), summary.history(store, progress))
    if earlier is None:
        return Plan(action="run", reasons=("the store holds no result of this sorter or this recording",))
    changed = differences(job.parts.as_dict(), earlier["key_parts"])
    return Plan(action="run", reasons=tuple(changed), nearest=earlier["key"])


def is_running(store: Store, key: str) -> bool:
    """Say whether some process holds a job's lock."""
    path = store.lock(key)
    if not path.exists():
        return False
    lock = Lock(path)
    if lock.try_acquire():
        lock.release()
        return False
    return True


def nearest(parts: dict[str, Any], records: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Find the earlier result that shares the most with a job; None where none shares sorter or recording.

    Parameters
    ----------
    parts : dict
        The job's key parts.
    records : iterable of dict
        Run records.
    """
    best, best_score = None, (0, 0, "")
    for record in records:
        theirs = record["key_parts"]
        same_recording = theirs["recording"]["samples"] == parts["recording"]["samples"]
        shared = same_recording + (theirs["sorter"] == parts["sorter"])
        # The differences take a while; of a hundred thousand records few come this far.
        if shared == 0 or shared < best_score[0]:
            continue
        score = (shared, -len(differences(parts, theirs)), record["started"])
        # Among equals the latest: what the user did last is what they compare with.
        if score > best_score:
            best, best_score = record, score
    return best
