"""Write the log of a job to a file of bounded size, pass on its lines, and keep the last ones for error messages."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEPT_BYTES: Final = 64 * 2**20
"""The log keeps its first 64 MiB, so that a tool that prints forever does not fill the disk."""

LINE_BYTES: Final = 64 * 2**10
LAST_BYTES: Final = 2**20
"""Later output is not shown; its last lines are kept for error messages."""
TAIL_LINES: Final = 30

FULL: Final = b"\n[the log is full at 64 MiB; the rest is neither kept nor shown]\n"

_BREAK: Final = re.compile(rb"\r\n|\n|\r")


class Log:
    """Receives the bytes that a job prints.

    Parameters
    ----------
    path : Path
        The log file, written as output arrives.
    on_line : callable
        Receives each line; the carriage return of a progress bar also ends a line.
    """

    def __init__(self, path: Path, on_line: Callable[[str], None]) -> None:
        self._file = path.open("wb", buffering=0)
        self._on_line = on_line
        self._kept = 0
        self._rest = b""
        self._last = b""
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def tail(self) -> str:
        """The last lines."""
        return "\n".join(self._tail)

    def write(self, data: bytes) -> None:
        """Add a chunk of output.

        Parameters
        ----------
        data : bytes
            The chunk.
        """
        room = KEPT_BYTES - self._kept
        if room <= 0:
            self._last = (self._last + data)[-LAST_BYTES:]
            return
        self._file.write(data[:room])
        self._kept += min(room, len(data))
        if self._kept == KEPT_BYTES:
            self._file.write(FULL)
            data += FULL
        *lines, self._rest = _BREAK.split(self._rest + data)
        if len(self._rest) > LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._emit(line)

    def close(self) -> None:
        """Emit an unfinished last line and close the file."""
        if self._rest:
            self._emit(self._rest)
            self._rest = b""
        self._tail.extend(filter(str.strip, map(_printable, _BREAK.split(self._last)[-TAIL_LINES:])))
        self._file.close()

    def _emit(self, line: bytes) -> None:
        text = _printable(line)
        if text.strip():
            self._tail.append(text)
        self._on_line(text)

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


def exception_in(tail: str) -> str:
    r"""Return what a Python traceback at the end of a log says was wrong: the text of the exception.

    Parameters
    ----------
    tail : str
        The last lines of the log.

    Returns
    -------
    str
        Empty where the log ends with no traceback. Of a ValueError, which says what a user did wrong, the type is left
        out.

    Examples
    --------
    >>> exception_in('Traceback (most recent call last):\n  File "run.py", line 1, in run\nValueError: no page 7')
    'no page 7'
    """
    _, found, rest = f"\n{tail}".rpartition('\n  File "')
    lines = rest.split("\n") if found else []
    first = next((place for place, line in enumerate(lines) if place and line[:1] not in {" ", "\t"}), None)
    return "" if first is None else "\n".join(lines[first:]).removeprefix("ValueError: ")


def _printable(line: bytes) -> str:
    """Decode a line and replace control characters, which could change the user's terminal."""
    text = line[:LINE_BYTES].decode("utf-8", errors="replace")
    return "".join(sign if sign.isprintable() or sign == "\t" else "�" for sign in text)
