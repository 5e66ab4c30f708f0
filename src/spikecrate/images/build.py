"""A sorter's image: found, built, or built twice and compared."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikecrate._util.quantities import format_bytes
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.errors import ImageNotReproducibleError, SorterInvalidError, UsageError
from spikecrate.images import prebuilt
from spikecrate.images.base import Bases, ensure_bases
from spikecrate.images.buildx import CREATED, build_argv, build_logged, engine_output
from spikecrate.images.lookup import find_image
from spikecrate.images.request import BuildRequest
from spikecrate.images.staging import staged
from spikecrate_harness.job import CONTRACT

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

    from spikecrate._util.progress import Progress

__all__ = ["BuildRequest", "BuiltImage", "Verification", "build", "find", "verify"]


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image that is in the engine.

    Attributes
    ----------
    reference : str
        Name and tag.
    digest : str
        The image's id: with the containerd image store, its manifest's digest, the same on every machine.
    size_bytes : int
        All layers, unpacked.
    built : bool
        Whether this call built it.
    seconds : float
        How long this call took.
    """

    reference: str
    digest: str
    size_bytes: int
    built: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Two builds of one recipe from nothing, compared.

    Attributes
    ----------
    reference : str
        The image that was built, which the engine itself does not get.
    first, second : str
        Their digests.
    equal : bool
        Whether these are the same.
    seconds : float
        How long both took.
    """

    reference: str
    first: str
    second: str
    equal: bool
    seconds: float


def build(
    request: BuildRequest, progress: Progress, *, no_cache: bool = False, wheelhouse: Path | None = None
) -> BuiltImage:
    """Find a sorter's image in the engine, or build it; a prebuilt one is only found.

    Parameters
    ----------
    request : BuildRequest
        What to build.
    progress : Progress
        Gets the build's log.
    no_cache : bool
        Build although the image is there, every step anew.
    wheelhouse : Path, optional
        Folder of wheels for packages that are only on disk; the lock's hashes hold for them too.

    Raises
    ------
    ImageBuildError
        With the last lines of the log and the path of the whole.
    BaseImageMissingError
        Where Debian's image is neither in the engine nor can be pulled.
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError, DiskFullError
        From the engine.
    SorterInvalidError
        For a sorter without a Dockerfile.
    ImageMissingError
        For a prebuilt image that is not in the engine.
    UsageError
        For `no_cache` or a wheelhouse where there is nothing to build.
    """
    started = time.monotonic()
    client = docker_client()
    image: Image | None
    if request.image:
        if no_cache or wheelhouse is not None:
            raise prebuilt.refuse_build(request)
        image = prebuilt.require(client, request)
    else:
        image = None if no_cache else find(client, request)
    exists = image is not None
    if not exists:
        _require(request, wheelhouse)
        with staged(request) as copy:
            bases = ensure_bases(progress, copy.base)
            progress.note(f"building {request.reference}; the first time takes some minutes")
            output = engine_output(request.reference)
            argv = sorter_argv(copy, bases, output=output, no_cache=no_cache, wheelhouse=wheelhouse)
            build_logged(argv, request.reference, progress)
        with docker_errors():
            image = client.images.get(request.reference)
    assert image is not None
    built = BuiltImage(
        reference=request.origin,
        digest=str(image.id),
        size_bytes=unpacked_size(image),
        built=not exists,
        seconds=round(time.monotonic() - started, 3),
    )
    if built.built:
        progress.note(f"built {built.reference}: {format_bytes(built.size_bytes)}, {built.seconds:.0f} s")
    return built


def find(client: DockerClient, request: BuildRequest) -> Image | None:
    """Give a sorter's image: that of its recipe, or of its digest; None where the engine does not have it."""
    if request.image:
        return prebuilt.find(client, request)
    image = find_image(client, request.reference)
    return image if image is not None and image.labels.get("spikecrate.recipe") == request.recipe else None


