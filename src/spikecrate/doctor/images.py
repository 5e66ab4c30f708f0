"""Images and SIFs: what they are built from, and which sorters have one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spikecrate._util.data import data_path
from spikecrate.catalogue.tools import catalogue
from spikecrate.doctor.check import Checks, Facts, Verdict, ok, warn
from spikecrate.images.base import DEBIAN
from spikecrate.images.inventory import BASES, PREFIX, Entry, in_engine, in_store
from spikecrate.images.lookup import find_image
from spikecrate.images.recipe import base_hash
from spikecrate.store.place import Store, place_of

CHECKS: Final = Checks()


@dataclass(frozen=True, kw_only=True)
class Stock:
    """The sorters' names, and all images and SIFs."""

    sorters: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()


def look_base(facts: Facts) -> tuple[bool, bool]:
    """Return whether the engine has both base images, and whether it has Debian's.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    client = facts["docker.daemon"].client
    recipe = base_hash(data_path("docker") / "base")[:12]
    bases = all(find_image(client, f"{PREFIX}{name}:{recipe}") is not None for name in BASES)
    return bases, find_image(client, DEBIAN) is not None


@CHECKS.add("images.base", "there is an image to build on", look_base, needs=("docker.daemon",))
def judge_base(facts: tuple[bool, bool]) -> Verdict:
    """Judge whether there is an image to build on.

    Parameters
    ----------
    facts : tuple
        As `look_base` returns it.
    """
    bases, debian = facts
    if bases:
        return ok("the engine has spikecrate's base images")
    if debian:
        return ok(f"the engine has {DEBIAN}; the first build makes the base images from it")
    fix = f"docker pull {DEBIAN} (without a registry, in a clone: sudo ci/base.sh)"
    return warn(f"the engine does not have {DEBIAN}: the first build pulls it", fix)


def look_sorters(facts: Facts) -> Stock:
    """Return the catalogue, the engine's images and the store's SIFs.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    from spikecrate.steps.job import recipe

    recipes = {name: recipe(tool) for name, tool in catalogue(kind="").items()}
    daemon = facts.get("docker.daemon")
    images = [] if daemon is None else in_engine(daemon.client, recipes)
    return Stock(sorters=tuple(recipes), entries=(*images, *in_store(Store(place_of(None)), recipes)))


@CHECKS.add(
    "images.sorters", "the sorters that have an image or a SIF", look_sorters, after=("docker.daemon",)
)
def judge_sorters(stock: Stock) -> Verdict:
    """Return what each sorter has; its first job makes a missing image.

    Parameters
    ----------
    stock : Stock
        As `look_sorters` returns it.
    """
    parts = []
    for name in stock.sorters:
        current = [entry for entry in stock.entries if entry.name == name and entry.state == "current"]
        image = ["image"] if any(entry.reference for entry in current) else []
        sif = ["SIF"] if any(entry.sif for entry in current) else []
        parts.append(f"{name}: {' and '.join([*image, *sif]) or 'made by its first job'}")
    return ok("; ".join(parts))
