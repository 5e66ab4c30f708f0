"""MDA, MountainLab's array file: a short header, then the entries in column-major order, little-endian.

The header is int32 type code, int32 bytes per entry, int32 number of dimensions, then the dimensions as int32,
or as int64 where the number of dimensions is negative. The oldest files start with a positive number of
dimensions instead of a type code and hold complex64. Source: MountainLab's `mdaio.cpp` and `readmda.m`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    import numpy as np

TYPE_CODES: Final = {
    -1: "<c8",
    -2: "|u1",
    -3: "<f4",
    -4: "<i2",
    -5: "<i4",
    -6: "<u2",
    -7: "<f8",
    -8: "<u4",
}
MAX_DIMS: Final = 50
"""MountainLab's own limit; a larger number means that the file is not MDA."""
INT32_MAX: Final = 2**31 - 1
BLOCK_BYTES: Final = 16 * 2**20


class MdaError(ValueError):
    """The file is not an MDA file, or the array cannot be written as one."""


class MdaTruncatedError(MdaError):
    """The file holds fewer bytes than its header promises.

    Parameters
    ----------
    path : Path
        The file.
    needed, found : int
        Its size in bytes by the header, and in truth.
    """

    def __init__(self, path: Path, needed: int, found: int) -> None:
        super().__init__(f"{path}: the header promises {needed} bytes, the file holds {found}")
        self.needed = needed
        self.found = found


@dataclass(frozen=True, kw_only=True)
class MdaHeader:
    """The header of an MDA file.

    Attributes
    ----------
    dtype : str
        numpy's name of the entries' type.
    shape : tuple of int
        The dimensions; the first varies fastest in the file.
    offset : int
        Bytes before the first entry.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def file_size(self) -> int:
        """Bytes that a file with this header must hold."""
        return self.offset + math.prod(self.shape) * int(self.dtype[2:])


def read_header(path: str | Path) -> MdaHeader:
    """Read the header of an MDA file, not its entries.

    Raises
    ------
    MdaError
        If the file does not start with an MDA header.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        (code,) = _unpack(file, "<i", path)
        if code > 0:
            code, num_dims = -1, code
        else:
            if code not in TYPE_CODES:
                message = f"{path}: not an MDA file: {code} is not a type code"
                raise MdaError(message)
            size, num_dims = _unpack(file, "<2i", path)
            if size != int(TYPE_CODES[code][2:]):
                message = f"{path}: not an MDA file: {size} bytes per entry with type code {code}"
                raise MdaError(message)
        if not 1 <= abs(num_dims) <= MAX_DIMS:
            message = f"{path}: not an MDA file: {num_dims} dimensions"
            raise MdaError(message)
        shape = _unpack(file, f"<{abs(num_dims)}{'q' if num_dims < 0 else 'i'}", path)
        if min(shape) < 0:
            message = f"{path}: not an MDA file: the dimensions {shape} are negative"
            raise MdaError(message)
        return MdaHeader(dtype=TYPE_CODES[code], shape=shape, offset=file.tell())


def open_array(path: str | Path) -> np.ndarray[Any, Any]:
    """Map an MDA file into memory, read-only.

    Returns
    -------
    numpy.memmap
        The entries in column-major order; an empty array in memory where the file has no entries.

    Raises
    ------
    MdaError
        As `read_header`; `MdaTruncatedError` if the file is shorter than its header promises.
    OSError
        If it cannot be read.
    """
    import numpy as np

    path = Path(path)
    header = read_header(path)
    found = path.stat().st_size
    if found < header.file_size:
        raise MdaTruncatedError(path, header.file_size, found)
    try:
        if 0 in header.shape:
            return np.empty(header.shape, header.dtype, order="F")
        return np.memmap(
            path, dtype=header.dtype, mode="r", offset=header.offset, shape=header.shape, order="F"
        )
    except ValueError as error:
        # Empty, but with other dimensions beyond all bounds, or with more of them than this numpy can have.
        message = f"{path}: not an MDA file: {error}"
        raise MdaError(message) from None


def read(path: str | Path) -> np.ndarray[Any, Any]:
    """Read a whole MDA file into memory, in the machine's byte order.

    Raises
    ------
    MdaError, OSError
        As `open_array`.
    """
    import numpy as np

    array = open_array(path)
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="F", subok=False)


def write(path: str | Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array as an MDA file, block by block; dimensions beyond int32 get the 64-bit header.

    Parameters
    ----------
    path : str or Path
        The file; what is there is overwritten. Writing beside and renaming is the caller's.
    array : numpy.ndarray
        uint8, uint16, uint32, int16, int32, float32, float64 or complex64, at least one dimension.

    Raises
    ------
    MdaError
        If MDA has no code for the array's type, or it has no dimension or more than 50.
    """
    import numpy as np

    little = array.dtype.newbyteorder("<")
    code = next((code for code, name in TYPE_CODES.items() if np.dtype(name) == little), None)
    if code is None or not 1 <= array.ndim <= MAX_DIMS:
        message = f"MDA cannot hold {array.dtype} with {array.ndim} dimensions"
        raise MdaError(message)
    wide = max(array.shape) > INT32_MAX
    num_dims = -array.ndim if wide else array.ndim
    header = struct.pack("<3i", code, little.itemsize, num_dims)
    header += struct.pack(f"<{array.ndim}{'q' if wide else 'i'}", *array.shape)
    step = max(1, BLOCK_BYTES // max(1, math.prod(array.shape[:-1]) * little.itemsize))
    with Path(path).open("wb") as file:
        file.write(header)
        for start in range(0, array.shape[-1] if array.size else 0, step):
            block = array[..., start : start + step].astype(little, copy=False)
            file.write(block.tobytes(order="F"))


def _unpack(file: BinaryIO, form: str, path: Path) -> tuple[int, ...]:
    """Read and unpack a few integers."""
    size = struct.calcsize(form)
    data = file.read(size)
    if len(data) < size:
        message = f"{path}: not an MDA file: it ends inside the header"
        raise MdaError(message)
    return struct.unpack(form, data)
