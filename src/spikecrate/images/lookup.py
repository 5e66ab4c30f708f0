"""Images looked up in the engine: one by its name or digest, or all; what is removed meanwhile is not there."""

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
"""How often a list is asked for that the engine refuses because of an image that is being removed."""
LISTINGS_APART_S: Final = 0.1

T = TypeVar("T")


def find_image(client: DockerClient, reference: str) -> Image | None:
    """Give the engine's image of that name or digest, or None.

    Raises
    ------
    EngineError
    """
    from docker.errors import NotFound

    with docker_errors():
        try:
            return client.images.get(reference)
        except NotFound:
            # More than ImageNotFound: of an image that is being removed the engine may miss a part.
            return None


def list_images(client: DockerClient, name: str | None = None) -> list[Image]:
    """Give the engine's images, all or those of a name; without those that are removed meanwhile.

    Raises
    ------
    EngineError
    """
    with docker_errors():
        digests = {str(row["Id"]): None for row in _rows(client, name)}
    return [image for digest in digests if (image := find_image(client, digest)) is not None]


def unless_removed(client: DockerClient, image: Image, ask: Callable[[Image], T]) -> T | None:
    """Ask something of an image; None where it was removed meanwhile, by another prune or by hand.

    Raises
    ------
    EngineError
        Where the engine refuses although the image is there.
    """
    try:
        return ask(image)
    except EngineError:
        if find_image(client, str(image.id)) is not None:
            raise
        return None


def layers_of(image: Image) -> list[tuple[str, int]]:
    """Give an image's layers from the lowest: id, and size in bytes unpacked.

    Raises
    ------
    EngineError
    """
    with docker_errors():
        sizes = [int(step["Size"]) for step in reversed(image.history()) if step["Size"]]
    identities = image.attrs["RootFS"].get("Layers") or []
    # The engine does not say which step made which layer; steps without size made none, or an empty one.
    return list(zip(identities, [*sizes, *([0] * len(identities))], strict=False))


def own_layers(
    removed: Iterable[Iterable[tuple[str, int]]], remaining: Iterable[Iterable[tuple[str, int]]]
) -> int:
    """Sum the layers that go when images are removed: those that no remaining image has, each once.

    Parameters
    ----------
    removed, remaining : iterables
        Of images, each as its layers from the lowest: (id, size in bytes). A layer is the same only on the same
        layers below.
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
    """Ask again where the engine stumbles over an image that is just being removed: it then gives no list at all."""
    from docker.errors import NotFound

    for _ in range(LISTINGS - 1):
        with suppress(NotFound):
            return list(client.api.images(name))
        time.sleep(LISTINGS_APART_S)
    return list(client.api.images(name))
