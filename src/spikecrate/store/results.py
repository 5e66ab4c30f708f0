"""Finished results: complete or absent, checked before they are believed."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.files import disk_full_named, remove_tree, sync_folder
from spikecrate.store import seal
from spikecrate.store.memo import FileState, Memo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spikecrate.store.place import Store

CHECKED: Final = ("run.json", "firings.mda")
"""Read whenever a result is used; the rest of the folder is for `store.verify`."""


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
        None where there is no result, or none that can be believed.
    """
    folder = store.result(key)
    if not folder.is_dir():
        return None
    try:
        return _checked(store, folder, key)
    except seal.BrokenSealError as broken:
        aside = _set_aside(store, folder)
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
    spikecrate.store.seal.BrokenSealError
        Where the folder holds links or special files.
    """
    made = seal.seal(built)
    target = store.result(key)
    with disk_full_named(store.root):
        sync_folder(built)
        target.parent.mkdir(parents=True, exist_ok=True)
        replaced = store.work / f"{key}-replaced-{secrets.token_hex(4)}"
        if target.exists():
            # `--force`: the earlier result leaves in one step, the new one arrives in one step.
            target.rename(replaced)
        built.rename(target)
        _sync(target.parent)
        remove_tree(replaced)
    return Stored(target, _record(target), made.hash)


def keys(store: Store) -> Iterator[str]:
    """Give the keys of all results, in no order."""
    with os.scandir(store.results) as shelves:
        for shelf in shelves:
            with os.scandir(shelf) as folders:
                for folder in folders:
                    yield folder.name


def records(store: Store) -> Iterator[dict[str, Any]]:
    """Give the run records of all results that can be read, unchecked: for listings."""
    for key in keys(store):
        try:
            yield _record(store.result(key))
        except (OSError, ValueError):
            continue


def _checked(store: Store, folder: Path, key: str) -> Stored:
    found = seal.read(folder)
    memo = Memo(store.memo)
    for name in CHECKED:
        path = folder / name
        try:
            state = FileState.of(path)
        except FileNotFoundError:
            state = None
        question = f"sealed as {found.hash}"
        # A sorting of a day on 384 channels is gigabytes: it is read again only when it was touched.
        if state is not None and not path.is_symlink() and memo.get(state, question) == name:
            continue
        seal.check_file(path, name, found)
        if state is not None:
            memo.put(state, question, name)
    record = _record(folder)
    if record.get("key") != key:
        message = f"run.json is of job {str(record.get('key'))[:8]}"
        raise seal.BrokenSealError(message)
    return Stored(folder, record, found.hash)


def _record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
    return record


def _set_aside(store: Store, folder: Path) -> Path:
    store.quarantine.mkdir(exist_ok=True)
    aside = store.quarantine / f"{folder.name}-{secrets.token_hex(4)}"
    folder.rename(aside)
    return aside


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
