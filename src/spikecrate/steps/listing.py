"""List the finished, failed and running jobs of a store."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import JobNotFoundError, UsageError
from spikecrate.steps.paths import FAILURE, LOG, attempts
from spikecrate.steps.plan import is_running
from spikecrate.store import pins, results, summary
from spikecrate.store.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.store import Store

KEY: Final = re.compile(r"[0-9a-f]*")
STATUSES: Final = ("completed", "failed", "running")
SORTER, RECORDING, STARTED = map(Summary._fields.index, ("sorter", "recording", "started"))


def list_jobs(
    store: Store,
    progress: Progress | None = None,
    *,
    sorters: Collection[str] = (),
    status: str = "",
    recording: str = "",
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return jobs, the latest first; results and failures come from the store's index.

    Parameters
    ----------
    store : Store
        The store.
    progress : Progress, optional
        Shows the progress where the index lacks many results.
    sorters : collection of str
        Only jobs of these tools; by default all.
    status : str
        Only `completed`, `failed` or `running` jobs.
    recording : str
        Only jobs whose recording's path contains this text. A running job has no known path.
    limit : int, optional
        Return the N most recent; by default all.

    Returns
    -------
    list of dict
        Each with `key`, `status`, `sorter`, `recording`, `runtime`, `units`, `events`, `wall_s`, `started`,
        `reason` and `pinned`; fields that a status lacks are None.

    Raises
    ------
    UsageError
        The status is unknown.
    """
    if status not in {"", *STATUSES}:
        message = f"unknown --status {status!r}"
        raise UsageError(message, next_step=f"one of: {', '.join(STATUSES)}")
    completed: list[tuple[Any, ...]] = []
    others: list[dict[str, Any]] = []
    pinned = pins.pinned(store)
    if status in ("", "completed"):
        completed = [
            row
            for row in summary.rows(store, progress)
            if recording in row[RECORDING] and (not sorters or row[SORTER] in sorters)
        ]
    if status in ("", "failed"):
        others += (
            _row((key, sorter, path, None, None, None, None, at), pinned, "failed", error)
            for key, sorter, path, at, error, _ in summary.failures(store, progress)
            if recording in path
        )
    if status in ("", "running") and not recording:
        others += (_running_row(store, key, pinned) for key in _running(store))
    completed.sort(key=itemgetter(STARTED), reverse=True)
    rows = [_row(row, pinned) for row in completed[:limit]]
    if others := [row for row in others if not sorters or row["sorter"] in sorters]:
        rows += others
        # Running jobs count as the latest.
        rows.sort(key=lambda row: row["started"] or "9", reverse=True)
    return rows[:limit]


def show_job(store: Store, prefix: str) -> dict[str, Any]:
    """Return the run record, or the kept failure, of the job whose key starts with `prefix`.

    Parameters
    ----------
    store : Store
        The store.
    prefix : str
        The first digits of the key.

    Returns
    -------
    dict
        `{"key": …, "status": "running"}` of a running job.

    Raises
    ------
    JobNotFoundError
        No key, or more than one, starts with `prefix`.
    """
    key = find_key(store, prefix)
    for path in (store.result(key) / "run.json", store.failure(key) / FAILURE):
        with suppress(OSError, ValueError):
            shown: dict[str, Any] = json.loads(path.read_bytes())
            return shown
    return {"key": key, "status": "running"}


def log_of(store: Store, prefix: str) -> Path:
    """Return the log of a job: of its running attempt, else of its result, else of its last failure.

    Parameters
    ----------
    store : Store
        The store.
    prefix : str
        The first digits of the key.

    Returns
    -------
    Path

    Raises
    ------
    JobNotFoundError
        No key, or more than one, starts with `prefix`, or the job has no log.
    """
    key = find_key(store, prefix)
    running = [paths.log for paths in attempts(store.work, key)]
    for path in (*running, store.result(key) / LOG, store.failure(key) / LOG):
        if path.is_file():
            return path
    message = f"job {key[:8]} has no log"
    raise JobNotFoundError(message)


def find_key(store: Store, prefix: str) -> str:
    """Return the full key that starts with `prefix`.

    Parameters
    ----------
    store : Store
        The store.
    prefix : str
        The first digits of the key.

    Returns
    -------
    str
        64 hex digits.

    Raises
    ------
    JobNotFoundError
        No key, or more than one, starts with `prefix`.
    """
    start = prefix.lower()
    shelves = (store.results, store.failures)
    known = (
        {key for shelf in shelves for key in results.keys_in(shelf, start)} if KEY.fullmatch(start) else ()
    )
    found: list[str] = sorted({*known, *_running(store, start)}) if prefix else []
    if len(found) == 1:
        return found[0]
    if found:
        message = (
            f"{len(found)} jobs have keys that start with {prefix!r}: {', '.join(k[:12] for k in found[:5])}"
        )
        raise JobNotFoundError(message, next_step="give more digits")
    message = f"no job key starts with {prefix!r}"
    raise JobNotFoundError(message)


def sorters_running(store: Store, runtime: str) -> set[str]:
    """Return the tools of the jobs that run in a runtime now, of all users of the store.

    Parameters
    ----------
    store : Store
        The store.
    runtime : str
        Name of the runtime.

    Returns
    -------
    set of str
        Names of the tools.
    """
    found = set()
    for paths in attempts(store.work):
        try:
            owner = json.loads(paths.owner.read_bytes())
            sorter = str(json.loads(paths.job_json.read_bytes())["tool"])
        except (OSError, ValueError, KeyError, TypeError):
            # The attempt has just ended.
            continue
        if owner.get("runtime") == runtime and is_running(store, paths.root.name.split("-")[0]):
            found.add(sorter)
    return found


def _running(store: Store, prefix: str = "") -> list[str]:
    keys = {paths.root.name.split("-")[0] for paths in attempts(store.work)}
    return sorted(key for key in keys if key.startswith(prefix) and is_running(store, key))


def _row(
    row: tuple[Any, ...], pinned: Collection[str], status: str = "completed", reason: str | None = None
) -> dict[str, Any]:
    """Return a row of a list from the first fields of a `Summary`."""
    key, sorter, recording, runtime, units, events, wall_s, started, *_ = row
    return {
        "key": key,
        "status": status,
        "sorter": sorter,
        "recording": recording,
        "runtime": runtime,
        "units": units,
        "events": events,
        "wall_s": wall_s,
        "started": started,
        "reason": reason,
        "pinned": key in pinned,
    }


def _running_row(store: Store, key: str, pinned: Collection[str]) -> dict[str, Any]:
    sorter = runtime = None
    for paths in attempts(store.work, key):
        # It fails while the attempt is starting or ending.
        with suppress(OSError, ValueError, KeyError, TypeError):
            sorter = str(json.loads(paths.job_json.read_bytes())["tool"])
            runtime = str(json.loads(paths.owner.read_bytes())["runtime"])
    return _row((key, sorter, None, runtime, None, None, None, None), pinned, "running")
