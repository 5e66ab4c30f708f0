"""Gaps in time: where the numbers that Open Ephys gives its samples jump.

The numbers rise by one from sample to sample unless the device lost some, so a few reads tell whether there are gaps,
and bisection finds them without reading the file. numpy is not imported: most recordings have none.
"""

from __future__ import annotations

import ast
import os
import struct
from typing import TYPE_CHECKING, Any, Final

from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.formats.files import is_file, reading, regular_file
from spikecrate.recordings.model import Gap

if TYPE_CHECKING:
    from pathlib import Path

NAMES: Final = ("sample_numbers.npy", "timestamps.npy")
"""Since 0.6, and before; the timestamps.npy of later versions are seconds."""
MAX_GAPS: Final = 1000
MAX_NUMBER: Final = 2**53
"""A float holds every smaller count exactly; a device counts for thousands of years before it."""


class _DamagedError(Exception):
    """The file is not what its name says."""


class _Numbers:
    """Numbers of a one-dimensional .npy file of integers, read one by one."""

    def __init__(self, file: int, size: int) -> None:
        start = os.pread(file, 12, 0)
        if start[:6] != b"\x93NUMPY" or len(start) < 12 or start[6] not in (1, 2, 3):
            message = "it is not a .npy file"
            raise _DamagedError(message)
        begin, form = (10, "<H") if start[6] == 1 else (12, "<I")
        length = struct.unpack_from(form, start, 8)[0]
        header = _header(os.pread(file, min(length, 4096), begin))
        kind = str(header.get("descr"))
        shape = header.get("shape")
        is_row = isinstance(shape, tuple) and len(shape) == 1 and type(shape[0]) is int and shape[0] >= 0
        if kind[:1] not in "<>|" or not is_row:
            message = "it is not a row of numbers"
            raise _DamagedError(message)
        self.is_count = kind[1:] in ("i4", "i8", "u4", "u8")
        self._file, self._begin = file, begin + length
        self._bytes, self._signed = (int(kind[2:]) if self.is_count else 8), kind[1:2] == "i"
        self._order: Any = "big" if kind[0] == ">" else "little"
        self.count = min(header["shape"][0], max(0, size - self._begin) // self._bytes)

    def __getitem__(self, index: int) -> int:
        """Return one number."""
        data = os.pread(self._file, self._bytes, self._begin + index * self._bytes)
        number = int.from_bytes(data, self._order, signed=self._signed)
        if len(data) < self._bytes or not -MAX_NUMBER < number < MAX_NUMBER:
            message = f"entry {index} is not a number of a sample"
            raise _DamagedError(message)
        return number


def first_number(folder: Path) -> int | None:
    """Return the number of the first sample of a stream.

    Parameters
    ----------
    folder : Path
        The stream's folder.

    Returns
    -------
    int or None
        None where there is no file of numbers.
    """
    for path in filter(is_file, (folder / name for name in NAMES)):
        size = regular_file(path).st_size
        with reading(path), path.open("rb", buffering=0) as file:
            try:
                numbers = _Numbers(file.fileno(), size)
                return numbers[0] if numbers.is_count and numbers.count else None
            except _DamagedError:
                return None
    return None


def find_gaps(folder: Path, num_samples: int) -> tuple[tuple[Gap, ...], list[Assumption]]:
    """Find the gaps of a stream by the numbers of its samples.

    Parameters
    ----------
    folder : Path
        The stream's folder.
    num_samples : int
        Samples of the recording.

    Returns
    -------
    gaps : tuple of Gap
        In order, the first 1000; none where there is no file of numbers.
    assumptions : list of Assumption
        What the numbers do not tell.
    """
    for path in filter(is_file, (folder / name for name in NAMES)):
        size = regular_file(path).st_size
        with reading(path), path.open("rb", buffering=0) as file:
            try:
                numbers = _Numbers(file.fileno(), size)
                if not numbers.is_count:
                    continue
                gaps = _jumps(numbers, min(numbers.count, num_samples))
            except _DamagedError as error:
                return (), [_note(f"{path.name} is damaged ({error}), gaps in time are not known")]
        notes = []
        if numbers.count != num_samples:
            message = f"{path.name} numbers {numbers.count} samples, the recording has {num_samples}"
            notes.append(_note(f"{message}; gaps after the shorter of the two are not known"))
        if len(gaps) > MAX_GAPS:
            notes.append(
                _note(f"{path.name} has more than {MAX_GAPS} gaps, those after them are not counted")
            )
        return tuple(gaps[:MAX_GAPS]), notes
    return (), []


def _jumps(numbers: _Numbers, count: int) -> list[Gap]:
    """Return where the numbers do not rise by one, in order, at most one more than `MAX_GAPS`."""
    gaps: list[Gap] = []
    ends = [(0, count - 1, numbers[0], numbers[count - 1])] if count else []
    while ends and len(gaps) <= MAX_GAPS:
        low, high, first, last = ends.pop()
        missing = (last - first) - (high - low)
        if missing == 0:
            continue
        if high - low == 1:
            gaps.append(Gap(sample=high, missing=missing))
            continue
        middle = (low + high) // 2
        number = numbers[middle]
        ends += [(middle, high, number, last), (low, middle, first, number)]
    return gaps


def _header(data: bytes) -> dict[str, Any]:
    """Return the header of a .npy file, a literal of Python."""
    try:
        header = ast.literal_eval(data.decode("latin-1").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        header = None
    if not isinstance(header, dict):
        message = "its header cannot be read"
        raise _DamagedError(message)
    return header


def _note(message: str) -> Assumption:
    """Return a note on gaps."""
    return Assumption(field="gaps", message=message)
