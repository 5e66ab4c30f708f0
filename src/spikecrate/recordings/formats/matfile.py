"""Arrays of numbers in a MATLAB file of level 5: what `save` writes by default, up to `-v7`.

Source: MathWorks, "MAT-File Format" (matfile_format.pdf), chapter 1.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, Final, Literal

from spikecrate.errors import RecordingFormatError
from spikecrate.recordings.formats.files import TEXT_LIMIT, read_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    import numpy as np

    Array = np.ndarray[Any, Any]
    Order = Literal["little", "big"]

HEADER: Final = 128
HDF5: Final = 0x0200
"""Version in the header of a file that `save -v7.3` wrote."""
TYPES: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of stored numbers; a class of array may be stored in a smaller one."""
MATRIX: Final = 14
COMPRESSED: Final = 15
NUMERIC: Final = range(6, 16)
"""Classes of arrays of numbers: double to uint64; cells, structures and text are passed over."""
COMPLEX: Final = 0x08


def read_mat(path: Path, names: Collection[str]) -> dict[str, Array]:
    """Read variables of a MATLAB file.

    Parameters
    ----------
    path : Path
        The file.
    names : collection of str
        The variables; those that the file lacks, or that are no real numbers, are left out.

    Returns
    -------
    dict
        Arrays of the file's own types, in MATLAB's shape.

    Raises
    ------
    RecordingFormatError
        If it is another file, one of version 7.3 (HDF5), or damaged.
    SpikecrateError
        As `read_bytes`.

    Notes
    -----
    Memory is bounded: all elements together are decompressed up to 64 MiB, and an array is never larger than its bytes.
    """
    data = read_bytes(path)
    order: Order = "little" if data[126:128] == b"IM" else "big"
    # HDF5's own header lies behind 512 bytes of MATLAB's, of which the version counts.
    if data.startswith(b"\x89HDF") or int.from_bytes(data[124:126], order) == HDF5:
        raise _refused(path, "a file of version 7.3 (HDF5)", "save it in MATLAB with save(..., '-v7')")
    if data[126:128] not in (b"IM", b"MI"):
        raise _refused(path, "not a MATLAB file of level 5", "save it in MATLAB with save(..., '-v7')")
    found: dict[str, Array] = {}
    try:
        for matrix in _matrices(data[HEADER:], order):
            name, array = _array(matrix, order)
            if array is not None and name in names:
                found[name] = array
    except (ValueError, zlib.error) as error:
        raise _refused(path, f"damaged: {error}", "save it in MATLAB again") from None
    return found


def _matrices(data: bytes, order: Order) -> Iterator[bytes]:
    """Yield the content of each array, decompressed."""
    left = TEXT_LIMIT
    for kind, element in _elements(data, order):
        if kind == MATRIX:
            yield element
        elif kind == COMPRESSED:
            inflated = zlib.decompressobj().decompress(element, left + 1)
            left -= len(inflated)
            if left < 0:
                message = f"more than {TEXT_LIMIT} bytes"
                raise ValueError(message)
            yield from (content for inner, content in _elements(inflated, order) if inner == MATRIX)


def _elements(data: bytes, order: Order) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of the elements that follow one another."""
    place = 0
    while place + 8 <= len(data):
        first, size = (int.from_bytes(data[at : at + 4], order) for at in (place, place + 4))
        # An element of at most 4 bytes has its size in the upper half of its first word.
        kind, small = first & 0xFFFF, first >> 16
        start, size = (place + 4, small) if small else (place + 8, size)
        if small > 4 or start + size > len(data):
            message = f"an element of {size} bytes at byte {place} of {len(data)}"
            raise ValueError(message)
        yield kind, data[start : start + size]
        place = start + size
        # Content is padded to 8 bytes, but for a compressed element.
        if kind != COMPRESSED:
            place += 4 - size if small else -size % 8


def _array(data: bytes, order: Order) -> tuple[str, Array | None]:
    """Return name and content of an array; None where it is not of real numbers."""
    import numpy as np

    parts = _elements(data, order)
    (_, flags), (_, dims), (_, label) = (next(parts, (0, b"")) for _ in range(3))
    name = label.decode("ascii", "replace")
    word = int.from_bytes(flags[:4], order)
    if word & 0xFF not in NUMERIC or word >> 8 & COMPLEX:
        return name, None
    kind, content = next(parts, (0, b""))
    mark = "<" if order == "little" else ">"
    shape = np.frombuffer(dims, f"{mark}i4").tolist()
    if kind not in TYPES or min(shape, default=-1) < 0:
        message = f"{name}: type {kind}, dimensions {shape[:9]}"
        raise ValueError(message)
    values = np.frombuffer(content, f"{mark}{TYPES[kind]}")
    if len(values) != math.prod(shape):
        message = f"{name}: {len(values)} numbers for dimensions {shape[:9]}"
        raise ValueError(message)
    return name, values.reshape(shape, order="F")


def _refused(path: Path, problem: str, next_step: str) -> RecordingFormatError:
    """Return the error for a file that is not read."""
    return RecordingFormatError(f"{path}: {problem}", next_step=next_step, details={"file": str(path)})
