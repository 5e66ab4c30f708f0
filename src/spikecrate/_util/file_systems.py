"""Which file system a path is on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

IN_MEMORY: Final = {0x01021994, 0x858458F6, 0x958458F6}
"""Magic numbers of tmpfs, ramfs and hugetlbfs."""
OVERLAY: Final = 0x794C7630


def is_memory_backed(path: Path) -> bool:
    """Whether a file lies on a file system in memory: tmpfs, ramfs, or an overlay whose upper folder may be on one.

    There a program that has a file mapped changes it without a trace in the file's times.

    Parameters
    ----------
    path : Path
        A file or folder that exists.

    Returns
    -------
    bool
        True also where the file system cannot be told.
    """
    kind = _file_system_type(path)
    if kind != OVERLAY:
        return kind is None or kind in IN_MEMORY
    upper = _upper_folder(path.resolve())
    kind = None if upper is None else _file_system_type(upper)
    return kind is None or kind in IN_MEMORY


def _file_system_type(path: Path) -> int | None:
    """Return the magic number of a file system, as `man 2 statfs` lists them; None where it cannot be asked."""
    import ctypes

    # The number is the first word of `struct statfs`, which is smaller than this on every architecture.
    answer = (ctypes.c_long * 64)()
    if ctypes.CDLL(None).statfs(os.fsencode(path), answer) != 0:
        return None
    return answer[0] & 0xFFFFFFFF


def _upper_folder(path: Path) -> Path | None:
    """Return the writable layer of the overlay that a path is on; None where this process cannot see it."""
    point, found = "", None
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = os.fsdecode(line).partition(" - ")
        where, kind = before.split()[4], after.split()[0]
        # The last one mounted at a place hides those before it.
        if path.is_relative_to(where) and len(where) >= len(point):
            options = after.split()[-1].split(",")
            upper = [option[9:] for option in options if option.startswith("upperdir=")]
            point, found = where, Path(upper[0]) if kind == "overlay" and upper else None
    return found
