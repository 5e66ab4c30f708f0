"""Reading the files of a recording, with an error of ours for every way in which that fails."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import (
    RecordingFormatError,
    RecordingLinkError,
    RecordingNotFoundError,
    RecordingPermissionError,
    RecordingTruncatedError,
    SpikecrateError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT_LIMIT: Final = 64 * 2**20
"""Bytes; no description of a recording is larger."""
MOST_ENTRIES: Final = 5000
"""Entries of folders that are looked at for a recording further down."""


def regular_file(path: Path, *, named_in: Path | None = None) -> os.stat_result:
    """Return the status of a file that this user can read, following links.

    Parameters
    ----------
    path : Path
        The file.
    named_in : Path, optional
        The file that names it, for the message.

    Returns
    -------
    os.stat_result
        Status of the target of a link.

    Raises
    ------
    RecordingNotFoundError
        If it does not exist.
    RecordingLinkError
        If it is a link to nothing, to itself, or to something that is not a file.
    RecordingFormatError
        If it is a folder, a pipe or a device.
    RecordingPermissionError
        If this user may not read it.
    """
    with reading(path, named_in=named_in):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            if path.is_symlink():
                message = f"{path} is a link to {str(path.readlink())!r}, which is not a file"
                raise RecordingLinkError(message, next_step="point the link at the data file")
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
            message = f"{path} is {kind}, a file is needed"
            raise RecordingFormatError(message, next_step="put the data file there, or a link to it")
        # os.access checks the real user, not the effective one.
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    return found


def is_file(path: Path) -> bool:
    """Return whether a file or a link, also a broken one, has that name.

    Parameters
    ----------
    path : Path
        The name.

    Returns
    -------
    bool

    Raises
    ------
    RecordingPermissionError
        If this user may not enter its folder.
    """
    with reading(path):
        return path.is_symlink() or path.is_file()


def read_text(path: Path) -> str:
    """Read a small text file: UTF-8 or UTF-16 with a byte order mark, UTF-8, else the code page of Windows.

    Acquisition programs write notes and units by the machine's locale. The names of fields and numbers are the same in
    all code pages.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str

    Raises
    ------
    RecordingFormatError
        If it is larger than `TEXT_LIMIT`.
    SpikecrateError
        As `regular_file`.
    """
    data = read_bytes(path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def read_bytes(path: Path) -> bytes:
    """Read a small file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bytes

    Raises
    ------
    RecordingFormatError
        If it is larger than `TEXT_LIMIT`.
    SpikecrateError
        As `regular_file`.
    """
    size = regular_file(path).st_size
    if size > TEXT_LIMIT:
        message = f"{path}: a small file is expected, this one has {size} bytes"
        raise RecordingFormatError(message, next_step="check that the file is what its name says")
    with reading(path):
        return path.read_bytes()


def read_json(path: Path) -> Any:
    """Read a small JSON file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    object
        JSON types.

    Raises
    ------
    RecordingFormatError
        If it is not JSON; the message names line and column.
    SpikecrateError
        As `read_text`.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"{error.msg}, line {error.lineno} column {error.colno}"
    except ValueError as error:  # an integer of thousands of digits
        problem = str(error)
    except RecursionError:
        problem = "nested too deeply"
    message = f"{path}: not valid JSON: {problem}"
    raise RecordingFormatError(message, next_step="correct the file, or write it again with its program")


def read_numbers(path: Path) -> list[Any]:
    """Read a .npy file of plain numbers in one or two dimensions.

    Parameters
    ----------
    path : Path
        The file; nothing in it is unpickled.

    Returns
    -------
    list
        Numbers, or rows of numbers.

    Raises
    ------
    RecordingFormatError
        If it is anything else.
    SpikecrateError
        As `regular_file`.
    """
    import numpy as np

    if regular_file(path).st_size > TEXT_LIMIT:
        raise _not_numbers(path, "it is too large")
    try:
        # Mapped: a damaged header cannot ask for more memory than the file has bytes.
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy raises whatever its parsers do on a damaged header
        raise _not_numbers(path, str(error) or type(error).__name__) from error
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise _not_numbers(path, f"entries of type {array.dtype}")
    if array.ndim not in (1, 2):
        raise _not_numbers(path, f"an array of {array.ndim} dimensions")
    return list(array.tolist())


