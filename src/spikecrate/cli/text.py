"""Text and tables for people, one line of JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def say(text: str) -> None:
    """Print to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def as_json(value: Any) -> None:
    """Print one JSON value on one line."""
    # Looking for cycles, which none of our values has, takes a quarter of the time.
    is_utf8 = str(sys.stdout.encoding or "utf-8").lower().startswith("utf")
    say(json.dumps(value, ensure_ascii=not is_utf8, check_circular=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers to the right, what is missing as a dash."""
    texts = [[_cell(value) for value in row] for row in rows]
    right = [
        bool(texts) and all(row[at] == "–" or row[at][:1].isdigit() for row in texts)
        for at in range(len(columns))
    ]
    widths = [max([len(column), *(len(row[at]) for row in texts)]) for at, column in enumerate(columns)]
    for row in [list(columns), *texts]:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        say("  ".join(cells).rstrip())


def fields(values: dict[str, Any], *, to_json: bool) -> None:
    """Print a JSON object: as it is, or a field a line."""
    if to_json:
        as_json(values)
        return
    width = max(map(len, values), default=0)
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        say(f"{name.ljust(width)}  {shown}")


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
