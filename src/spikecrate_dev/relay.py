"""A relay: a socket in a mounted folder, connected to an address that the container cannot reach.

A display over ssh listens on the host's loopback interface, which a container does not share. An ssh agent's socket changes
with each login, and a container's mounts do not. A relay listens on a socket in the file system, for this user only, and
forwards connections. It ends with the last shell that uses it: each shell holds a shared lock while it lives, and the relay
waits for the exclusive lock.

This file is also the relay's program, run isolated by its path, so it imports only the standard library.
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
"""The socket's backlog."""


def hold(path: Path, target: str) -> None:
    """Keep a relay listening while this process, or the program that replaces it, lives.

    Parameters
    ----------
    path : Path
        The socket to listen on. A relay that listens already is kept.
    target : str
        `host:port`, or the absolute path of a socket.

    Raises
    ------
    OSError
    """
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    # Stays open, and survives exec: it is released when the session ends.
    os.set_inheritable(lock, True)
    if listens(path):
        return
    with listener(path) as server:
        # In its own session, so that a Ctrl-C in the shell does not close windows.
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", __file__, str(path), target],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, server.fileno(), 0),
                *((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)),
                # Its own shared lock would block the exclusive one for ever.
                (os.POSIX_SPAWN_CLOSE, lock),
            ],
            setsid=True,
        )


def listens(path: Path) -> bool:
    """Whether a process listens on a socket.

    Parameters
    ----------
    path : Path
        The path.
    """
    try:
        connect(path).close()
    except OSError:
        return False
    return True


def connect(path: Path) -> socket.socket:
    """Connect to a Unix socket.

    Parameters
    ----------
    path : Path
        The path.

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
    """Yield a path of a socket that fits the kernel's limit of 108 bytes.

    Parameters
    ----------
    path : Path
        The path.
    """
    folder = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listener(path: Path) -> socket.socket:
    """Make a listening socket for this user only; replace an existing file of its name.

    Parameters
    ----------
    path : Path
        The path.

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
    """Forward connections to the socket on standard input, until the last shell has ended.

    Parameters
    ----------
    path : Path
        The socket.
    target : str
        `host:port`, or the absolute path of a socket.
    """
    threading.Thread(target=wait, args=(path,), daemon=True).start()
    with socket.socket(fileno=0) as server:
        while True:
            near, _ = server.accept()
            threading.Thread(target=join, args=(near, target), daemon=True).start()


def wait(path: Path) -> None:
    """Wait until no shell holds the lock, then exit.

    Parameters
    ----------
    path : Path
        The path.
    """
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    path.unlink(missing_ok=True)
    os._exit(0)


def join(near: socket.socket, target: str) -> None:
    """Connect one client to the target, until both sides have closed.

    Parameters
    ----------
    near : socket
        The client's connection.
    target : str
        `host:port`, or the absolute path of a socket.
    """
    with near, suppress(OSError), reach(target) as far:
        back = threading.Thread(target=pump, args=(far, near), daemon=True)
        back.start()
        pump(near, far)
        back.join()


def reach(target: str) -> socket.socket:
    """Connect to a target.

    Parameters
    ----------
    target : str
        `host:port`, or the absolute path of a socket.

    Raises
    ------
    OSError
    """
    if target.startswith("/"):
        return connect(Path(target))
    host, _, port = target.rpartition(":")
    far = socket.create_connection((host.strip("[]"), int(port)))
    # Send small packets, such as a click, at once.
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return far


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy one direction until it ends, then close that direction.

    Parameters
    ----------
    source : socket
        The side to read.
    sink : socket
        The side to write.
    """
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
