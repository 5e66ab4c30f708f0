"""Images and SIFs: what they are made from, which sorters have one, which are stale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.data import data_path
from spikecrate.catalogue.tools import catalogue
from spikecrate.doctor.check import Check, fail, ok, warn
from spikecrate.errors import SpikecrateError
from spikecrate.images.base import DEBIAN
from spikecrate.images.inventory import BASES, PREFIX, in_engine, in_store
from spikecrate.images.lookup import find_image
from spikecrate.images.recipe import base_hash
from spikecrate.store.place import Store, place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict
    from spikecrate.doctor.docker import Daemon
    from spikecrate.images.inventory import Entry

SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True)
class Stock:
    """The sorters of the catalogue, and the images and SIFs that are here.

    Attributes
    ----------
    sorters : tuple of str
        Names.
    entries : tuple of Entry
        Images and SIFs, of these sorters and of others.
    error : SpikecrateError or None
        Why a sorter of the catalogue cannot be read.
    """

    sorters: tuple[str, ...]
    entries: tuple[Entry, ...]
    error: SpikecrateError | None = None


def look_base(seen: Mapping[str, Any]) -> tuple[bool, bool]:
    """See whether the two base images are in the engine, and whether Debian's is."""
    daemon: Daemon = seen["docker.daemon"]
    recipe = base_hash(data_path("docker") / "base")[:12]
    bases = all(find_image(daemon.client, f"{PREFIX}{name}:{recipe}") is not None for name in BASES)
    return bases, find_image(daemon.client, DEBIAN) is not None


def judge_base(seen: tuple[bool, bool]) -> Verdict:
    """Judge whether there is something to make images from."""
    bases, debian = seen
    if bases:
        return ok("spikecrate's base images are in the engine")
    if debian:
        return ok(f"{DEBIAN} is in the engine; the base images are made of it by the first build")
    return warn(
        f"{DEBIAN} is not in the engine: the first build has to pull it",
        f"docker pull {DEBIAN} (without a registry, in a clone: sudo ci/base.sh)",
    )


def look_sorters(seen: Mapping[str, Any]) -> Stock:
    """See the catalogue, the engine's images and the store's SIFs."""
    from spikecrate.steps.job import recipe

    try:
        recipes = {name: recipe(sorter) for name, sorter in catalogue().items()}
    except SpikecrateError as error:
        return Stock(sorters=(), entries=(), error=error)
    daemon: Daemon | None = seen.get("docker.daemon")
    images = [] if daemon is None else in_engine(daemon.client, recipes)
    return Stock(sorters=tuple(recipes), entries=(*images, *in_store(Store(place_of(None)), recipes)))


def judge_sorters(seen: Stock) -> Verdict:
    """Say what each sorter would run in; one without an image gets it with its first job."""
    if seen.error is not None:
        return fail(str(seen.error), seen.error.next_step or "spikecrate sorters.list")
    said = []
    for name in seen.sorters:
        current = [entry for entry in seen.entries if entry.name == name and entry.state == "current"]
        kinds = [
            kind
            for kind, there in (
                ("image", any(entry.reference for entry in current)),
                ("SIF", any(entry.sif for entry in current)),
            )
            if there
        ]
        said.append(f"{name}: {' and '.join(kinds) or 'made by its first job'}")
    return ok("; ".join(said))


def look_stale(seen: Mapping[str, Any]) -> list[str]:
    """Name the images and SIFs of recipes that no sorter has any more."""
    stock: Stock = seen["images.sorters"]
    return [str(entry.reference or entry.sif) for entry in stock.entries if entry.state == "stale"]


def judge_stale(seen: list[str]) -> Verdict:
    """Judge whether disk is taken by what is no longer used."""
    if seen:
        more = f" and {len(seen) - SHOWN} more" if len(seen) > SHOWN else ""
        return warn(
            f"of recipes that no sorter has now: {', '.join(seen[:SHOWN])}{more}", "spikecrate image.prune"
        )
    return ok("none")


CHECKS: Final = (
    Check(
        name="images.base",
        about="there is something to make images from",
        look=look_base,
        judge=judge_base,
        needs=("docker.daemon",),
    ),
    Check(
        name="images.sorters",
        about="which sorters have an image or a SIF already",
        look=look_sorters,
        judge=judge_sorters,
        after=("docker.daemon",),
    ),
    Check(
        name="images.stale",
        about="images and SIFs that nothing uses any more",
        look=look_stale,
        judge=judge_stale,
        needs=("images.sorters",),
    ),
)
