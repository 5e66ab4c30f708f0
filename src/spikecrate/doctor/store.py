"""The store: whose it is, room, file system, locks, clock, and what stopped runs left in it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.doctor import space
from spikecrate.doctor.check import Check, fail, ok, warn
from spikecrate.errors import StoreError
from spikecrate.store.lock import Lock, is_free
from spikecrate.store.place import SCHEMA, Store, place_of, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spikecrate.doctor.check import Verdict
    from spikecrate.doctor.docker import Daemon
    from spikecrate.doctor.space import FileSystem, Space

ELSEWHERE: Final = "export SPIKECRATE_STORE=FOLDER, a folder of your own"
LARGER: Final = (
    "spikecrate store.gc removes what stopped runs left; or export SPIKECRATE_STORE=FOLDER, elsewhere"
)
SKEW_S: Final = 2.0
NETWORK: Final = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "panfs", "glusterfs", "fuse.glusterfs")
WEAK: Final = ("cifs", "smb3", "9p", "vboxsf", "drvfs", "fuse.sshfs", "vfat", "exfat", "fuseblk")
"""Without the owners, modes or locks that a store wants."""
PROBE: Final = ".spikecrate-doctor-"
LEFT_S: Final = 3600
SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True)
class Place:
    """What is at the store's path.

    Attributes
    ----------
    path : Path
        Where the store is, or will be.
    kind : str
        `folder`, `link`, `other`, or empty where there is nothing yet.
    owner, user : int
        Uid of the folder, and of who asks.
    mode : int
        Permissions.
    above : Path
        The nearest folder that is there: the store itself, or where it will be made.
    writable : bool
        Whether something can be made in `above`.
    schema : int or None
        Of `store.json`; None where there is none, -1 where it cannot be read.
    """

    path: Path
    kind: str
    owner: int
    user: int
    mode: int
    above: Path
    writable: bool
    schema: int | None


@dataclass(frozen=True, kw_only=True)
class Locks:
    """What a trial showed, and what lies among the locks.

    Attributes
    ----------
    refused : str
        Why no lock could be had; empty where one could.
    free : int
        Locks of processes that have ended: a file each, which locks nothing.
    strange : tuple of str
        Names among them that are no files.
    """

    refused: str
    free: int
    strange: tuple[str, ...]


def look_place(_: Mapping[str, Any]) -> Place:
    """See what is at the store's path; nothing is made."""
    path = place_of(None)
    above = space.nearest(path)
    kind, owner, mode = "", os.geteuid(), 0o700
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        # A link is followed where the user named it, as `open_store` does.
        seen = path.stat() if os.environ.get("SPIKECRATE_STORE") else path.lstat()
        mode = stat.S_IMODE(seen.st_mode)
        # A store that its group shares is as good as an own one.
        owner = seen.st_uid if refusal(path, seen) else owner
        kind = "folder" if stat.S_ISDIR(seen.st_mode) else "link" if stat.S_ISLNK(seen.st_mode) else "other"
    return Place(
        path=path,
        kind=kind,
        owner=owner,
        user=os.geteuid(),
        mode=mode,
        above=above,
        writable=above.is_dir() and os.access(above, os.W_OK | os.X_OK),
        schema=_schema(path / "store.json"),
    )


def judge_place(seen: Place) -> Verdict:
    """Judge whether the store can be used, or made."""
    schema = SCHEMA if seen.schema is None else seen.schema
    for wrong, said in (
        (seen.kind in ("link", "other"), "is not a folder"),
        (seen.mode & stat.S_IWOTH, f"can be written by every user (mode {seen.mode:o})"),
        (seen.owner != seen.user, f"belongs to user {seen.owner}, you are {seen.user}"),
        (not seen.writable, f"cannot be used: nothing can be written in {seen.above}"),
        (schema < 0, "has a store.json that cannot be read: is it a store of spikecrate?"),
    ):
        if wrong:
            return fail(f"{seen.path} {said}", ELSEWHERE)
    if schema > SCHEMA:
        return fail(f"{seen.path} is of a newer spikecrate (schema {schema})", "pip install -U spikecrate")
    if not seen.kind:
        return ok(f"{seen.path} is made by the first job")
    if seen.mode & stat.S_IWGRP:
        return ok(f"{seen.path}, shared by its group, mode {seen.mode:o}")
    return ok(f"{seen.path}, yours, mode {seen.mode:o}")


def look_space(_: Mapping[str, Any]) -> Space:
    """See what is free in the store."""
    return space.look(place_of(None))


def judge_space(seen: Space) -> Verdict:
    """Judge whether there is room for results, images and scratch folders."""
    return space.judge(seen, LARGER)


def look_file_system(_: Mapping[str, Any]) -> FileSystem:
    """See the file system that the store is on."""
    return space.file_system(place_of(None))


def judge_file_system(seen: FileSystem) -> Verdict:
    """Judge whether the file system can hold a store."""
    if "noexec" in seen.options:
        return warn(f"{seen.kind}, noexec: --runtime host cannot run from it", ELSEWHERE)
    if seen.kind in space.IN_MEMORY:
        return warn(f"{seen.kind}: results take memory, and are gone with the next reboot", ELSEWHERE)
    if seen.kind == "overlay":
        return warn("overlay: in a container's own layer, and gone with the container", ELSEWHERE)
    if seen.kind in WEAK:
        return warn(f"{seen.kind}: owners, modes or locks may not hold", ELSEWHERE)
    if seen.kind in NETWORK:
        return ok(f"{seen.kind}, a network file system: the locks are its server's")
    return ok(seen.kind)


