"""The free space of folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate._util.quantities import format_bytes
from spikecrate.doctor.check import Verdict, fail, ok, warn

if TYPE_CHECKING:
    from pathlib import Path


GIB: Final = 1 << 30
LEAST_BYTES: Final = GIB
"""An image, or the scratch folder of a short recording, needs more."""
GOOD_BYTES: Final = 10 * GIB
LEAST_FILES: Final = 1000
GOOD_FILES: Final = 50_000
"""A virtual environment has tens of thousands of files."""


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


def nearest(path: Path) -> Path:
    """Return a path, or its nearest parent that exists.

    Parameters
    ----------
    path : Path
        An absolute path.
    """
    return next(folder for folder in (path, *path.parents) if exists(folder))


def exists(path: Path) -> bool:
    """Whether this user can see something at a path.

    Parameters
    ----------
    path : Path
        The path.
    """
    try:
        return path.exists()
    except PermissionError:  # of a parent folder
        return False


def look(path: Path) -> Space:
    """Return the free space at a path.

    Parameters
    ----------
    path : Path
        An absolute path, which need not exist yet.
    """
    folder = nearest(path)
    status = os.statvfs(folder)
    return Space(
        folder=folder,
        free_bytes=status.f_bavail * status.f_frsize,
        files=status.f_files,
        free_files=status.f_favail,
    )


def judge(space: Space, fix: str) -> Verdict:
    """Judge whether the space is enough to work with.

    Parameters
    ----------
    space : Space
        The free space.
    fix : str
        The step that makes more.
    """
    counted = f" and {space.free_files} inodes" if space.files else ""
    message = f"{format_bytes(space.free_bytes)}{counted} free in {space.folder}"
    files = space.free_files if space.files else GOOD_FILES
    if space.free_bytes < LEAST_BYTES or files < LEAST_FILES:
        return fail(message, fix)
    if space.free_bytes < GOOD_BYTES or files < GOOD_FILES:
        return warn(message, fix)
    return ok(message)
