"""A socket in a folder that the container sees, and behind it what the container cannot reach.

A display by ssh listens on this machine's loopback, which a container does not share; an ssh agent's socket moves with
each login, and a container's mounts do not. A relay listens on a socket of the file system alone, for this user alone,
and passes on what comes. It serves all shells that asked for it and ends with the last of them: each holds a shared
lock for as long as it lives, and the relay waits for the lock that shares with nobody.

Run as a program, by its path and isolated, it is the relay; so it imports nothing but the standard library.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK: Final = 1 << 16
WAITING: Final = 64
"""Connections that may wait to be taken."""


def hold(path: Path, target: str) -> None:
    """See to it that a relay listens for as long as this process lives, or the program that takes its place.

    Parameters
    ----------
    path : Path
        Of the socket, in a folder that is there. One whose relay listens already is left.
    target : str
        `host:port`, or the absolute path of a socket.

    Raises
    ------
    OSError
    """
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    # Not closed here, and kept by the program that this process becomes: its end is the session's end.
    os.set_inheritable(lock, True)
    if listens(path):
        return
    words = [sys.executable, "-I", __file__, str(path), target]
    with listener(path) as server:
        # In a session of its own: the Ctrl-C that is meant for the shell closes no window.
        os.posix_spawn(
            sys.executable,
            words,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, server.fileno(), 0),
                *((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)),
                # Its own shared lock would keep it from ever ending.
                (os.POSIX_SPAWN_CLOSE, lock),
            ],
            setsid=True,
        )


def listens(path: Path) -> bool:
    """Say whether somebody listens on a socket."""
    try:
        connect(path).close()
    except OSError:
        return False
    return True


def connect(path: Path) -> socket.socket:
    """Connect to a socket of the file system.

    Raises
    ------
    OSError
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short(path) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def short(path: Path) -> Iterator[str]:
    """Name a socket so that its name fits the 108 bytes that the kernel has for it."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listener(path: Path) -> socket.socket:
    """Make a socket that listens, for this user alone, in place of whatever had its name.

    Raises
    ------
    OSError
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        fresh.unlink(missing_ok=True)
        with short(fresh) as name:
            server.bind(name)
        server.listen(WAITING)
        fresh.replace(path)
    except OSError:
        server.close()
        raise
    finally:
        os.umask(before)
    return server


def serve(path: Path, target: str) -> None:
    """Pass on all that comes to the socket that is this program's standard input, until the last shell is gone."""
    threading.Thread(target=wait, args=(path,), daemon=True).start()
    with socket.socket(fileno=0) as server:
        while True:
            near, _ = server.accept()
            threading.Thread(target=join, args=(near, target), daemon=True).start()


def wait(path: Path) -> None:
    """Wait until no shell holds the lock; then end this program."""
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    path.unlink(missing_ok=True)
    os._exit(0)


def join(near: socket.socket, target: str) -> None:
    """Connect one caller with the target, until both have said all."""
    with near, suppress(OSError), reach(target) as far:
        back = threading.Thread(target=pump, args=(far, near), daemon=True)
        back.start()
        pump(near, far)
        back.join()


def reach(target: str) -> socket.socket:
    """Connect to a target.

    Raises
    ------
    OSError
    """
    if target.startswith("/"):
        return connect(Path(target))
    host, _, port = target.rpartition(":")
    far = socket.create_connection((host.strip("[]"), int(port)))
    # A click is a few bytes, and they should not wait for more.
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return far


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what one side says until it has said all, and say so."""
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
