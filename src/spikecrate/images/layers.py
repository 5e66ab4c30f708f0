"""The layers that images are made of, and what of them is one image's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikecrate.engines.docker import docker_errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docker.models.images import Image


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
