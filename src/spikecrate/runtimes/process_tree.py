"""Run a command with all its descendants: watch them, enforce the limits, and end every process.

For runtimes without a daemon. A watch on the processes enforces the limits, because not every machine gives an
unprivileged user control groups. The command runs below a reaper, so that a daemon which it starts stays a descendant.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import CommandError
from spikecrate.runtimes import reaper
from spikecrate.runtimes.contract import PIDS_LIMIT, ExitStatus
from spikecrate.runtimes.reaper import process_ids, stat_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spikecrate.runtimes.contract import Limits

WATCH_S: Final = 0.1
GRACE_S: Final = 5.0
PROCESS: Final = "process.json"
"""File in the folder of an attempt that names its session."""
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def run(
    argv: list[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    limits: Limits,
    attempt: Path,
    on_output: Callable[[bytes], None],
) -> ExitStatus:
    """Run a command in a session of its own, and end all of its processes however the call ends.

    Parameters
    ----------
    argv : list of str
        The command.
    cwd : Path
        Working folder.
    env : mapping
        Complete environment.
    limits : Limits
        Memory (without the part that processes share), wall time and the number of processes are enforced; the number
        of processors is not.
    attempt : Path
        Folder of the attempt; `process.json` in it names the session for `sweep`.
    on_output : callable
        Receives standard output and standard error as they come.

    Returns
    -------
    ExitStatus

    Raises
    ------
    CommandError
        When the command cannot be started.
    """
    if shutil.which(argv[0]) is None:
        raise CommandError(argv, 127, f"{argv[0]} is missing or not executable")
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__, str(os.getpid()), *argv],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(argv, 127, error.strerror or str(error)) from None
    watch = _Watch(child.pid, limits)
    try:
        _write_process(attempt / PROCESS, child.pid)
        watch.start()
        assert child.stdout is not None
        # The output ends with the last process that has it open; the reaper ends every process.
        while chunk := child.stdout.read(1 << 16):
            on_output(chunk)
        code = child.wait()
    finally:
        watch.stop()
        end(child.pid)
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    return ExitStatus(
        code=code if code >= 0 else 128 - code,
        out_of_memory=watch.out_of_memory,
        timed_out=watch.timed_out,
        too_many_processes=watch.too_many_processes,
        peak_memory_bytes=watch.peak,
    )


def sweep(work: Path, is_orphan: Callable[[str], bool]) -> list[str]:
    """End the processes of killed runs.

    Parameters
    ----------
    work : Path
        The store's `work/`.
    is_orphan : callable
        Returns whether the owner of a job key is gone.

    Returns
    -------
    list of str
        The sessions that were ended.
    """
    removed = []
    for attempt in sorted(path for path in work.glob("*-*") if path.is_dir()):
        sessions = _left_behind(attempt)
        if sessions and is_orphan(attempt.name.split("-")[0]):
            for session in sorted(sessions):
                end(session)
                removed.append(f"process {session}")
    return removed


def members(session: int) -> list[int]:
    """Return the processes of a session and all their descendants, those in other sessions included.

    Parameters
    ----------
    session : int
        The session.

    Returns
    -------
    list of int
        Process ids.
    """
    parents: dict[int, list[int]] = {}
    found = []
    for pid in process_ids():
        if (fields := stat_fields(pid)) is not None:
            parents.setdefault(int(fields[1]), []).append(pid)
            if int(fields[3]) == session:
                found.append(pid)
    known = set(found)
    for pid in found:
        # The list grows while it is walked, by children of children.
        new = [child for child in parents.get(pid, ()) if child not in known]
        known.update(new)
        found.extend(new)
    return found


def resident_bytes(pid: int) -> int:
    """Return the bytes of memory that a process does not share with others; 0 for a process that is gone.

    Parameters
    ----------
    pid : int
        The process.

    Returns
    -------
    int
    """
    with suppress(OSError, IndexError, ValueError):
        resident, shared = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1:3]
        return (int(resident) - int(shared)) * PAGE
    return 0


def end(session: int, *, grace_s: float = GRACE_S) -> None:
    """End all processes of a session: send SIGTERM, and SIGKILL after the grace period.

    The session's first process, the reaper, ends after the others: killed before them, it would miss the processes
    that they start meanwhile.

    Parameters
    ----------
    session : int
        The session; its number is the process id of its first process.
    grace_s : float, optional
        Seconds from SIGTERM to SIGKILL.
    """
    deadline = time.monotonic() + grace_s
    number = signal.SIGTERM if grace_s > 0 else signal.SIGKILL
    while alive := [pid for pid in members(session) if not _is_zombie(pid)]:
        for pid in alive:
            if pid == session and len(alive) > 1 and number == signal.SIGKILL:
                continue
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        time.sleep(0.02)


class _Watch:
    """A thread that records the peak memory of a session's processes and enforces the limits."""

    def __init__(self, session: int, limits: Limits) -> None:
        self.session = session
        self.limits = limits
        self.peak = 0
        self.out_of_memory = False
        self.timed_out = False
        self.too_many_processes = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        started = time.monotonic()
        while not self._done.wait(WATCH_S):
            alive = members(self.session)
            self.too_many_processes = len(alive) > PIDS_LIMIT
            if self.too_many_processes:
                # No grace period: they would multiply meanwhile.
                end(self.session, grace_s=0)
                return
            # The reaper leads the session; do not count its memory.
            used = sum(resident_bytes(pid) for pid in alive if pid != self.session)
            self.peak = max(self.peak, used)
            self.out_of_memory = self.limits.memory_bytes is not None and used > self.limits.memory_bytes
            self.timed_out = (
                self.limits.timeout_s is not None and time.monotonic() - started > self.limits.timeout_s
            )
            if self.out_of_memory or self.timed_out:
                end(self.session)
                return


def _is_zombie(pid: int) -> bool:
    fields = stat_fields(pid)
    return fields is None or fields[0] == "Z"


def _write_process(path: Path, pid: int) -> None:
    fields = stat_fields(pid)
    path.write_text(json.dumps({"session": pid, "start": fields[19] if fields else ""}), encoding="utf-8")


def _left_behind(attempt: Path) -> set[int]:
    """Return the sessions of an attempt: the one in `process.json`, and those whose command line names the attempt.

    A run that was killed between starting the command and writing `process.json` leaves only the latter.
    """
    sessions = _sessions_that_name(attempt)
    with suppress(OSError, ValueError, KeyError, TypeError):
        entry: dict[str, Any] = json.loads((attempt / PROCESS).read_text(encoding="utf-8"))
        session = int(entry["session"])
        leader = stat_fields(session)
        # The system reuses process ids; the start time tells two processes of one id apart.
        same = leader is not None and leader[19] == entry["start"]
        if same or (leader is None and members(session)):
            sessions.add(session)
    return sessions


def _sessions_that_name(attempt: Path) -> set[int]:
    """Return the sessions whose first process has the attempt's folder in its command line.

    Only first processes count: a pager that shows the attempt's log in a terminal is not one.
    """
    sessions = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = stat_fields(int(entry.name))
            leads = fields is not None and fields[3] == entry.name
            if leads and f"{attempt}/".encode() in (entry / "cmdline").read_bytes():
                sessions.add(int(entry.name))
    return sessions
