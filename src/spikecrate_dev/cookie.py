"""The cookies of an X display, in a form that a container can use.

A cookie in `.Xauthority` is for one host name, and a container has another. X knows a family of addresses that is any
host: a copy of the cookie in that family is good inside. The file is read and written here, without `xauth`: that may not
be installed, and to read it locks the user's own file.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from spikecrate_dev.x11 import LOCAL, WILD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate_dev.x11 import Entry


def of_display(
    entries: Iterable[Entry], number: int, addresses: Iterable[bytes], *, is_local: bool
) -> list[Entry]:
    """List a display's entries, the surest first: of several that are valid, X programs take the first.

    Parameters
    ----------
    entries : iterable of Entry
        All that there are.
    number : int
        The display's; an entry without a number is for every display.
    addresses : iterable of bytes
        Under which its entries stand: this machine's name, or the addresses of another.
    is_local : bool
        Whether the display is this machine's. An entry under a name that the machine had before comes last.
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
    """Make entries valid for a display of this number on a machine of any name, such as a container."""
    return [replace(entry, family=WILD, address=b"", number=str(number).encode()) for entry in entries]


def write_entries(entries: Iterable[Entry]) -> bytes:
    """Write the records of an `.Xauthority`."""
    return b"".join(
        struct.pack(">H", entry.family)
        + b"".join(
            struct.pack(">H", len(field)) + field
            for field in (entry.address, entry.number, entry.name, entry.data)
        )
        for entry in entries
    )
