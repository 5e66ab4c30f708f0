"""A lock that the kernel releases when its owner dies.

It is an `flock` on a file of the store, which needs no process ids of other hosts, no clocks and no heartbeat. On NFS
(Linux 2.6.12 and later) the same call is a byte-range lock on the server, which holds between machines too:
https://man7.org/linux/man-pages/man2/flock.2.html. The file names the owner, for messages only.
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

POLL_S: Final = 0.05
MOMENT_S: Final = 0.5
NO_FILE: Final = (errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV)
"""Errors of opening a folder, a link, a socket or a device in place of a lock's file."""


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
        """Take the lock if it is free.

        Returns
        -------
        bool
            Whether it was free.

        Raises
        ------
        StoreError
            Where the file system has no locks, or the lock's path is not a file.
        DiskFullError
        """
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            message = f"{self.path}: the file system has no locks ({error.strerror})"
            raise StoreError(
                message,
                next_step="set SPIKECRATE_STORE to a folder on a file system with locks",
                doctor="store.locks",
            ) from None
        # The last owner may have removed the file between open and flock: a lock on a removed file is void.
        if not self._is_current(descriptor):
            os.close(descriptor)
            return self.try_acquire()
        self._descriptor = descriptor
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        # On a full disk the file is empty, and locks nevertheless.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        return True

    def acquire(self, on_wait: Callable[[dict[str, Any]], None] | None = None) -> bool:
        """Wait for the lock and take it.

        Parameters
        ----------
        on_wait : callable, optional
            Called once, with the owner's record, when the wait takes more than a moment: a sweep takes a lock only
            to find out whether it is free.

        Returns
        -------
        bool
            Whether there was a wait.

        Raises
        ------
        StoreError, DiskFullError
            As `try_acquire`.
        """
        started, waited = time.monotonic(), False
        while not self.try_acquire():
            waited = True
            if on_wait is not None and time.monotonic() - started > MOMENT_S:
                on_wait(self.owner())
                on_wait = None
            time.sleep(POLL_S)
        return waited

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._descriptor is None:
            return
        # Unlinked while still locked, so no other process holds this file. A file that remains locks nothing.
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def owner(self) -> dict[str, Any]:
        """Return the owner's record: `host`, `pid`, `since`; empty where it cannot be read."""
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
                message, next_step="spikecrate store.verify sets it aside", doctor="store.locks"
            ) from None

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def __enter__(self) -> Self:
        """Wait for the lock and take it."""
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self.release()


def is_free(path: Path) -> bool:
    """Whether no process holds a lock; nothing is made or removed.

    Parameters
    ----------
    path : Path
        The lock's file.

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
