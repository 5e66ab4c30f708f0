"""The cache of file hashes: answers about files, valid while the files are unchanged.

Hashing 100 GB takes minutes, a look into the cache takes microseconds. An answer is stored under the file's device and
inode and is valid only while size, modification time and change time are the same. A user cannot set the change time,
so an edit that resets the modification time is noticed too. The cache does not accept a file that was changed in the
last moments, because a second edit within the same tick of the clock would not change the times; nor a user's file in
memory (tmpfs), because a program that has it mapped changes it without changing its times.
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
from spikecrate._util.files import sync, write_atomically
from spikecrate.errors import DiskFullError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SETTLED_S: Final = 2.0
"""Minimal age of a file's last change: the coarsest clock in use, FAT's, ticks every 2 s."""
UNREADABLE: Final = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""Exceptions that reading a damaged file of the store may raise."""


@dataclass(frozen=True)
class FileState:
    """The state of a file; states are compared without the path, which only serves to find the file again."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    path: str = field(default="", compare=False)

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Return the present state of a file, with links followed.

        Parameters
        ----------
        path : Path
            The file.

        Raises
        ------
        OSError
        """
        stat = path.stat()
        times = stat.st_mtime_ns, stat.st_ctime_ns
        return cls(stat.st_dev, stat.st_ino, stat.st_size, *times, os.path.abspath(path))  # noqa: PTH100

    @property
    def changed_ns(self) -> int:
        """Time of the file's last change, in ns since 1970, by the clock of its file system."""
        return max(self.mtime_ns, self.ctime_ns)


class FileHashCache:
    """The cache of answers about files, in a folder of the store.

    Parameters
    ----------
    folder : Path
        The folder, with a small file for each answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, state: FileState, question: str) -> str | None:
        """Return the answer for a file in this state; None on a cache miss.

        Parameters
        ----------
        state : FileState
            The state of the file.
        question : str
            The question, such as the kind of hash.
        """
        try:
            entry = json.loads(self._path(state, question).read_bytes())
            answer = entry["answer"]
            right = entry["state"] == _as_list(state) and entry["seal"] == _seal(entry)
        except UNREADABLE:
            return None
        return answer if right and entry["question"] == question and isinstance(answer, str) else None

    def put(self, state: FileState, question: str, answer: str, *, shared: bool = False) -> bool:
        """Store an answer.

        Parameters
        ----------
        state : FileState
            The state of the file.
        question, answer : str
            The question and its answer.
        shared : bool
            Whether the user's programs may have the file open, unlike the store's own files.

        Returns
        -------
        bool
            Whether it was stored: False for a file changed just now, a shared file in memory, and on a full disk.
        """
        age_s = (time.time_ns() - state.changed_ns) / 1e9
        if age_s < SETTLED_S or (shared and is_memory_backed(Path(state.path))):
            return False
        entry = {"state": _as_list(state), "path": state.path, "question": question, "answer": answer}
        entry["seal"] = _seal(entry)
        try:
            write_atomically(self._path(state, question), json.dumps(entry).encode())
        except (OSError, DiskFullError):
            # The next look is a cache miss.
            return False
        return True

    def entries(self) -> Iterator[Path]:
        """Return the files of all answers."""
        return self.folder.glob("*/*.json")

    def problem_of(self, path: Path) -> str | None:
        """Return the problem of an answer's file; None where it is intact.

        Parameters
        ----------
        path : Path
            One of `entries`.
        """
        try:
            entry = json.loads(path.read_bytes())
            name = self._path(FileState(*entry["state"]), entry["question"])
            intact = entry["seal"] == _seal(entry) and name == path
        except UNREADABLE as error:
            return f"cannot be read: {error}"
        return None if intact else "does not match its hash"

    def _path(self, state: FileState, question: str) -> Path:
        name = digest(["memo", state.device, state.inode, question])
        return self.folder / name[:2] / f"{name[2:34]}.json"


def flush(paths: Iterable[Path]) -> None:
    """Flush files to the disk, before they are hashed for the cache.

    A program that has a file mapped changes a dirty page again without changing the file's times, until the page has been
    written out.

    Parameters
    ----------
    paths : iterable of Path
        The files.
    """
    for path in paths:
        # Some file systems do not support it.
        with suppress(OSError):
            sync(path)


def is_outdated(path: Path) -> bool:
    """Whether the file of an answer is gone or has changed, so that the answer is of no use any more.

    Parameters
    ----------
    path : Path
        The file of an answer.
    """
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
