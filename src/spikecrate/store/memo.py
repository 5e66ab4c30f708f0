"""Answers about files, remembered for as long as the files are unchanged.

Hashing 100 GB takes minutes; asking whether it has to be done again takes microseconds. An answer is filed
under the file's device and inode and counts only while size, modification time and change time are the same.
The change time cannot be set by a user, so an edit that puts the modification time back is noticed too. A
file touched in the last moments is not remembered at all: an edit within the same tick of the clock could not
be told from none.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.canonical import digest
from spikecrate.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

SETTLED_S: Final = 2.0
"""How old a file's last change must be: FAT's clock ticks every 2 s, the coarsest in use."""


@dataclass(frozen=True)
class FileState:
    """What tells one state of a file from another."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Take the state of a file, links followed."""
        stat = path.stat()
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    @property
    def changed_ns(self) -> int:
        """When the file last changed, in ns since 1970, by the clock of its file system."""
        return max(self.mtime_ns, self.ctime_ns)


class Memo:
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
            right = entry["state"] == _as_list(state) and entry["seal"] == _seal(state, question, answer)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return str(answer) if right else None

    def put(self, state: FileState, question: str, answer: str) -> bool:
        """Remember an answer; say whether it is remembered (not for a file changed just now)."""
        age_s = (time.time_ns() - state.changed_ns) / 1e9
        if age_s < SETTLED_S:
            return False
        entry = {"state": _as_list(state), "answer": answer, "seal": _seal(state, question, answer)}
        write_atomically(self._path(state, question), json.dumps(entry).encode())
        return True

    def _path(self, state: FileState, question: str) -> Path:
        name = digest(["memo", state.device, state.inode, question])
        return self.folder / name[:2] / f"{name[2:34]}.json"


def _as_list(state: FileState) -> list[int]:
    return [state.device, state.inode, state.size, state.mtime_ns, state.ctime_ns]


def _seal(state: FileState, question: str, answer: str) -> str:
    return digest(["memo", _as_list(state), question, answer])
