"""How big the store is, by kind of thing and by sorter."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from spikecrate.store import pins, summary

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.store.place import Store

INDEXED: Final = ("results", "failures")
KINDS: Final = (
    *INDEXED,
    *("work", "locks", "memo", "index", "pins"),
    *("environments", "sifs", "wheels", "sorters", "recipes", "logs", "quarantine"),
)
"""The store's folders, by their names in `Store`."""


def usage(store: Store, progress: Progress) -> dict[str, Any]:
    """Measure the store.

    Returns
    -------
    dict
        `store`: its path; `kinds`: for each folder `kind`, `count` and `bytes`, the count of jobs where there is a
        folder a job, else of files; `sorters`: for each sorter `sorter`, `results` and `bytes`; `pinned`: how many
        results are; `bytes`: of everything.
    """
    results, of_sorter, held = Counter[str](), Counter[str](), pins.pinned(store)
    pinned = 0
    for row in summary.results(store, progress):
        results[row.sorter] += 1
        of_sorter[row.sorter] += row.size_bytes
        pinned += row.key in held
    failures = [row.size_bytes for row in summary.failures(store, progress)]
    kinds: list[dict[str, Any]] = [
        {"kind": "results", "count": results.total(), "bytes": of_sorter.total()},
        {"kind": "failures", "count": len(failures), "bytes": sum(failures)},
    ]
    for kind in KINDS[len(INDEXED) :]:
        folder = getattr(store, kind)
        count, size = measured(folder)
        kinds.append({"kind": folder.name, "count": count, "bytes": size})
    return {
        "store": str(store.root),
        "kinds": kinds,
        "sorters": [
            {"sorter": name, "results": results[name], "bytes": of_sorter[name]} for name in sorted(results)
        ],
        "pinned": pinned,
        "bytes": sum(row["bytes"] for row in kinds),
    }


def measured(path: Path | str) -> tuple[int, int]:
    """Count the files below a folder and their bytes.

    Parameters
    ----------
    path : Path or str
        The folder.

    Returns
    -------
    int, int
        Number of files and bytes, less what is removed meanwhile, what this user cannot read, and what lies deeper
        than a path can reach.
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
