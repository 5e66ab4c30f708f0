"""A lock that the kernel releases when its owner dies.

`flock` on a file of the store: no process ids of another host, no clocks, no heartbeat. On NFS (Linux 2.6.12
and later) the same call is a byte-range lock that the server keeps, so it holds between machines too. The file
says who holds it, for the one who waits; that text decides nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from spikecrate._util.files import disk_full_named, share
from spikecrate.errors import StoreError
from spikecrate.store.place import system_errors_named

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

POLL_S: Final = 0.05
MOMENT_S: Final = 0.5
NO_FILE: Final = (errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV)
"""What opening says of a folder, a link, a socket or a device that bears a lock's name."""


class Lock:
    """An exclusive lock on a name, held from `try_acquire` or `acquire` until `release`.

    Parameters
    ----------
    path : Path
        The lock's file; made when needed, removed at release.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free; say whether it was.

        Raises
        ------
        StoreError
            Where the file system has no locks, or something that is no file bears the lock's name.
        DiskFullError
        """
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            message = f"{self.path}: the file system gives no lock ({error.strerror})"
            raise StoreError(
                message,
                next_step="set SPIKECRATE_STORE to a folder on a file system with locks",
                doctor="store.locks",
            ) from None
        # The last owner may have removed the file between our open and our lock: then ours locks nothing.
        if not self._is_current(descriptor):
            os.close(descriptor)
            return self.try_acquire()
        self._descriptor = descriptor
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        # On a full disk it says nothing, and locks nevertheless.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        return True

    def acquire(self, on_wait: Callable[[dict[str, Any]], None] | None = None) -> bool:
        """Take the lock, waiting for it; say whether there was a wait.

        Parameters
        ----------
        on_wait : callable, optional
            Called once, with what the owner says of itself, when the wait is more than a moment: a sweep
            takes locks only to see whether they are free.
        """
        started, told, waited = time.monotonic(), False, False
        while not self.try_acquire():
            waited = True
            if not told and on_wait is not None and time.monotonic() - started > MOMENT_S:
                on_wait(self.owner())
                told = True
            time.sleep(POLL_S)
        return waited

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._descriptor is None:
            return
        # Unlinked while still held: nobody can be holding the same file. One that cannot be removed locks nothing.
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def owner(self) -> dict[str, Any]:
        """Read what the present owner wrote about itself; empty where that cannot be read."""
        try:
            owner = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return owner if isinstance(owner, dict) else {}

    def _open(self) -> int:
        deadline = time.monotonic() + MOMENT_S
        try:
            with disk_full_named(self.path):
                while True:
                    try:
                        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                        descriptor = os.open(self.path, flags, 0o600)
                    except PermissionError:
                        # In a shared store another user's file gets the group's rights just after it is made.
                        if time.monotonic() > deadline:
                            raise
                        time.sleep(POLL_S)
                    else:
                        share(self.path)
                        return descriptor
        except OSError as error:
            if error.errno not in NO_FILE:
                with system_errors_named(self.path.parent):
                    raise
            message = f"the lock {self.path} cannot be opened ({error.strerror})"
            raise StoreError(
                message, next_step="spikecrate store.verify sets aside what is no lock", doctor="store.locks"
            ) from None

    def _is_current(self, descriptor: int) -> bool:
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def __enter__(self) -> Self:
        """Take the lock, waiting for it."""
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        self.release()


def is_free(path: Path) -> bool:
    """Say whether nobody holds the lock of that file; nothing is made or removed.

    Raises
    ------
    OSError
        Where there is no such file, or it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
