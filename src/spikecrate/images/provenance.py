"""What stands beside a SIF: how it was made, and the hash of its bytes; sealed, so that a changed byte is noticed."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.canonical import digest
from spikecrate.store import quarantine
from spikecrate.store.file_hashes import UNREADABLE
from spikecrate.store.lock import Lock
from spikecrate.store.result_manifest import hash_file
from spikecrate.store.verify import Check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spikecrate.store import Store

SCHEMA: Final = 1


def sealed(sif: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """Give what is written beside a SIF; the seal leaves its path out, so that it may be moved."""
    entry: dict[str, Any] = {"schema": SCHEMA, "sif": sif, "labels": labels}
    return {**entry, "seal": _seal(entry)}


def read(path: Path) -> dict[str, Any]:
    """Read what stands beside a SIF.

    Parameters
    ----------
    path : Path
        Of the SIF or of the file beside it.

    Raises
    ------
    ValueError
        Where it is missing, or not what was written.
    """
    beside = path.with_suffix(".json")
    try:
        entry: dict[str, Any] = json.loads(beside.read_bytes())
        whole = entry["seal"] == _seal(entry)
    except UNREADABLE as error:
        message = f"{beside.name} cannot be read: {error}"
        raise ValueError(message) from None
    if not whole:
        message = f"{beside.name} is not what was written"
        raise ValueError(message)
    return entry


def problem_of(path: Path) -> str | None:
    """Read the whole of a SIF; say what is wrong with it or with what stands beside, None where both are whole."""
    try:
        said = read(path)["sif"]
        if path.is_symlink() or not path.is_file():
            return "the SIF is missing"
        size = path.stat().st_size
        if size != said["size_bytes"]:
            return f"it has {size} bytes, {said['size_bytes']} were written"
        return None if hash_file(path) == said["blake3"] else "its bytes are not those that were written"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def lock_of(store: Store, recipe: str) -> Lock:
    """Give the lock of those who make, check or remove the SIFs of a recipe."""
    return Lock(store.lock(f"sif-{recipe[:16]}"))


def recipe_of(path: Path) -> str:
    """Read a recipe's first digits, the last part but one of the name of a SIF, or of a folder where one is made."""
    return path.stem.rpartition("-")[0].rpartition("-")[2]


def set_aside(store: Store, path: Path) -> Path | None:
    """Move a SIF and what stands beside it to the quarantine; give where the first of them went."""
    # The provenance first: without it no job takes the SIF.
    moved = [quarantine.set_aside(store, file) for file in (path.with_suffix(".json"), path)]
    return moved[1] or moved[0]


def checks(store: Store) -> Iterator[Check]:
    """Give the checks of all SIFs, for `spikecrate.store.verify`; those in making are passed over."""
    for path in sorted({file.with_suffix(".sif") for file in store.sifs.glob("[!.]*.*")}):
        try:
            size = path.stat().st_size
        except OSError:
            size = 0
        yield Check(
            kind="SIF",
            path=path,
            size_bytes=size,
            problem=partial(_problem, store, path),
            move=partial(_move, store, path),
        )


def _problem(store: Store, path: Path) -> str | None:
    lock = lock_of(store, recipe_of(path))
    if not lock.try_acquire():
        return None
    try:
        return problem_of(path)
    finally:
        lock.release()


def _move(store: Store, path: Path) -> Path | None:
    with lock_of(store, recipe_of(path)):
        # Made again meanwhile?
        return None if problem_of(path) is None else set_aside(store, path)


def _seal(entry: dict[str, Any]) -> str:
    sif = {name: value for name, value in entry["sif"].items() if name != "path"}
    return digest(["SIF", entry["schema"], sif, entry["labels"]])
