"""What the store knows of jobs: finished, failed, running."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from spikecrate.errors import JobNotFoundError
from spikecrate.jobs.paths import FAILURE, LOG, attempts
from spikecrate.jobs.plan import is_running
from spikecrate.store import results

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate.store import Store


def list_jobs(store: Store) -> list[dict[str, Any]]:
    """List all jobs, the latest first.

    Returns
    -------
    list of dict
        Each with `key`, `status` (completed, failed, running), `sorter`, `recording`, `runtime`, `units`,
        `events`, `wall_s` and `started`; what a status does not have is None.
    """
    rows = [_completed_row(record) for record in results.records(store)]
    rows += [_failed_row(what) for what in _failures(store)]
    rows += [_running_row(key) for key in _running(store)]
    return sorted(rows, key=lambda row: row["started"] or "9", reverse=True)


def show_job(store: Store, prefix: str) -> dict[str, Any]:
    """Give the run record, or the kept failure, of the job whose key starts like that.

    Raises
    ------
    JobNotFoundError
    """
    key = find_key(store, prefix)
    for path in (store.result(key) / "run.json", store.failure(key) / FAILURE):
        try:
            shown: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        return shown
    return {"key": key, "status": "running"}


def log_of(store: Store, prefix: str) -> Path:
    """Find the log of a job: of the attempt that runs, else of the result, else of the last failure.

    Raises
    ------
    JobNotFoundError
    """
    key = find_key(store, prefix)
    running = [paths.log for paths in attempts(store.work, key)]
    for path in (*running, store.result(key) / LOG, store.failure(key) / LOG):
        if path.is_file():
            return path
    message = f"job {key[:8]} has no log"
    raise JobNotFoundError(message)


def find_key(store: Store, prefix: str) -> str:
    """Complete a key from its first digits.

    Raises
    ------
    JobNotFoundError
        Where no key, or more than one, starts like that.
    """
    known = {*results.keys(store), *_failed_keys(store), *_running(store)}
    found = sorted(key for key in known if prefix and key.startswith(prefix.lower()))
    if len(found) == 1:
        return found[0]
    if found:
        message = (
            f"{len(found)} jobs have keys that start with {prefix!r}: {', '.join(k[:12] for k in found[:5])}"
        )
        raise JobNotFoundError(message, next_step="give more digits")
    message = f"no job's key starts with {prefix!r}"
    raise JobNotFoundError(message)


def sorters_running(store: Store, runtime: str) -> set[str]:
    """Give the sorters of the jobs that run in a runtime at this moment, of all users of the store."""
    found = set()
    for paths in attempts(store.work):
        try:
            owner = json.loads(paths.owner.read_bytes())
            sorter = str(json.loads(paths.job_json.read_bytes())["sorter"])
        except (OSError, ValueError, KeyError, TypeError):
            # It ended at this moment.
            continue
        if owner.get("runtime") == runtime and is_running(store, paths.root.name.split("-")[0]):
            found.add(sorter)
    return found


def _failed_keys(store: Store) -> list[str]:
    return [path.name for path in store.failures.glob("*/*")]


def _running(store: Store) -> list[str]:
    keys = {paths.root.name.split("-")[0] for paths in attempts(store.work)}
    return sorted(key for key in keys if is_running(store, key))


def _failures(store: Store) -> list[dict[str, Any]]:
    found = []
    for key in _failed_keys(store):
        try:
            found.append(json.loads((store.failure(key) / FAILURE).read_bytes()))
        except (OSError, ValueError):
            continue
    return found


def _completed_row(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": record["key"],
        "status": "completed",
        "sorter": record["sorter"]["name"],
        "recording": record["recording"]["path"],
        "runtime": record["runtime"],
        "units": record["units"],
        "events": record["events"],
        "wall_s": record["wall_s"],
        "started": record["started"],
        "reason": None,
    }


def _failed_row(what: dict[str, Any]) -> dict[str, Any]:
    return {
        **_empty_row(what["key"], "failed"),
        "sorter": what["key_parts"]["sorter"],
        "started": what["at"],
        "reason": what["error"],
    }


def _running_row(key: str) -> dict[str, Any]:
    return _empty_row(key, "running")


def _empty_row(key: str, status: str) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("sorter", "recording", "runtime", "units", "events", "wall_s", "started", "reason")
    )
    return {"key": key, "status": status, **empty}