def look_clock(_: Mapping[str, Any]) -> float:
    """See by how many seconds the file system's clock is ahead of this machine's."""
    with probe_folder() as folder:
        before = time.time()
        file = folder / "token"
        file.write_bytes(b"")
        after, written = time.time(), file.stat().st_mtime
    # The kernel dates files by a clock that ticks every few milliseconds.
    return max(written - after, 0.0) or min(written - before, 0.0)


def judge_clock(ahead: float) -> Verdict:
    """Judge whether the two clocks agree: hashes of files are remembered by their dates."""
    if abs(ahead) > SKEW_S:
        which = "ahead of" if ahead > 0 else "behind"
        return warn(
            f"files are dated {abs(ahead):.0f} s {which} this machine's clock",
            "sudo timedatectl set-ntp true, here and on the file server",
        )
    return ok("files are dated by this machine's time")


def look_locks(_: Mapping[str, Any]) -> Locks:
    """Take a lock and give it back; see what lies among the locks."""
    refused = ""
    with probe_folder() as folder:
        lock = Lock(folder / "lock")
        try:
            if not lock.try_acquire():
                refused = "a new lock is held already"
            lock.release()
        except StoreError as error:
            refused = str(error)
    free, strange = 0, []
    for path in Store(place_of(None)).locks.glob("*"):
        if not stat.S_ISREG(path.lstat().st_mode):
            strange.append(path.name)
        else:
            with suppress(OSError):
                free += is_free(path)
    return Locks(refused=refused, free=free, strange=tuple(sorted(strange)))


def judge_locks(seen: Locks) -> Verdict:
    """Judge whether two jobs can keep out of each other's way."""
    if seen.refused:
        return fail(seen.refused, "export SPIKECRATE_STORE=FOLDER, on a file system with locks")
    if seen.strange:
        return fail(f"among the locks, and no lock: {', '.join(seen.strange)}", "spikecrate store.verify")
    left = f"; {seen.free} of ended processes, which lock nothing" if seen.free else ""
    return ok(f"the file system has locks{left}")


def look_orphans(seen: Mapping[str, Any]) -> list[str]:
    """Name the containers and folders of runs and conversions whose process is gone."""
    from spikecrate.images import sif
    from spikecrate.steps.paths import attempts

    store = Store(place_of(None))
    daemon: Daemon | None = seen.get("docker.daemon")
    found = []
    if daemon is not None:
        found += [f"container {name}" for name in _orphan_containers(store, daemon)]
    for paths in attempts(store.work):
        if _is_over(store, paths.root.name.split("-")[0]) and paths.root.exists():
            found.append(str(paths.root))
    return [*found, *map(str, sif.left_behind(store))]


def judge_orphans(seen: list[str]) -> Verdict:
    """Judge whether stopped runs left something."""
    if seen:
        more = f" and {len(seen) - SHOWN} more" if len(seen) > SHOWN else ""
        return warn(f"left by stopped runs: {', '.join(seen[:SHOWN])}{more}", "spikecrate store.gc")
    return ok("stopped runs left nothing")


@contextmanager
def probe_folder() -> Iterator[Path]:
    """Give a folder in the store for a trial, or beside where the store will be, and remove it.

    One that a killed doctor left an hour ago is removed as well.
    """
    there = space.nearest(place_of(None))
    for left in there.glob(f"{PROBE}*"):
        # Another doctor's may go at any moment.
        with suppress(OSError):
            if left.lstat().st_uid == os.geteuid() and time.time() - left.lstat().st_mtime > LEFT_S:
                shutil.rmtree(left)
    # Removed at the latest when this process ends: after a Ctrl-C too.
    with tempfile.TemporaryDirectory(prefix=PROBE, dir=there, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _schema(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_bytes())["schema"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def _orphan_containers(store: Store, daemon: Daemon) -> list[str]:
    wanted: dict[str, str | list[str] | bool] = {"label": f"spikecrate.store={store.root}"}
    listed = daemon.client.containers.list(all=True, filters=wanted, ignore_removed=True)
    keys = {str(one.name): one.labels.get("spikecrate.key", "") for one in listed}
    over = {name for name, key in keys.items() if _is_over(store, key)}
    if over:
        # One that ended while we looked is gone by now: its lock is given back after it is removed.
        there = daemon.client.containers.list(all=True, filters=wanted, ignore_removed=True)
        over &= {str(one.name) for one in there}
    return sorted(over)


def _is_over(store: Store, key: str) -> bool:
    """Say whether nobody holds the lock of a job: nothing of it should be there."""
    try:
        return is_free(store.lock(key))
    except FileNotFoundError:
        return True
    except OSError:
        return False


PLACE: Final = ("store.place",)
CHECKS: Final = (
    Check(
        name="store.place",
        about="the store's folder is yours, and can be written",
        look=look_place,
        judge=judge_place,
    ),
    Check(
        name="store.space",
        about="space and files in the store",
        look=look_space,
        judge=judge_space,
        needs=PLACE,
    ),
    Check(
        name="store.filesystem",
        about="the store's file system: not in memory, not noexec",
        look=look_file_system,
        judge=judge_file_system,
        needs=PLACE,
    ),
    Check(
        name="store.locks",
        about="the file system has locks, and only locks lie among them",
        look=look_locks,
        judge=judge_locks,
        needs=PLACE,
    ),
    Check(
        name="store.clock",
        about="the file system's clock and this machine's agree",
        look=look_clock,
        judge=judge_clock,
        needs=PLACE,
    ),
    Check(
        name="store.orphans",
        about="containers and folders of stopped runs",
        look=look_orphans,
        judge=judge_orphans,
        needs=PLACE,
        after=("docker.daemon",),
    ),
)
