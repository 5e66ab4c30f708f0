"""The file system that a path is on."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

IN_MEMORY: Final = {0x01021994, 0x858458F6, 0x958458F6}
"""Magic numbers of tmpfs, ramfs and hugetlbfs."""
OVERLAY: Final = 0x794C7630
ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """The type (`ext4`, `tmpfs`, `nfs4`, …) and all options of a mounted file system."""

    kind: str
    options: frozenset[str]


def file_system(path: Path, mounts: str | None = None) -> FileSystem:
    """Return the file system that a path is on.

    Parameters
    ----------
    path : Path
        An absolute path without links.
    mounts : str, optional
        The mount table; by default /proc/self/mountinfo.

    Raises
    ------
    OSError
        Where the mount table cannot be read.
    """
    if mounts is None:
        mounts = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    depth, found = -1, FileSystem(kind="unknown", options=frozenset())
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), before.split()[4]))
        # The last mount at a place hides the earlier ones.
        if path.is_relative_to(point) and len(point.parts) >= depth:
            depth = len(point.parts)
            options = f"{before.split()[5]},{after.split()[-1]}".split(",")
            found = FileSystem(kind=after.split()[0], options=frozenset(options))
    return found


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
    if kind == OVERLAY:
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
    try:
        options = file_system(path).options
    except OSError:
        return None
    return next((Path(option[9:]) for option in options if option.startswith("upperdir=")), None)
