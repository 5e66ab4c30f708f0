"""The index for lists: for each shard of a folder, one file of rows derived from it.

The rows of `results/ab/` are in `index/results/ab.rows`. They are valid only while the shard is in the state in which
it was read: inode, modification time and change time, which a rename in or out changes. A shard that changed in the
last moments counts as unsettled, because a second change within the same tick of the clock would not change the times.
Of a changed shard only the changed folders are read again. No lock is needed: files are replaced in one step, and the
rows of any process are valid for the state that they name. A missing or damaged file is made again.
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

SCHEMA: Final = 3
SUFFIX: Final = ".rows"

State = list[int]
"""Inode, modification time and change time; not the device, whose number differs between hosts."""


@dataclass(frozen=True)
class Page:
    """The rows of a shard.

    Attributes
    ----------
    state : list of int or None
        State of the shard for which they are complete; None where the shard was not settled.
    columns : list of list
        The short rows, column by column, which JSON reads three times as fast. The first column is the folders' names.
    rest : bytes or memoryview
        A line of JSON with the states of the folders, None for an unsettled one; then for each folder a line of JSON
        with its details. It is most of the file, and lists neither parse nor copy it.
    """

    state: State | None
    columns: list[list[Any]]
    rest: bytes | memoryview


@dataclass(frozen=True)
class Index:
    """The rows of all folders `shelves/ab/abcd…/`.

    Attributes
    ----------
    shelves : Path
        The folder of shards.
    folder : Path
        The folder of the index files.
    read : callable
        Reads a folder and returns its row and its details, both as JSON values.
    """

    shelves: Path
    folder: Path
    read: Callable[[Path], tuple[tuple[Any, ...], Any]]

    def rows(self, progress: Progress) -> Iterator[tuple[Any, ...]]:
        """Return the rows of all readable folders.

        Parameters
        ----------
        progress : Progress
            Receives the number of read shards.
        """
        return chain.from_iterable(zip(*page.columns, strict=True) for page in self._pages(progress))

    def full_rows(self, progress: Progress) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Yield the row and the details of every readable folder.

        Parameters
        ----------
        progress : Progress
            Receives the number of read shards.
        """
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
                    # Removed meanwhile, or not a folder.
                    continue
                advance(1)
                yield page

    def _renewed(self, shard: Path, place: Path, old: Page | None, clock: int) -> Page:
        """Read a shard again, except the unchanged folders in it."""
        before = _state(shard)
        known = {} if old is None else _known(old)
        rows, states, others, complete = [], [], [], True
        for name in sorted(names_in(shard)):
            path = f"{shard}/{name}"
            try:
                state = _state(path)
                observed, row, details = known.get(name, (None, (), b""))
                if observed != state:
                    cells, other = self.read(Path(path))
                    row, details = tuple(cells), _json(other)
            except UNREADABLE:
                complete = False
                continue
            rows.append(row)
            states.append(state if _is_settled(state, clock) else None)
            others.append(details)
        settled = complete and _is_settled(before, clock) and before == _state(shard)
        columns = [list(column) for column in zip(*rows, strict=True)]
        page = Page(before if settled else None, columns, b"\n".join([_json(states), *others]))
        if page != old:
            write_page(place, page)
        return page

    def _clock(self) -> int:
        """Return the time by the clock of the store's file system, in ns; 0 where it cannot be read."""
        try:
            make_folder(self.folder)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                return os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return 0


def read_page(path: Path) -> Page | None:
    """Read a shard's rows.

    Parameters
    ----------
    path : Path
        The index file.

    Returns
    -------
    Page or None
        None where the file is missing, damaged or of another schema.
    """
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
    """Write a shard's rows; where this fails, the next list reads the shard again.

    Parameters
    ----------
    path : Path
        The index file.
    page : Page
        The rows.
    """
    body = _json([SCHEMA, page.state, page.columns]) + b"\n" + page.rest
    try:
        # Not flushed to the disk: the hash shows a file torn by a crash.
        write_atomically(path, blake3(body).hexdigest().encode() + b"\n" + body, flush=False)
    except (OSError, DiskFullError):
        return


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, without the partial files of writers, whose names start with a dot.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    list of str
        Empty where the folder is gone or not a folder.
    """
    try:
        return [name for name in os.listdir(folder) if name[0] != "."]  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []


def _known(page: Page) -> dict[str, tuple[State | None, tuple[Any, ...], bytes]]:
    """Return for each folder its state, its row and its details."""
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
