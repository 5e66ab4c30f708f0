"""Look up images in the engine, and their layers. An image that is removed in the meantime counts as absent."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from spikecrate.engines.docker import docker_errors
from spikecrate.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from docker import DockerClient
    from docker.models.images import Image

LISTINGS: Final = 10
"""Tries to list images: the engine refuses the whole list while one of them is being removed."""
LISTINGS_APART_S: Final = 0.1

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
    """Query an image; return None where it was removed in the meantime, by another prune or by hand.

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
        Where the engine refuses although the image exists.
    """
    try:
        return ask(image)
    except EngineError:
        if find_image(client, str(image.id)) is not None:
            raise
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

    for _ in range(LISTINGS - 1):
        with suppress(NotFound):
            return list(client.api.images(name))
        time.sleep(LISTINGS_APART_S)
    return list(client.api.images(name))
