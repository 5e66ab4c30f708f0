"""Finished results: complete or absent, and checked before every use."""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.canonical import digest
from spikecrate._util.files import (
    disk_full_named,
    exchange,
    is_shared,
    make_folder,
    remove_tree,
    sync,
    sync_folder,
    tame_modes,
)
from spikecrate.store import quarantine
from spikecrate.store import result_manifest as seal
from spikecrate.store.file_hashes import FileHashCache, FileState, flush
from spikecrate.store.index import names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spikecrate.store.place import Store

Identity = tuple[int, int]
"""Inode and change time of a result's folder."""

REPLACED: Final = "-replaced-"
"""In the name of a folder in `work/`, after the key: an earlier result that a new one replaces."""
USED_S: Final = 600.0
"""Seconds before the note of a result's last use is renewed."""


@dataclass(frozen=True)
class Stored:
    """A finished result in the store.

    Attributes
    ----------
    folder : Path
        The result folder.
    record : dict
        Its run.json.
    seal : str
        Identity of the folder's content.
    """

    folder: Path
    record: dict[str, Any]
    seal: str


def find(store: Store, key: str, on_corrupt: Callable[[str], None]) -> Stored | None:
    """Find a job's result and check it; move a corrupt result to the quarantine.

    Parameters
    ----------
    store : Store
        The store.
    key : str
        The job key, 64 hex digits.
    on_corrupt : callable
        Receives one sentence about a corrupt result: the problem, and its path in the quarantine.

    Returns
    -------
    Stored or None
        None on a cache miss: no result, or a corrupt one. Each file is checked against its hash, and again
        after any change of it.

    Raises
    ------
    DiskFullError
    """
    folder = store.result(key)
    while (observed := identity(store, key)) is not None:
        broken = None
        try:
            _note_use(folder)
            stored = _checked(store, folder, key)
        except (seal.BrokenSealError, FileNotFoundError) as error:
            broken = error
        # Replaced or removed during the check, which may have read files of two results.
        if identity(store, key) != observed:
            continue
        if broken is None:
            return stored
        aside = set_aside(store, folder, observed)
        if aside is not None:
            on_corrupt(f"the stored result {key[:8]} is corrupt ({broken}); set aside in {aside}")
    return None


def publish(store: Store, key: str, built: Path) -> Stored:
    """Seal a finished folder and move it to its place in the store, all or nothing.

    Parameters
    ----------
    store : Store
        The store.
    key : str
        The job key.
    built : Path
        The folder, in the store's `work/`: the same file system. It is moved.

    Returns
    -------
    Stored

    Raises
    ------
    DiskFullError
    spikecrate.store.result_manifest.BrokenSealError
        Where the folder contains links or special files.
    """
    tame_modes(built, shared=is_shared(store.results))
    made = seal.seal(built)
    target = store.result(key)
    with disk_full_named(store.root):
        sync_folder(built)
        make_folder(target.parent)
        replaced = store.work / f"{key}{REPLACED}{secrets.token_hex(4)}"
        if not target.exists():
            built.rename(target)
        elif exchange(built, target):
            # With `--force`, at every moment one result is in place. After a kill the sweep removes the earlier one.
            built.rename(replaced)
        else:
            # After a kill between these two, the next sweep puts the earlier result back.
            target.rename(replaced)
            built.rename(target)
        sync(target.parent)
        remove_tree(replaced)
    return Stored(target, _record(target), made.hash)


def identity(store: Store, key: str) -> Identity | None:
    """Return the identity of a job's result, which differs from that of its successor.

    Parameters
    ----------
    store : Store
        The store.
    key : str
        The job key.

    Returns
    -------
    (int, int) or None
        Inode and change time of the folder; None where there is no result.
    """
    try:
        stat = store.result(key).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stat.st_ino, stat.st_ctime_ns


def put_back(store: Store, left: Path) -> bool:
    """Put an earlier result back after its replacement was killed.

    Parameters
    ----------
    store : Store
        The store.
    left : Path
        A folder in the store's `work/` whose owner is dead. The caller holds the lock of its job.

    Returns
    -------
    bool
        Whether the folder was such a result and is in its place again.

    Raises
    ------
    OSError
        Where it cannot be moved.
    """
    key, replaced, _ = left.name.partition(REPLACED)
    target = store.result(key)
    if not replaced or target.exists():
        return False
    left.rename(target)
    return True


def last_use(folder: Path | str) -> float:
    """Return the time of a result's last use, in seconds since 1970, accurate to `USED_S`.

    It is the modification time of the manifest: many file systems are mounted without access times.

    Parameters
    ----------
    folder : Path or str
        The result's folder.

    Raises
    ------
    OSError
        Where there is no manifest.
    """
    return os.stat(f"{folder}/{seal.NAME}").st_mtime  # noqa: PTH116


