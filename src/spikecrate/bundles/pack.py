"""Write a bundle, and unpack one into a staging folder with every member checked."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import tarfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, NoReturn

from spikecrate._util.files import disk_full_named
from spikecrate._util.quantities import format_bytes
from spikecrate.bundles.manifest import (
    COPY_AGAIN,
    MANIFEST,
    MANIFEST_LIMIT,
    SUMS,
    Manifest,
    Member,
    read_manifest,
    require_paths,
)
from spikecrate.errors import BundleError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate._util.progress import Advance, Progress

CHUNK: Final = 1 << 20
DATE: Final = 315532800
"""Date of every member: 1980-01-01, the earliest that a zip archive can hold."""


class _HashingReader:
    """Hash a file while tarfile copies it."""

    def __init__(self, file: IO[bytes], advance: Advance) -> None:
        self.file = file
        self.advance = advance
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        self.advance(len(data))
        return data


def describe(files: Mapping[str, Path], progress: Progress) -> tuple[Member, ...]:
    """Hash the files of a bundle.

    Parameters
    ----------
    files : mapping
        Files by their path in the bundle.
    progress : Progress
        Shows a bar.

    Returns
    -------
    tuple of Member
        Sorted by path.

    Raises
    ------
    BundleError
        A path is not allowed in a bundle.
    """
    require_paths(list(files))
    members = []
    with progress.bar(
        "hashing the bundle's files", sum(path.stat().st_size for path in files.values())
    ) as advance:
        for name, path in sorted(files.items()):
            state = path.stat()
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            executable = bool(state.st_mode & stat.S_IXUSR)
            members.append(Member(path=name, size=state.st_size, sha256=digest, executable=executable))
            advance(state.st_size)
    return tuple(members)


def write(target: Path, manifest: Manifest, files: Mapping[str, Path], progress: Progress) -> None:
    """Write a bundle; the same files give the same bytes.

    Parameters
    ----------
    target : Path
        File to create. It is incomplete when this raises: write to a temporary name, then rename.
    manifest : Manifest
        Contents, from `describe`.
    files : mapping
        Files by their path in the bundle.
    progress : Progress
        Shows a bar.

    Raises
    ------
    DiskFullError
        The disk has too little space; checked before the first byte is written.
    BundleError
        A file changed after it was hashed.
    """
    first = {MANIFEST: manifest.as_bytes(), SUMS: manifest.sums()}
    total = sum(map(len, first.values())) + sum(member.size for member in manifest.members)
    require_space(target.parent, total, "the bundle")
    with (
        disk_full_named(target),
        tarfile.TarFile(target, "x", format=tarfile.GNU_FORMAT, copybufsize=CHUNK) as archive,
        progress.bar(f"writing {target.name}", total) as advance,
    ):
        for name, data in first.items():
            archive.addfile(_entry(Member(path=name, size=len(data), sha256="")), io.BytesIO(data))
            advance(len(data))
        for member in manifest.members:
            path = files[member.path]
            with path.open("rb") as file:
                reader = _HashingReader(file, advance)
                if path.stat().st_size == member.size:
                    archive.addfile(_entry(member), reader)
                if reader.digest.hexdigest() != member.sha256 or file.read(1):
                    message = f"{path} changed while it was bundled"
                    raise BundleError(message, next_step="bundle again")


def _entry(member: Member) -> tarfile.TarInfo:
    # Owner and group stay 0, and every date is the same: the bytes follow from the files alone.
    entry = tarfile.TarInfo(member.path)
    entry.size, entry.mtime, entry.mode = member.size, DATE, 0o755 if member.executable else 0o644
    return entry


def open_bundle(stream: IO[bytes]) -> tuple[tarfile.TarFile, Manifest]:
    """Open a bundle and read its manifest.

    Parameters
    ----------
    stream : file
        The bundle. It is read once and forward, so it can be a pipe.

    Returns
    -------
    tuple of TarFile and Manifest
        For `unpack`.

    Raises
    ------
    BundleError
        The file is not a bundle, is damaged, or has a newer schema.
    """
    data = b""
    with suppress(tarfile.TarError, ValueError):
        # Closing a stream's archive would close nothing: the caller owns the file.
        archive = tarfile.open(fileobj=stream, mode="r|", encoding="utf-8")  # noqa: SIM115
        first = archive.next() or tarfile.TarInfo()
        if first.name == MANIFEST and first.type == tarfile.REGTYPE and first.size <= MANIFEST_LIMIT:
            data = _content(archive, first).read()
    if not data:
        message = f"this is not a spikecrate bundle, or its start is damaged: {MANIFEST} does not come first"
        raise BundleError(message, next_step="write one with: spikecrate image.bundle")
    return archive, read_manifest(data)


def unpack(
    stream: IO[bytes], archive: tarfile.TarFile, manifest: Manifest, folder: Path, progress: Progress
) -> None:
    """Unpack a bundle into a staging folder and check every member.

    Members are copied by the path that the manifest names, never extracted by tarfile: links, devices and paths
    outside the folder cannot be written, also with a Python before 3.11.4, whose tarfile has no extraction filter
    (https://docs.python.org/3/library/tarfile.html#extraction-filters).

    Parameters
    ----------
    stream : file
        The bundle; it is read to its end.
    archive, manifest : TarFile, Manifest
        From `open_bundle`.
    folder : Path
        Staging folder. Do not use its contents when this raises.
    progress : Progress
        Shows a bar.

    Raises
    ------
    BundleError
        Naming the first member that is damaged, missing or unknown.
    DiskFullError
        The disk is full.
    """
    missing = manifest.expected()
    total = sum(member.size for member in missing.values())
    # tarfile ends at a broken header, or raises: either way the member after it is missing.
    with suppress(tarfile.TarError, ValueError), progress.bar("checking the bundle", total) as advance:
        while (entry := archive.next()) is not None:
            member = missing.get(entry.name)
            if entry.type != tarfile.REGTYPE:
                _refuse(f"the bundle holds {entry.name!r}, which is a link or not a regular file")
            if member is None:
                _refuse(f"the bundle holds {entry.name!r} twice, or its manifest does not name it")
            target = folder / member.path
            if entry.size != member.size or _copy(archive, entry, target, advance) != member.sha256:
                _refuse(f"{member.path} in the bundle is damaged")
            target.chmod(0o755 if member.executable else 0o644)
            del missing[entry.name]
    if missing:
        _refuse(f"the bundle is truncated or damaged: it lacks {next(iter(missing))!r}, or its end")
    while chunk := stream.read(CHUNK):
        if chunk.strip(b"\0"):
            _refuse("the bundle has data after its end")


def _copy(archive: tarfile.TarFile, entry: tarfile.TarInfo, target: Path, advance: Advance) -> str:
    """Copy a member to a file and return its hash."""
    reader = _HashingReader(_content(archive, entry), advance)
    with disk_full_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as writer:
            shutil.copyfileobj(reader, writer, CHUNK)
    return reader.digest.hexdigest()


def _refuse(message: str) -> NoReturn:
    raise BundleError(message, next_step=COPY_AGAIN)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Check that a folder's disk has room.

    Parameters
    ----------
    folder : Path
        Folder on the disk.
    needed : int
        Bytes.
    what : str
        Subject of the message.

    Raises
    ------
    DiskFullError
        The disk has less.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = f"{what} needs {format_bytes(needed)} in {folder}, which has {format_bytes(free)} free"
        raise DiskFullError(message, next_step="free some space, or choose a larger disk", doctor="")


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(entry)
    assert content is not None
    return content
