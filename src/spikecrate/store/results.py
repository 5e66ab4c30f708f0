"""Finished results: complete or absent, checked before they are believed."""

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
"""In `work/`, between the key and a random suffix: an earlier result that a new one replaces."""
USED_S: Final = 600.0
"""How old the note of a result's last use may be: it is renewed no more often."""


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
    """Find a job's result and check it; set a corrupt one aside.

    Parameters
    ----------
    store : Store
        Where to look.
    key : str
        The job key, 64 hex digits.
    on_corrupt : callable
        Told in one sentence what is wrong and where the folder went, when it is set aside.

    Returns
    -------
    Stored or None
        None where there is no result, or none that can be believed: every file that was sealed is held to its
        hash, again whenever one of them was touched.
    """
    folder = store.result(key)
    while (seen := _identity(folder)) is not None:
        broken = None
        try:
            _note_use(folder)
            stored = _checked(store, folder, key)
        except (seal.BrokenSealError, FileNotFoundError) as error:
            broken = error
        # Replaced or collected while it was read: what was read is of two results, or of none.
        if _identity(folder) != seen:
            continue
        if broken is None:
            return stored
        aside = set_aside(store, folder, seen)
        if aside is not None:
            on_corrupt(f"the stored result {key[:8]} is corrupt ({broken}); set aside in {aside}")
    return None


def publish(store: Store, key: str, built: Path) -> Stored:
    """Seal a finished folder and move it to its place in the store, all or nothing.

    Parameters
    ----------
    store : Store
        Where to.
    key : str
        The job key.
    built : Path
        The folder, in the store's `work/`: the same file system. It is moved.

    Raises
    ------
    DiskFullError
    spikecrate.store.result_manifest.BrokenSealError
        Where the folder holds links or special files.
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
            # `--force`: no moment without a result. A kill from here on leaves the earlier one to the sweep.
            built.rename(replaced)
        else:
            # A kill between these two leaves no result in place: the next sweep puts the earlier one back.
            target.rename(replaced)
            built.rename(target)
        _sync(target.parent)
        remove_tree(replaced)
    return Stored(target, _record(target), made.hash)


def identity(store: Store, key: str) -> Identity | None:
    """Return what tells one result of a job from its successor, None where there is no result."""
    return _identity(store.result(key))


def put_back(store: Store, left: Path) -> bool:
    """Put an earlier result back whose replacement never arrived.

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
    """Give when a result was last used, to `USED_S`, in seconds since 1970: the time of its seal's file.

    Access times would tell too, where they are written at all: many file systems are mounted without them.

    Raises
    ------
    OSError
        Where there is no seal.
    """
    return os.stat(f"{folder}/{seal.NAME}").st_mtime  # noqa: PTH116


def problem_of(store: Store, key: str) -> tuple[str, Identity] | None:
    """Read the whole of a result; say what is wrong and with which folder, None where it is whole or gone.

    Unlike `find` it takes no file for checked, and a file that was added is wrong, too.
    """
    folder = store.result(key)
    while (seen := _identity(folder)) is not None:
        problem = None
        try:
            found = seal.read(folder)
            seal.check(folder, found)
            _record_of(folder, key)
        except (seal.BrokenSealError, OSError) as broken:
            problem = str(broken)
        if _identity(folder) == seen:
            return None if problem is None else (problem, seen)
    return None


def set_aside(store: Store, folder: Path, seen: Identity) -> Path | None:
    """Move a corrupt result to the quarantine; give where it went, None where another process did.

    Raises
    ------
    DiskFullError
    """
    aside = quarantine.set_aside(store, folder)
    if aside is None:
        return None
    if aside.lstat().st_ino != seen[0] and not folder.exists():
        # A new one had just arrived.
        aside.rename(folder)
        return None
    return aside


def keys(store: Store, prefix: str = "") -> Iterator[str]:
    """Give the keys of all results, or of those that start like that, in no order."""
    return keys_in(store.results, prefix)


def keys_in(shelves: Path, prefix: str = "") -> Iterator[str]:
    """Give the names in all shards of a folder; two digits of a prefix are enough to look into one alone."""
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
    # A sorting of a day on 384 channels is gigabytes: it is read again only when a file was touched.
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
    """Give a state that stands for all files that were sealed, and what it is in full."""
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
        right = record["key"] == key
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        message = f"run.json cannot be read: {error}"
        raise seal.BrokenSealError(message) from None
    if not right:
        message = f"run.json is not of job {key[:8]}"
        raise seal.BrokenSealError(message)
    return record


def _record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
    return record


def _identity(folder: Path) -> Identity | None:
    """Tell one folder of a name from another; the change time tells when it came."""
    try:
        stat = folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stat.st_ino, stat.st_ctime_ns


def _note_use(folder: Path) -> None:
    """Note that a result is used now, for `store.gc`; a store that is read-only is used all the same."""
    with suppress(OSError):
        if time.time() - last_use(folder) > USED_S:
            os.utime(folder / seal.NAME)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
