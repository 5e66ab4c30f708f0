"""Jobs on the machine itself: the sorter's locked virtual environment, the same harness, no isolation.

The embedded default where there is no container engine. Limits are kept by watching the job's processes,
since an unprivileged user has no control groups everywhere.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import EngineError
from spikecrate.runtimes.task import JOB, OUT, RECORDING, SCRATCH, Exit, Image, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate.images.build import BuildRequest
    from spikecrate.progress import Progress
    from spikecrate.store import Store

WATCH_S: Final = 0.1
GRACE_S: Final = 5.0
PROCESS: Final = "process.json"
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Host:
    """The runtime of a machine without a container engine.

    Parameters
    ----------
    store : Store
        Where the environments are kept.
    """

    name: Final = "host"

    def __init__(self, store: Store) -> None:
        self.store = store

    def prepare(self, request: BuildRequest, progress: Progress) -> Image:
        """Find the sorter's environment, or make it."""
        from spikecrate.images.environment import make

        made = make(request, self.store, progress)
        return Image(
            reference=str(made.python.parents[1]),
            digest=made.hash,
            entrypoint=(str(made.python), "-I", str(made.code)),
            facts={"engine": "host", "engine_version": "", "kernel": os.uname().release},
        )

    def preview(self, request: BuildRequest) -> Image:
        """Name the environment that `prepare` would give."""
        from spikecrate.images.environment import place

        made = place(request, self.store)
        return Image(
            reference=str(made.python.parents[1]),
            digest=made.hash,
            entrypoint=(str(made.python), "-I", str(made.code)),
        )

    def command(self, task: Task) -> list[str]:
        """Give the harness's command line with the host's own paths."""
        return [
            *task.image.entrypoint,
            "--job",
            str(task.source(JOB) / "job.json"),
            "--recording",
            str(task.source(RECORDING)),
            "--out",
            str(task.source(OUT)),
            "--scratch",
            str(task.source(SCRATCH)),
        ]

    def run(self, task: Task, on_output: Callable[[bytes], None]) -> Exit:
        """Run a task in a process group of its own, and end the group whatever happens."""
        scratch = task.source(SCRATCH)
        try:
            child = subprocess.Popen(
                self.command(task),
                cwd=scratch,
                env={"PATH": os.defpath, "HOME": str(scratch)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            message = f"{task.image.entrypoint[0]}: {error.strerror}"
            raise EngineError(
                message, next_step=f"remove {task.image.reference}; it is made again at the next run"
            ) from None
        watch = _Watch(child.pid, task)
        try:
            _write_process(scratch.parent / PROCESS, child.pid)
            watch.start()
            assert child.stdout is not None
            while chunk := child.stdout.read(1 << 16):
                on_output(chunk)
            code = child.wait()
        finally:
            watch.stop()
            end_session(child.pid)
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        return Exit(
            code=code if code >= 0 else 128 - code,
            out_of_memory=watch.out_of_memory,
            timed_out=watch.timed_out,
            peak_memory_bytes=watch.peak,
        )

    def sweep(self, store_label: str, is_orphan: Callable[[str], bool]) -> list[str]:
        """End process groups whose owner is gone."""
        removed: list[str] = []
        if store_label != str(self.store.root):
            return removed
        for path in sorted(self.store.work.glob(f"*/{PROCESS}")):
            session = _session_of(path)
            if session is not None and is_orphan(path.parent.name.split("-")[0]):
                end_session(session)
                removed.append(f"process {session}")
        return removed


class _Watch:
    """A thread that looks at a session's processes, keeps their peak and holds them to the limits."""

    def __init__(self, session: int, task: Task) -> None:
        self.session = session
        self.limits = task.limits
        self.peak = 0
        self.out_of_memory = False
        self.timed_out = False
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
            used = sum(resident_bytes(pid) for pid in session_members(self.session))
            self.peak = max(self.peak, used)
            self.out_of_memory = self.limits.memory_bytes is not None and used > self.limits.memory_bytes
            self.timed_out = (
                self.limits.timeout_s is not None and time.monotonic() - started > self.limits.timeout_s
            )
            if self.out_of_memory or self.timed_out:
                end_session(self.session)
                return


def session_members(session: int) -> list[int]:
    """Find the processes of a session, by /proc."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            fields = _stat_fields(int(entry.name))
            if fields is not None and int(fields[3]) == session:
                found.append(int(entry.name))
    return found


def resident_bytes(pid: int) -> int:
    """Give a process's memory that it does not share with others, in bytes; 0 for one that is gone."""
    with suppress(OSError, IndexError, ValueError):
        resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
        return (int(resident) - int(shared)) * PAGE
    return 0


def end_session(session: int) -> None:
    """End all processes of a session: SIGTERM, and SIGKILL for what is left after a few seconds."""
    deadline = time.monotonic() + GRACE_S
    number = signal.SIGTERM
    while members := [pid for pid in session_members(session) if not _is_zombie(pid)]:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        time.sleep(0.02)


def _stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat after the command name: state, parent, group, session, …, start time."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None


def _is_zombie(pid: int) -> bool:
    fields = _stat_fields(pid)
    return fields is None or fields[0] == "Z"


def _write_process(path: Path, pid: int) -> None:
    fields = _stat_fields(pid)
    path.write_text(json.dumps({"session": pid, "start": fields[19] if fields else ""}))


def _session_of(path: Path) -> int | None:
    """Give the session that a dead owner left, if its leader or a member is still that very one."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        entry: dict[str, Any] = json.loads(path.read_text())
        session = int(entry["session"])
        leader = _stat_fields(session)
        # A process id may have been given to someone else since; the start time tells.
        same = leader is not None and leader[19] == entry["start"]
        left_behind = leader is None and bool(session_members(session))
        return session if same or left_behind else None
    return None
