"""The images in the engine and the SIFs in the store: which there are, what they serve, which are out of date.

An image is stale when its recipe is no longer that of its sorter's folder. One whose sorter is not in the
catalogue is neither current nor stale: a lab's folder may only be missing from `SPIKECRATE_SORTERS`.
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
"""Images that sorters' images are made from, named like those of sorters."""
PREFIX: Final = "spikecrate/"
TAG: Final = re.compile(r"spikecrate/.+:.+-(?P<recipe>[0-9a-f]{12})", re.ASCII)

State = Literal["current", "stale", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An image, in the engine or as a SIF or both.

    Attributes
    ----------
    name : str
        The sorter; `base` or `builder` for what sorters' images are made from.
    recipe, digest : str
        What it is made from; its id. Empty for a SIF without its provenance.
    state : str
        `current`; `stale`: its recipe is no longer that of the folder; `unknown`: no such sorter here.
    reference : str or None
        Its name in the engine.
    size_bytes : int or None
        All layers unpacked; None where the engine does not have it.
    sif : Path or None
        The file in the store.
    sif_bytes : int or None
        Its size.
    results : int or None
        How many results in the store were made with this recipe, whatever the runtime; None for a base.
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
        """Give it in JSON types."""
        return {**asdict(self), "sif": None if self.sif is None else str(self.sif)}


def inventory(store: Store, recipes: Mapping[str, str], progress: Progress) -> list[dict[str, Any]]:
    """List the images in the engine and the SIFs in the store.

    Parameters
    ----------
    store : Store
        Its SIFs; its results are counted.
    recipes : mapping
        The recipe that each sorter of the catalogue has now.
    progress : Progress
        Told where there is no Docker: then SIFs alone are listed.

    Returns
    -------
    list of dict
        As `Entry`, by name; the current first.

    Raises
    ------
    EngineError
        Where the engine refuses.
    """
    client = engine_client(progress)
    images = [] if client is None else in_engine(client, recipes)
    used = Counter(row.recipe for row in summary.results(store, progress))
    return [entry.as_dict() for entry in joined(images, in_store(store, recipes), used)]


def on_disk(entries: Iterable[Mapping[str, Any]], progress: Progress) -> int | None:
    """Give the bytes that listed images take in the engine, unpacked, each layer once; None without an engine.

    Raises
    ------
    EngineError
    """
    client = engine_client(progress)
    if client is None:
        return None
    digests = {entry["digest"] for entry in entries if entry["reference"]}
    images = [image for digest in digests if (image := find_image(client, digest)) is not None]
    layers = [unless_removed(client, image, layers_of) for image in images]
    return own_layers([of_image for of_image in layers if of_image is not None], [])


def joined(images: Iterable[Entry], sifs: Iterable[Entry], used: Mapping[str, int]) -> list[Entry]:
    """Put each SIF to the image it was made from, and the number of results to both."""
    rows = list(images)
    for sif in sifs:
        at = next(
            (
                at
                for at, row in enumerate(rows)
                if sif.digest and row.digest == sif.digest and row.name == sif.name and row.sif is None
            ),
            None,
        )
        if at is None:
            rows.append(sif)
        else:
            rows[at] = replace(rows[at], sif=sif.sif, sif_bytes=sif.sif_bytes)
    counted = [row if row.name in BASES else replace(row, results=used.get(row.recipe, 0)) for row in rows]
    return sorted(counted, key=lambda row: (row.name, row.state, row.recipe, row.digest))


def in_store(store: Store, recipes: Mapping[str, str]) -> list[Entry]:
    """List the SIFs of a store; their bytes are not read.

    One without its provenance beside, which no job ever uses, is stale.
    """
    found = []
    for path in sorted(store.sifs.glob("*.sif")):
        try:
            said = json.loads(path.with_suffix(".json").read_bytes())["sif"]
            name, recipe, digest = (str(said[field]) for field in ("sorter", "recipe", "image_digest"))
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
    """Compare an image's recipe with that of its sorter's folder."""
    if name not in recipes:
        return "unknown"
    return "current" if recipe in (recipes[name], gpu_recipe(recipes[name])) else "stale"


def engine_client(progress: Progress) -> DockerClient | None:
    """Connect to Docker, or say why not and give None."""
    try:
        return docker_client()
    except (EngineMissingError, EngineDownError, EnginePermissionError) as error:
        progress.note(f"{error}; SIFs alone")
        return None


def in_engine(client: DockerClient, recipes: Mapping[str, str]) -> list[Entry]:
    """List the images of sorters and bases that the engine has, one entry a name."""
    bases = dict.fromkeys(BASES, base_hash(data_path("docker") / "base"))
    found = []
    for image in list_images(client, f"{PREFIX}*"):
        size = unless_removed(client, image, unpacked_size)
        if size is None:
            continue
        for tag in image.tags:
            name = tag.removeprefix(PREFIX).rpartition(":")[0]
            # A sorter's image has its base's label too; a prebuilt one has none of this sorter's, but its tag.
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
    """Give the recipe of a sorter's image, or its first digits where only the tag has them."""
    said: str | None = image.labels.get("spikecrate.recipe")
    tagged = TAG.fullmatch(tag)
    if tagged is None or (said or image.labels.get("spikecrate.base") or "").startswith(tagged["recipe"]):
        return said
    return current if current.startswith(tagged["recipe"]) else tagged["recipe"]
