"""Remove stale images and SIFs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.engines.docker import docker_errors
from spikecrate.images import sif
from spikecrate.images.inventory import engine_client, in_engine, in_store
from spikecrate.images.lookup import layers_of, list_images, own_layers, unless_removed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from docker import DockerClient

    from spikecrate._util.progress import Progress
    from spikecrate.images.inventory import Entry
    from spikecrate.store import Store

CONFLICT: Final = 409


@dataclass(frozen=True)
class Removed:
    """An image or SIF that was removed: its reference or path, and its size."""

    what: str
    size_bytes: int | None


@dataclass(frozen=True)
class Kept:
    """A stale or unknown image or SIF that was kept: its reference or path, and why."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What a prune did.

    Attributes
    ----------
    removed : list of Removed
        What was removed, or would be.
    kept : list of Kept
        What is not current and was kept.
    freed_bytes : int
        Size of the removed SIFs, and of the unpacked layers that no other image has.
    dry_run : bool
        Whether nothing was removed.
    """

    removed: list[Removed]
    kept: list[Kept]
    freed_bytes: int
    dry_run: bool


def prune(
    store: Store,
    recipes: Mapping[str, str],
    progress: Progress,
    *,
    only: str | None = None,
    busy: Collection[str] = (),
    dry_run: bool = False,
) -> Pruned:
    """Remove the stale images and SIFs that are not in use.

    Parameters
    ----------
    store, recipes, progress
        As `inventory`.
    only : str, optional
        Prune the images of this sorter; by default those of all sorters, and the base images.
    busy : collection of str
        Sorters with a job that is running in a SIF: their SIFs are kept.
    dry_run : bool
        Remove nothing, return what would be removed.

    Returns
    -------
    Pruned

    Raises
    ------
    EngineError
        If the engine refuses.
    """
    client = engine_client(progress)
    images: list[Entry] = []
    layers: dict[str, list[tuple[str, int]]] = {}
    tags: dict[str, set[str]] = {}
    used: set[str] = set()
    if client is not None:
        for image in list_images(client):
            of_image = unless_removed(client, image, layers_of)
            if of_image is not None:
                layers[str(image.id)], tags[str(image.id)] = of_image, set(image.tags)
        with docker_errors():
            containers = client.containers.list(all=True, sparse=True, ignore_removed=True)
        used = {str(row.attrs["ImageID"]) for row in containers}
        # An image that was built a moment ago waits for the next prune.
        images = [entry for entry in in_engine(client, recipes) if entry.digest in layers]
    removed, kept, freed = [], [], 0
    untagged = set()
    for entry in [*images, *in_store(store, recipes)]:
        if only not in (None, entry.name):
            continue
        why = _why_kept(entry, busy, used)
        if why is None and not dry_run:
            why = _remove(entry, store, client)
        what = entry.reference or str(entry.sif)
        if why is not None:
            kept += [Kept(what, why)] if entry.state != "current" else []
            continue
        removed.append(Removed(what, entry.size_bytes if entry.reference else entry.sif_bytes))
        freed += entry.sif_bytes or 0
        if entry.reference is not None:
            tags[entry.digest].discard(entry.reference)
            untagged.add(entry.digest)
    # An image to which a user gave another name only loses ours.
    gone = {digest for digest in untagged if not tags[digest]}
    freed += own_layers(
        [layers[digest] for digest in gone],
        [of_image for digest, of_image in layers.items() if digest not in gone],
    )
    return Pruned(removed=removed, kept=kept, freed_bytes=freed, dry_run=dry_run)


def _why_kept(entry: Entry, busy: Collection[str], used: Collection[str]) -> str | None:
    if entry.state == "current":
        return "it is current"
    if entry.state == "unknown":
        return f"no sorter {entry.name} is in the catalogue: is SPIKECRATE_SORTERS set?"
    if entry.reference is not None:
        return "a container uses it" if entry.digest in used else None
    return f"a job of {entry.name} is running in a SIF" if entry.name in busy else None


def _remove(entry: Entry, store: Store, client: DockerClient | None) -> str | None:
    """Remove an image or SIF; return why it cannot be removed."""
    from docker.errors import APIError, ImageNotFound

    if entry.sif is not None:
        return None if sif.remove(store, entry.sif) else "it is being checked or made"
    assert client is not None
    with docker_errors(), suppress(ImageNotFound):
        try:
            client.images.remove(str(entry.reference))
        except APIError as error:
            # A container has started from it in the meantime.
            if error.status_code != CONFLICT:
                raise
            return "the engine is using it"
    return None
