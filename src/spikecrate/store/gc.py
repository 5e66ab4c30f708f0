"""Remove old content of the store: choose, then delete.

Results, failures, quarantine and logs are removed by their last use, the oldest first. Each is renamed into `work/`
under its job's key and deleted there, so that the next sweep finds what a crash leaves. The job's lock is held
meanwhile: a job that needs the result waits, and then finds it or runs.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.files import remove, remove_tree
from spikecrate.store import pins, results, summary
from spikecrate.store.file_hashes import FileHashCache, is_outdated
from spikecrate.store.index import SUFFIX, names_in
from spikecrate.store.lock import Lock, is_free
from spikecrate.store.usage import KINDS, measured

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spikecrate._util.progress import Progress
    from spikecrate.store.place import Store

GRACE_S: Final = 3600.0
"""Content used within the last hour is kept in any case: a process may be reading it."""
DAY_S: Final = 86400.0


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file or folder that can be removed.

    Attributes
    ----------
    kind : str
        `result`, `failure`, `quarantine` or `log`.
    path : str
        Its path.
    size_bytes : int
        Its size on disk.
    used : float
        Time of its last use, in seconds since 1970.
    """

    kind: str
    path: str
    size_bytes: int
    used: float

    @property
    def name(self) -> str:
        """Its name in its folder: the key, for results and failures."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A file or folder that was removed.

    Attributes
    ----------
    kind : str
        `result`, `failure`, `quarantine` or `log`.
    what : str
        Its path.
    size_bytes : int
        Its size on disk.
    used : str
        Time of its last use, in UTC.
    """

    kind: str
    what: str
    size_bytes: int
    used: str


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The outcome of a collection.

    Attributes
    ----------
    collected : list of Removed
        The removed content, or with `dry_run` the content to remove.
    freed_bytes : int
        Its size.
    left_bytes : int or None
        Size of the store afterwards; None without a limit.
    pinned, busy : int
        Number of pinned results, and of items kept because their job runs or they were just used.
    locks, memos, partial_files : int
        Number of removed lock files without an owner, outdated file hashes, and files of writers that were killed.
    dry_run : bool
        Whether nothing was removed.
    """

    collected: list[Removed]
    freed_bytes: int
    left_bytes: int | None
    pinned: int
    busy: int
    locks: int
    memos: int
    partial_files: int
    dry_run: bool


def choose(
    items: Iterable[Item],
    *,
    now: float,
    keep_s: float | None,
    max_bytes: int | None,
    total_bytes: int,
    pinned: frozenset[str] = frozenset(),
) -> list[Item]:
    """Choose what to remove, the longest unused first.

    Parameters
    ----------
    items : iterable of Item
        All that can be removed.
    now : float
        The present time, in seconds since 1970.
    keep_s : float or None
        Remove items unused for longer than this.
    max_bytes : int or None
        Remove more items until the store is no larger than this.
    total_bytes : int
        Size of the whole store, with what cannot be removed.
    pinned : frozenset of str
        Keys of results to keep.

    Returns
    -------
    list of Item
        The items to remove, in order of their last use.
    """
    chosen, left = [], total_bytes
    for item in sorted(items, key=lambda item: item.used):
        if item.kind == "result" and item.name in pinned:
            continue
        age = now - item.used
        if age < GRACE_S:
            break
        too_old = keep_s is not None and age > keep_s
        too_much = max_bytes is not None and left > max_bytes
        if too_old or too_much:
            chosen.append(item)
            left -= item.size_bytes
    return chosen


def collect(
    store: Store, progress: Progress, *, keep_s: float | None, max_bytes: int | None, dry_run: bool
) -> Collection:
    """Remove results, failures, quarantine and logs by their age, and files that nothing refers to any more.

    Parameters
    ----------
    store : Store
        The store.
    progress : Progress
        Receives the number of removed items.
    keep_s, max_bytes
        As in `choose`; with neither, no result is removed.
    dry_run : bool
        Only report what would be removed.

    Returns
    -------
    Collection

    Raises
    ------
    OSError
        Where something cannot be removed.
    """
    now, pinned = time.time(), frozenset(pins.pinned(store))
    items = list(_items(store, progress))
    movable = sum(item.size_bytes for item in items)
    fixed = (
        sum(measured(getattr(store, kind))[1] for kind in KINDS if kind not in _MOVABLE) if max_bytes else 0
    )
    chosen = choose(
        items, now=now, keep_s=keep_s, max_bytes=max_bytes, total_bytes=movable + fixed, pinned=pinned
    )
    gone, busy = [], 0
    with progress.bar("removing", len(chosen)) as advance:
        for item in chosen:
            if dry_run or _remove(store, item):
                gone.append(item)
            else:
                busy += 1
            advance(1)
    freed = sum(item.size_bytes for item in gone)
    return Collection(
        collected=[
            Removed(
                kind=item.kind,
                what=item.path,
                size_bytes=item.size_bytes,
                used=datetime.fromtimestamp(item.used, UTC).isoformat(timespec="seconds"),
            )
            for item in gone
        ],
        freed_bytes=freed,
        left_bytes=movable + fixed - freed if max_bytes else None,
        pinned=len(pinned),
        busy=busy,
        locks=_drop_locks(store, dry_run=dry_run),
        memos=_drop(_old_hashes(store, now, keep_s), dry_run=dry_run),
        partial_files=_drop([*_partial_files(store, now), *_orphaned_rows(store)], dry_run=dry_run),
        dry_run=dry_run,
    )


_MOVABLE: Final = ("results", "failures", "quarantine", "logs")


def _items(store: Store, progress: Progress) -> Iterator[Item]:
    shelf = str(store.results)
    for row in summary.results(store, progress):
        path = f"{shelf}/{row.key[:2]}/{row.key}"
        # A result without its manifest is corrupt: `store.verify` sets it aside.
        with suppress(OSError):
            yield Item(kind="result", path=path, size_bytes=row.size_bytes, used=results.last_use(path))
    for failed in summary.failures(store, progress):
        path = str(store.failure(failed.key))
        with suppress(OSError):
            yield Item(kind="failure", path=path, size_bytes=failed.size_bytes, used=_changed(path))
    for kind, folder in (("quarantine", store.quarantine), ("log", store.logs)):
        for name in names_in(folder):
            path = f"{folder}/{name}"
            with suppress(OSError):
                size = measured(path)[1] if os.path.isdir(path) else os.lstat(path).st_size  # noqa: PTH112
                yield Item(kind=kind, path=path, size_bytes=size, used=_changed(path))


def _changed(path: str) -> float:
    stat = os.lstat(path)
    return max(stat.st_mtime, stat.st_ctime)


def _remove(store: Store, item: Item) -> bool:
    """Remove an item; return False, and keep it, where its job runs or it was just used."""
    path = Path(item.path)
    if item.kind not in {"result", "failure"}:
        remove(path)
        return True
    lock = Lock(store.lock(item.name))
    if not lock.try_acquire():
        return False
    try:
        staging = store.work / f"{item.name}-removed-{secrets.token_hex(4)}"
        try:
            path.rename(staging)
        except FileNotFoundError:
            return True
        # A job that found it in the last moment has noted the use: put it back.
        if item.kind == "result" and results.last_use(staging) > item.used:
            staging.rename(path)
            return False
        remove_tree(staging)
    finally:
        lock.release()
    return True


def _drop_locks(store: Store, *, dry_run: bool) -> int:
    """Remove the files of locks whose owners were killed."""
    count = 0
    for path in store.locks.glob("*.lock"):
        with suppress(OSError):
            if not path.is_file() or not is_free(path):
                continue
            count += 1
            lock = Lock(path)
            # The release removes the file, unless another process holds it by now.
            if not dry_run and lock.try_acquire():
                lock.release()
    return count


def _old_hashes(store: Store, now: float, keep_s: float | None) -> list[Path]:
    """Return the remembered hashes that are old and of files that are gone or changed."""
    if keep_s is None:
        return []
    found = []
    for path in FileHashCache(store.memo).entries():
        with suppress(OSError):
            if now - path.stat().st_mtime > max(keep_s, GRACE_S) and is_outdated(path):
                found.append(path)
    return found


def _partial_files(store: Store, now: float) -> list[Path]:
    """Return the files and folders of writers that were killed: no writer takes a day."""
    partial = [path for folder in (store.memo, store.index) for path in folder.rglob(".new-*")]
    partial += [*store.root.glob(".new-*"), *store.pins.glob(".new-*")]
    # A folder there belongs to a conversion, which `sweep` knows.
    partial += (path for path in store.sifs.glob(".new-*") if path.is_file())
    partial += store.environments.glob("*.new-*")
    found = []
    for path in partial:
        with suppress(OSError):
            if now - _changed(str(path)) > DAY_S:
                found.append(path)
    return found


def _orphaned_rows(store: Store) -> list[Path]:
    """Return the index files of shards that are gone."""
    return [
        store.index / shelves.name / name
        for shelves in (store.results, store.failures)
        for name in names_in(store.index / shelves.name)
        if not (shelves / name.removesuffix(SUFFIX)).is_dir()
    ]


def _drop(paths: list[Path], *, dry_run: bool) -> int:
    if not dry_run:
        for path in paths:
            remove(path)
    return len(paths)
