"""A sorter's image as one file for Apptainer: made from the Docker image or its archive, kept, checked.

A SIF is kept in the store under the recipe and the image's digest, with its provenance beside. No registry and
no root are needed. `apptainer build` does the work; zstd in place of its gzip makes it several times faster.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spikecrate._util.files import disk_full_named, sync_folder, write_atomically
from spikecrate._util.process import capture
from spikecrate._util.quantities import format_bytes
from spikecrate.engines.apptainer import find_program, read_labels
from spikecrate.errors import (
    CommandError,
    EngineDownError,
    EngineMissingError,
    EnginePermissionError,
    ImageInvalidError,
    UsageError,
)
from spikecrate.images import provenance
from spikecrate.images import sif_build as squash
from spikecrate.images.oci import machine_architecture, read_archive
from spikecrate.images.prebuilt import digest_of
from spikecrate.images.sif_build import Source
from spikecrate.store.file_hashes import FileHashCache, FileState
from spikecrate.store.lock import is_free
from spikecrate.store.result_manifest import hash_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.engines.apptainer import Program
    from spikecrate.images.build import BuildRequest
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class Sif:
    """A SIF in the store.

    Attributes
    ----------
    path : Path
        The file.
    blake3, sha256 : str
        Of its bytes.
    size_bytes : int
        Its size.
    reference, image_digest : str
        Name and id of the image that it was made from.
    recipe : str
        What that was made from.
    sorter, architecture, compression : str
        Of what, for which processor, packed how.
    engine, engine_version : str
        What made it.
    created : str
        When, in UTC.
    seconds : float
        How long that took.
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
        """Give it in JSON types."""
        return {**asdict(self), "path": str(self.path)}


def convert(
    request: BuildRequest,
    store: Store,
    progress: Progress,
    *,
    compression: str = "zstd",
    archive: Path | None = None,
) -> Sif:
    """Find a sorter's SIF, or make it: all or nothing, once whoever else asks.

    Parameters
    ----------
    request : BuildRequest
        Which image; it is built where Docker does not have it.
    store : Store
        Where the SIF is kept, and where the work is done.
    progress : Progress
        Gets the log.
    compression : str
        `zstd`, `gzip`, `lz4` or `xz`. A SIF that is there with another one is made again.
    archive : Path, optional
        An archive of the image, from `docker save` or an OCI build, in the place of Docker.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
        Without Apptainer; without Docker where no archive is given.
    ImageInvalidError
        Where the archive is of another recipe or architecture, or damaged.
    ImageBuildError
        Where the conversion fails, with its last lines.
    DiskFullError
        Told before the work begins, where that can be foreseen.
    UsageError
        For an unknown compression.
    """
    if compression not in squash.COMPRESSIONS:
        message = f"--compression {compression!r} is not known"
        raise UsageError(message, next_step=f"one of: {', '.join(squash.COMPRESSIONS)}")
    program = find_program()
    source = _from_docker(request, progress) if archive is None else _from_archive(request, archive)
    with _locked(request, store, progress):
        found = _checked(request, store, progress, digest=source.digest)
        if found is not None and found.compression == compression:
            return found
        return _make(request, source, program, compression, store, progress)


def ensure(request: BuildRequest, store: Store, progress: Progress) -> Sif:
    """Give a sorter's SIF for a job: that of the image in Docker, else one that is in the store, else a new one.

    Raises
    ------
    As `convert`.
    """
    digest = docker_digest(request)
    with _locked(request, store, progress):
        found = _checked(request, store, progress, digest=digest)
    return found or convert(request, store, progress)


def stored(request: BuildRequest, store: Store, digest: str | None = None) -> list[Sif]:
    """Find the SIFs of a recipe for this machine's processor, the latest first; their bytes are not read."""
    found = []
    for path in store.sifs.glob(f"{request.name}-{request.recipe[:16]}-*.json"):
        try:
            sif = Sif(**{**provenance.read(path)["sif"], "path": path.with_suffix(".sif")})
        except (ValueError, TypeError):
            continue
        if (
            sif.recipe == request.recipe
            and sif.architecture == machine_architecture()
            and digest in (None, sif.image_digest)
            and sif.path.exists()
        ):
            found.append(sif)
    return sorted(found, key=lambda sif: sif.created, reverse=True)


