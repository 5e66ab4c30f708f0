"""Folders: the room in them, and the file system that they are on."""

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
"""Less than an image, or the scratch folder of a short recording, takes."""
GOOD_BYTES: Final = 10 * GIB
LEAST_FILES: Final = 1000
GOOD_FILES: Final = 50_000
"""An environment has tens of thousands."""

MOUNTS: Final = Path("/proc/self/mountinfo")
ESCAPED: Final = re.compile(r"\\([0-7]{3})")
IN_MEMORY: Final = ("tmpfs", "ramfs")


@dataclass(frozen=True, kw_only=True)
class Space:
    """What is free where a folder is, or will be.

    Attributes
    ----------
    folder : Path
        The folder, or the nearest one above it that is there.
    free_bytes : int
        For a user who is not root.
    files, free_files : int
        How many files it may hold and how many are left; 0 files where the file system does not count them.
    """

    folder: Path
    free_bytes: int
    files: int
    free_files: int


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """What a folder lies on.

    Attributes
    ----------
    kind : str
        `ext4`, `tmpfs`, `nfs4`, …
    options : frozenset of str
        Of the mount.
    """

    kind: str
    options: frozenset[str]


def nearest(path: Path) -> Path:
    """Give a path, or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.parents) if exists(folder))


def exists(path: Path) -> bool:
    """Say whether there is something at a path that this user can see."""
    try:
        return path.exists()
    except PermissionError:  # of a folder above it
        return False


def look(path: Path) -> Space:
    """See what is free at a path."""
    folder = nearest(path)
    seen = os.statvfs(folder)
    return Space(
        folder=folder,
        free_bytes=seen.f_bavail * seen.f_frsize,
        files=seen.f_files,
        free_files=seen.f_favail,
    )


def judge(seen: Space, mend: str) -> Verdict:
    """Judge whether there is room enough to work."""
    counted = f", {seen.free_files} more files" if seen.files else ""
    said = f"{format_bytes(seen.free_bytes)} are free{counted} in {seen.folder}"
    files = seen.free_files if seen.files else GOOD_FILES
    if seen.free_bytes < LEAST_BYTES or files < LEAST_FILES:
        return fail(said, mend)
    if seen.free_bytes < GOOD_BYTES or files < GOOD_FILES:
        return warn(said, mend)
    return ok(said)


def file_system(path: Path, mounts: str | None = None) -> FileSystem:
    """Find the file system that a path is on, or would be.

    Parameters
    ----------
    path : Path
        Absolute.
    mounts : str, optional
        As /proc/self/mountinfo writes them, which is read by default.
    """
    there = nearest(path).resolve() if mounts is None else path
    text = MOUNTS.read_text(encoding="utf-8") if mounts is None else mounts
    best, found = -1, FileSystem(kind="unknown", options=frozenset())
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), before.split()[4]))
        # The last one mounted at a place hides those before it.
        if there.is_relative_to(point) and len(point.parts) >= best:
            best = len(point.parts)
            found = FileSystem(
                kind=after.split()[0],
                options=frozenset((*before.split()[5].split(","), *after.split()[-1].split(","))),
            )
    return found