def _not_numbers(path: Path, problem: str) -> RecordingFormatError:
    """Return the error for a .npy file that is not a table of numbers."""
    message = f"{path}: not an array of numbers: {problem[:200]}"
    return RecordingFormatError(message, next_step="save the recording again", details={"file": str(path)})


def truncated(path: Path, needed: int, found: int, *, next_step: str = "") -> RecordingTruncatedError:
    """Return the error for a sample file that is too short.

    Parameters
    ----------
    path : Path
        The sample file.
    needed, found : int
        Bytes.
    next_step : str
        Added to the advice to copy it again.

    Returns
    -------
    RecordingTruncatedError
    """
    message = f"{path} is cut short: {needed} bytes are expected, the file holds {found}"
    return RecordingTruncatedError(
        message,
        next_step=f"copy the file again from where it was recorded{next_step}",
        details={"file": str(path), "needed_bytes": needed, "found_bytes": found},
    )


def folders_below(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the folders below a folder, the upper ones first, in the order of their names.

    Parameters
    ----------
    folder : Path
        The folder.
    depth : int
        How many levels down.

    Yields
    ------
    Path
        A folder, of the first `MOST_ENTRIES` entries that are seen; hidden ones, and those that this user may not
        read, are left out.
    """
    level, left = [folder], MOST_ENTRIES
    for _ in range(depth):
        below: list[Path] = []
        for upper in level:
            try:
                with os.scandir(upper) as entries:
                    seen = list(islice(entries, left))
            except OSError:
                continue
            left -= len(seen)
            names = sorted(entry.name for entry in seen if _may_search(entry))
            below += [upper / name for name in names]
        yield from below
        level = below


def _may_search(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one, that this user may read and that is not hidden."""
    # DirEntry.is_dir raises at a link to itself.
    link_to_folder = entry.is_symlink() and os.path.isdir(entry.path)  # noqa: PTH112
    return (
        not entry.name.startswith(".")
        and (link_to_folder or entry.is_dir(follow_symlinks=False))
        and os.access(entry.path, os.R_OK | os.X_OK, effective_ids=True)
    )


@contextmanager
def reading(path: Path, *, named_in: Path | None = None) -> Iterator[None]:
    """Turn an error of the system into one of ours.

    Parameters
    ----------
    path, named_in
        As in `regular_file`.

    Raises
    ------
    SpikecrateError
        A recording error that names the path and the next step.
    """
    try:
        yield
    except OSError as error:
        raise _explained(path, named_in, error) from None
    except UnicodeEncodeError:
        # A lone surrogate, which JSON can hold and a file name cannot.
        message = f"{str(path)!a} is not a name that a file can have"
        raise RecordingNotFoundError(message, next_step="correct the name where it is written") from None


def _explained(path: Path, named_in: Path | None, error: OSError) -> SpikecrateError:
    """Return the error of ours for an error of the system."""
    source = f" ({named_in} names it)" if named_in is not None else ""
    match error.errno:
        case errno.ELOOP:
            message = f"{path} is a link that leads to itself{source}"
            return RecordingLinkError(message, next_step="point the link at the data file")
        case errno.ENOENT | errno.ENOTDIR:
            link = _broken_link(path)
            if link is None:
                message = f"{path} does not exist{source}"
                return RecordingNotFoundError(message, next_step="check the path")
            message = f"{link} is a link to {str(link.readlink())!r}, which does not exist{source}"
            step = "mount the folder of its target, or correct the link"
            return RecordingLinkError(message, next_step=step)
        case errno.ENAMETOOLONG:
            message = f"{os.fspath(path)[:80]}... is too long for a path{source}"
            return RecordingNotFoundError(message, next_step="check the path")
        case errno.EACCES | errno.EPERM:
            message = f"{path} cannot be read: permission denied{source}"
            step = f"ask its owner for read permission; `ls -ld` and `id` show what is missing: {path}"
            return RecordingPermissionError(message, next_step=step)
        case _:
            message = f"{path} cannot be read: {error.strerror or error}{source}"
            return RecordingPermissionError(message, next_step="check the disk or the network mount it is on")


def _broken_link(path: Path) -> Path | None:
    """Return the broken link: the path itself or a folder above it."""
    for candidate in (path, *path.parents):
        if os.path.exists(candidate):  # noqa: PTH110 (Path.exists raises where a folder may not be entered)
            return None
        if os.path.islink(candidate):  # noqa: PTH114
            return candidate
    return None
