"""Text on a terminal: safe characters, width and colours."""

from __future__ import annotations

import os
import re
import shutil
import sys
from io import TextIOWrapper
from typing import Final, TextIO

LEAST_COLUMNS: Final = 20
WIDE_COLUMNS: Final = 10_000
"""Width of a pipe or a file, whose lines are never cut."""

# C0 and C1 controls, zero-width and bidirectional signs, halves of characters: all that can move the cursor, set the
# title, or show a name as another. Newline and tab stay.
CONTROL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Return a text whose control characters are written as escapes.

    Parameters
    ----------
    text : str
        Any text: a file's name, a line of a log, a message.
    one_line : bool
        Whether newlines and tabs are escaped too, as in a table's cell.

    Returns
    -------
    str

    Examples
    --------
    >>> printable("rec\x1b]0;title\x07")
    'rec\\x1b]0;title\\x07'
    """
    escaped = CONTROL.sub(_escape, text)
    return escaped.replace("\n", r"\n").replace("\t", r"\t") if one_line else escaped


def columns(stream: TextIO | None) -> int:
    """Return how many characters a line may have; lines of a pipe or a file are never cut.

    Parameters
    ----------
    stream : file or None
        Standard output or standard error.
    """
    if not is_terminal(stream):
        return WIDE_COLUMNS
    return max(LEAST_COLUMNS, shutil.get_terminal_size().columns)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal with a movable cursor (`TERM=dumb` has none).

    Parameters
    ----------
    stream : file or None
        Standard output or standard error.
    """
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def colours(stream: TextIO | None) -> bool:
    """Whether colours are wanted: on a terminal, unless `NO_COLOR` is set (https://no-color.org).

    Parameters
    ----------
    stream : file or None
        Standard output or standard error.
    """
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def shorten(text: str, width: int) -> str:
    """Return a text that fits into a width, without its middle where it is too long.

    Parameters
    ----------
    text : str
        One line.
    width : int
        The number of characters.

    Examples
    --------
    >>> shorten("abcdefghij", 5)
    'ab…ij'
    """
    if len(text) <= width:
        return text
    kept = max(width - 1, 0)
    head = kept // 2
    return f"{text[:head]}…{text[len(text) - (kept - head) :]}"


def prepare_streams() -> None:
    """Make standard streams safe to print to, in any locale and where one is closed.

    A closed descriptor is opened read-only, so that no file opened later gets its number. A character that the locale
    lacks is written as an escape.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
