"""Make the files that a tool wrote readable for the user, whatever modes the tool gave them."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER: Final = stat.S_IRWXU
FILE: Final = stat.S_IRUSR | stat.S_IWUSR
MAX_DEPTH: Final = 256
"""Levels of folders that are visited; each takes a file descriptor."""


def make_readable(folder: Path) -> None:
    """Make all of this user's files and folders in a folder accessible to this user; do not follow links.

    A tool may leave a folder that nobody can enter or a file that nobody can read. Modes that give the owner access
    stay as they are, and so do files of other users.

    Parameters
    ----------
    folder : Path
        Folder to which the tool could write.
    """
    with suppress(OSError):
        _open_up(os.open(folder, os.O_PATH | os.O_NOFOLLOW), 0)


def _open_up(handle: int, depth: int) -> None:
    """Change the modes of the file or folder of an O_PATH descriptor and of its content; close the descriptor."""
    try:
        found = os.fstat(handle)
        mode = stat.S_IMODE(found.st_mode)
        is_folder = stat.S_ISDIR(found.st_mode)
        if not (is_folder or stat.S_ISREG(found.st_mode)):
            return
        needed = FOLDER if is_folder else FILE
        if found.st_uid == os.geteuid() and mode & needed != needed:
            # fchmod(2) refuses a descriptor of O_PATH; its link in /proc leads to the same file, without a race.
            Path(f"/proc/self/fd/{handle}").chmod(mode | needed)
        if is_folder and depth < MAX_DEPTH:
            for name in os.listdir(f"/proc/self/fd/{handle}"):  # noqa: PTH208
                with suppress(OSError):
                    _open_up(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=handle), depth + 1)
    finally:
        os.close(handle)
