"""Stop the run of a study, and read the logs of its jobs."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import JobNotFoundError, UsageError
from spikecrate.steps import listing
from spikecrate.store.lock import Lock, is_free
from spikecrate.studies.attempts import Attempts
from spikecrate.studies.plan import load_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spikecrate.store import Store
    from spikecrate.studies.attempts import Attempt
    from spikecrate.studies.plan import Plan

LOCK: Final = "run.lock"
"""File in the study's folder that the process of `study.run` locks."""
LOGS: Final = "logs"
POLL_S: Final = 0.1
CANCEL_S: Final = 40.0
"""Seconds that `cancel` waits: longer than a worker gets to remove its container."""


def cancel(folder: Path) -> int:
    """Stop the run of a study, and workers that a submitter which died has left.

    Parameters
    ----------
    folder : Path
        The study's folder.

    Returns
    -------
    int
        How many jobs were running here.

    Raises
    ------
    UsageError
        Some did not stop, or run on another machine; the message names it.
    """
    load_plan(folder)
    attempts, owner = Attempts(folder), _owner(folder)
    stopped = len([one for one in _running(attempts).values() if attempts.is_here(one)])
    if owner.get("host") == os.uname().nodename:
        # It stops its workers. A worker that got a second signal might not finish removing its container.
        _terminate(int(owner["pid"]))
        _wait(lambda: not _owner(folder))
    stop_workers(attempts)
    if left := _running(attempts):
        hosts = ", ".join(sorted({attempt.host for attempt in left.values()}))
        message = f"{len(left)} jobs still run on {hosts}"
        raise UsageError(message, next_step="run spikecrate study.cancel there")
    return stopped


def stop_workers(attempts: Attempts) -> None:
    """Stop the workers of a study on this machine, and wait until they have removed their containers.

    Parameters
    ----------
    attempts : Attempts
        The attempts of the study.
    """

    def here() -> list[Attempt]:
        return [attempt for attempt in _running(attempts).values() if attempts.is_here(attempt)]

    for attempt in here():
        _terminate(attempt.pid)
    _wait(lambda: not here())


def log_of(folder: Path, plan: Plan, index: int, store: Store) -> str:
    """Return what the worker of a job printed, all attempts one after the other; of a cache hit, the sorter's log.

    Parameters
    ----------
    folder : Path
        The study's folder.
    plan : Plan
        Its plan.
    index : int
        Number of the job.
    store : Store
        The store of the plan.

    Returns
    -------
    str

    Raises
    ------
    UsageError
        There is no such job, or it has not started.
    """
    if not 0 <= index < len(plan.jobs):
        message = f"the plan has no job {index}; it has {len(plan.jobs)}"
        raise UsageError(message, next_step=f"choose a number from 0 to {len(plan.jobs) - 1}")
    key = str(plan.jobs[index].key)
    path = folder / LOGS / f"{key}.log"
    try:
        return (path if path.exists() else listing.log_of(store, key)).read_text(
            encoding="utf-8", errors="replace"
        )
    except JobNotFoundError:
        message = f"job {index} has not run: {plan.title(index)}"
        raise UsageError(message, next_step="spikecrate study.status shows what has run") from None


def _running(attempts: Attempts) -> dict[str, Attempt]:
    """Return the attempts whose process is alive, by their job keys."""
    found = attempts.read_all().items()
    return {key: one for key, one in found if one.state == "running" and attempts.is_alive(key, one)}


def _wait(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most `CANCEL_S`."""
    deadline = time.monotonic() + CANCEL_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _owner(folder: Path) -> dict[str, Any]:
    """Return the process that runs a study; empty where none does."""
    path = folder / LOCK
    try:
        return {} if is_free(path) else Lock(path).owner()
    except OSError:
        return {}


def _terminate(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)
