"""Files that are whole or absent: written beside, flushed, renamed into place."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.errors import DiskFullError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK: Final = 1 << 30


@contextmanager
def disk_full_named(place: Path) -> Iterator[None]:
    """Turn a full disk or quota met inside the block into a `DiskFullError` that names the place.

    Any other error of the system that names no path, as one of a write does, gets the place for its path.

    Raises
    ------
    DiskFullError
    OSError
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            if error.filename is None and error.errno is not None:
                error.filename = str(place)
            raise
        message = f"{place}: {error.strerror}"
        raise DiskFullError(
            message, next_step="free some space (spikecrate store.gc), or set SPIKECRATE_STORE elsewhere"
        ) from None


def write_atomically(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Write a file so that a reader, or a crash, sees the old state or the new one, nothing between.

    Parameters
    ----------
    path, data
        What, and where to.
    flush : bool
        Without, a crash of the machine may leave the file torn: for what has a hash of itself and can be made again.

    Raises
    ------
    DiskFullError
    """
    with disk_full_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if flush:
                    os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's files and entries to the disk, all levels."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, sharing its blocks where the file system can (a reflink), never as a hard link.

    Raises
    ------
    DiskFullError
    """
    with disk_full_named(target), source.open("rb") as reader, target.open("xb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), CHUNK):
                pass
        except OSError as error:
            # Between file systems, or on one without the call: the plain way from where it stopped.
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            reader.seek(0)
            writer.seek(0)
            shutil.copyfileobj(reader, writer)
    shutil.copystat(source, target)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all it holds, also where a sorter left folders that cannot be entered."""
    if not folder.exists():
        return
    for path, folders, _ in os.walk(folder):
        for name in folders:
            inner = Path(path) / name
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(folder)
