"""Keep the sources of a recipe in the store, so that an old job can run again after its tool has changed.

About 100 kB for each recipe, filed under its hash: the tool's folder, the harness, the base images' folder
and the modules of spikecrate that the tool runs. They are hashed again before use.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import spikecrate_harness
from spikecrate._util.data import PACKAGE, data_path
from spikecrate._util.files import disk_full_named, remove_tree
from spikecrate.catalogue.tools import read
from spikecrate.errors import SorterInvalidError
from spikecrate.images.recipe import file_names, ingredients, prebuilt_recipe, recipe_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate.catalogue.tools import Tool
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The folders whose hash is a recipe.

    Attributes
    ----------
    sorter, harness, base : Path
        The tool's folder, the harness package, and the folder of the base images' sources.
    package : Path
        The package spikecrate.
    library : tuple of str
        Its modules that the tool runs; only these are hashed.
    """

    sorter: Path
    harness: Path
    base: Path
    package: Path
    library: tuple[str, ...] = ()


def current(sorter: Tool) -> Sources:
    """Return the current sources of a tool of the catalogue.

    Parameters
    ----------
    sorter : Tool
        The tool.

    Returns
    -------
    Sources
    """
    return Sources(
        sorter=sorter.folder,
        harness=Path(spikecrate_harness.__file__).parent,
        base=data_path("docker") / "base",
        package=PACKAGE,
        library=sorter.library,
    )


def hash_of(sorter: Tool, sources: Sources) -> str:
    """Return the recipe hash of a tool; for a prebuilt image, a hash of its digest.

    Parameters
    ----------
    sorter : Tool
        The tool.
    sources : Sources
        Its folders.

    Returns
    -------
    str
        64 hex digits.

    Raises
    ------
    SorterInvalidError
        A file cannot be read.
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
        package=sources.package,
        library=sorter.library,
    )


def keep(sorter: Tool, sources: Sources, recipe: str, store: Store, staging: Path) -> None:
    """Keep the sources of a recipe once; skip files that no longer match the recipe.

    Parameters
    ----------
    sorter, sources, recipe
        The tool, its folders and its recipe hash.
    store : Store
        The store that keeps them.
    staging : Path
        A staging folder in the store's `work/`, under a name that `sweep` finds.

    Raises
    ------
    DiskFullError
        The disk is full.
    """
    target = store.recipes / recipe
    if target.is_dir():
        return
    try:
        with disk_full_named(store.root):
            copied = _inside(staging, sorter.name)
            _copy(sources.sorter, copied.sorter)
            _copy(sources.harness, copied.harness)
            _copy(sources.base, copied.base)
            _copy(sources.package, copied.package, sources.library)
            # An edit between hashing and copying changes the copied files.
            if hash_of(sorter, copied) == recipe:
                store.recipes.mkdir(exist_ok=True)
                _place(staging, target)
    finally:
        remove_tree(staging)


def kept(name: str, recipe: str, store: Store) -> tuple[Tool, Sources] | None:
    """Return the kept sources of a recipe.

    Parameters
    ----------
    name : str
        Name of the tool.
    recipe : str
        The recipe hash.
    store : Store
        The store.

    Returns
    -------
    tuple or None
        The tool and its folders; None where the store has none that match the recipe.
    """
    sources = _inside(store.recipes / recipe, name)
    if not sources.sorter.is_dir():
        return None
    try:
        sorter = read(sources.sorter)
        sources = replace(sources, library=sorter.library)
        return (sorter, sources) if hash_of(sorter, sources) == recipe else None
    except SorterInvalidError:
        return None


def changed_files(mine: Sources, theirs: Sources) -> list[str]:
    """Return the files in which two recipes differ, such as `sorter/run.py` and `harness/main.py`.

    Parameters
    ----------
    mine, theirs : Sources
        The sources of the recipes.

    Returns
    -------
    list of str
    """
    found: list[str] = []
    first, second = (
        ingredients(
            sources.sorter,
            harness=sources.harness,
            base=sources.base,
            package=sources.package,
            library=sources.library,
        )
        for sources in (mine, theirs)
    )
    for part in {**first, **second}:
        names = {name for name, *_ in {*first.get(part, ())} ^ {*second.get(part, ())}}
        found += [f"{part}/{name}" for name in sorted(names)]
    return found


def _inside(folder: Path, name: str) -> Sources:
    return Sources(
        sorter=folder / "sorter" / name,
        harness=folder / "harness",
        base=folder / "base",
        package=folder / "library",
    )


def _copy(source: Path, target: Path, names: Iterable[str] | None = None) -> None:
    for name in file_names(source) if names is None else names:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, copy)


def _place(staging: Path, target: Path) -> None:
    try:
        staging.rename(target)
    except OSError:
        # Another process kept the same files first.
        if not target.is_dir():
            raise
