"""Remove what nobody needs any more: mark, then sweep.

Results go by their last use, the oldest first, and so do failures, what was set aside, and logs. Each leaves its
place in one step and is removed after that; what a crash leaves lies in `work/` under its job's key, where the next
sweep finds it. The job's lock is held meanwhile: who asks for a result at that moment waits, and then finds it or
makes it.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.files import remove_tree
from spikecrate.store import file_hashes as memo
from spikecrate.store import pins, results, summary
from spikecrate.store.index import SUFFIX, names_in
from spikecrate.store.lock import Lock, is_free
from spikecrate.store.usage import KINDS, measured

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spikecrate._util.progress import Progress
    from spikecrate.store.place import Store

GRACE_S: Final = 3600.0
"""What was used less than an hour ago stays, whatever is asked: someone may be reading it."""
DAY_S: Final = 86400.0


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that can be collected.

    Attributes
    ----------
    kind : str
        `result`, `failure`, `quarantine` or `log`.
    path : str
        Where it lies.
    size_bytes : int
        What it takes.
    used : float
        When it was last used, in seconds since 1970.
    """

    kind: str
    path: str
    size_bytes: int
    used: float

    @property
    def name(self) -> str:
        """Its name in its folder: the key, for results and failures."""
        return self.path.rpartition("/")[2]


def choose(
    items: Iterable[Item],
    *,
    now: float,
    keep_s: float | None,
    max_bytes: int | None,
    total_bytes: int,
    pinned: frozenset[str] = frozenset(),
) -> list[Item]:
    """Decide what goes, the longest unused first.

    Parameters
    ----------
    items : iterable of Item
        All that could go.
    now : float
        In seconds since 1970.
    keep_s : float or None
        What was not used for so long goes.
    max_bytes : int or None
        More goes until no more than this is left.
    total_bytes : int
        Of the whole store, with what cannot go.
    pinned : frozenset of str
        Keys of results that stay.
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
) -> dict[str, Any]:
    """Remove results, failures, quarantine and logs by their age, and what nothing refers to any more.

    Parameters
    ----------
    store : Store
        Which.
    progress : Progress
        Told how far it is.
    keep_s, max_bytes
        As `choose` takes them; with neither, no result goes.
    dry_run : bool
        Only say what would go.

    Returns
    -------
    dict
        `collected`: list of `kind`, `what`, `size_bytes`, `used`; `freed_bytes`; `left_bytes`; `pinned` and `busy`:
        how many results stayed because they are pinned, and because of a job that runs; `locks`, `memos`, `rests`:
        how many lock files without an owner, outdated memos, and halves of files went; `dry_run`.
    """
    now, held = time.time(), frozenset(pins.pinned(store))
    items = list(_items(store, progress))
    movable = sum(item.size_bytes for item in items)
    fixed = (
        sum(measured(getattr(store, kind))[1] for kind in KINDS if kind not in _MOVABLE) if max_bytes else 0
    )
    chosen = choose(
        items, now=now, keep_s=keep_s, max_bytes=max_bytes, total_bytes=movable + fixed, pinned=held
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
    return {
        "collected": [
            {"kind": item.kind, "what": item.path, "size_bytes": item.size_bytes, "used": _moment(item.used)}
            for item in gone
        ],
        "freed_bytes": freed,
        "left_bytes": movable + fixed - freed if max_bytes else None,
        "pinned": len(held),
        "busy": busy,
        "locks": _drop_locks(store, dry_run=dry_run),
        "memos": _drop(_old_memos(store, now, keep_s), dry_run=dry_run),
        "rests": _drop([*_halves(store, now), *_orphaned_rows(store)], dry_run=dry_run),
        "dry_run": dry_run,
    }


_MOVABLE: Final = ("results", "failures", "quarantine", "logs")


def _items(store: Store, progress: Progress) -> Iterator[Item]:
    shelf = str(store.results)
    for row in summary.results(store, progress):
        path = f"{shelf}/{row.key[:2]}/{row.key}"
        # One without its seal is corrupt: `store.verify` sets it aside.
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
    """Remove one thing; say whether it went, which it does not while its job runs or where it was just used."""
    path = Path(item.path)
    if item.kind not in {"result", "failure"}:
        _delete(path)
        return True
    lock = Lock(store.lock(item.name))
    if not lock.try_acquire():
        return False
    try:
        beside = store.work / f"{item.name}-removed-{secrets.token_hex(4)}"
        try:
            path.rename(beside)
        except FileNotFoundError:
            return True
        # Whoever found it in the last moment noted so: then it goes back.
        if item.kind == "result" and results.last_use(beside) > item.used:
            beside.rename(path)
            return False
        remove_tree(beside)
    finally:
        lock.release()
    return True


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _drop_locks(store: Store, *, dry_run: bool) -> int:
    """Remove the files of locks whose owners were killed."""
    count = 0
    for path in store.locks.glob("*.lock"):
        with suppress(OSError):
            if not path.is_file() or not is_free(path):
                continue
            count += 1
            lock = Lock(path)
            # Released, it removes its file; never one that another process has opened since and holds.
            if not dry_run and lock.try_acquire():
                lock.release()
    return count


def _old_memos(store: Store, now: float, keep_s: float | None) -> list[Path]:
    """Find the memos that are old and about files that are gone or changed."""
    if keep_s is None:
        return []
    found = []
    for path in memo.FileHashCache(store.memo).entries():
        with suppress(OSError):
            if now - path.stat().st_mtime > max(keep_s, GRACE_S) and memo.is_outdated(path):
                found.append(path)
    return found


def _halves(store: Store, now: float) -> list[Path]:
    """Find what writers left that were killed in the midst of it: a day is longer than any of them takes."""
    halves = [path for folder in (store.memo, store.index) for path in folder.rglob(".new-*")]
    for folder in (store.root, store.pins, store.sifs):
        halves += (path for path in folder.glob(".new-*") if path.is_file())
    halves += store.environments.glob("*.new-*")
    found = []
    for path in halves:
        with suppress(OSError):
            if now - _changed(str(path)) > DAY_S:
                found.append(path)
    return found


def _orphaned_rows(store: Store) -> list[Path]:
    """Find the index of shards that are gone."""
    return [
        store.index / shelves.name / name
        for shelves in (store.results, store.failures)
        for name in names_in(store.index / shelves.name)
        if not (shelves / name.removesuffix(SUFFIX)).is_dir()
    ]


def _drop(paths: list[Path], *, dry_run: bool) -> int:
    if not dry_run:
        for path in paths:
            _delete(path)
    return len(paths)
