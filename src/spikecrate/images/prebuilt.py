"""Prebuilt images: sorter.json names them by digest, and they are pulled only on request.

The digest is that of the image's manifest in its registry. It determines every byte of the image, so it serves as the
recipe. In the engine such an image also gets one of our names, by which it is saved, listed and removed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import run
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.errors import CommandError, DiskFullError, ImageMissingError, UsageError
from spikecrate.images.buildx import is_disk_full
from spikecrate.images.lookup import find_image

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

    from spikecrate._util.progress import Progress
    from spikecrate.images.request import BuildRequest

LAST_LINES: Final = 5


def digest_of(reference: str) -> str:
    """Return the digest in a reference.

    Parameters
    ----------
    reference : str
        A reference with a digest.

    Returns
    -------
    str

    Examples
    --------
    >>> digest_of("registry.example.org/lab/sorter@sha256:0123")
    'sha256:0123'
    """
    return reference.rpartition("@")[2]


def find(client: DockerClient, request: BuildRequest) -> Image | None:
    """Return the image of a sorter's digest, under any of its names; None where the engine does not have it.

    Parameters
    ----------
    client : DockerClient
        The engine.
    request : BuildRequest
        The image.

    Returns
    -------
    Image or None
    """
    digest = digest_of(request.image)
    for name in (request.reference, request.image, digest):
        image = find_image(client, name)
        if image is not None and digest in _digests(image):
            return image
    return None


def require(client: DockerClient, request: BuildRequest) -> Image:
    """Return the image of a sorter's digest, and tag it with our name.

    Parameters
    ----------
    client : DockerClient
        The engine.
    request : BuildRequest
        The image.

    Returns
    -------
    Image

    Raises
    ------
    ImageMissingError
        Where the engine does not have it: only `image.pull` pulls.
    """
    image = find(client, request)
    if image is None:
        raise _missing(request, f"Docker does not have the image of {request.name}: {request.image}")
    with docker_errors():
        if request.reference not in image.tags:
            image.tag(*request.reference.rsplit(":", 1))
            image.reload()
    return image


def pull(request: BuildRequest, progress: Progress) -> Image:
    """Pull a sorter's image from its registry, unless Docker has it.

    Parameters
    ----------
    request : BuildRequest
        The image.
    progress : Progress
        Shows the work and gets its log.

    Returns
    -------
    Image

    Raises
    ------
    UsageError
        For a sorter whose image is built.
    ImageMissingError
        Where the registry is not in reach or does not have that digest; with the registry's message.
    DiskFullError
    EngineMissingError, EngineDownError, EnginePermissionError
        From the engine.
    """
    if not request.image:
        message = f"the image of {request.name} is built, not pulled"
        raise UsageError(message, next_step=f"spikecrate build --sorter {request.name}")
    client = docker_client()
    if find(client, request) is None:
        started = time.monotonic()
        progress.note(f"pulling {request.image}")
        try:
            with progress.bar(f"pulling {request.image}", 0):
                run(["docker", "pull", "--", request.image], on_line=progress.line)
        except CommandError as error:
            cause = "\n".join(error.tail.strip().splitlines()[-LAST_LINES:])
            if is_disk_full(error):
                message = f"{request.image} could not be pulled: the disk is full"
                raise DiskFullError(
                    message,
                    next_step="see what fills the engine's disk: docker system df",
                    doctor="docker.space",
                ) from None
            raise _missing(request, f"{request.image} could not be pulled: {cause}") from None
        progress.note(f"pulled in {time.monotonic() - started:.0f} s")
    return require(client, request)


def refuse_build(request: BuildRequest) -> UsageError:
    """Return the error for building or verifying a prebuilt image, or giving it wheels.

    Parameters
    ----------
    request : BuildRequest
        The image.

    Returns
    -------
    UsageError
    """
    message = f"the image of {request.name} is prebuilt ({request.image}): there is nothing to build"
    return UsageError(
        message, next_step=f"check that Docker has it: spikecrate build --sorter {request.name}"
    )


def _digests(image: Image) -> set[str]:
    """Return the digests of an image in the engine; with the containerd image store its id is one of them."""
    return {str(image.id), *(digest_of(name) for name in image.attrs.get("RepoDigests") or ())}


def _missing(request: BuildRequest, message: str) -> ImageMissingError:
    return ImageMissingError(
        message,
        next_step=f"spikecrate image.pull --sorter {request.name}; or carry it over from a machine that has it: "
        "spikecrate image.bundle there, spikecrate image.unbundle --docker FILE here",
        details={"sorter": request.name, "image": request.image},
    )
