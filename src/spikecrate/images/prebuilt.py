"""An image that is not made here: named by its digest in sorter.json, pulled only where that is asked for.

The digest is that of the image's manifest in its registry. Whoever has the digest has the image to the last byte: it
is the recipe. In the engine such an image also gets a name of ours, by which it is saved, listed and removed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import run
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.errors import CommandError, DiskFullError, ImageMissingError, UsageError
from spikecrate.images.lookup import find_image

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest

LAST_LINES: Final = 5


def digest_of(reference: str) -> str:
    """Give the digest that a reference names.

    >>> digest_of("registry.example.org/lab/sorter@sha256:0123")
    'sha256:0123'
    """
    return reference.rpartition("@")[2]


def find(client: DockerClient, request: BuildRequest) -> Image | None:
    """Give the image of a sorter's digest, by whatever name the engine has it; None where it does not."""
    digest = digest_of(request.image)
    for name in (request.reference, request.image, digest):
        image = find_image(client, name)
        if image is not None and digest in _digests(image):
            return image
    return None


def require(client: DockerClient, request: BuildRequest) -> Image:
    """Give the image of a sorter's digest, and see that it has our name.

    Raises
    ------
    ImageMissingError
        Where the engine does not have it: nothing is pulled that was not asked for.
    """
    image = find(client, request)
    if image is None:
        raise _missing(request, f"the image of {request.name} is not here: {request.image}")
    with docker_errors():
        if request.reference not in image.tags:
            image.tag(*request.reference.rsplit(":", 1))
            image.reload()
    return image


def pull(request: BuildRequest, progress: Progress) -> Image:
    """Pull a sorter's image from its registry, unless it is here.

    Raises
    ------
    UsageError
        For a sorter whose image is built.
    ImageMissingError
        Where the registry is not in reach, or does not have that digest; with its own words.
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
            said = "\n".join(error.tail.strip().splitlines()[-LAST_LINES:])
            if "no space left on device" in said.lower():
                message = f"{request.image} could not be pulled: the disk is full"
                raise DiskFullError(
                    message,
                    next_step="docker system df shows what fills the engine's disk",
                    doctor="docker.space",
                ) from None
            raise _missing(request, f"{request.image} could not be pulled: {said}") from None
        progress.note(f"pulled in {time.monotonic() - started:.0f} s")
    return require(client, request)


def refuse_build(request: BuildRequest) -> UsageError:
    """Say why an image that is only pulled cannot be built anew, verified, or given wheels."""
    message = f"the image of {request.name} is prebuilt ({request.image}): there is nothing to build"
    return UsageError(message, next_step=f"spikecrate build --sorter {request.name} looks whether it is here")


def _digests(image: Image) -> set[str]:
    """Give the digests under which the engine knows an image: its id is one with the containerd image store."""
    return {str(image.id), *(digest_of(name) for name in image.attrs.get("RepoDigests") or ())}


def _missing(request: BuildRequest, message: str) -> ImageMissingError:
    return ImageMissingError(
        message,
        next_step=f"spikecrate image.pull --sorter {request.name}; or, from where it is, "
        "spikecrate image.bundle there and spikecrate image.unbundle --docker FILE here",
        details={"sorter": request.name, "image": request.image},
    )
