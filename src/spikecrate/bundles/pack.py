"""A bundle written and read: a stream of checked files, never a tar that is trusted."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from typing import IO, TYPE_CHECKING, Final

from spikecrate._util.files import disk_full_named
from spikecrate._util.quantities import format_bytes
from spikecrate.bundles.manifest import (
    BLOCK,
    MANIFEST,
    MANIFEST_LIMIT,
    MEND,
    SUMS,
    Manifest,
    Member,
    header,
    padding,
    read_manifest,
    require_paths,
    trailer,
)
from spikecrate.errors import BundleError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from spikecrate._util.progress import Advance, Progress

CHUNK: Final = 1 << 20
END: Final = "the end"


def describe(files: Mapping[str, Path], progress: Progress) -> tuple[Member, ...]:
    """Hash the files of a bundle to be; in the order of their paths.

    Raises
    ------
    BundleError
        For a path that no bundle may have.
    """
    require_paths(list(files))
    total = sum(path.stat().st_size for path in files.values())
    members = []
    with progress.bar("hashing the bundle's files", total) as advance:
        for name, path in sorted(files.items()):
            seen = path.stat()
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    advance(len(chunk))
            members.append(
                Member(
                    path=name,
                    size=seen.st_size,
                    sha256=digest.hexdigest(),
                    executable=bool(seen.st_mode & 0o100),
                )
            )
    return tuple(members)


def write(target: Path, manifest: Manifest, files: Mapping[str, Path], progress: Progress) -> None:
    """Write a bundle; whoever calls puts it into place when it is whole.

    Raises
    ------
    DiskFullError
        Told before the work begins, where that can be foreseen.
    BundleError
        Where a file changed since it was hashed.
    """
    first = {MANIFEST: manifest.as_bytes(), SUMS: manifest.sums()}
    total = sum(map(len, first.values())) + sum(member.size for member in manifest.members)
    require_space(target.parent, total, "the bundle")
    with disk_full_named(target), target.open("xb") as writer:
        for name, data in first.items():
            writer.write(header(name, len(data)) + data + padding(len(data)))
        with progress.bar(f"writing {target.name}", total) as advance:
            for member in manifest.members:
                writer.write(header(member.path, member.size, executable=member.executable))
                with files[member.path].open("rb") as reader:
                    digest = _copy(reader, writer, member.size, advance)
                    if digest != member.sha256 or reader.read(1):
                        message = f"{files[member.path]} changed while it was bundled"
                        raise BundleError(message, next_step="bundle again")
                writer.write(padding(member.size))
        writer.write(trailer(manifest))


def open_manifest(stream: IO[bytes]) -> Manifest:
    """Read what stands first in a bundle, and leave the stream behind it.

    Raises
    ------
    BundleError
        Where the file is no bundle, is damaged, or is of a newer schema.
    """
    block = stream.read(BLOCK)
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeError):
        found = tarfile.TarInfo()
    if found.name != MANIFEST or found.size > MANIFEST_LIMIT:
        message = (
            f"this is no bundle of spikecrate's, or its first bytes are damaged: no {MANIFEST} comes first"
        )
        raise BundleError(message, next_step="write one with: spikecrate image.bundle")
    data = _take(stream, found.size, MANIFEST)
    if block != header(MANIFEST, len(data)):
        raise _damaged(MANIFEST)
    manifest = read_manifest(data)
    _expect(stream, padding(len(data)), MANIFEST)
    sums = manifest.sums()
    _expect(stream, header(SUMS, len(sums)) + sums + padding(len(sums)), SUMS)
    return manifest


def unpack(
    stream: IO[bytes], manifest: Manifest, place: Callable[[str], Path | None], progress: Progress
) -> None:
    """Read the files of a bundle to its last byte, and write those that have a place.

    What has been written when this raises is not to be used.

    Parameters
    ----------
    stream : file
        As `open_manifest` left it.
    manifest : Manifest
        What it gave.
    place : callable
        Gives the path to write a member to, from its path in the bundle; None for one that is only checked.
    progress : Progress
        Shows a bar.

    Raises
    ------
    BundleError
        Naming the first file that is damaged, missing, or too many.
    DiskFullError
    """
    total = sum(member.size for member in manifest.members)
    with progress.bar("checking the bundle", total) as advance:
        for member in manifest.members:
            _expect_header(stream, member, manifest)
            target = place(member.path)
            if target is None:
                digest = _copy(stream, None, member.size, advance)
            else:
                with disk_full_named(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("xb") as writer:
                        digest = _copy(stream, writer, member.size, advance)
                    target.chmod(0o755 if member.executable else 0o644)
            if digest is None:
                raise _truncated(member.path)
            if digest != member.sha256:
                raise _damaged(member.path)
            _expect(stream, padding(member.size), member.path)
    _expect_end(stream, manifest)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Make sure that there is room.

    Raises
    ------
    DiskFullError
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = f"{what} takes {format_bytes(needed)} in {folder}, {format_bytes(free)} are free"
        raise DiskFullError(message, next_step="free some space, or choose a larger disk", doctor="")


def _copy(reader: IO[bytes], writer: IO[bytes] | None, size: int, advance: Advance) -> str | None:
    """Copy so many bytes; give their hash, or None where there are fewer."""
    digest = hashlib.sha256()
    left = size
    while left:
        chunk = reader.read(min(CHUNK, left))
        if not chunk:
            return None
        digest.update(chunk)
        if writer is not None:
            writer.write(chunk)
        left -= len(chunk)
        advance(len(chunk))
    return digest.hexdigest()


def _expect_header(stream: IO[bytes], member: Member, manifest: Manifest) -> None:
    expected = header(member.path, member.size, executable=member.executable)
    found = _take(stream, len(expected), member.path)
    if found != expected:
        raise _wrong_header(found, member.path, manifest)


def _expect_end(stream: IO[bytes], manifest: Manifest) -> None:
    expected = trailer(manifest)
    found = stream.read(len(expected))
    if found == expected and not stream.read(1):
        return
    if found[:BLOCK].strip(b"\0"):
        raise _wrong_header(found, "", manifest)
    if len(found) < len(expected):
        raise _truncated(END)
    raise _damaged(END)


def _wrong_header(found: bytes, expected: str, manifest: Manifest) -> BundleError:
    """Say what stands in the place of a member: its name where that can be read."""
    try:
        there = tarfile.TarInfo.frombuf(found[:BLOCK], "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeError):
        return _damaged(expected or END)
    if not there.isreg():
        message = f"the bundle holds {there.name!r}, which is a link or no file"
    elif there.name not in {member.path for member in manifest.members}:
        message = f"the bundle holds {there.name!r}, which its manifest does not name"
    elif there.name != expected:
        message = f"the bundle lacks {expected!r}" if expected else f"the bundle holds {there.name!r} twice"
    else:
        return _damaged(expected)
    return BundleError(message, next_step=MEND)


def _expect(stream: IO[bytes], expected: bytes, name: str) -> None:
    if _take(stream, len(expected), name) != expected:
        raise _damaged(name)


def _take(stream: IO[bytes], size: int, name: str) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise _truncated(name)
    return found


def _truncated(name: str) -> BundleError:
    return BundleError(f"the bundle is truncated: it stops before {name} does", next_step=MEND)


def _damaged(name: str) -> BundleError:
    return BundleError(f"{name} in the bundle is damaged", next_step=MEND, details={"member": name})
