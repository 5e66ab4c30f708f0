"""The store: owner, space, file system, locks, and the remains of stopped runs."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.file_systems import FileSystem, file_system
from spikecrate.doctor import space
from spikecrate.doctor.check import Checks, Facts, Verdict, fail, ok, shorten, warn
from spikecrate.store.lock import Lock, is_free
from spikecrate.store.place import Store, place_of, require_usable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient


ELSEWHERE: Final = "export SPIKECRATE_STORE=FOLDER, a folder of your own"
NETWORK: Final = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "panfs", "glusterfs", "fuse.glusterfs")
WEAK: Final = ("cifs", "smb3", "9p", "vboxsf", "drvfs", "fuse.sshfs", "vfat", "exfat", "fuseblk")
"""File systems without the owners, modes or locks that a store needs."""
PROBE: Final = ".new-doctor-"
CHECKS: Final = Checks()
PLACE: Final = ("store.place",)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The store's folder.

    Attributes
    ----------
    path : Path
        The folder, which may not exist yet.
    nearest : Path
        The folder, or its nearest parent that exists.
    writable : bool
        Whether this user can make files in `nearest`.
    mode : int
        The permissions of `nearest`.
    """

    path: Path
    nearest: Path
    writable: bool = True
    mode: int = 0o700


def look_place(_: Facts) -> Place:
    """Return the state of the store's folder, and make nothing."""
    path = place_of(None)
    nearest = space.nearest(path)
    observed = nearest.stat()
    if nearest == path:
        require_usable(path, observed)
    return Place(
        path=path,
        nearest=nearest,
        writable=nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK),
        mode=stat.S_IMODE(observed.st_mode),
    )


@CHECKS.add("store.place", "the store's folder is usable and safe", look_place)
def judge_place(place: Place) -> Verdict:
    """Judge whether the store can be used, or made.

    Parameters
    ----------
    place : Place
        As `look_place` returns it.
    """
    if not place.writable:
        return fail(f"{place.path} cannot be used: {place.nearest} is not writable", ELSEWHERE)
    if place.nearest != place.path:
        return ok(f"the first job makes {place.path}")
    users = "shared by its group" if place.mode & stat.S_IWGRP else "yours"
    return ok(f"{place.path}, {users}, mode {place.mode:o}")


@CHECKS.add("store.space", "space and inodes in the store", lambda _: space.look(place_of(None)), needs=PLACE)
def judge_space(found: space.Space) -> Verdict:
    """Judge whether there is enough space.

    Parameters
    ----------
    found : space.Space
        The space of the store.
    """
    fix = "spikecrate store.gc removes what stopped runs left; or export SPIKECRATE_STORE=FOLDER, elsewhere"
    return space.judge(found, fix)


@CHECKS.add(
    "store.filesystem",
    "the store's file system: not in memory, not noexec",
    lambda _: file_system(space.nearest(place_of(None))),
    needs=PLACE,
)
def judge_file_system(system: FileSystem) -> Verdict:
    """Judge whether the file system can hold a store.

    Parameters
    ----------
    system : FileSystem
        The store's file system.
    """
    if "noexec" in system.options:
        return warn(f"{system.kind}, noexec: --runtime host cannot run from it", ELSEWHERE)
    if system.kind in ("tmpfs", "ramfs"):
        return warn(f"{system.kind}: results use memory and are lost at the next reboot", ELSEWHERE)
    if system.kind == "overlay":
        return warn("overlay: the store is in a container's own layer and is lost with it", ELSEWHERE)
    if system.kind in WEAK:
        return warn(f"{system.kind}: owners, modes or locks may not work", ELSEWHERE)
    if system.kind in NETWORK:
        return ok(f"{system.kind}, a network file system: its server holds the locks")
    return ok(system.kind)


def look_locks(_: Facts) -> None:
    """Take a lock and release it.

    Raises
    ------
    StoreError
    """
    with probe_folder() as folder, Lock(folder / "lock"):
        return


@CHECKS.add("store.locks", "the file system has locks", look_locks, needs=PLACE)
def judge_locks(_: None) -> Verdict:
    """Return that locks keep two jobs apart."""
    return ok("the file system has locks")


def look_orphans(facts: Facts) -> list[str]:
    """Return the containers and folders of runs and conversions whose process has ended.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    from spikecrate.images import sif
    from spikecrate.steps.paths import attempts

    store = Store(place_of(None))
    daemon = facts.get("docker.daemon")
    containers = [] if daemon is None else _orphan_containers(store, daemon.client)
    folders = [
        str(paths.root)
        for paths in attempts(store.work)
        if _is_over(store, paths.root.name.split("-")[0]) and paths.root.exists()
    ]
    return [*(f"container {name}" for name in containers), *folders, *map(str, sif.left_behind(store))]


@CHECKS.add(
    "store.orphans",
    "containers and folders of stopped runs",
    look_orphans,
    needs=PLACE,
    after=("docker.daemon",),
)
def judge_orphans(left: list[str]) -> Verdict:
    """Judge whether stopped runs left something behind.

    Parameters
    ----------
    left : list
        As `look_orphans` returns it.
    """
    if left:
        return warn(f"left by stopped runs: {shorten(left)}", "spikecrate store.gc")
    return ok("stopped runs left nothing")


@contextmanager
def probe_folder() -> Iterator[Path]:
    """Make a folder for a test, in the store or where the store will be, and remove it.

    `store.gc` removes the folder of a doctor that was killed.

    Yields
    ------
    Path
    """
    parent = space.nearest(place_of(None))
    # Removed at the latest when this process ends, after a Ctrl-C too.
    with tempfile.TemporaryDirectory(prefix=PROBE, dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _orphan_containers(store: Store, client: DockerClient) -> list[str]:
    wanted: dict[str, str | list[str] | bool] = {"label": f"spikecrate.store={store.root}"}
    listed = client.containers.list(all=True, filters=wanted, ignore_removed=True)
    keys = {str(one.name): one.labels.get("spikecrate.key", "") for one in listed}
    over = {name for name, key in keys.items() if _is_over(store, key)}
    if over:
        # A run removes its container before it releases its lock: one that ended meanwhile is gone by now.
        remaining = client.containers.list(all=True, filters=wanted, ignore_removed=True)
        over &= {str(one.name) for one in remaining}
    return sorted(over)


def _is_over(store: Store, key: str) -> bool:
    """Whether no process holds the lock of a job, so that nothing of it should be left."""
    try:
        return is_free(store.lock(key))
    except FileNotFoundError:
        return True
    except OSError:
        return False
