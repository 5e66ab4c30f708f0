"""Make, keep and check SIFs: a sorter's image as one file for Apptainer.

A SIF is made from the Docker image or its archive, without a registry or root. The store keeps it under the recipe and
the image's digest, with a provenance file. `apptainer build` is several times faster with zstd than with its default,
gzip.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spikecrate._util.files import disk_full_named, sync_folder, write_atomically
from spikecrate._util.process import capture
from spikecrate._util.quantities import format_bytes
from spikecrate.engines.apptainer import find_program, read_labels
from spikecrate.errors import CommandError, ImageInvalidError, UsageError
from spikecrate.images import provenance, sif_build
from spikecrate.images.oci import machine_architecture
from spikecrate.images.provenance import Sif
from spikecrate.store.file_hashes import FileHashCache, FileState
from spikecrate.store.lock import is_free
from spikecrate.store.result_manifest import hash_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.engines.apptainer import Program
    from spikecrate.images.request import BuildRequest
    from spikecrate.images.sif_build import Source
    from spikecrate.store import Store


def convert(
    request: BuildRequest,
    store: Store,
    progress: Progress,
    *,
    compression: str = "zstd",
    archive: Path | None = None,
) -> Sif:
    """Find a sorter's SIF in the store, or make it. Concurrent calls make it once.

    Parameters
    ----------
    request : BuildRequest
        The image; it is built where Docker does not have it.
    store : Store
        Keeps the SIF, and the temporary files.
    progress : Progress
        Shows the step, and gets the log.
    compression : str
        `zstd`, `gzip`, `lz4` or `xz`. A SIF with another compression is made again.
    archive : Path, optional
        An archive of the image, from `docker save` or an OCI build, to use instead of Docker.

    Returns
    -------
    Sif

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
        Apptainer is not installed; or no archive is given, and Docker is not available.
    ImageInvalidError
        If the archive is of another recipe or architecture, or damaged.
    ImageBuildError
        If the conversion fails, with its last lines.
    DiskFullError
        The disk is full; checked before the conversion where possible.
    UsageError
        The compression is unknown.
    """
    if compression not in sif_build.COMPRESSIONS:
        message = f"--compression {compression!r} is not known"
        raise UsageError(message, next_step=f"one of: {', '.join(sif_build.COMPRESSIONS)}")
    program = find_program()
    if archive is None:
        source = sif_build.from_docker(request, progress)
    else:
        source = sif_build.from_archive(request, archive)
    with _locked(request, store, progress):
        found = _checked(request, store, progress, digest=source.digest)
        if found is not None and found.compression == compression:
            return found
        return _make(request, source, program, compression, store, progress)


def ensure(request: BuildRequest, store: Store, progress: Progress) -> Sif:
    """Return a sorter's SIF for a job: that of the image in Docker, else any of the recipe in the store, else a new one.

    Parameters
    ----------
    request, store, progress
        As in `convert`.

    Returns
    -------
    Sif

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
        Apptainer is not installed; or the store has no SIF, and Docker is not available.
    ImageBuildError, ImageInvalidError, DiskFullError
        If the image or the SIF cannot be made.
    """
    digest = docker_digest(request)
    with _locked(request, store, progress):
        found = _checked(request, store, progress, digest=digest)
    return found or convert(request, store, progress)


def stored(request: BuildRequest, store: Store, digest: str | None = None) -> list[Sif]:
    """Return the SIFs of a recipe for this machine's processor, the latest first, without reading their bytes.

    Parameters
    ----------
    request : BuildRequest
        The image.
    store : Store
        Holds the SIFs.
    digest : str, optional
        Only SIFs of the image with this id.

    Returns
    -------
    list of Sif
    """
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
    """Move a SIF that was made elsewhere into the store, as if `convert` had made it.

    Parameters
    ----------
    request : BuildRequest
        The image.
    store : Store
        Gets the SIF, unless it has an intact one of the same image.
    progress : Progress
        Gets a note where that one is corrupt.
    image : Path
        The file, in the store's file system; it is moved.
    entry : dict
        Its provenance, as `provenance.read` returns it.

    Returns
    -------
    Path
        The SIF in the store.
    """
    digest = str(entry["sif"]["image_digest"])
    target = _place(request, store, digest)
    with _locked(request, store, progress):
        found = _checked(request, store, progress, digest=digest)
        if found is not None:
            return found.path
        _put(image, target, entry["sif"], entry.get("labels", {}))
    return target


def docker_digest(request: BuildRequest) -> str | None:
    """Return the id of a sorter's image in Docker.

    Parameters
    ----------
    request : BuildRequest
        The image.

    Returns
    -------
    str or None
        None without Docker or without the image.
    """
    # The recipe of a prebuilt image determines its bytes.
    if request.image:
        return None
    # docker-py takes 0.2 s to import, before every job: benchmarks/README.md, row (g), limits the start of a job in
    # Apptainer to 1.3 times a plain `apptainer exec`.
    labelled = '{{.Id}} {{index .Config.Labels "spikecrate.recipe"}}'
    try:
        output = capture(["docker", "image", "inspect", "--format", labelled, request.reference], timeout=10)
    except CommandError:
        return None
    digest, _, recipe = output.partition(" ")
    return digest if recipe == request.recipe else None


def remove(store: Store, path: Path) -> bool:
    """Remove a SIF with its provenance.

    Parameters
    ----------
    store : Store
        Holds the SIF.
    path : Path
        The SIF.

    Returns
    -------
    bool
        False where another process is making or checking it.
    """
    with provenance.if_free(store, path) as free:
        if free:
            # The provenance goes first: without it no job uses the SIF, and the next call removes what is left.
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    return free


def sweep(store: Store) -> list[str]:
    """Remove the leftovers of conversions whose process was killed.

    Parameters
    ----------
    store : Store
        Holds the SIFs.

    Returns
    -------
    list of str
        The paths.
    """
    removed = []
    for path in store.sifs.glob(f"{sif_build.NEW}*"):
        with provenance.if_free(store, path) as free:
            if free:
                sif_build.remove(path)
                removed.append(str(path))
    return removed


def left_behind(store: Store) -> list[Path]:
    """Return what `sweep` would remove.

    Parameters
    ----------
    store : Store
        Holds the SIFs.

    Returns
    -------
    list of Path
    """
    found = []
    for path in sorted(store.sifs.glob(f"{sif_build.NEW}*")):
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
            f"waiting for process {owner.get('pid', '?')} on {owner.get('host', '?')}, "
            f"which is making the SIF of {request.name}"
        )
    )
    try:
        yield
    finally:
        lock.release()


def _checked(request: BuildRequest, store: Store, progress: Progress, digest: str | None) -> Sif | None:
    """Return the latest intact SIF; move corrupt ones to the quarantine."""
    hashes = FileHashCache(store.memo)
    for path in store.sifs.glob(f"{request.name}-{request.recipe[:16]}-*.json"):
        try:
            provenance.read(path)
        except ValueError as problem:
            moved = provenance.set_aside(store, path.with_suffix(".sif"))
            progress.note(f"{path.with_suffix('.sif')}: {problem}; moved to {moved}, making it again")
    for sif in stored(request, store, digest):
        state = FileState.of(sif.path)
        if hashes.get(state, "SIF") == sif.blake3:
            return sif
        if state.size == sif.size_bytes and hash_file(sif.path) == sif.blake3:
            hashes.put(state, "SIF", sif.blake3)
            return sif
        moved = provenance.set_aside(store, sif.path)
        progress.note(f"{sif.path} is corrupt; moved to {moved}, making it again")
    return None


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
    name = f"{sif_build.NEW}{request.recipe[:16]}"
    for left in store.sifs.glob(f"{name}-*"):
        sif_build.remove(left)
    sif_build.require_space(request.name, source, store.sifs)
    progress.note(f"making the SIF of {request.origin}; this takes up to a minute")
    work = store.sifs / f"{name}-{secrets.token_hex(4)}"
    try:
        with disk_full_named(store.root):
            sif_build.make_folders(store.sifs, work)
            packed = sif_build.write_image(request.name, source, program, compression, work, progress)
            image = work / sif_build.IMAGE
            labels = read_labels(program, image)
            # A prebuilt image was chosen by its digest.
            if not request.image and labels.get("spikecrate.recipe") != request.recipe:
                message = f"the image of {request.name} changed while it was converted"
                raise ImageInvalidError(message, next_step="convert it again")
            with image.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            sif = Sif(
                path=_place(request, store, source.digest),
                blake3=hash_file(image),
                sha256=sha256,
                size_bytes=image.stat().st_size,
                reference=request.origin,
                image_digest=source.digest,
                recipe=request.recipe,
                sorter=request.name,
                architecture=machine_architecture(),
                compression=packed,
                engine=program.engine,
                engine_version=program.version,
                created=datetime.now(UTC).isoformat(timespec="milliseconds"),
                seconds=round(time.monotonic() - started, 3),
            )
            sync_folder(work)
            _put(image, sif.path, sif.as_dict(), labels)
    finally:
        sif_build.remove(work)
    progress.note(f"made {sif.path}: {format_bytes(sif.size_bytes)}, {sif.seconds:.0f} s")
    return replace(sif, converted=True)


def _put(image: Path, target: Path, described: dict[str, Any], labels: dict[str, str]) -> None:
    """Move a SIF into place; its provenance goes first, because without it no job uses the SIF."""
    target.unlink(missing_ok=True)
    entry = provenance.sealed({**described, "path": str(target)}, labels)
    write_atomically(target.with_suffix(".json"), json.dumps(entry, indent=1).encode())
    image.rename(target)