def adopt(
    request: BuildRequest, store: Store, progress: Progress, *, image: Path, entry: dict[str, Any]
) -> Path:
    """Take a SIF into the store that was made elsewhere, as `convert` leaves one; give its place.

    Parameters
    ----------
    request : BuildRequest
        Of what.
    store : Store
        Where; one of the same image that is there and sound stays.
    progress : Progress
        Told where that one is not sound.
    image : Path
        The file, in the store's file system; it is moved.
    entry : dict
        Its provenance, as it stood beside it.
    """
    digest = str(entry["sif"]["image_digest"])
    target = _place(request, store, digest)
    with _locked(request, store, progress):
        found = _checked(request, store, progress, digest=digest)
        if found is not None:
            return found.path
        target.unlink(missing_ok=True)
        placed = provenance.sealed({**entry["sif"], "path": str(target)}, entry.get("labels", {}))
        write_atomically(target.with_suffix(".json"), json.dumps(placed, indent=1).encode())
        image.rename(target)
    return target


def docker_digest(request: BuildRequest) -> str | None:
    """Give the id of a sorter's image in Docker; None where there is no Docker or no such image."""
    # The recipe of a prebuilt one says its bytes.
    if request.image:
        return None
    # The command, not the library: a fifth of a second less before every job.
    labelled = '{{.Id}} {{index .Config.Labels "spikecrate.recipe"}}'
    try:
        said = capture(["docker", "image", "inspect", "--format", labelled, request.reference], timeout=10)
    except CommandError:
        return None
    digest, _, recipe = said.partition(" ")
    return digest if recipe == request.recipe else None


def remove(store: Store, path: Path) -> bool:
    """Remove a SIF with its provenance; say whether it is gone, which it is not while it is made or checked."""
    lock = provenance.lock_of(store, provenance.recipe_of(path))
    if not lock.try_acquire():
        return False
    try:
        # The provenance first: without it no job takes the SIF, and the next call removes what is left.
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    finally:
        lock.release()
    return True


def sweep(store: Store) -> list[str]:
    """Remove what conversions left whose process was killed; give what was removed."""
    removed = []
    for path in store.sifs.glob(f"{squash.NEW}*"):
        lock = provenance.lock_of(store, provenance.recipe_of(path))
        if lock.try_acquire():
            try:
                squash.remove(path)
                removed.append(str(path))
            finally:
                lock.release()
    return removed


def left_behind(store: Store) -> list[Path]:
    """Find what `sweep` would remove; nothing is removed."""
    found = []
    for path in sorted(store.sifs.glob(f"{squash.NEW}*")):
        try:
            free = is_free(provenance.lock_of(store, provenance.recipe_of(path)).path)
        except FileNotFoundError:
            free = True
        if free and path.exists():
            found.append(path)
    return found


@contextmanager
def _locked(request: BuildRequest, store: Store, progress: Progress) -> Iterator[None]:
    with disk_full_named(store.root):
        store.sifs.mkdir(exist_ok=True)
    lock = provenance.lock_of(store, request.recipe)
    lock.acquire(
        lambda owner: progress.note(
            f"the SIF of {request.name} is being made (process {owner.get('pid', '?')} "
            f"on {owner.get('host', '?')}); waiting for it"
        )
    )
    try:
        yield
    finally:
        lock.release()


def _checked(request: BuildRequest, store: Store, progress: Progress, digest: str | None) -> Sif | None:
    """Give the latest SIF whose bytes are those that were written; set aside those whose are not."""
    memo = FileHashCache(store.memo)
    for path in store.sifs.glob(f"{request.name}-{request.recipe[:16]}-*.json"):
        try:
            provenance.read(path)
        except ValueError as problem:
            aside = provenance.set_aside(store, path.with_suffix(".sif"))
            progress.note(f"{path.with_suffix('.sif')}: {problem}; set aside in {aside}, and made again")
    for sif in stored(request, store, digest):
        state = FileState.of(sif.path)
        if memo.get(state, "SIF") == sif.blake3:
            return sif
        if state.size == sif.size_bytes and hash_file(sif.path) == sif.blake3:
            memo.put(state, "SIF", sif.blake3)
            return sif
        aside = provenance.set_aside(store, sif.path)
        progress.note(f"{sif.path} is corrupt; set aside in {aside}, and made again")
    return None