def problem_of(store: Store, key: str) -> tuple[str, Identity] | None:
    """Read a whole result and return its problem.

    Unlike `find` it reads each file again, and an added file is a problem too.

    Parameters
    ----------
    store : Store
        The store.
    key : str
        The job key.

    Returns
    -------
    (str, Identity) or None
        The problem and the identity of the folder; None where the result is intact or gone.
    """
    folder = store.result(key)
    while (observed := identity(store, key)) is not None:
        problem = None
        try:
            found = seal.read(folder)
            seal.check(folder, found)
            _record_of(folder, key)
        except (seal.BrokenSealError, OSError) as broken:
            problem = str(broken)
        if identity(store, key) == observed:
            return None if problem is None else (problem, observed)
    return None


def set_aside(store: Store, folder: Path, observed: Identity) -> Path | None:
    """Move a corrupt result to the quarantine.

    Parameters
    ----------
    store : Store
        The store.
    folder : Path
        The result's folder.
    observed : (int, int)
        The identity of the corrupt result.

    Returns
    -------
    Path or None
        Its path in the quarantine; None where another process moved or replaced it.

    Raises
    ------
    DiskFullError
    """
    aside = quarantine.set_aside(store, folder)
    if aside is None:
        return None
    if aside.lstat().st_ino != observed[0] and not folder.exists():
        # Another process had just replaced it.
        aside.rename(folder)
        return None
    return aside


def keys(store: Store, prefix: str = "") -> Iterator[str]:
    """Return the keys of all results that start with a prefix, in no order.

    Parameters
    ----------
    store : Store
        The store.
    prefix : str
        The first digits of the keys.
    """
    return keys_in(store.results, prefix)


def keys_in(shelves: Path, prefix: str = "") -> Iterator[str]:
    """Yield the names in the shards of a folder that start with a prefix, in no order.

    Parameters
    ----------
    shelves : Path
        The folder of shards.
    prefix : str
        The first digits of the names; with two or more, only one shard is read.
    """
    shards = [prefix[:2]] if len(prefix) > 1 else names_in(shelves)
    for shard in shards:
        yield from (name for name in names_in(shelves / shard) if name.startswith(prefix))


def _checked(store: Store, folder: Path, key: str) -> Stored:
    found = seal.read(folder)
    if "run.json" not in found.files:
        message = f"{seal.NAME} names no run.json"
        raise seal.BrokenSealError(message)
    memo = FileHashCache(store.memo)
    question = f"sealed as {found.hash}"
    state, states = _states(folder, found)
    # The result of a day on 384 channels is gigabytes: read it again only when a file has changed.
    if memo.get(state, question) != states:
        flush(folder / name for name in found.files)
        seal.check(folder, found, found.files)
        if _states(folder, found)[1] == states:
            memo.put(state, question, states)
    record = _record_of(folder, key)
    if missing := record.get("files", {}).keys() - found.files.keys():
        message = f"{seal.NAME} names no {', '.join(sorted(missing))}"
        raise seal.BrokenSealError(message)
    return Stored(folder, record, found.hash)


def _states(folder: Path, found: seal.Seal) -> tuple[FileState, str]:
    """Return one state for all sealed files, as the cache needs it, and a hash of the state of each."""
    size = latest_change = latest_edit = 0
    states = {}
    for name in found.files:
        try:
            stat = os.lstat(f"{folder}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            message = f"{name} is missing"
            raise seal.BrokenSealError(message) from None
        states[name] = [stat.st_mode, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        size += stat.st_size
        latest_edit, latest_change = max(latest_edit, stat.st_mtime_ns), max(latest_change, stat.st_ctime_ns)
    run = (folder / "run.json").lstat()
    state = FileState(run.st_dev, run.st_ino, size, latest_edit, latest_change, str(folder / "run.json"))
    return state, digest(["states", states])


def _record_of(folder: Path, key: str) -> dict[str, Any]:
    try:
        record = _record(folder)
        belongs = record["key"] == key
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        message = f"run.json cannot be read: {error}"
        raise seal.BrokenSealError(message) from None
    if not belongs:
        message = f"run.json is not of job {key[:8]}"
        raise seal.BrokenSealError(message)
    return record


def _record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
    return record


def _note_use(folder: Path) -> None:
    """Note the use of a result for `store.gc`, where the store is not read-only."""
    with suppress(OSError):
        if time.time() - last_use(folder) > USED_S:
            os.utime(folder / seal.NAME)
