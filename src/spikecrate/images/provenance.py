"""The provenance file beside a SIF: how it was made, and the hash of its bytes.

The file is sealed by a hash of its own, so that a changed byte is noticed.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, kw_only=True)
class Sif:
    """A SIF in the store.

    Attributes
    ----------
    path : Path
        The file.
    blake3, sha256 : str
        Hashes of its bytes.
    size_bytes : int
        Its size.
    reference, image_digest : str
        Name and id of the image.
    recipe : str
        The image's recipe.
    sorter : str
        The sorter in it.
    architecture : str
        Processor, as images name it.
    compression : str
        One of `COMPRESSIONS`.
    engine, engine_version : str
        The program that made it.
    created : str
        Time, in UTC.
    seconds : float
        Duration of the conversion.
    converted : bool
        Whether this call made it.
    """

    path: Path
    blake3: str
    sha256: str
    size_bytes: int
    reference: str
    image_digest: str
    recipe: str
    sorter: str
    architecture: str
    compression: str
    engine: str
    engine_version: str
    created: str
    seconds: float
    converted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**asdict(self), "path": str(self.path)}


def sealed(sif: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """Return the provenance of a SIF. The seal leaves the path out, so that the SIF can be moved.

    Parameters
    ----------
    sif : dict
        As `Sif.as_dict`.
    labels : dict
        Labels of the image in it.

    Returns
    -------
    dict
    """
    entry: dict[str, Any] = {"schema": SCHEMA, "sif": sif, "labels": labels}
    return {**entry, "seal": _seal(entry)}


def read(path: Path) -> dict[str, Any]:
    """Read the provenance of a SIF.

    Parameters
    ----------
    path : Path
        The SIF, or its provenance file.

    Returns
    -------
    dict
        As `sealed`.

    Raises
    ------
    ValueError
        If the file is missing or was changed.
    """
    file = path.with_suffix(".json")
    try:
        entry: dict[str, Any] = json.loads(file.read_bytes())
        whole = entry["seal"] == _seal(entry)
    except UNREADABLE as error:
        message = f"{file.name} cannot be read: {error}"
        raise ValueError(message) from None
    if not whole:
        message = f"{file.name} was changed"
        raise ValueError(message)
    return entry


def problem_of(path: Path) -> str | None:
    """Return what is wrong with a SIF or its provenance; None where every byte is as written.

    Parameters
    ----------
    path : Path
        The SIF.

    Returns
    -------
    str or None
    """
    try:
        record = read(path)["sif"]
        if path.is_symlink() or not path.is_file():
            return "the SIF is missing"
        size = path.stat().st_size
        if size != record["size_bytes"]:
            return f"it has {size} bytes, {record['size_bytes']} were written"
        return None if hash_file(path) == record["blake3"] else "its bytes were changed"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def lock_of(store: Store, recipe: str) -> Lock:
    """Return the lock for making, checking and removing the SIFs of a recipe.

    Parameters
    ----------
    store : Store
        Holds the SIFs.
    recipe : str
        Hash of what the image is made from.

    Returns
    -------
    Lock
    """
    return Lock(store.lock(f"sif-{recipe[:16]}"))


@contextmanager
def if_free(store: Store, path: Path) -> Iterator[bool]:
    """Hold the lock of a SIF, unless another process has it.

    Parameters
    ----------
    store : Store
        Holds the SIFs.
    path : Path
        The SIF, or the folder in which one is made.

    Yields
    ------
    bool
        Whether the lock was free.
    """
    lock = lock_of(store, recipe_of(path))
    try:
        yield lock.try_acquire()
    finally:
        lock.release()


def recipe_of(path: Path) -> str:
    """Return a recipe's first digits from the name of a SIF, or of the folder in which one is made.

    Parameters
    ----------
    path : Path
        The SIF.

    Returns
    -------
    str
    """
    return path.stem.rpartition("-")[0].rpartition("-")[2]


def set_aside(store: Store, path: Path) -> Path | None:
    """Move a SIF and its provenance to the quarantine; return the new path of the SIF, or of its provenance.

    Parameters
    ----------
    store : Store
        Holds the SIFs.
    path : Path
        The SIF.

    Returns
    -------
    Path or None
    """
    # The provenance goes first: without it no job uses the SIF.
    moved = [quarantine.set_aside(store, file) for file in (path.with_suffix(".json"), path)]
    return moved[1] or moved[0]


def checks(store: Store) -> Iterator[Check]:
    """Yield a check for each SIF, for `spikecrate.store.verify`; unfinished SIFs are skipped.

    Parameters
    ----------
    store : Store
        Holds the SIFs.

    Yields
    ------
    Check
    """
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
    with if_free(store, path) as free:
        return problem_of(path) if free else None


def _move(store: Store, path: Path) -> Path | None:
    with lock_of(store, recipe_of(path)):
        # Another process may have made it again in the meantime.
        return None if problem_of(path) is None else set_aside(store, path)


def _seal(entry: dict[str, Any]) -> str:
    sif = {name: value for name, value in entry["sif"].items() if name != "path"}
    return digest(["SIF", entry["schema"], sif, entry["labels"]])
