"""NumPy's .npy file of plain numbers, read without numpy: importing it takes longer than opening a recording.

Source: NEP 1, and `numpy.lib.format`.
"""

from __future__ import annotations

import ast
import math
import struct
from typing import TYPE_CHECKING, Any, Final, NoReturn

from spikecrate.errors import RecordingFormatError
from spikecrate.recordings.formats.files import TEXT_LIMIT, reading, regular_file

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = b"\x93NUMPY"
CODES: Final = {
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}
"""The struct code of each kind of number."""


def read_numbers(path: Path) -> list[Any]:
    """Read an array of one or two dimensions.

    Returns
    -------
    list
        Numbers, or rows of numbers.

    Raises
    ------
    RecordingFormatError
        If the file is not an array of plain numbers; nothing in it is ever unpickled.
    SpikecrateError
        As `regular_file`.
    """
    size = regular_file(path).st_size
    if size > TEXT_LIMIT:
        _refuse(path, f"{size} bytes are too many")
    with reading(path):
        data = path.read_bytes()
    if data[:6] != MAGIC or len(data) < 12:
        _refuse(path, "it does not start as a .npy file")
    # Version 1 keeps the header's length in 2 bytes, later ones in 4.
    start = 10 if data[6] == 1 else 12
    (length,) = struct.unpack_from("<H" if data[6] == 1 else "<I", data, 8)
    order, code, shape = _header(path, data[start : start + length])
    count = math.prod(shape)
    body = data[start + length :]
    if len(body) != count * struct.calcsize(code):
        _refuse(path, f"{len(body)} bytes for an array of {shape}")
    values = list(struct.unpack(f"{order}{count}{code}", body))
    if len(shape) == 1:
        return values
    rows, columns = shape
    return [values[row * columns : (row + 1) * columns] for row in range(rows)]


def _header(path: Path, text: bytes) -> tuple[str, str, tuple[int, ...]]:
    """Read byte order, struct code and shape."""
    try:
        header = ast.literal_eval(text.decode("latin-1").strip())
        kind, by_column, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, TypeError, SyntaxError, KeyError, MemoryError, RecursionError):
        _refuse(path, "its header cannot be read")
    if not isinstance(kind, str) or kind[1:] not in CODES or kind[0] not in "<>|":
        _refuse(path, f"entries of type {str(kind)[:60]!r}")
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        _refuse(path, "its shape is not whole numbers")
    if len(shape) not in (1, 2) or (by_column and len(shape) > 1):
        _refuse(path, f"an array of {len(shape)} dimensions in this order")
    return kind[0].replace("|", "<"), CODES[kind[1:]], shape


def _refuse(path: Path, problem: str) -> NoReturn:
    message = f"{path}: not an array of numbers: {problem}"
    raise RecordingFormatError(message, next_step="Save the recording again.", details={"file": str(path)})
