"""The copy of a result that the user keeps: outside the store, which may not outlive a reboot."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.canonical import digest
from spikecrate._util.files import copy_file, disk_full_named, remove_tree
from spikecrate.errors import OutputError
from spikecrate.store import result_manifest as seal
from spikecrate.store.lock import Lock

if TYPE_CHECKING:
    from spikecrate.recordings import Recording
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

STORE_ONLY: Final = "-"


def default_output(recording: Recording, sorter: str, key: str) -> Path:
    """Name the folder for a result: `sortings/<recording>/<sorter>-<8 digits of the key>`."""
    return Path.cwd() / "sortings" / recording.path.name / f"{sorter}-{key[:8]}"


def is_inside(output: Path, recording: Recording) -> bool:
    """Say whether a folder lies in the recording's folder, where nothing is ever written."""
    folder = recording.folder.resolve()
    return Path(output).absolute().resolve().is_relative_to(folder)


def require_usable(output: Path) -> None:
    """Refuse, before a job runs, a folder that its result could not be copied to.

    Parameters
    ----------
    output : Path
        Absolute path of the copy.

    Raises
    ------
    OutputError
        If something else is in it, or it cannot be made or written.
    """
    existing = next(parent for parent in output.parents if parent.exists())
    try:
        _require_writable(existing)
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(existing))
        _require_replaceable(output)
    except OSError as error:
        message = f"{output} cannot be written: {error.strerror}; nothing was run"
        raise OutputError(message, next_step="name another folder: --output DIR, or --output -") from None


def put(stored: Stored, output: Path, store: Store) -> None:
    """Copy a result to a folder: complete or not at all; a copy that is there already is left alone.

    It is made beside, under a name of the store's own: what a killed process left there is found by the next.

    Parameters
    ----------
    stored : Stored
        The result in the store.
    output : Path
        Where to. It may exist if it is empty or holds a result of spikecrate, which is then replaced.
    store : Store
        Keeps the lock.

    Raises
    ------
    OutputError
        Where the folder holds something else, or cannot be written.
    DiskFullError
    """
    output = output.absolute()
    if _is_there(stored, output):
        return
    name = digest(["output", str(store.root), str(output)])[:16]
    beside, old, lock = (output.parent / f".{output.name}-{name}.{kind}" for kind in ("new", "old", "lock"))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _require_writable(output.parent)
        # A store that is read-only has results to give all the same.
        with Lock(store.lock(f"output-{name}") if os.access(store.locks, os.W_OK) else lock):
            remove_tree(old)
            remove_tree(beside)
            if _is_there(stored, output):
                return
            _require_replaceable(output)
            try:
                _copy(stored.folder, beside)
                if output.exists():
                    output.rename(old)
                beside.rename(output)
            finally:
                remove_tree(old)
                remove_tree(beside)
    except OSError as error:
        if Path(os.fsdecode(error.filename or "")).is_relative_to(store.root):
            raise
        message = f"{output} cannot be written: {error.strerror}; the result is in {stored.folder}"
        raise OutputError(message, next_step="name another folder: --output DIR, or --output -") from None


def _is_there(stored: Stored, output: Path) -> bool:
    return _held(output) == stored.seal and _is_whole(output)


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number), str(folder))


def _require_replaceable(output: Path) -> None:
    if _held(output) is None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        message = f"{output} exists and is not a result of spikecrate; nothing was written to it"
        raise OutputError(message, next_step="name another folder: --output DIR")


def _held(output: Path) -> str | None:
    try:
        return seal.read(output).hash
    except (seal.BrokenSealError, OSError):
        return None


def _is_whole(output: Path) -> bool:
    """Whether the copy is still what was put there; sizes tell, without reading gigabytes at every hit."""
    found = seal.read(output)
    return all(
        (output / name).is_file() and (output / name).stat().st_size == entry["size"]
        for name, entry in found.files.items()
    )


def _copy(source: Path, target: Path) -> None:
    with disk_full_named(target):
        target.mkdir()
        for path in sorted(source.rglob("*")):
            there = target / path.relative_to(source)
            if path.is_dir():
                there.mkdir()
            else:
                copy_file(path, there)
