"""Run a command, and end every process that it leaves behind before the command counts as ended.

The nearest ancestor that is a child subreaper (prctl(2)), here this program, adopts a process whose parent ends, also a
daemon in another session. It runs as a script, like `tini -s` (https://github.com/krallin/tini), and imports only the
standard library.

Usage: python reaper.py PARENT-PID PROGRAM [ARGUMENT …]
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

GRACE_S = 5.0
"""Seconds from SIGTERM to SIGKILL."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CANNOT_RUN = 127


class Stopped(BaseException):
    """SIGTERM arrived: the parent died, or ends this program."""


def main(argv: list[str]) -> int:
    """Run a command, wait for its end, and end all processes that it started.

    Parameters
    ----------
    argv : list of str
        Process id of the parent, and the command.

    Returns
    -------
    int
        Exit code of the command; 128 + n for signal n.
    """
    parent, command = int(argv[0]), argv[1:]
    library = ctypes.CDLL(None)
    library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _stop)
    library.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    code = 128 + signal.SIGTERM
    try:
        if os.getppid() == parent:
            code = _wait_for(_start(command, library))
    except Stopped:
        pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_children()
    return code


def process_ids() -> list[int]:
    """Return the ids of all processes in /proc."""
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the command name: state, parent, group, session, …, start time.

    Parameters
    ----------
    pid : int
        The process.

    Returns
    -------
    list of str or None
        None for a process that is gone.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def _start(command: list[str], library: Any) -> int:
    child = os.fork()
    if child:
        return child
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # The kernel ends the command when the reaper is killed.
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(CANNOT_RUN)


def _wait_for(child: int) -> int:
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_children() -> None:
    """End all children; the children of a process that ends become children of this one."""
    deadline = time.monotonic() + GRACE_S
    while _has_children():
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for pid in _children():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def _has_children() -> bool:
    """Collect the children that ended; return whether others are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    own = str(os.getpid())
    return [pid for pid in process_ids() if (fields := stat_fields(pid)) is not None and fields[1] == own]


def _stop(_number: int, _frame: object) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
