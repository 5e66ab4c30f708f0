"""The .meta file of SpikeGLX: one `name=value` a line, tables as (header)(entry)(entry).

Source: SpikeGLX's metadata guide (`Markdown/Metadata_Help.md`).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NoReturn

from spikecrate.errors import RecordingFormatError
from spikecrate.recordings.formats.fields import shown

if TYPE_CHECKING:
    from pathlib import Path


class Meta:
    """The fields of a .meta file: `name=value` lines; names of tables start with ~, which is dropped.

    Raises
    ------
    RecordingFormatError
        In every method, if a field is missing or malformed; the message names the file and the field.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        pairs = (line.partition("=") for line in text.splitlines())
        self.values = {name.strip().lstrip("~"): value.strip() for name, mark, value in pairs if mark}

    def refuse(self, name: str, problem: str) -> NoReturn:
        """Raise the error for a field."""
        message = f"{self.path}: {name}: {problem}"
        raise RecordingFormatError(
            message,
            next_step=f"copy {self.path.name} again, or correct {name}",
            details={"file": str(self.path), "field": name},
        )

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number above 0."""
        if name not in self.values and default is not None:
            return default
        number = as_number(self._text(name))
        if not number > 0:
            self.refuse(name, f"expected a number above 0, got {shown(self.values[name])}")
        return number

    def whole(self, name: str) -> int:
        """Return a whole number, 0 or more."""
        text = self._text(name)
        if re.fullmatch(r"[0-9]{1,18}", text) is None:
            self.refuse(name, f"expected a whole number, got {shown(text)}")
        return int(text)

    def counts(self, name: str, count: int, total: int) -> tuple[int, ...]:
        """Return the numbers of channels by kind; their sum is the file's number of channels."""
        words = self._text(name).split(",")
        if len(words) != count or not all(re.fullmatch(r"[0-9]{1,9}", word.strip()) for word in words):
            self.refuse(name, f"expected {count} whole numbers, got {shown(self.values[name])}")
        numbers = tuple(int(word) for word in words)
        if sum(numbers) != total:
            self.refuse(name, f"{shown(self.values[name])} does not add up to nSavedChans={total}")
        return numbers

    def entries(self, name: str) -> list[str]:
        """Return the entries of a table without its header: (header)(entry)(entry)."""
        return re.findall(r"\(([^()]*)\)", self.values.get(name, ""))[1:]

    def header(self, name: str) -> list[str]:
        """Return the words of a table's header."""
        found = re.match(r"\(([^()]*)\)", self.values.get(name, ""))
        return found[1].split(",") if found else []

    def _text(self, name: str) -> str:
        if name not in self.values:
            self.refuse(name, "missing")
        return self.values[name]


def as_number(text: str) -> float:
    """Return a number, or NaN for anything else, infinity included.

    Parameters
    ----------
    text : str
        The number as text.

    Returns
    -------
    float

    Examples
    --------
    >>> as_number("1.5"), as_number("inf"), as_number("x")
    (1.5, nan, nan)
    """
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
