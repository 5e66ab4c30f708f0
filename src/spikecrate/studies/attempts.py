"""The attempts of a study's jobs: a small file for each job key, written by its worker, replaced atomically.

The worker touches its file while it runs. Whether it is alive is known at once on its own machine, by its process id
and start; elsewhere by the file's age.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from spikecrate._util.files import make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTEMPTS: Final = "attempts"
BEAT_S: Final = 10.0
"""Seconds between two touches of a running attempt's file."""
LOST_S: Final = 120.0
"""Age of its file at which an attempt on another machine counts as dead."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The latest attempt at a job.

    Attributes
    ----------
    number : int
        How many attempts there were, this one included.
    state : str
        `waiting` for `study.run` after `study.retry`, `running`, `finished`, `failed`, or `stopped` by the user.
    host, boot : str
        Machine of the worker, and the id of its boot.
    pid, pid_started : int
        Process id, and start of the process in clock ticks since the boot: together they name it for good.
    started : str
        Time in UTC.
    error : dict or None
        The error as `--json` prints it.
    memory_bytes : int or None
        Memory that it gets in place of the plan's, after an earlier attempt had too little.
    timeout_s : float or None
        Time limit in place of the plan's.
    """

    number: int = 1
    state: Literal["waiting", "running", "finished", "failed", "stopped"] = "waiting"
    host: str = ""
    boot: str = ""
    pid: int = 0
    pid_started: int = 0
    started: str = ""
    error: dict[str, Any] | None = None
    memory_bytes: int | None = None
    timeout_s: float | None = None


class Attempts:
    """The files of the attempts of one study.

    Parameters
    ----------
    folder : Path
        The study's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ATTEMPTS
        self._now: float | None = None

    def read_all(self) -> dict[str, Attempt]:
        """Return the latest attempt of each job by its key; a damaged file counts as none."""
        found = {}
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                attempt = self.read(entry.name) if not entry.name.startswith(".") else None
                if attempt is not None:
                    found[entry.name] = attempt
        return found

    def read(self, key: str) -> Attempt | None:
        """Return the latest attempt of a job.

        Parameters
        ----------
        key : str
            The job key.

        Returns
        -------
        Attempt or None
            None where there was none, or its file is damaged.
        """
        try:
            return Attempt(**json.loads((self.folder / key).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, key: str, attempt: Attempt) -> None:
        """Replace the attempt of a job.

        Parameters
        ----------
        key : str
            The job key.
        attempt : Attempt
            The attempt.

        Raises
        ------
        DiskFullError
        """
        write_atomically(self.folder / key, json.dumps(asdict(attempt)).encode(), flush=False)

    @contextmanager
    def running(self, key: str) -> Iterator[Attempt]:
        """Begin an attempt, and touch its file while the block runs.

        Parameters
        ----------
        key : str
            The job key.

        Yields
        ------
        Attempt
            With the limits that an earlier attempt asked for.
        """
        earlier = self.read(key)
        begun = replace(
            earlier or Attempt(number=0),
            number=(earlier.number if earlier else 0) + 1,
            state="running",
            host=socket.gethostname(),
            boot=_boot(),
            pid=os.getpid(),
            pid_started=_started(os.getpid()) or 0,
            started=datetime.now(UTC).isoformat(),
            error=None,
        )
        self.write(key, begun)
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT_S):
                with suppress(OSError):
                    os.utime(self.folder / key)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield begun
        finally:
            done.set()
            thread.join()

    def is_alive(self, key: str, attempt: Attempt) -> bool:
        """Whether the process of a running attempt is alive.

        Parameters
        ----------
        key : str
            The job key.
        attempt : Attempt
            Its attempt.
        """
        if self.is_here(attempt):
            return _started(attempt.pid) == attempt.pid_started
        try:
            return self._clock() - (self.folder / key).stat().st_mtime < LOST_S
        except OSError:
            return False

    @staticmethod
    def is_here(attempt: Attempt) -> bool:
        """Whether an attempt began on this machine, since its last boot.

        Parameters
        ----------
        attempt : Attempt
            The attempt.
        """
        return (attempt.host, attempt.boot) == (socket.gethostname(), _boot())

    def _clock(self) -> float:
        """Return the time of the file system of the attempts, whose clock may not be this machine's."""
        if self._now is None:
            make_folder(self.folder)
            probe = self.folder / f".clock-{secrets.token_hex(4)}"
            probe.touch()
            self._now = probe.stat().st_mtime
            probe.unlink()
        return self._now


def _boot() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Return the start of a process in clock ticks since the boot; None where there is none, or a zombie."""
    try:
        # The name of the program, in brackets, may contain anything.
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
