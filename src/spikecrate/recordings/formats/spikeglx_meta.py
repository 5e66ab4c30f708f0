"""The .meta file of SpikeGLX: one `name=value` a line, tables as (header)(entry)(entry).

Source: SpikeGLX's metadata guide (`Markdown/Metadata_Help.md`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from spikecrate.recordings.formats.fields import Fields, as_number

if TYPE_CHECKING:
    from pathlib import Path


class Meta(Fields):
    """The fields of a .meta file, all of them text; names of tables start with ~, which is dropped.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        Its content.

    Raises
    ------
    RecordingFormatError
        In every method, if a field is missing or malformed; the message names the file and the field.
    """

    def __init__(self, path: Path, text: str) -> None:
        pairs = (line.partition("=") for line in text.splitlines())
        super().__init__(
            {name.strip().lstrip("~"): value.strip() for name, mark, value in pairs if mark}, path
        )

    def counts(self, name: str, count: int, total: int) -> tuple[int, ...]:
        """Return the numbers of channels by kind.

        Parameters
        ----------
        name : str
            The field: whole numbers, separated by commas.
        count : int
            How many kinds there are.
        total : int
            The file's number of channels, which they add up to.

        Returns
        -------
        tuple of int
        """
        text = self.text(name)
        words = text.split(",")
        if len(words) != count or not all(re.fullmatch(r"[0-9]{1,9}", word.strip()) for word in words):
            self._refuse(name, f"{count} whole numbers", text)
        numbers = tuple(map(int, words))
        if sum(numbers) != total:
            self.refuse(name, f"{text} does not add up to nSavedChans={total}")
        return numbers

    def table(self, name: str) -> tuple[list[str], list[str]]:
        """Return a table: (header)(entry)(entry).

        Parameters
        ----------
        name : str
            The field, without its ~.

        Returns
        -------
        header : list of str
            The words between the commas.
        entries : list of str
            Empty where the field is missing.

        Examples
        --------
        >>> from pathlib import Path
        >>> Meta(Path("run.meta"), "~imroTbl=(0,2)(0 0 0 500 250 1)(1 0 0 500 250 1)").table("imroTbl")
        (['0', '2'], ['0 0 0 500 250 1', '1 0 0 500 250 1'])
        """
        header, *entries = re.findall(r"\(([^()]*)\)", self.data.get(name, "")) or [""]
        return header.split(","), entries

    def _number(self, value: Any) -> float | None:
        return number_in(str(value))


def number_in(text: str) -> float | None:
    """Return the number that a text holds, or None for anything else, infinity and NaN included.

    Parameters
    ----------
    text : str
        The number as text.

    Returns
    -------
    float or None

    Examples
    --------
    >>> number_in("1.5"), number_in("inf"), number_in("x")
    (1.5, None, None)
    """
    try:
        return as_number(float(text))
    except ValueError:
        return None
