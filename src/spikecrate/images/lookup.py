"""Look up images in the engine, and their layers; pull prebuilt ones, which sorter.json names by digest.

An image that is removed in the meantime counts as absent. The digest of a prebuilt image is that of its manifest in the
registry: it determines every byte, so it serves as the recipe. In the engine such an image also gets one of our names, by
which it is saved, listed and removed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from spikecrate._util.process import run
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.errors import CommandError, EngineError, ImageMissingError, UsageError
from spikecrate.images.buildx import engine_full, is_disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from docker import DockerClient
    from docker.models.images import Image

    from spikecrate._util.progress import Progress
    from spikecrate.images.request import BuildRequest

LISTINGS: Final = 10
"""Tries to list images: the engine refuses the whole list while one of them is being removed."""
LISTINGS_APART_S: Final = 0.1

LAST_LINES: Final = 5

T = TypeVar("T")


def find_image(client: DockerClient, reference: str) -> Image | None:
    """Return the image of a name or digest, or None.

    Parameters
    ----------
    client : DockerClient
        The engine.
    reference : str
        Name or digest of the image.

    Returns
    -------
    Image or None

    Raises
    ------
    EngineError
    """
    from docker.errors import NotFound

    with docker_errors():
        try:
            return client.images.get(reference)
        except NotFound:
            # Not only ImageNotFound: while an image is removed, the engine may miss a part of it.
            return None


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
    """Return a sorter's image by its recipe, or a prebuilt one by its digest under any of its names.

    Parameters
    ----------
    client : DockerClient
        The engine.
    request : BuildRequest
        The image.

    Returns
    -------
    Image or None
        None where the engine does not have it.
    """
    if not request.image:
        image = find_image(client, request.reference)
        is_own = image is not None and image.labels.get("spikecrate.recipe") == request.recipe
        return image if is_own else None
    digest = digest_of(request.image)
    for name in (request.reference, request.image, digest):
        image = find_image(client, name)
        if image is not None and digest in _digests(image):
            return image
    return None


def require_prebuilt(client: DockerClient, request: BuildRequest) -> Image:
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
        If the engine does not have it: only `image.pull` pulls.
    """
    image = find(client, request)
    if image is None:
        raise _missing(request, f"Docker does not have the image of {request.name}: {request.image}")
    with docker_errors():
        if request.reference not in image.tags:
            image.tag(*request.reference.rsplit(":", 1))
            image.reload()
    return image


def pull_image(reference: str, progress: Progress, *, timeout: float | None = None) -> None:
    """Pull an image with the `docker` command, which has the user's credentials.

    Parameters
    ----------
    reference : str
        Name of the image.
    progress : Progress
        Shows the work and gets its log.
    timeout : float, optional
        Seconds.

    Raises
    ------
    CommandError
        The engine does not get the image.
    """
    progress.note(f"pulling {reference}")
    with progress.bar(f"pulling {reference}", 0):
        run(["docker", "pull", "--", reference], on_line=progress.line, timeout=timeout)


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
        The sorter's image is built, not pulled.
    ImageMissingError
        If the registry is not in reach or does not have that digest; with the registry's message.
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
        try:
            pull_image(request.image, progress)
        except CommandError as error:
            cause = "\n".join(error.tail.strip().splitlines()[-LAST_LINES:])
            if is_disk_full(error):
                msg = f"{request.image} could not be pulled: the disk is full"
                raise engine_full(msg) from None
            raise _missing(request, f"{request.image} could not be pulled: {cause}") from None
        progress.note(f"pulled in {time.monotonic() - started:.0f} s")
    return require_prebuilt(client, request)


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


def list_images(client: DockerClient, name: str | None = None) -> list[Image]:
    """Return all images, or those of a name, without those that are removed in the meantime.

    Parameters
    ----------
    client : DockerClient
        The engine.
    name : str or None
        Name or pattern; by default all images.

    Returns
    -------
    list of Image

    Raises
    ------
    EngineError
    """
    with docker_errors():
        digests = {str(row["Id"]): None for row in _rows(client, name)}
    return [image for digest in digests if (image := find_image(client, digest)) is not None]


def unless_removed(client: DockerClient, image: Image, ask: Callable[[Image], T]) -> T | None:
    """Query an image; return None if it was removed in the meantime, by another prune or the user.

    Parameters
    ----------
    client : DockerClient
        The engine.
    image : Image
        An image of the engine.
    ask : callable
        The query; it may raise EngineError.

    Returns
    -------
    T or None

    Raises
    ------
    EngineError
        If the engine refuses although the image exists.
    """
    for left in reversed(range(LISTINGS)):
        try:
            return ask(image)
        except EngineError:
            if find_image(client, str(image.id)) is None:
                return None
            # While the engine removes an image, its snapshots go before its name.
            if left == 0:
                raise
            time.sleep(LISTINGS_APART_S)
    return None


def layers_of(image: Image) -> list[tuple[str, int]]:
    """Return an image's layers from the lowest: id, and size in bytes unpacked.

    Parameters
    ----------
    image : Image
        An image of the engine.

    Returns
    -------
    list of tuple

    Raises
    ------
    EngineError
    """
    with docker_errors():
        sizes = [int(step["Size"]) for step in reversed(image.history()) if step["Size"]]
    identities = image.attrs["RootFS"].get("Layers") or []
    # The engine does not link steps with layers; a step without size made no layer, or an empty one.
    return list(zip(identities, [*sizes, *([0] * len(identities))], strict=False))


def own_layers(
    removed: Iterable[Iterable[tuple[str, int]]], remaining: Iterable[Iterable[tuple[str, int]]]
) -> int:
    """Return the size of the layers that are freed when images are removed: those that no remaining image has.

    Parameters
    ----------
    removed, remaining : iterables
        Images, each as its layers from the lowest: (id, size in bytes). Layers are the same only on the same layers
        below.

    Returns
    -------
    int
        Bytes.
    """

    def chains(images: Iterable[Iterable[tuple[str, int]]]) -> dict[tuple[str, ...], int]:
        sizes = {}
        for image in images:
            chain: tuple[str, ...] = ()
            for layer, size in image:
                chain = (*chain, layer)
                sizes[chain] = size
        return sizes

    shared = chains(remaining)
    return sum(size for chain, size in chains(removed).items() if chain not in shared)


def _rows(client: DockerClient, name: str | None) -> list[dict[str, Any]]:
    """List images; try again where the engine fails because one of them is being removed."""
    from docker.errors import NotFound

    # https://github.com/docker/docker-py/issues/2341
    for _ in range(LISTINGS - 1):
        with suppress(NotFound):
            return list(client.api.images(name))
        time.sleep(LISTINGS_APART_S)
    return list(client.api.images(name))
