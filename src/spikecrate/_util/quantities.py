"""Amounts as people write them: `8G` of memory, `2h` of time."""

from __future__ import annotations

import re
from typing import Final

from spikecrate.errors import UsageError

PREFIXES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
BYTES: Final = {f"{prefix}{ending}": size for prefix, size in PREFIXES.items() for ending in ("", "B", "IB")}
SECONDS: Final = {"": 1, "S": 1, "M": 60, "H": 3600, "D": 86400}
AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)


def parse_bytes(text: str) -> int:
    """Parse an amount of memory in binary units.

    Parameters
    ----------
    text : str
        Such as `8G`, `512M`, `1.5GiB` or `1000000`.

    Returns
    -------
    int

    Raises
    ------
    UsageError
        Naming the text and the form expected.

    Examples
    --------
    >>> parse_bytes("1.5GiB")
    1610612736
    """
    return int(_parse(text, BYTES, "memory", "8G or 512M"))


def parse_seconds(text: str) -> float:
    """Parse an amount of time.

    Parameters
    ----------
    text : str
        Such as `2h`, `90m`, `45s`, `1d` or `3600`.

    Returns
    -------
    float

    Raises
    ------
    UsageError
        Naming the text and the form expected.

    Examples
    --------
    >>> parse_seconds("2h")
    7200.0
    """
    return _parse(text, SECONDS, "time", "2h or 90m")


def format_bytes(number: float) -> str:
    """Format an amount of memory with a binary unit.

    Parameters
    ----------
    number : float
        The bytes.

    Examples
    --------
    >>> format_bytes(1.5 * 2**30)
    '1.5 GiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def _parse(text: str, units: dict[str, int], what: str, example: str) -> float:
    found = AMOUNT.fullmatch(text.strip())
    if found is None or found[2].upper() not in units:
        message = f"{text!r} is not an amount of {what}"
        raise UsageError(message, next_step=f"write it as {example}")
    return float(found[1]) * units[found[2].upper()]


def counted(count: int, what: str) -> str:
    """Return a number of things in words.

    Parameters
    ----------
    count : int
        The number.
    what : str
        Name of one thing, whose plural ends in `s`.

    Returns
    -------
    str

    Examples
    --------
    >>> counted(1, "unit"), counted(0, "event")
    ('1 unit', '0 events')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"
