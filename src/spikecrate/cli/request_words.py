"""Words of a command line that more than one task reads."""

from __future__ import annotations

from spikecrate.errors import UsageError


def whole_number(option: str, text: str) -> int | None:
    """Read a whole number; none for no word.

    Raises
    ------
    UsageError
        Naming the option.
    """
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        message = f"{option} {text!r} is not a whole number"
        raise UsageError(message, next_step=f"{option} 1")
    return int(text)
