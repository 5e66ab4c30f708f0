"""Standard output: text and tables for people, one line of JSON for programs.

Names, logs and messages come from files that may be hostile, so control characters are printed as escapes.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import erase
from spikecrate._util.terminal import CONTROL, colours, columns, printable, shorten
from spikecrate.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GAP: Final = 2
"""Spaces between columns."""
LEAST_CELL: Final = 8
"""Least width of a column that is cut."""


def say(text: str = "", *, colour: tuple[str, str] | None = None) -> None:
    """Print to standard output, control characters as escapes.

    Parameters
    ----------
    text : str
        One or more lines.
    colour : tuple of str, optional
        A word of the text and the terminal's code for its colour.

    Raises
    ------
    OutputError
        Standard output is closed or full.
    BrokenPipeError
        The reader has closed the pipe.
    """
    shown = printable(text)
    if colour is not None and colours(sys.stdout):
        word, code = colour
        shown = shown.replace(word, f"\x1b[{code}m{word}\x1b[0m", 1)
    with suppress(OSError):
        erase()
    try:
        if sys.stdout is None:
            raise OSError(9, "it is closed")  # noqa: TRY301 (one place for both)
        sys.stdout.write(f"{shown}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"standard output cannot be written: {error.strerror}"
        raise OutputError(message, next_step="send the output elsewhere: spikecrate … > FILE") from None


def as_json(value: Any) -> None:
    """Print one JSON value on one line; control characters are escaped.

    Parameters
    ----------
    value : object
        A value in JSON types.
    """
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    # The values have no cycles, and the search for them takes a quarter of the time.
    text = json.dumps(value, ensure_ascii=not unicode, check_circular=False)
    say(CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table that fits the terminal, with numbers to the right and a dash for a missing value.

    Parameters
    ----------
    names : sequence of str
        Heads of the columns.
    rows : iterable of sequence
        The cells. In a narrow terminal the widest are cut in the middle, but never those of the first column.
    """
    dash = _dash()
    lines = [list(names), *([cell(value, dash) for value in row] for row in rows)]
    cells_of = list(zip(*lines, strict=True))
    widths = [max(map(len, cells)) for cells in cells_of]
    most = columns(sys.stdout) - GAP * (len(widths) - 1)
    while sum(widths) > most and max(widths[1:], default=0) > LEAST_CELL:
        widths[widths.index(max(widths[1:]), 1)] -= 1
    numbers = [
        len(lines) > 1 and all(cell == dash or cell[0].isdigit() for cell in cells[1:]) for cells in cells_of
    ]
    for line in lines:
        shown = [
            f"{shorten(cell, width):{'>' if number else '<'}{width}}"
            for cell, width, number in zip(line, widths, numbers, strict=True)
        ]
        say((" " * GAP).join(shown).rstrip())


def fields(values: dict[str, Any]) -> None:
    """Print an object, a field a line.

    Parameters
    ----------
    values : dict
        The fields, in JSON types.
    """
    width = max(map(len, values), default=0)
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        say(f"{name.ljust(width)}  {printable(shown, one_line=True)}")


def cell(value: Any, dash: str) -> str:
    """Return the text of a table's cell, on one line.

    Parameters
    ----------
    value : object
        The value; None and an empty text are missing.
    dash : str
        The sign of a missing value.
    """
    if value is None or value == "":
        return dash
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value), one_line=True)


def _dash() -> str:
    """Return the sign of a missing value, in any locale."""
    try:
        "–".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return "-"
    return "–"
