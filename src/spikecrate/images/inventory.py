"""List the images in the engine and the SIFs in the store: what they serve, and which are stale.

An image is stale when its recipe is no longer that of its sorter's folder. If its sorter is not in the catalogue, it is
neither current nor stale: `SPIKECRATE_SORTERS` may only lack a lab's folder.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from spikecrate._util.data import data_path
from spikecrate.engines.docker import docker_client
from spikecrate.errors import EngineDownError, EngineMissingError, EnginePermissionError
from spikecrate.images.build import unpacked_size
from spikecrate.images.lookup import find_image, layers_of, list_images, own_layers, unless_removed
from spikecrate.images.recipe import base_hash, gpu_recipe
from spikecrate.store import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from docker import DockerClient
    from docker.models.images import Image

    from spikecrate._util.progress import Progress
    from spikecrate.store import Store

BASES: Final = ("base", "builder")
"""Base images, named like those of sorters."""
PREFIX: Final = "spikecrate/"
TAG: Final = re.compile(r"spikecrate/.+:.+-(?P<recipe>[0-9a-f]{12})", re.ASCII)

State = Literal["current", "stale", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An image, in the engine or as a SIF or both.

    Attributes
    ----------
    name : str
        The sorter; `base` or `builder` for a base image.
    recipe, digest : str
        The image's recipe and id. Empty for a SIF without its provenance.
    state : str
        `current`; `stale`: the recipe is no longer that of the folder; `unknown`: the catalogue lacks the sorter.
    reference : str or None
        The image's name in the engine.
    size_bytes : int or None
        Size of all layers, unpacked; None where the engine does not have the image.
    sif : Path or None
        The file in the store.
    sif_bytes : int or None
        Its size.
    results : int or None
        Number of results in the store with this recipe, from any runtime; None for a base image.
    """

    name: str
    recipe: str
    digest: str
    state: State
    reference: str | None = None
    size_bytes: int | None = None
    sif: Path | None = None
    sif_bytes: int | None = None
    results: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**asdict(self), "sif": None if self.sif is None else str(self.sif)}


def inventory(store: Store, recipes: Mapping[str, str], progress: Progress) -> list[Entry]:
    """List the images in the engine and the SIFs in the store.

    Parameters
    ----------
    store : Store
        Holds the SIFs, and the results to count.
    recipes : mapping
        Current recipe of each sorter of the catalogue.
    progress : Progress
        Gets a note where there is no Docker: then only SIFs are listed.

    Returns
    -------
    list of Entry
        By name, the current first.

    Raises
    ------
    EngineError
        If the engine refuses.
    """
    client = engine_client(progress)
    images = [] if client is None else in_engine(client, recipes)
    used = Counter(row.recipe for row in summary.results(store, progress))
    return joined(images, in_store(store, recipes), used)


def on_disk(digests: Iterable[str], progress: Progress) -> int | None:
    """Return the bytes that images take in the engine, unpacked, each layer once.

    Parameters
    ----------
    digests : iterable of str
        Ids of the images.
    progress : Progress
        Gets a note where there is no Docker.

    Returns
    -------
    int or None
        None without an engine.

    Raises
    ------
    EngineError
    """
    client = engine_client(progress)
    if client is None:
        return None
    images = [image for digest in set(digests) if (image := find_image(client, digest)) is not None]
    layers = [unless_removed(client, image, layers_of) for image in images]
    return own_layers([of_image for of_image in layers if of_image is not None], [])


def joined(images: Iterable[Entry], sifs: Iterable[Entry], used: Mapping[str, int]) -> list[Entry]:
    """Join each SIF with the image that it was made from, and add the number of results.

    Parameters
    ----------
    images : iterable of Entry
        Entries of images.
    sifs : iterable of Entry
        Entries of SIFs.
    used : mapping
        Number of results for each recipe.

    Returns
    -------
    list of Entry
    """
    rows, alone = [], list(sifs)
    for image in images:
        made = [sif for sif in alone if (sif.name, sif.digest) == (image.name, image.digest)]
        if made:
            alone.remove(made[0])
            rows.append(replace(image, sif=made[0].sif, sif_bytes=made[0].sif_bytes))
        else:
            rows.append(image)
    rows += alone
    counted = [row if row.name in BASES else replace(row, results=used.get(row.recipe, 0)) for row in rows]
    return sorted(counted, key=lambda row: (row.name, row.state, row.recipe, row.digest))


