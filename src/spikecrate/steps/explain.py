"""Explain why a job is, or was, a cache miss."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from spikecrate.steps.diff import recipe_files
from spikecrate.steps.key import differences
from spikecrate.steps.listing import find_key, show_job
from spikecrate.steps.plan import nearest, plan
from spikecrate.store import summary

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.steps.job import Job
    from spikecrate.store import Store


def explain(job: Job, store: Store, progress: Progress, *, force: bool) -> dict[str, Any]:
    """Return what would happen to a job, and why.

    Returns
    -------
    dict
        `key`, `action` (hit, wait or run), `reasons`, `nearest` (key of the earlier result that shares the most)
        and `recipe` (files in which the sorter differs from the one of that result).
    """
    decision = plan(job, store, progress, force=force)
    files = _files(job.parts.as_dict(), decision.nearest, store)
    return {
        "key": job.key,
        "action": decision.action,
        "reasons": list(decision.reasons),
        "nearest": decision.nearest,
        "recipe": files,
    }


def explain_past(prefix: str, store: Store) -> dict[str, Any]:
    """Return why a past job was a cache miss: its differences from the earlier results.

    Raises
    ------
    JobNotFoundError
    """
    key = find_key(store, prefix)
    shown = show_job(store, key)
    parts, at = shown.get("key_parts"), shown.get("started") or shown.get("at")
    answer: dict[str, Any] = {"key": key, "action": "ran", "nearest": None, "recipe": []}
    if not isinstance(parts, dict) or not isinstance(at, str):
        return {**answer, "action": "runs", "reasons": ["the job is running for the first time"]}
    earlier = (record for record in summary.history(store) if record["started"] < at and record["key"] != key)
    found = nearest(parts, earlier)
    if found is None:
        reasons = ["the store has no earlier result of this tool or this recording"]
    else:
        reasons = differences(parts, found["key_parts"])
        answer |= {"nearest": found["key"], "recipe": recipe_files(found["key_parts"], parts, store)}
    if "error" in shown:
        answer["action"] = "failed"
        reasons.append(
            f"the job failed ({shown['error']}); a failure is never cached, so the job runs at every request"
        )
    return {**answer, "reasons": reasons}


def _files(parts: dict[str, Any], key: str | None, store: Store) -> list[str]:
    if key is None:
        return []
    try:
        earlier = json.loads((store.result(key) / "run.json").read_bytes())
    except (OSError, ValueError):
        return []
    return recipe_files(earlier["key_parts"], parts, store)
