"""The parts of X11 that need no X11 programs: a display's cookies, and whether its server accepts a connection.

`.Xauthority` is a list of records of length-prefixed fields. A cookie in it is for one host name, and a container has
another; a copy in the address family FamilyWild is valid on any host. `xauth` may be missing, and locks the user's file to
read it. A server answers a dozen bytes of setup with one byte: accepted or refused.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

COOKIE: Final = b"MIT-MAGIC-COOKIE-1"
LOCAL: Final = 256
WILD: Final = 65535
"""Address families in `.Xauthority`: FamilyLocal and FamilyWild."""
ANSWERS: Final = {0: "refused", 1: "accepted", 2: "wants more than a cookie"}
TIMEOUT_S: Final = 5


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One record of `.Xauthority`."""

    family: int
    address: bytes
    number: bytes
    name: bytes
    data: bytes


def read_entries(data: bytes) -> Iterator[Entry]:
    """Yield the records of an `.Xauthority`, without a truncated last one.

    Parameters
    ----------
    data : bytes
        The content of the file.
    """
    at = 0

    def field() -> bytes:
        nonlocal at
        (size,) = struct.unpack_from(">H", data, at)
        at += 2 + size
        if at > len(data):
            raise struct.error
        return data[at - size : at]

    while at + 2 <= len(data):
        (family,) = struct.unpack_from(">H", data, at)
        at += 2
        try:
            yield Entry(family=family, address=field(), number=field(), name=field(), data=field())
        except struct.error:
            return


def of_display(
    entries: Iterable[Entry], number: int, addresses: Iterable[bytes], *, is_local: bool
) -> list[Entry]:
    """Return a display's entries, the most specific first, because X programs use the first that is valid.

    Parameters
    ----------
    entries : iterable of Entry
        All entries of the file.
    number : int
        The display's number; an entry without a number is valid for every display.
    addresses : iterable of bytes
        The addresses of its entries: this machine's name, or the addresses of another machine.
    is_local : bool
        Whether the display is on this machine. Entries under an earlier name of the machine come last.
    """
    fitting = [entry for entry in entries if entry.number in (b"", str(number).encode())]
    named = set(addresses)
    ranks = [
        [entry for entry in fitting if entry.address in named and entry.family != WILD],
        [entry for entry in fitting if entry.family == WILD],
        [entry for entry in fitting if is_local and entry.family == LOCAL and entry.address not in named],
    ]
    return [entry for rank in ranks for entry in rank]


def anywhere(entries: Iterable[Entry], number: int) -> list[Entry]:
    """Return copies of entries that are valid for a display number on any host.

    Parameters
    ----------
    entries : iterable of Entry
        The records.
    number : int
        The display number.
    """
    return [replace(entry, family=WILD, address=b"", number=str(number).encode()) for entry in entries]


def write_entries(entries: Iterable[Entry]) -> bytes:
    """Return the content of an `.Xauthority` file.

    Parameters
    ----------
    entries : iterable of Entry
        The records.
    """
    content = b""
    for entry in entries:
        content += struct.pack(">H", entry.family)
        for field in (entry.address, entry.number, entry.name, entry.data):
            content += struct.pack(">H", len(field)) + field
    return content


def connect(address: Path | tuple[str, int], cookie: Entry | None) -> tuple[str, str]:
    """Connect to a display's server, and disconnect after its answer.

    Parameters
    ----------
    address : Path or tuple
        The server's socket, or host and port.
    cookie : Entry or None
        The cookie to send.

    Returns
    -------
    tuple of str
        `accepted`, `refused`, `wants more than a cookie` or `no answer`; and the reason.
    """
    name, data = (cookie.name, cookie.data) if cookie is not None else (b"", b"")
    hello = struct.pack("<cxHHHHxx", b"l", 11, 0, len(name), len(data)) + _padded(name) + _padded(data)
    try:
        with _open(address) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.sendall(hello)
            answer = connection.recv(4096)
    except OSError as error:
        return "no answer", error.strerror or str(error)
    if len(answer) < 8:
        return "no answer", "connection closed"
    reason = answer[8 : 8 + answer[1]].decode(errors="replace").strip() if answer[0] == 0 else ""
    return ANSWERS.get(answer[0], "no answer"), reason


def _open(address: Path | tuple[str, int]) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout=TIMEOUT_S)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(str(address))
        except FileNotFoundError:
            # A server also listens in Linux's abstract namespace.
            connection.connect(f"\0{address}")
    except OSError:
        connection.close()
        raise
    return connection


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
