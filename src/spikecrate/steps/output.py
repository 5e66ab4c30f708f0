"""Copy a result to a folder outside the store."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.canonical import digest
from spikecrate._util.files import copy_file, disk_full_named, remove_tree
from spikecrate.errors import OutputError
from spikecrate.steps.kinds import KINDS, PREPROCESS
from spikecrate.steps.recording_input import made_at
from spikecrate.store import result_manifest as seal
from spikecrate.store.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate.recordings import Recording
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

STORE_ONLY: Final = "-"


def default_output(recording: Recording, sorter: str, key: str) -> Path:
    """Return the default folder of a copy: `sortings/<recording>/<sorter>-<8 digits of the key>`.

    A recording that a preprocess job made has the name of the recording that was preprocessed.

    Parameters
    ----------
    recording : Recording
        The recording.
    sorter : str
        Name of the sorter.
    key : str
        The job key.

    Returns
    -------
    Path
    """
    return Path.cwd() / "sortings" / _name(recording.path) / f"{sorter}-{key[:8]}"


def _name(place: Path) -> str:
    """Return the name of a recording; of one that a step made, that of the recording it was made of."""
    made = made_at(place) if place.name == KINDS[PREPROCESS].folder else None
    origin = {} if made is None else made.get("origin", {})
    while origin and "path" not in origin:
        origin = origin["of"] if "of" in origin else origin["recordings"][0]
    return _name(Path(origin["path"])) if origin else place.name


def is_inside(output: Path, recording: Recording) -> bool:
    """Return whether a folder lies inside a folder of the recording, where spikecrate never writes.

    Parameters
    ----------
    output : Path
        The folder.
    recording : Recording
        The recording.

    Returns
    -------
    bool
    """
    place = Path(output).absolute().resolve()
    return any(place.is_relative_to(folder.resolve()) for folder in recording.folders)


def require_usable(output: Path, require_replaceable: Callable[[Path], None] | None = None) -> None:
    """Refuse, before a job runs, a folder that cannot take a copy of its result.

    Parameters
    ----------
    output : Path
        Absolute path of the copy.
    require_replaceable : callable, optional
        Raises OutputError where the folder must be left as it is; by default where it holds anything but a result.

    Raises
    ------
    OutputError
        The folder holds other files, or cannot be made or written.
    """
    existing = next(parent for parent in output.parents if parent.exists())
    try:
        _require_writable(existing)
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(existing))
        (require_replaceable or _require_replaceable)(output)
    except OSError as error:
        message = f"{output} cannot be written: {error.strerror}; the job did not run"
        raise OutputError(message, next_step="name another folder: --output DIR, or --output -") from None


def put(stored: Stored, output: Path, store: Store) -> None:
    """Copy a result to a folder, complete or not at all; leave an identical copy alone.

    The name of the staging folder, next to the target, derives from the store, so that the next process finds and
    removes the staging folder of a killed one.

    Parameters
    ----------
    stored : Stored
        The result in the store.
    output : Path
        The target. An existing folder must be empty or hold a result of spikecrate, which the copy replaces.
    store : Store
        The store, which has the lock.

    Raises
    ------
    OutputError
        The folder holds other files, or cannot be written.
    DiskFullError
        The disk is full.
    """
    replace(
        output.absolute(),
        store,
        fill=lambda staging: copy_folder(stored.folder, staging),
        is_current=lambda: _is_copied(stored, output),
        require_replaceable=lambda: _require_replaceable(output),
        kept=stored.folder,
    )


def replace(
    output: Path,
    store: Store,
    *,
    fill: Callable[[Path], None],
    is_current: Callable[[], bool],
    require_replaceable: Callable[[], None],
    kept: Path,
) -> None:
    """Write a folder outside the store, complete or not at all; leave one alone that is current.

    Parameters
    ----------
    output : Path
        Absolute path of the folder.
    store : Store
        The store, which has the lock.
    fill : callable
        Makes the staging folder and fills it.
    is_current : callable
        Returns whether the folder has that already.
    require_replaceable : callable
        Raises OutputError where the folder must be left as it is.
    kept : Path
        Where the result is, for the message of an error.

    Raises
    ------
    OutputError
        The folder must be left as it is, or cannot be written.
    DiskFullError
        The disk is full.
    """
    if is_current():
        return
    name = digest(["output", str(store.root), str(output)])[:16]
    staging, old, lock = (output.parent / f".{output.name}-{name}.{kind}" for kind in ("new", "old", "lock"))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _require_writable(output.parent)
        # A read-only store has results, but no place for the lock.
        with Lock(store.lock(f"output-{name}") if os.access(store.locks, os.W_OK) else lock):
            remove_tree(old)
            remove_tree(staging)
            if is_current():
                return
            require_replaceable()
            try:
                fill(staging)
                if output.exists():
                    output.rename(old)
                staging.rename(output)
            finally:
                remove_tree(old)
                remove_tree(staging)
    except OSError as error:
        if Path(os.fsdecode(error.filename or "")).is_relative_to(store.root):
            raise
        message = f"{output} cannot be written: {error.strerror}; the result is in {kept}"
        raise OutputError(message, next_step="name another folder: --output DIR, or --output -") from None


def _is_copied(stored: Stored, output: Path) -> bool:
    """Return whether the copy is complete, judged by sizes: a cache hit must not read gigabytes."""
    found = _manifest(output)
    return (found is not None and found.hash == stored.seal) and all(
        (output / name).is_file() and (output / name).stat().st_size == entry["size"]
        for name, entry in found.files.items()
    )


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number), str(folder))


def _require_replaceable(output: Path) -> None:
    if _manifest(output) is None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        message = f"{output} exists and is not a result of spikecrate, so it is left untouched"
        raise OutputError(message, next_step="name another folder: --output DIR")


def _manifest(output: Path) -> seal.Seal | None:
    try:
        return seal.read(output)
    except (seal.BrokenSealError, OSError):
        return None


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder to one that does not exist.

    Parameters
    ----------
    source, target : Path
        The folders.

    Raises
    ------
    DiskFullError
        The disk is full.
    """
    with disk_full_named(target):
        target.mkdir()
        for path in sorted(source.rglob("*")):
            copy = target / path.relative_to(source)
            if path.is_dir():
                copy.mkdir()
            else:
                copy_file(path, copy)
