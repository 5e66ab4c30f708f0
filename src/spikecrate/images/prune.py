"""Remove stale images and SIFs."""

from __future__ import annotations

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
    removed: list[Removed] = []
    kept: list[Kept] = []
    freed = 0
    client = engine_client(progress)
    if client is not None:
        freed += _prune_engine(client, recipes, removed, kept, only=only, dry_run=dry_run)
    for entry in in_store(store, recipes):
        if only not in (None, entry.name):
            continue
        assert entry.sif is not None
        why = _why_kept(entry, busy)
        if why is None and not dry_run and not sif.remove(store, entry.sif):
            why = "it is being checked or made"
        if why is None:
            removed.append(Removed(str(entry.sif), entry.sif_bytes))
            freed += entry.sif_bytes or 0
        elif entry.state != "current":
            kept.append(Kept(str(entry.sif), why))
    return Pruned(removed=removed, kept=kept, freed_bytes=freed, dry_run=dry_run)


def _prune_engine(
    client: DockerClient,
    recipes: Mapping[str, str],
    removed: list[Removed],
    kept: list[Kept],
    *,
    only: str | None,
    dry_run: bool,
) -> int:
    """Remove stale images from the engine; return the bytes freed."""
    layers: dict[str, list[tuple[str, int]]] = {}
    tags: dict[str, set[str]] = {}
    for image in list_images(client):
        of_image = unless_removed(client, image, layers_of)
        if of_image is not None:
            layers[str(image.id)], tags[str(image.id)] = of_image, set(image.tags)
    touched: set[str] = set()
    with docker_errors():
        used = {
            str(row.attrs["ImageID"])
            for row in client.containers.list(all=True, sparse=True, ignore_removed=True)
        }
    for entry in in_engine(client, recipes):
        # An image that was built a moment ago waits for the next prune.
        if only not in (None, entry.name) or entry.digest not in layers:
            continue
        why = _why_kept(entry, ())
        if why is None and entry.digest in used:
            why = "a container uses it"
        if why is None and not dry_run and not _remove_image(client, str(entry.reference)):
            why = "the engine is using it"
        if why is None:
            removed.append(Removed(str(entry.reference), entry.size_bytes))
            tags[entry.digest].discard(str(entry.reference))
            touched.add(entry.digest)
        elif entry.state != "current":
            kept.append(Kept(str(entry.reference), why))
    # An image to which a user gave another name only loses ours.
    gone = {digest for digest in touched if not tags[digest]}
    return own_layers(
        [layers[digest] for digest in gone],
        [of_image for digest, of_image in layers.items() if digest not in gone],
    )


def _why_kept(entry: Entry, busy: Collection[str]) -> str | None:
    if entry.state == "current":
        return "it is current"
    if entry.state == "unknown":
        return f"no sorter {entry.name} is in the catalogue: is SPIKECRATE_SORTERS set?"
    return f"a job of {entry.name} is running in a SIF" if entry.name in busy else None


def _remove_image(client: DockerClient, reference: str) -> bool:
    from docker.errors import APIError, ImageNotFound

    with docker_errors():
        try:
            client.images.remove(reference)
        except ImageNotFound:
            return True
        except APIError as error:
            # A container has started from it in the meantime.
            if error.status_code != CONFLICT:
                raise
            return False
    return True