def _from_docker(request: BuildRequest, progress: Progress) -> Source:
    from spikecrate.images.build import build

    try:
        built = build(request, progress)
    except (EngineMissingError, EngineDownError, EnginePermissionError) as error:
        message = f"a SIF of {request.name} is made from its Docker image: {error}"
        raise type(error)(
            message,
            next_step=f"where there is Docker: docker save {request.origin} --output {request.name}.tar; "
            f"here: spikecrate convert --sorter {request.name} --archive {request.name}.tar",
            doctor=error.doctor,
        ) from None
    return Source(digest=built.digest, unpacked_bytes=built.size_bytes)


def _from_archive(request: BuildRequest, path: Path) -> Source:
    archive = read_archive(path)
    recipe = archive.labels.get("spikecrate.recipe", "")
    if request.image and archive.digest != digest_of(request.image):
        message = f"{path} is of the image {archive.digest}; {request.name} is {request.image}"
        raise ImageInvalidError(
            message,
            next_step=f"docker save {request.image}, by a Docker with the containerd image store: "
            "another writes no digest of a registry's",
        )
    if not request.image and recipe != request.recipe:
        what = f"of recipe {recipe[:12]}" if recipe else "no image of spikecrate's"
        message = f"{path} is {what}; {request.name} is now of recipe {request.recipe[:12]}"
        raise ImageInvalidError(
            message, next_step="save the image anew, with the same version of spikecrate on both machines"
        )
    if archive.architecture != machine_architecture():
        message = f"{path} is for {archive.architecture}, this machine is {machine_architecture()}"
        raise ImageInvalidError(message, next_step="build the image on a machine of this kind")
    return Source(digest=archive.digest, unpacked_bytes=archive.unpacked_bytes, archive=archive)


def _place(request: BuildRequest, store: Store, digest: str) -> Path:
    return store.sifs / f"{request.name}-{request.recipe[:16]}-{digest[-64:][:16]}.sif"


def _make(
    request: BuildRequest,
    source: Source,
    program: Program,
    compression: str,
    store: Store,
    progress: Progress,
) -> Sif:
    started = time.monotonic()
    for left in store.sifs.glob(f"{squash.NEW}{request.recipe[:16]}-*"):
        squash.remove(left)
    squash.require_space(request.name, source, store.sifs)
    progress.note(f"making the SIF of {request.origin}; this takes some seconds to a minute")
    work = store.sifs / f"{squash.NEW}{request.recipe[:16]}-{secrets.token_hex(4)}"
    try:
        with disk_full_named(store.root):
            squash.make_folders(store.sifs, work)
            packed = squash.write_image(request.name, source, program, compression, work, progress)
            image = work / squash.IMAGE
            labels = read_labels(program, image)
            # A prebuilt one was named by its digest.
            if not request.image and labels.get("spikecrate.recipe") != request.recipe:
                message = f"the image of {request.name} changed while it was converted"
                raise ImageInvalidError(message, next_step="convert it again")
            sif = _described(request, source, program, packed, image)
            target = _place(request, store, source.digest)
            sif = replace(sif, path=target, seconds=round(time.monotonic() - started, 3), converted=True)
            sync_folder(work)
            target.unlink(missing_ok=True)
            entry = provenance.sealed({**sif.as_dict(), "converted": False}, labels)
            write_atomically(target.with_suffix(".json"), json.dumps(entry, indent=1).encode())
            image.rename(target)
    finally:
        squash.remove(work)
    progress.note(f"made {target}: {format_bytes(sif.size_bytes)}, {sif.seconds:.0f} s")
    return sif


def _described(request: BuildRequest, source: Source, program: Program, packed: str, path: Path) -> Sif:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Sif(
        path=path,
        blake3=hash_file(path),
        sha256=sha256,
        size_bytes=path.stat().st_size,
        reference=request.origin,
        image_digest=source.digest,
        recipe=request.recipe,
        sorter=request.name,
        architecture=machine_architecture(),
        compression=packed,
        engine=program.engine,
        engine_version=program.version,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        seconds=0.0,
    )
