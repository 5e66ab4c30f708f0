"""Write, copy, exchange and remove files and folders so that a crash leaves the old state or the new one."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from spikecrate.errors import DiskFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK: Final = 1 << 30
SHARED: Final = stat.S_ISGID | stat.S_IWGRP
"""Mode bits of a folder that a Unix group shares."""
MAX_INNER_PATH: Final = 2048
"""Longest path, in bytes, of a file inside a folder that is published: Linux allows 4096 with the folder's own."""
RENAME_EXCHANGE: Final = 2
AT_FDCWD: Final = -100


@contextmanager
def disk_full_named(place: Path) -> Iterator[None]:
    """Turn a full disk or quota inside the block into a `DiskFullError` that names the place.

    Any other `OSError` without a path, such as that of a write, gets the place as its path.

    Parameters
    ----------
    place : Path
        The file or folder that the block writes.

    Raises
    ------
    DiskFullError
        Where the disk or the quota is full.
    OSError
        Any other error of the block.
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


def write_atomically(path: Path, data: bytes, *, flush: bool = True, mode: int = 0o666) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new one, never a part.

    Parameters
    ----------
    path : Path
        The file; folders above it are made.
    data : bytes
        Its content.
    flush : bool
        Whether the content reaches the disk before the name does. Without, a crash of the machine may leave the
        file torn: for files that carry a hash and can be made again.
    mode : int
        Permissions, less the umask; 0o600 for a secret.

    Raises
    ------
    DiskFullError
        Where the disk or the quota is full.
    """
    with disk_full_named(path):
        make_folder(path.parent)
        staging = path.parent / f".new-{secrets.token_hex(8)}"
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if flush:
                    os.fsync(file.fileno())
            share(staging)
            staging.replace(path)
        except BaseException:
            staging.unlink(missing_ok=True)
            raise


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; inside a shared folder they are shared too.

    Parameters
    ----------
    folder : Path
        The folder; nothing happens where it exists.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    share(folder)


def share(path: Path) -> None:
    """Extend the owner's rights on a path to the group, where a Unix group shares its folder.

    Parameters
    ----------
    path : Path
        A file or folder of this user.
    """
    # Another member of the group may have made it, who shares it, or removed it.
    with suppress(PermissionError, FileNotFoundError):
        if not is_shared(path.parent):
            return
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = mode | (mode & stat.S_IRWXU) >> 3 | (stat.S_ISGID if path.is_dir() else 0)
        if wanted != mode:
            path.chmod(wanted)


def is_shared(folder: Path) -> bool:
    """Whether a Unix group shares a folder: new files in it belong to the group, and the group can write them.

    Parameters
    ----------
    folder : Path
        The folder.
    """
    return folder.stat().st_mode & SHARED == SHARED


def tame_modes(folder: Path, *, shared: bool = False) -> None:
    """Add the owner's rights on all files of a folder, and drop set-uid, set-gid and sticky bits.

    A sorter may leave any mode. A set-uid program in a result would run with the rights of the result's owner.

    Parameters
    ----------
    folder : Path
        A folder of this user; its own mode is changed too. Links are left alone.
    shared : bool
        Whether to extend the owner's rights to the group.
    """
    for path in [folder, *entries(folder)]:
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.lstat().st_mode)
        is_folder = path.is_dir()
        wanted = mode & 0o777 | (stat.S_IRWXU if is_folder else stat.S_IRUSR | stat.S_IWUSR)
        if shared:
            wanted |= (wanted & stat.S_IRWXU) >> 3 | (stat.S_ISGID if is_folder else 0)
        if wanted != mode:
            path.chmod(wanted)


