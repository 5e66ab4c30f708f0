"""What a recipe was made from, kept in the store: an old job can be run again once the sorter has changed.

Some 100 kB for each recipe, filed under its hash: the sorter's folder, the harness and the base images' folder.
What is found there is hashed again before it is believed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import spikecrate_harness
from spikecrate._util.data import data_path
from spikecrate._util.files import disk_full_named, remove_tree
from spikecrate.catalogue.tools import read
from spikecrate.errors import SorterInvalidError
from spikecrate.images.recipe import file_names, ingredients, prebuilt_recipe, recipe_hash

if TYPE_CHECKING:
    from spikecrate.catalogue.tools import Sorter
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The three folders that a recipe is the hash of.

    Attributes
    ----------
    sorter, harness, base : Path
        The sorter's folder, the harness's package, what the base images are made from.
    """

    sorter: Path
    harness: Path
    base: Path


def current(sorter: Sorter) -> Sources:
    """Give the sources of a sorter of the catalogue, as they are now."""
    return Sources(
        sorter=sorter.folder,
        harness=Path(spikecrate_harness.__file__).parent,
        base=data_path("docker") / "base",
    )


def hash_of(sorter: Sorter, sources: Sources) -> str:
    """Hash what a sorter's image is made from; of a prebuilt one, which it is.

    Raises
    ------
    SorterInvalidError
        For a file that cannot be read.
    """
    if sorter.image:
        digest = sorter.image.rpartition("@")[2]
        return prebuilt_recipe(digest, version=sorter.version, entrypoint=sorter.entrypoint)
    return recipe_hash(
        sources.sorter,
        version=sorter.version,
        entrypoint=sorter.entrypoint,
        python=sorter.python,
        harness=sources.harness,
        base=sources.base,
    )


def keep(sorter: Sorter, sources: Sources, recipe: str, store: Store, beside: Path) -> None:
    """Keep what a recipe is made from, once; nothing where the files are no longer those of the recipe.

    Parameters
    ----------
    sorter, sources, recipe
        What, from where, and its hash.
    store : Store
        Where to.
    beside : Path
        A folder to be made in the store's `work/` meanwhile, by a name under which a sweep finds it.

    Raises
    ------
    DiskFullError
    """
    target = store.recipes / recipe
    if target.is_dir():
        return
    try:
        with disk_full_named(store.root):
            copied = _inside(beside, sorter.name)
            _copy(sources.sorter, copied.sorter)
            _copy(sources.harness, copied.harness)
            _copy(sources.base, copied.base)
            # Edited between the hashing and now: what was hashed is gone.
            if hash_of(sorter, copied) == recipe:
                store.recipes.mkdir(exist_ok=True)
                _place(beside, target)
    finally:
        remove_tree(beside)


def kept(name: str, recipe: str, store: Store) -> tuple[Sorter, Sources] | None:
    """Find what a recipe was made from; None where it was not kept, or is no longer what was hashed."""
    sources = _inside(store.recipes / recipe, name)
    if not sources.sorter.is_dir():
        return None
    try:
        sorter = read(sources.sorter)
        return (sorter, sources) if hash_of(sorter, sources) == recipe else None
    except SorterInvalidError:
        return None


def changed_files(mine: Sources, theirs: Sources) -> list[str]:
    """Name the files in which two recipes differ: `sorter/run.py`, `harness/main.py`."""
    found: list[str] = []
    first, second = (
        ingredients(sources.sorter, harness=sources.harness, base=sources.base) for sources in (mine, theirs)
    )
    for part in first:
        names = {name for name, *_ in {*first[part]} ^ {*second[part]}}
        found += [f"{part}/{name}" for name in sorted(names)]
    return found


def _inside(folder: Path, name: str) -> Sources:
    return Sources(sorter=folder / "sorter" / name, harness=folder / "harness", base=folder / "base")


def _copy(source: Path, target: Path) -> None:
    for name in file_names(source):
        there = target / name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, there)


def _place(beside: Path, target: Path) -> None:
    try:
        beside.rename(target)
    except OSError:
        # Another process was first, with the same files.
        if not target.is_dir():
            raise
