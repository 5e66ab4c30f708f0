"""Amounts as people write them: `8G` of memory, `2h` of time."""

from __future__ import annotations

import re
from typing import Final

from spikecrate.errors import UsageError

BYTES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SECONDS: Final = {"": 1, "S": 1, "M": 60, "H": 3600, "D": 86400}

_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)


def parse_bytes(text: str) -> int:
    """Read an amount of memory: `8G`, `512M`, `1.5GiB`, `1000000`; binary units.

    Raises
    ------
    UsageError
        Naming the text and the form expected.
    """
    number, unit = _split(text, "memory", "8G or 512M")
    unit = unit.removesuffix("B").removesuffix("I")
    if unit not in BYTES:
        raise _refused(text, "memory", "8G or 512M")
    return int(number * BYTES[unit])


def parse_seconds(text: str) -> float:
    """Read an amount of time: `2h`, `90m`, `45s`, `1d`, `3600`.

    Raises
    ------
    UsageError
        Naming the text and the form expected.
    """
    number, unit = _split(text, "time", "2h or 90m")
    if unit not in SECONDS:
        raise _refused(text, "time", "2h or 90m")
    return number * SECONDS[unit]


def format_bytes(number: float) -> str:
    """Write an amount of memory with a binary unit: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise _refused(text, what, example)
    return float(match[1]), match[2].upper()


def _refused(text: str, what: str, example: str) -> UsageError:
    return UsageError(f"{text!r} is not an amount of {what}", next_step=f"write it as {example}")
