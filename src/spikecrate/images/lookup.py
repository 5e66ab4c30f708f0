"""Images looked up in the engine: one by its name or digest, or all; what is removed meanwhile is not there."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from spikecrate.engines.docker import docker_errors
from spikecrate.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

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


def _rows(client: DockerClient, name: str | None) -> list[dict[str, Any]]:
    """Ask again where the engine stumbles over an image that is just being removed: it then gives no list at all."""
    from docker.errors import NotFound

    for _ in range(LISTINGS - 1):
        with suppress(NotFound):
            return list(client.api.images(name))
        time.sleep(LISTINGS_APART_S)
    return list(client.api.images(name))