def entries(folder: Path) -> Iterator[Path]:
    """List everything below a folder, each folder before what it holds; links are listed, never followed.

    Parameters
    ----------
    folder : Path
        Where to start.

    Yields
    ------
    Path
        A file, folder, link or special file.

    Raises
    ------
    OSError
        ENAMETOOLONG where folders lie so deep that a path exceeds `MAX_INNER_PATH`.
    """
    start, waiting = len(os.fsencode(folder)), [folder]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            if len(os.fsencode(path)) - start > MAX_INNER_PATH:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path)[:MAX_INNER_PATH])
            yield path
            if path.is_dir() and not path.is_symlink():
                waiting.append(path)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two paths in one step, so that neither is ever absent.

    Parameters
    ----------
    first, second : Path
        Two files or folders on one file system.

    Returns
    -------
    bool
        Whether they were exchanged: False where the kernel or the file system cannot, such as NFS.

    Raises
    ------
    OSError
        Where it fails for another reason, such as a path that does not exist.
    """
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        # A C library older than glibc 2.28.
        return False
    if rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


def sync_folder(folder: Path) -> None:
    """Flush all files and folders below a folder, and the folder itself, to the disk.

    Parameters
    ----------
    folder : Path
        The folder.
    """
    for path in [folder, *entries(folder)]:
        if not path.is_symlink() and (path.is_dir() or path.is_file()):
            sync(path)


def sync(path: Path) -> None:
    """Flush a file or the entries of a folder to the disk.

    Parameters
    ----------
    path : Path
        A file or folder.

    Raises
    ------
    OSError
    """
    with _closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
        os.fsync(descriptor)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder and all it holds; nothing happens where there is none.

    Parameters
    ----------
    path : Path
        What to remove; a link is not followed.
    """
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file with its times and permissions, as a reflink where the file system can, never as a hard link.

    Set-uid, set-gid and sticky bits are not copied.

    Parameters
    ----------
    source : Path
        The file to copy.
    target : Path
        The copy, which must not exist.

    Raises
    ------
    DiskFullError
        Where the disk or the quota is full.
    """
    with disk_full_named(target), source.open("rb") as reader, target.open("xb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), CHUNK):
                pass
        except OSError as error:
            # Between file systems, or on one without the call: copy from the start.
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            reader.seek(0)
            writer.seek(0)
            shutil.copyfileobj(reader, writer)
    shutil.copystat(source, target)
    target.chmod(stat.S_IMODE(source.stat().st_mode) & 0o777)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all it holds; nothing happens where there is none.

    The walk needs no recursion, no long path and two open files whatever the depth: a folder inside a folder
    moves up to the root first. A folder without the owner's rights gets them back before it is opened.

    Parameters
    ----------
    folder : Path
        The folder to remove, never followed where it is a link.

    Raises
    ------
    OSError
        Where something cannot be removed, such as a mount point or another user's folder.
    """
    try:
        root = _open_folder(folder)
    except FileNotFoundError:
        return
    with _closing(root):
        try:
            _empty(root)
        except OSError as error:
            # Inside, paths are relative to open folders; the caller knows this one.
            error.filename = str(folder)
            raise
    folder.rmdir()


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    """Yield an open file, and close it at the end of the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _empty(root: int) -> None:
    """Remove everything in an open folder."""
    token, number = secrets.token_hex(4), 0
    while names := _names(root):
        for name in names:
            if not _is_folder(name, root):
                os.unlink(name, dir_fd=root)
                continue
            with _closing(_open_folder(name, root)) as inner:
                for child in os.listdir(inner):  # noqa: PTH208
                    if not _is_folder(child, inner):
                        os.unlink(child, dir_fd=inner)
                        continue
                    number += 1
                    _move_up(child, inner, f"{token}-{number}", root)
            os.rmdir(name, dir_fd=root)


def _names(folder: int) -> list[str]:
    """List an open folder through a new handle.

    Since Linux 6.5, btrfs lists through one handle only the entries that existed when the handle was opened:
    https://git.kernel.org/linus/9b378f6ad48c.
    """
    with _closing(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)) as handle:
        return os.listdir(handle)  # noqa: PTH208


def _move_up(name: str, folder: int, new_name: str, root: int) -> None:
    """Move a folder out of its parent, up to the root of a removal."""
    # A folder that changes its parent must be writable itself: its entry `..` is rewritten.
    with _closing(_open_folder(name, folder)) as inner:
        try:
            os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=root)
        except OSError as error:
            # overlayfs does not rename a folder of a lower layer: https://github.com/moby/moby/issues/25409.
            if error.errno != errno.EXDEV:
                raise
            _empty(inner)
            os.rmdir(name, dir_fd=folder)


def _is_folder(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _open_folder(path: Path | str, parent: int | None = None) -> int:
    """Open a folder, no link followed, with all of the owner's rights given back."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with _closing(os.open(path, flags, dir_fd=parent)) as handle:
        if os.fstat(handle).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            # Through /proc, as fchmod refuses a handle of O_PATH, and chmod of the name would follow a link.
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IRWXU)  # noqa: PTH101
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
