"""Find or build a sorter's image, or build it twice and compare."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikecrate._util.quantities import format_bytes
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.errors import ImageNotReproducibleError, SorterInvalidError, UsageError
from spikecrate.images.base import Bases, ensure_bases
from spikecrate.images.buildx import CREATED, build_argv, build_logged, engine_output
from spikecrate.images.lookup import find, require_prebuilt
from spikecrate.images.request import BuildRequest
from spikecrate.images.staging import staged
from spikecrate_harness.job import CONTRACT

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

    from spikecrate._util.progress import Progress

__all__ = ["BuildRequest", "BuiltImage", "Verification", "build", "verify"]


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image in the engine.

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
        Duration of this call.
    """

    reference: str
    digest: str
    size_bytes: int
    built: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Comparison of two builds of one recipe without a cache.

    Attributes
    ----------
    reference : str
        The image that was built; it is not loaded into the engine.
    first, second : str
        Digests of the two builds.
    equal : bool
        Whether the digests are the same.
    seconds : float
        Duration of both builds.
    """

    reference: str
    first: str
    second: str
    equal: bool
    seconds: float


def build(
    request: BuildRequest, progress: Progress, *, no_cache: bool = False, wheelhouse: Path | None = None
) -> BuiltImage:
    """Find a sorter's image in the engine, or build it; a prebuilt image is only looked up.

    Parameters
    ----------
    request : BuildRequest
        What to build.
    progress : Progress
        Shows the step, and gets every line of the build's log.
    no_cache : bool
        Run every step again, even where the image exists.
    wheelhouse : Path, optional
        Folder of wheels for packages that exist only on disk; they must have the lock's hashes.

    Returns
    -------
    BuiltImage

    Raises
    ------
    ImageBuildError
        A step of the build fails; with the last lines of the log and the path of all of it.
    BaseImageMissingError
        If Debian's image is not in the engine and cannot be pulled.
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError, DiskFullError
        From the engine.
    SorterInvalidError
        The sorter has no Dockerfile, or its files changed after the recipe was hashed.
    ImageMissingError
        The engine does not have the prebuilt image.
    UsageError
        For `no_cache` or a wheelhouse with a prebuilt image.
    """
    started = time.monotonic()
    client = docker_client()
    image: Image | None
    if request.image:
        if no_cache or wheelhouse is not None:
            raise _prebuilt(request)
        image = require_prebuilt(client, request)
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


def verify(request: BuildRequest, progress: Progress, *, wheelhouse: Path | None = None) -> Verification:
    """Build a sorter's image twice without a cache, and compare every byte.

    Parameters
    ----------
    request, progress, wheelhouse
        As in `build`.

    Returns
    -------
    Verification

    Raises
    ------
    ImageNotReproducibleError
        The two builds differ; with the first difference.
    UsageError
        The image is prebuilt.
    ImageBuildError, BaseImageMissingError, SorterInvalidError
        If the image cannot be built.
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError, DiskFullError
        From the engine.
    """
    from spikecrate.images.oci import archive_digest, first_difference

    if request.image:
        raise _prebuilt(request)
    started = time.monotonic()
    client = docker_client()
    _require(request, wheelhouse)
    kind = "oci"
    if not has_containerd_store(client):
        kind = "tar"
        progress.note(
            "this engine lacks the containerd image store: comparing files instead of digests "
            "(job keys hold the recipe, so they do not change)"
        )
    with staged(request) as copy, tempfile.TemporaryDirectory(prefix="spikecrate-verify-") as scratch:
        bases = ensure_bases(progress, copy.base)
        archives = [Path(scratch) / "first.tar", Path(scratch) / "second.tar"]
        for count, archive in enumerate(archives, 1):
            progress.note(f"building {request.reference} without a cache, {count} of 2")
            output = f"type={kind},dest={archive}"
            argv = sorter_argv(copy, bases, output=output, no_cache=True, wheelhouse=wheelhouse)
            build_logged(argv, request.reference, progress)
        first, second = (archive_digest(archive) for archive in archives)
        if first != second:
            difference = first_difference(*archives)
            message = f"two builds of {request.reference} differ ({first}, {second}): {difference}"
            raise ImageNotReproducibleError(
                message,
                next_step=f"make {request.folder / 'Dockerfile'} write the same bytes each time; "
                "docker/base/seal sets dates and permissions",
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
    """Return the command line that builds a sorter's image.

    Parameters
    ----------
    request : BuildRequest
        The image.
    bases : Bases
        The base images.
    output : str
        For `--output` of buildx.
    no_cache : bool
        Run every step again.
    wheelhouse : Path or None
        Folder of wheels.

    Returns
    -------
    list of str
    """
    return build_argv(
        request.folder,
        output=output,
        # Without the catalogue's git revision, which changes with every commit.
        labels={
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
        },
        arguments={
            "BASE": bases.runtime,
            "BUILDER": bases.builder,
            **({"LOCK": request.lock.name} if request.gpu else {}),
        },
        contexts={
            "harness": request.harness,
            **({"library": request.package} if request.library else {}),
            **({"wheelhouse": wheelhouse} if wheelhouse is not None else {}),
        },
        no_cache=no_cache,
    )


def _prebuilt(request: BuildRequest) -> UsageError:
    """Return the error for building or verifying a prebuilt image, or giving it wheels."""
    message = f"the image of {request.name} is prebuilt ({request.image}): there is nothing to build"
    return UsageError(
        message, next_step=f"check that Docker has it: spikecrate build --sorter {request.name}"
    )


def _require(request: BuildRequest, wheelhouse: Path | None) -> None:
    dockerfile = request.folder / "Dockerfile"
    if not dockerfile.is_file():
        message = f"{dockerfile} is missing: {request.name} has no image"
        raise SorterInvalidError(
            message,
            next_step="write one like sorters/ms4/Dockerfile, or name a prebuilt image by its digest",
        )
    if wheelhouse is not None and not wheelhouse.is_dir():
        message = f"--wheelhouse {wheelhouse} is not a folder"
        raise UsageError(message, next_step="name a folder of wheels")


def unpacked_size(image: Image) -> int:
    """Return the size of all layers.

    The size that `inspect` gives is compressed or not, depending on the engine's store:
    https://github.com/moby/moby/issues/53398

    Parameters
    ----------
    image : Image
        An image of the engine.

    Returns
    -------
    int
        Bytes.
    """
    with docker_errors():
        return sum(int(layer["Size"]) for layer in image.history())


def has_containerd_store(client: DockerClient) -> bool:
    """Whether the engine's digests are those of manifests, which are the same on every machine.

    Parameters
    ----------
    client : DockerClient
        The engine.

    Returns
    -------
    bool
    """
    with docker_errors():
        status = client.info().get("DriverStatus") or []
    return any("containerd.snapshotter" in str(value) for row in status for value in row)
