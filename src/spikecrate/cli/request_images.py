"""From the words of the tasks on images to the library's arguments."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate._util.progress import Silent, Terminal
from spikecrate.catalogue.tools import catalogue, check, find, read
from spikecrate.errors import UsageError
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.images.build import BuildRequest


def build(sorter: str, *, gpu: bool, verify: bool, no_cache: bool, wheelhouse: str) -> dict[str, Any]:
    """Build a sorter's image, or build it twice and compare."""
    from spikecrate.images import build as images

    asked = _asked(sorter, gpu=gpu)
    wheels = Path(wheelhouse).absolute() if wheelhouse else None
    if verify:
        return asdict(images.verify(asked, Terminal(), wheelhouse=wheels))
    return asdict(images.build(asked, Terminal(), no_cache=no_cache, wheelhouse=wheels))


def pull(sorter: str) -> dict[str, Any]:
    """Pull a sorter's prebuilt image, or find it."""
    from spikecrate.images import build as images
    from spikecrate.images import prebuilt

    asked = _asked(sorter)
    prebuilt.pull(asked, Terminal())
    return asdict(images.build(asked, Terminal()))


def convert(sorter: str, *, gpu: bool, compression: str, archive: str) -> dict[str, Any]:
    """Make a sorter's SIF for Apptainer, or find it."""
    from spikecrate.images import sif

    asked = _asked(sorter, gpu=gpu)
    file = Path(archive).absolute() if archive else None
    return sif.convert(asked, open_store(), Terminal(), compression=compression, archive=file).as_dict()


def bundle(sorter: str, *, output: str, parts: str, python: str) -> dict[str, Any]:
    """Write a sorter's bundle for a machine without a network."""
    from spikecrate.bundles import bundle as bundles

    asked = _asked(sorter)
    target = Path(output or f"{asked.name}.crate.tar").absolute()
    chosen = tuple(part.strip() for part in parts.split(",") if part.strip())
    done = bundles.bundle(asked, open_store(), Terminal(), target=target, parts=chosen, python=python)
    return done.as_dict()


def unbundle(file: str, *, docker: bool) -> dict[str, Any]:
    """Check a bundle and install what it brings."""
    from spikecrate.bundles import unbundle as bundles

    store = open_store()
    path = Path(file).absolute()
    return bundles.unbundle(path, store, Terminal(), describe=_described, docker=docker).as_dict()


def inventory() -> list[dict[str, Any]]:
    """List the images in the engine and the SIFs in the store."""
    from spikecrate.images import inventory

    return [row.as_dict() for row in inventory.inventory(open_store(), _recipes(), Terminal())]


def on_disk(rows: list[dict[str, Any]]) -> int | None:
    """Give the bytes that listed images take in the engine, each layer once."""
    from spikecrate.images import inventory

    return inventory.on_disk([row["digest"] for row in rows if row["reference"]], Silent())


def prune(sorter: str, *, dry_run: bool) -> dict[str, Any]:
    """Remove stale images and SIFs, of all sorters or of one."""
    from spikecrate.images import prune
    from spikecrate.steps.listing import sorters_running

    store = open_store()
    only = find(sorter).name if sorter else None
    busy = sorters_running(store, "apptainer")
    return prune.prune(store, _recipes(), Terminal(), only=only, busy=busy, dry_run=dry_run).as_dict()


def lock(sorter: str) -> dict[str, Any]:
    """Write a sorter's `image.lock`, and sum it up."""
    from spikecrate.images import lockfile

    path = lockfile.lock(_asked(sorter), Terminal())
    locked = lockfile.read_lock(path)
    python = sum(map(len, locked.python.values()))
    return {"lock": str(path), "digest": locked.digest, "debian": len(locked.debian), "python": python}


def compare(first: str, second: str) -> dict[str, Any]:
    """Name what differs between two images or locks."""
    from spikecrate.images import lockfile

    progress = Terminal()
    return lockfile.compare(lockfile.read(first, progress), lockfile.read(second, progress)).as_dict()


def _asked(sorter: str, *, gpu: bool = False) -> BuildRequest:
    asked = _described(find(sorter).folder, gpu=gpu)
    if gpu and not asked.gpu:
        message = f"{asked.name} has no image of its own for a GPU"
        raise UsageError(message, next_step="leave --gpu out")
    return asked


def _described(folder: Path, *, gpu: bool = False) -> BuildRequest:
    from spikecrate.steps.job import build_request, recipe

    found = read(folder)
    check(folder)
    return build_request(found, recipe(found), gpu=gpu)


def _recipes() -> dict[str, str]:
    from spikecrate.steps.job import recipe

    return {name: recipe(sorter) for name, sorter in catalogue().items()}
