"""Stop the run of a study, and read the logs of its jobs."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import UsageError
from spikecrate.store.lock import Lock, is_free
from spikecrate.studies.attempts import Attempts
from spikecrate.studies.plan import load_plan

if TYPE_CHECKING:
    from pathlib import Path

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
    attempts = Attempts(folder)

    def running() -> dict[str, Attempt]:
        found = {key: attempt for key, attempt in attempts.read_all().items() if attempt.state == "running"}
        return {key: attempt for key, attempt in found.items() if attempts.is_alive(key, attempt)}

    first, owner = running(), _owner(folder)
    here = {key: attempt for key, attempt in first.items() if attempts.is_here(attempt)}
    pids = [attempt.pid for attempt in here.values()]
    if owner.get("host") == os.uname().nodename:
        # First, so that it starts no other job.
        pids.insert(0, int(owner["pid"]))
    for pid in pids:
        _terminate(pid)
    deadline = time.monotonic() + CANCEL_S
    while (left := running()) or _owner(folder):
        if not any(attempts.is_here(attempt) for attempt in left.values()) and left:
            break
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    if left:
        hosts = ", ".join(sorted({attempt.host for attempt in left.values()}))
        message = f"{len(left)} jobs still run on {hosts}"
        raise UsageError(message, next_step="run spikecrate study.cancel there")
    return len(here)


def log_of(folder: Path, plan: Plan, index: int) -> str:
    """Return what the worker of a job printed, all attempts one after the other.

    Parameters
    ----------
    folder : Path
        The study's folder.
    plan : Plan
        Its plan.
    index : int
        Number of the job.

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
    try:
        return (folder / LOGS / f"{plan.jobs[index].key}.log").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        message = f"job {index} has not run here: {plan.title(index)}"
        raise UsageError(message, next_step="spikecrate job.logs KEY has the log of a cache hit") from None


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
