"""Answers about files, remembered for as long as the files are unchanged.

Hashing 100 GB takes minutes; asking whether it has to be done again takes microseconds. An answer is filed
under the file's device and inode and counts only while size, modification time and change time are the same.
The change time cannot be set by a user, so an edit that puts the modification time back is noticed too. A
file touched in the last moments is not remembered at all: an edit within the same tick of the clock could not
be told from none. Nor is a user's file in memory (tmpfs): a program that
has it mapped changes it there, and no time tells.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.canonical import digest
from spikecrate._util.file_systems import is_memory_backed
from spikecrate._util.files import write_atomically
from spikecrate.errors import DiskFullError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SETTLED_S: Final = 2.0
"""How old a file's last change must be: FAT's clock ticks every 2 s, the coarsest in use."""
UNREADABLE: Final = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading a file of ours may raise that is not as it was written."""


@dataclass(frozen=True)
class FileState:
    """What tells one state of a file from another; its path tells nothing, and serves to find it again."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    path: str = field(default="", compare=False)

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Take the state of a file, links followed."""
        stat = path.stat()
        times = stat.st_mtime_ns, stat.st_ctime_ns
        return cls(stat.st_dev, stat.st_ino, stat.st_size, *times, os.path.abspath(path))  # noqa: PTH100

    @property
    def changed_ns(self) -> int:
        """When the file last changed, in ns since 1970, by the clock of its file system."""
        return max(self.mtime_ns, self.ctime_ns)


class FileHashCache:
    """Answers about files, in a folder of the store.

    Parameters
    ----------
    folder : Path
        Where the answers are kept, a small file each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, state: FileState, question: str) -> str | None:
        """Give the answer for a file in this very state, or None."""
        try:
            entry = json.loads(self._path(state, question).read_bytes())
            answer = entry["answer"]
            right = entry["state"] == _as_list(state) and entry["seal"] == _seal(entry)
        except UNREADABLE:
            return None
        return answer if right and entry["question"] == question and isinstance(answer, str) else None

    def put(self, state: FileState, question: str, answer: str, *, shared: bool = False) -> bool:
        """Remember an answer.

        Parameters
        ----------
        state, question, answer
            Of which file, what was asked, and the answer.
        shared : bool
            Whether programs of the user may have the file open; those of the store are ours alone.

        Returns
        -------
        bool
            Whether it is remembered: not for a file changed just now, or a shared one in memory, or on a full disk.
        """
        age_s = (time.time_ns() - state.changed_ns) / 1e9
        if age_s < SETTLED_S or (shared and is_memory_backed(Path(state.path))):
            return False
        entry = {"state": _as_list(state), "path": state.path, "question": question, "answer": answer}
        entry["seal"] = _seal(entry)
        try:
            write_atomically(self._path(state, question), json.dumps(entry).encode())
        except (OSError, DiskFullError):
            # What cannot be remembered is asked again.
            return False
        return True

    def entries(self) -> Iterator[Path]:
        """Give the files of all answers."""
        return self.folder.glob("*/*.json")

    def problem_of(self, path: Path) -> str | None:
        """Say what is wrong with the file of an answer; None where it is whole."""
        try:
            entry = json.loads(path.read_bytes())
            name = self._path(FileState(*entry["state"]), entry["question"])
            whole = entry["seal"] == _seal(entry) and name == path
        except UNREADABLE as error:
            return f"cannot be read: {error}"
        return None if whole else "is not what was written"

    def _path(self, state: FileState, question: str) -> Path:
        name = digest(["memo", state.device, state.inode, question])
        return self.folder / name[:2] / f"{name[2:34]}.json"


def flush(paths: Iterable[Path]) -> None:
    """Flush files to the disk, before they are read for an answer that is to be remembered.

    A program that has a file mapped into its memory changes a page that it changed before, and the file's times
    stay as they are, until the page has been written out.
    """
    for path in paths:
        # Where it cannot be done, the file is read as it is.
        with suppress(OSError), path.open("rb") as file:
            os.fsync(file.fileno())


def is_outdated(path: Path) -> bool:
    """Say whether the file that an answer is about is gone or has changed, so that nobody will ask again."""
    try:
        entry = json.loads(path.read_bytes())
        about, state = Path(entry["path"]), entry["state"]
        return bool(_as_list(FileState.of(about)) != state)
    except UNREADABLE:
        return True


def _as_list(state: FileState) -> list[int]:
    return [state.device, state.inode, state.size, state.mtime_ns, state.ctime_ns]


def _seal(entry: dict[str, Any]) -> str:
    return digest(["memo", entry["state"], entry["path"], entry["question"], entry["answer"]])
