"""What lists are made from: for each shard of a folder one file of rows. Derived, never the truth.

The rows of `results/ab/` are in `index/results/ab.rows`. They count only while the shard is in the very state
in which they were read, by inode, modification time and change time; a rename in or out changes it. A shard that
changed in the last moments is not taken for settled: another change within the same tick of the clock could not be
told from none. A changed shard is read again, but for the folders in it that are as they were. Nobody locks: a file
is replaced in one step, and whichever process is last, its rows are true for the state they name. A file that is
missing or damaged is made again.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from spikecrate._util.files import make_folder, write_atomically
from spikecrate.errors import DiskFullError
from spikecrate.store.file_hashes import SETTLED_S, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spikecrate._util.progress import Progress

SCHEMA: Final = 1
SUFFIX: Final = ".rows"

State = list[int]
"""Inode, modification time and change time: the device has another number on every host that mounts it."""


@dataclass(frozen=True)
class Page:
    """The rows of a shard.

    Attributes
    ----------
    state : list of int or None
        State of the shard for which they are complete; None where that cannot be said.
    columns : list of list
        The short rows, for lists, column by column: that is read three times as fast. The first are the folders'
        names.
    rest : bytes or memoryview
        A line of JSON with the states of the folders, None for one that was not settled; then for each folder a line
        of JSON with what else is kept. It is most of the file and no list reads it, so that it is not even copied.
    """

    state: State | None
    columns: list[list[Any]]
    rest: bytes | memoryview


class Index:
    """The rows of all folders `shelves/ab/abcd…/`.

    Parameters
    ----------
    shelves : Path
        The folder of shards.
    folder : Path
        Where the rows are kept.
    read : callable
        Reads a folder and gives its row, and what else is worth keeping of it, both as JSON values.
    """

    def __init__(
        self, shelves: Path, folder: Path, read: Callable[[Path], tuple[tuple[Any, ...], Any]]
    ) -> None:
        self.shelves = shelves
        self.folder = folder
        self.read = read

    def rows(self, progress: Progress) -> Iterator[tuple[Any, ...]]:
        """Give the row of every folder that can be read."""
        return chain.from_iterable(zip(*page.columns, strict=True) for page in self._pages(progress))

    def full_rows(self, progress: Progress) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Give the row of every folder that can be read, and what else is kept of it."""
        for page in self._pages(progress):
            _, *others = bytes(page.rest).split(b"\n")
            yield from zip(
                zip(*page.columns, strict=True), json.loads(b"[%b]" % b",".join(others)), strict=True
            )

    def _pages(self, progress: Progress) -> Iterator[Page]:
        shards = sorted(names_in(self.shelves))
        clock: int | None = None
        with progress.bar(f"reading {self.shelves.name}", len(shards)) as advance:
            for name in shards:
                shard, path = self.shelves / name, self.folder / f"{name}{SUFFIX}"
                page = read_page(path)
                try:
                    if page is None or page.state is None or page.state != _state(shard):
                        clock = self._clock() if clock is None else clock
                        page = self._renewed(shard, path, page, clock)
                except OSError:
                    # It went, or is no folder.
                    continue
                advance(1)
                yield page

    def _renewed(self, shard: Path, place: Path, old: Page | None, clock: int) -> Page:
        """Read a shard anew, but for the folders in it that are as they were."""
        before = _state(shard)
        known = {} if old is None else _known(old)
        rows, states, others, complete = [], [], [], True
        for name in sorted(names_in(shard)):
            path = f"{shard}/{name}"
            try:
                state = _state(path)
                seen, row, rest = known.get(name, (None, (), b""))
                if seen != state:
                    cells, other = self.read(Path(path))
                    row, rest = tuple(cells), _json(other)
            except UNREADABLE:
                complete = False
                continue
            rows.append(row)
            states.append(state if _is_settled(state, clock) else None)
            others.append(rest)
        settled = complete and _is_settled(before, clock) and before == _state(shard)
        columns = [list(column) for column in zip(*rows, strict=True)]
        page = Page(before if settled else None, columns, b"\n".join([_json(states), *others]))
        if page != old:
            write_page(place, page)
        return page

    def _clock(self) -> int:
        """Give the present moment by the clock of the store's file system, in ns; 0 where it cannot be asked."""
        try:
            make_folder(self.folder)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                return os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return 0


def read_page(path: Path) -> Page | None:
    """Read a shard's rows; None where there are none, or the file is not what was written."""
    try:
        data = path.read_bytes()
        start = data.index(b"\n") + 1
        end = data.index(b"\n", start)
        whole = memoryview(data)
        if blake3(whole[start:]).hexdigest().encode() != data[: start - 1]:
            return None
        schema, state, columns = json.loads(data[start:end])
    except UNREADABLE:
        return None
    return Page(state, columns, whole[end + 1 :]) if schema == SCHEMA else None


def write_page(path: Path, page: Page) -> None:
    """Write a shard's rows; where that cannot be, they are made again the next time."""
    body = _json([SCHEMA, page.state, page.columns]) + b"\n" + page.rest
    try:
        # Not flushed to the disk: one that a crash tears is noticed by its hash.
        write_atomically(path, blake3(body).hexdigest().encode() + b"\n" + body, flush=False)
    except (OSError, DiskFullError):
        return


def names_in(folder: Path) -> list[str]:
    """Name what is in a folder; nothing where it is gone or no folder. What is half written has a name with a dot."""
    try:
        return [name for name in os.listdir(folder) if name[0] != "."]  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []


def _known(page: Page) -> dict[str, tuple[State | None, tuple[Any, ...], bytes]]:
    """Give for each folder its state, its row and what else is kept."""
    states, *others = bytes(page.rest).split(b"\n")
    together = zip(json.loads(states), zip(*page.columns, strict=True), others, strict=bool(page.columns))
    return {row[0]: (state, row, rest) for state, row, rest in together}


def _state(path: Path | str) -> State:
    stat = os.lstat(path)
    return [stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]


def _is_settled(state: State, clock: int) -> bool:
    return max(state[1:]) < clock - SETTLED_S * 1e9


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
