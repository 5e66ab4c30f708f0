"""Explain why a job is, or was, a cache miss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spikecrate.steps.diff import recipe_files
from spikecrate.steps.key import differences
from spikecrate.steps.listing import find_key, show_job
from spikecrate.steps.plan import nearest, plan
from spikecrate.store import summary

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.steps.job import Job
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a job is, or was, a cache hit or miss.

    Attributes
    ----------
    key : str
        The job key.
    action : str
        `hit`, `wait` or `run` for a requested job; `ran`, `failed` or `runs` for a past one.
    reasons : list of str
        A line for each difference from the nearest earlier result.
    nearest : str or None
        Key of the earlier result that shares the most parts.
    recipe : list of str
        Files of the tool that have changed since the nearest result.
    """

    key: str
    action: str
    reasons: list[str]
    nearest: str | None = None
    recipe: list[str] = field(default_factory=list)


def explain(job: Job, store: Store, progress: Progress, *, force: bool) -> Explanation:
    """Explain whether a job is a cache hit, waits or runs, and why.

    Parameters
    ----------
    job : Job
        The job.
    store : Store
        The store with earlier results.
    progress : Progress
        Shows the progress where many results are missing from the index.
    force : bool
        Whether the job would run even if the store has its result.

    Returns
    -------
    Explanation
    """
    decision = plan(job, store, progress, force=force)
    earlier = decision.nearest_parts
    return Explanation(
        key=job.key,
        action=decision.action,
        reasons=list(decision.reasons),
        nearest=decision.nearest,
        recipe=[] if earlier is None else recipe_files(earlier, job.parts.as_dict(), store),
    )


def explain_past(prefix: str, store: Store) -> Explanation:
    """Explain why a past job was a cache miss: its differences from the earlier results.

    Parameters
    ----------
    prefix : str
        The first digits of its key.
    store : Store
        The store.

    Returns
    -------
    Explanation

    Raises
    ------
    JobNotFoundError
        No key, or more than one, starts with `prefix`.
    """
    key = find_key(store, prefix)
    shown = show_job(store, key)
    parts, at = shown.get("key_parts"), shown.get("started") or shown.get("at")
    if not isinstance(parts, dict) or not isinstance(at, str):
        return Explanation(key=key, action="runs", reasons=["the job is running for the first time"])
    if "tool" not in parts:
        return Explanation(
            key=key,
            action="ran",
            reasons=["an earlier version of spikecrate ran the job; its key has other parts"],
        )
    earlier = (record for record in summary.history(store) if record["started"] < at and record["key"] != key)
    found = nearest(parts, earlier)
    reasons = ["the store has no earlier result of this tool"]
    if found is not None:
        reasons = differences(parts, found["key_parts"])
    failed = "error" in shown
    if failed:
        reasons.append(
            f"the job failed ({shown['error']}); a failure is never cached, so the job runs at every request"
        )
    return Explanation(
        key=key,
        action="failed" if failed else "ran",
        reasons=reasons,
        nearest=None if found is None else found["key"],
        recipe=[] if found is None else recipe_files(found["key_parts"], parts, store),
    )