def in_store(store: Store, recipes: Mapping[str, str]) -> list[Entry]:
    """List the SIFs of a store without reading their bytes.

    A SIF without its provenance file is stale: no job uses it.

    Parameters
    ----------
    store : Store
        Holds the SIFs.
    recipes : mapping
        Current recipe of each sorter of the catalogue.

    Returns
    -------
    list of Entry
    """
    found = []
    for path in sorted(store.sifs.glob("*.sif")):
        try:
            record = json.loads(path.with_suffix(".json").read_bytes())["sif"]
            name, recipe, digest = (str(record[field]) for field in ("sorter", "recipe", "image_digest"))
            state = state_of(name, recipe, recipes)
        except (OSError, ValueError, KeyError, TypeError):
            name, recipe, digest, state = path.stem.rsplit("-", 2)[0], "", "", "stale"
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            found.append(
                Entry(name=name, recipe=recipe, digest=digest, state=state, sif=path, sif_bytes=size)
            )
    return found


def state_of(name: str, recipe: str, recipes: Mapping[str, str]) -> State:
    """Compare an image's recipe with that of its sorter's folder.

    Parameters
    ----------
    name : str
        Name of the sorter.
    recipe : str
        The image's recipe.
    recipes : mapping
        Current recipe of each sorter of the catalogue.

    Returns
    -------
    State
    """
    if name not in recipes:
        return "unknown"
    return "current" if recipe in (recipes[name], gpu_recipe(recipes[name])) else "stale"


def engine_client(progress: Progress) -> DockerClient | None:
    """Connect to Docker; where that fails, note why and return None.

    Parameters
    ----------
    progress : Progress
        Gets a note where Docker cannot be used.

    Returns
    -------
    DockerClient or None
    """
    try:
        return docker_client()
    except (EngineMissingError, EngineDownError, EnginePermissionError) as error:
        progress.note(f"{error}; only SIFs are listed")
        return None


def in_engine(client: DockerClient, recipes: Mapping[str, str]) -> list[Entry]:
    """List the images of sorters and the base images in the engine, one entry for each name.

    Parameters
    ----------
    client : DockerClient
        The engine.
    recipes : mapping
        Current recipe of each sorter of the catalogue.

    Returns
    -------
    list of Entry
    """
    bases = dict.fromkeys(BASES, base_hash(data_path("docker") / "base"))
    found = []
    for image in list_images(client, f"{PREFIX}*"):
        size = unless_removed(client, image, unpacked_size)
        if size is None:
            continue
        for tag in image.tags:
            name = tag.removeprefix(PREFIX).rpartition(":")[0]
            # A sorter's image inherits its base's label. A prebuilt image has no label of ours, only a tag.
            of_sorter = _recipe_of(image, tag, recipes.get(name, ""))
            recipe = of_sorter or image.labels.get("spikecrate.base")
            if not tag.startswith(PREFIX) or recipe is None:
                continue
            entry = Entry(
                name=name,
                recipe=recipe,
                digest=str(image.id),
                state=state_of(name, recipe, recipes if of_sorter else bases),
                reference=tag,
                size_bytes=size,
            )
            found.append(entry)
    return found


def _recipe_of(image: Image, tag: str, current: str) -> str | None:
    """Return the recipe of a sorter's image, or its first digits where only the tag has them."""
    label: str | None = image.labels.get("spikecrate.recipe")
    tagged = TAG.fullmatch(tag)
    if tagged is None or (label or image.labels.get("spikecrate.base") or "").startswith(tagged["recipe"]):
        return label
    return current if current.startswith(tagged["recipe"]) else tagged["recipe"]
