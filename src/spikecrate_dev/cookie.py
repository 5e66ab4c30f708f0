"""The cookies of an X display, in a form that is valid in a container.

A cookie in `.Xauthority` is for one host name, and a container has another. A copy in the address family FamilyWild is valid
on any host. This module reads and writes the file without `xauth`, which may be missing and locks the user's file to read it.
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
    return b"".join(
        struct.pack(">H", entry.family)
        + b"".join(
            struct.pack(">H", len(field)) + field
            for field in (entry.address, entry.number, entry.name, entry.data)
        )
        for entry in entries
    )