def verify(request: BuildRequest, progress: Progress, *, wheelhouse: Path | None = None) -> Verification:
    """Build a sorter's image twice from nothing, and compare the two to the last byte.

    Raises
    ------
    ImageNotReproducibleError
        Naming the first thing that differs.
    UsageError
        For a prebuilt image.
    ImageBuildError and its kin
        As `build`.
    """
    from spikecrate.images.oci import archive_digest, first_difference

    if request.image:
        raise prebuilt.refuse_build(request)
    started = time.monotonic()
    client = docker_client()
    _require(request, wheelhouse)
    kind = "oci"
    if not has_containerd_store(client):
        kind = "tar"
        progress.note(
            "this engine lacks the containerd image store: the files are compared, not the image's digest "
            "(a job's key holds the recipe's hash in any case)"
        )
    with staged(request) as copy, tempfile.TemporaryDirectory(prefix="spikecrate-verify-") as scratch:
        bases = ensure_bases(progress, copy.base)
        archives = [Path(scratch) / "first.tar", Path(scratch) / "second.tar"]
        for count, archive in enumerate(archives, 1):
            progress.note(f"building {request.reference} from nothing, {count} of 2")
            output = f"type={kind},dest={archive}"
            argv = sorter_argv(copy, bases, output=output, no_cache=True, wheelhouse=wheelhouse)
            build_logged(argv, request.reference, progress)
        first, second = (archive_digest(archive) for archive in archives)
        if first != second:
            difference = first_difference(*archives)
            message = f"two builds of {request.reference} differ ({first}, {second}): {difference}"
            raise ImageNotReproducibleError(
                message,
                next_step=f"make {request.folder / 'Dockerfile'} write that the same each time; "
                "docker/base/seal takes care of dates and permissions",
                details={"first": first, "second": second, "difference": difference},
            )
    return Verification(
        reference=request.reference,
        first=first,
        second=second,
        equal=True,
        seconds=round(time.monotonic() - started, 3),
    )


def sorter_argv(
    request: BuildRequest,
    bases: Bases,
    *,
    output: str,
    no_cache: bool = False,
    wheelhouse: Path | None = None,
) -> list[str]:
    """Give the command line that builds a sorter's image."""
    return build_argv(
        request.folder,
        output=output,
        labels=labels(request, bases),
        arguments={
            "BASE": bases.runtime,
            "BUILDER": bases.builder,
            **({"LOCK": request.lock.name} if request.gpu else {}),
        },
        contexts={
            "harness": request.harness,
            **({"wheelhouse": wheelhouse} if wheelhouse is not None else {}),
        },
        no_cache=no_cache,
    )


def labels(request: BuildRequest, bases: Bases) -> dict[str, str]:
    """Give an image's labels. The catalogue's git revision is none of them: it changes with every commit."""
    return {
        "org.opencontainers.image.title": request.title,
        "org.opencontainers.image.description": request.description,
        "org.opencontainers.image.version": request.version,
        "org.opencontainers.image.licenses": request.license,
        "org.opencontainers.image.url": request.url,
        "org.opencontainers.image.created": CREATED,
        "org.opencontainers.image.base.name": bases.runtime,
        "org.opencontainers.image.base.digest": bases.runtime_digest,
        "spikecrate.contract": str(CONTRACT),
        "spikecrate.sorter": request.name,
        "spikecrate.recipe": request.recipe,
    }


def _require(request: BuildRequest, wheelhouse: Path | None) -> None:
    dockerfile = request.folder / "Dockerfile"
    if not dockerfile.is_file():
        message = f"{dockerfile} is missing: {request.name} has no image"
        raise SorterInvalidError(
            message,
            next_step="write one; sorters/ms4/Dockerfile is an example (or name an image by its digest)",
        )
    if wheelhouse is not None and not wheelhouse.is_dir():
        message = f"--wheelhouse {wheelhouse} is not a folder"
        raise UsageError(message, next_step="name a folder of wheels")


def unpacked_size(image: Image) -> int:
    """Sum the layers. What `inspect` says is the compressed size or the unpacked one, by the engine's store."""
    with docker_errors():
        return sum(int(layer["Size"]) for layer in image.history())


def has_containerd_store(client: DockerClient) -> bool:
    """Say whether the engine's digests are those of manifests, the same on every machine."""
    with docker_errors():
        status = client.info().get("DriverStatus") or []
    return any("containerd.snapshotter" in str(value) for row in status for value in row)
