"""The size of the store, by kind of content and by sorter."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.store import pins, summary
from spikecrate.store.place import Store

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress

INDEXED: Final = ("results", "failures")
KINDS: Final = tuple(name for name in vars(Store(Path())) if name != "root")
"""The store's folders, by their names in `Store`, those of `INDEXED` first."""


@dataclass(frozen=True)
class KindUsage:
    """The usage of one folder of the store.

    Attributes
    ----------
    kind : str
        The folder.
    count : int
        Number of jobs for results and failures, else of files.
    bytes : int
        Size on disk.
    """

    kind: str
    count: int
    bytes: int


@dataclass(frozen=True)
class SorterUsage:
    """The usage of the results of one sorter: their number and their size on disk."""

    sorter: str
    results: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The usage of a store.

    Attributes
    ----------
    store : str
        Its path.
    kinds : list of KindUsage
        One for each folder.
    sorters : list of SorterUsage
        One for each sorter with results.
    pinned : int
        Number of pinned results.
    bytes : int
        Size on disk of everything.
    """

    store: str
    kinds: list[KindUsage]
    sorters: list[SorterUsage]
    pinned: int
    bytes: int


def usage(store: Store, progress: Progress) -> Usage:
    """Measure the store.

    Parameters
    ----------
    store : Store
        The store.
    progress : Progress
        Receives the number of read results.

    Returns
    -------
    Usage
    """
    results, of_sorter, pins_of = Counter[str](), Counter[str](), pins.pinned(store)
    pinned = 0
    for row in summary.results(store, progress):
        results[row.sorter] += 1
        of_sorter[row.sorter] += row.size_bytes
        pinned += row.key in pins_of
    failures = [row.size_bytes for row in summary.failures(store, progress)]
    kinds = [
        KindUsage("results", results.total(), of_sorter.total()),
        KindUsage("failures", len(failures), sum(failures)),
    ]
    for kind in KINDS[len(INDEXED) :]:
        folder = getattr(store, kind)
        kinds.append(KindUsage(folder.name, *measured(folder)))
    return Usage(
        store=str(store.root),
        kinds=kinds,
        sorters=[SorterUsage(name, results[name], of_sorter[name]) for name in sorted(results)],
        pinned=pinned,
        bytes=sum(row.bytes for row in kinds),
    )


def measured(path: Path | str) -> tuple[int, int]:
    """Count the files below a folder and their bytes.

    Parameters
    ----------
    path : Path or str
        The folder.

    Returns
    -------
    int, int
        Number of files and bytes, without what is removed meanwhile, what this user cannot read, and what lies
        deeper than a path can reach.
    """
    count, size, waiting = 0, 0, [os.fspath(path)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                with suppress(OSError):
                    count, size = count + 1, size + entry.stat(follow_symlinks=False).st_size
    return count, size
