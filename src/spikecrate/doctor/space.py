"""Folders: their free space, and the file system they are on."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.quantities import format_bytes
from spikecrate.doctor.check import fail, ok, warn

if TYPE_CHECKING:
    from spikecrate.doctor.check import Verdict

GIB: Final = 1 << 30
LEAST_BYTES: Final = GIB
"""An image, or the scratch folder of a short recording, needs more."""
GOOD_BYTES: Final = 10 * GIB
LEAST_FILES: Final = 1000
GOOD_FILES: Final = 50_000
"""A virtual environment has tens of thousands of files."""

MOUNTS: Final = Path("/proc/self/mountinfo")
ESCAPED: Final = re.compile(r"\\([0-7]{3})")
IN_MEMORY: Final = ("tmpfs", "ramfs")


@dataclass(frozen=True, kw_only=True)
class Space:
    """The free space of a folder.

    Attributes
    ----------
    folder : Path
        The folder, or its nearest parent that exists.
    free_bytes : int
        Available to an ordinary user.
    files, free_files : int
        Inodes in total and free; 0 in total where the file system does not count them.
    """

    folder: Path
    free_bytes: int
    files: int
    free_files: int


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """The type (`ext4`, `tmpfs`, `nfs4`, …) and the mount options of a file system."""

    kind: str
    options: frozenset[str]


def nearest(path: Path) -> Path:
    """Return a path, or its nearest parent that exists."""
    return next(folder for folder in (path, *path.parents) if exists(folder))


def exists(path: Path) -> bool:
    """Whether this user can see something at a path."""
    try:
        return path.exists()
    except PermissionError:  # of a parent folder
        return False


def look(path: Path) -> Space:
    """Return the free space at a path, which need not exist yet."""
    folder = nearest(path)
    status = os.statvfs(folder)
    return Space(
        folder=folder,
        free_bytes=status.f_bavail * status.f_frsize,
        files=status.f_files,
        free_files=status.f_favail,
    )


def judge(space: Space, fix: str) -> Verdict:
    """Judge whether the space is enough to work with."""
    counted = f" and {space.free_files} inodes" if space.files else ""
    message = f"{format_bytes(space.free_bytes)}{counted} free in {space.folder}"
    files = space.free_files if space.files else GOOD_FILES
    if space.free_bytes < LEAST_BYTES or files < LEAST_FILES:
        return fail(message, fix)
    if space.free_bytes < GOOD_BYTES or files < GOOD_FILES:
        return warn(message, fix)
    return ok(message)


def file_system(path: Path, mounts: str | None = None) -> FileSystem:
    """Return the file system that a path is on, or would be on.

    Parameters
    ----------
    path : Path
        An absolute path.
    mounts : str, optional
        The mount table in the format of /proc/self/mountinfo, which is the default.
    """
    real = nearest(path).resolve() if mounts is None else path
    text = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape") if mounts is None else mounts
    best, found = -1, FileSystem(kind="unknown", options=frozenset())
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), before.split()[4]))
        # The last mount at a place hides the earlier ones.
        if real.is_relative_to(point) and len(point.parts) >= best:
            best = len(point.parts)
            found = FileSystem(
                kind=after.split()[0],
                options=frozenset((*before.split()[5].split(","), *after.split()[-1].split(","))),
            )
    return found
