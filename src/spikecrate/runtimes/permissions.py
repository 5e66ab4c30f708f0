"""Make what a tool left readable for the user who runs it, whatever modes the tool gave it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER: Final = stat.S_IRWXU
FILE: Final = stat.S_IRUSR | stat.S_IWUSR
MAX_DEPTH: Final = 256
"""Folders below one another that are looked at; each takes a file descriptor."""


def make_readable(folder: Path) -> None:
    """Give this user access to all of its own files and folders in a folder; links are not followed.

    A tool may leave a folder that nobody can enter or a file that nobody can read. Modes that let the owner in are
    left as they are, and so is what belongs to others.

    Parameters
    ----------
    folder : Path
        What the tool could write to.
    """
    with suppress(OSError):
        _open_up(os.open(folder, os.O_PATH | os.O_NOFOLLOW), 0)


def _open_up(handle: int, depth: int) -> None:
    """Change what an O_PATH descriptor stands for, and what is in it; close the descriptor."""
    try:
        found = os.fstat(handle)
        mode = stat.S_IMODE(found.st_mode)
        is_folder = stat.S_ISDIR(found.st_mode)
        if not (is_folder or stat.S_ISREG(found.st_mode)):
            return
        needed = FOLDER if is_folder else FILE
        if found.st_uid == os.geteuid() and mode & needed != needed:
            # chmod(2) takes no descriptor of O_PATH; the link in /proc leads to this very file, without a race.
            Path(f"/proc/self/fd/{handle}").chmod(mode | needed)
        if is_folder and depth < MAX_DEPTH:
            for name in os.listdir(f"/proc/self/fd/{handle}"):  # noqa: PTH208
                with suppress(OSError):
                    _open_up(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=handle), depth + 1)
    finally:
        os.close(handle)
