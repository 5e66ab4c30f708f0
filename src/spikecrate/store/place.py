"""The store's folder: its place, its users and its layout."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.file_systems import is_memory_backed
from spikecrate._util.files import disk_full_named, make_folder, write_atomically
from spikecrate.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = 1
"""Number of the layout; it grows when an older spikecrate would misread the store."""

SCHEMA_FILE: Final = "store.json"
LITTLE_BYTES: Final = 10 * 2**30
"""Free space below this causes a warning: a few images and the scratch folder of a long recording fill it."""
TEMPORARY: Final = ("/tmp", "/var/tmp")
OWN_FOLDER: Final = "set SPIKECRATE_STORE to a folder of your own"


@dataclass(unsafe_hash=True)
class Store:
    """The folder of everything spikecrate keeps.

    Attributes
    ----------
    root : Path
        Absolute path of the store.
    results : Path
        Finished results: `results/ab/abcd…/`.
    failures : Path
        The last failure of each job: `failures/ab/abcd…/`.
    work : Path
        Scratch folders of jobs that run, or ran when their process was killed.
    locks : Path
        One file for each job that runs.
    memo : Path
        The cache of file hashes: of recordings, of checked results.
    index : Path
        The index for lists: a small file for each shard of results and failures.
    pins : Path
        One file, named by its key, for each result that `store.gc` keeps.
    environments : Path
        Virtual environments of the host runtime.
    sifs : Path
        SIFs, Apptainer's images, each with its provenance.
    wheels : Path
        Wheels from bundles, for environments that are made without a network.
    sorters : Path
        Sorters from bundles that the catalogue lacks: a folder for SPIKECRATE_SORTERS.
    curations : Path
        Curations, complete, each in a folder that its hash names: inputs of curated sortings.
    recipes : Path
        Sources of images, by the recipe's hash, with which an old result is made again.
    logs : Path
        Logs of image and environment builds.
    quarantine : Path
        Corrupt results, kept for inspection.
    """

    root: Path

    def __post_init__(self) -> None:
        """Set the path of each folder."""
        self.results = self.root / "results"
        self.failures = self.root / "failures"
        self.work = self.root / "work"
        self.locks = self.root / "locks"
        self.memo = self.root / "memo"
        self.index = self.root / "index"
        self.pins = self.root / "pins"
        self.environments = self.root / "environments"
        self.sifs = self.root / "sif"
        self.wheels = self.root / "wheels"
        self.sorters = self.root / "sorters"
        self.curations = self.root / "curations"
        self.recipes = self.root / "recipes"
        self.logs = self.root / "logs"
        self.quarantine = self.root / "quarantine"

    def result(self, key: str) -> Path:
        """Return the folder of a job's result.

        Parameters
        ----------
        key : str
            The job key.
        """
        return self.results / key[:2] / key

    def failure(self, key: str) -> Path:
        """Return the folder of a job's last failure.

        Parameters
        ----------
        key : str
            The job key.
        """
        return self.failures / key[:2] / key

    def lock(self, name: str) -> Path:
        """Return the file of a lock.

        Parameters
        ----------
        name : str
            The name of the lock: a job key, or another name for other locks.
        """
        return self.locks / f"{name}.lock"


def place_of(root: Path | str | None) -> Path:
    """Return the absolute path of the store, with links resolved; nothing is made.

    One folder has one path, so that locks and container labels agree however the user spells it.

    Parameters
    ----------
    root : Path or str or None
        The store's folder; None for `SPIKECRATE_STORE`, else `$XDG_CACHE_HOME/spikecrate`, else
        `~/.cache/spikecrate`.

    Returns
    -------
    Path
        Where the store is, or will be made.

    Raises
    ------
    StoreError
        Where the path has no meaning: the home of an unknown user, a loop of links.
    """
    named = root or os.environ.get("SPIKECRATE_STORE") or _default()
    try:
        return Path(named).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        # A loop of links is a RuntimeError until Python 3.13.
        message = f"the store {named} cannot be used: {error}"
        raise StoreError(message, next_step="set SPIKECRATE_STORE to an absolute path") from None


def open_store(root: Path | str | None = None) -> Store:
    """Open the store, and make it where it does not exist.

    A store that its group can write is shared: new folders and files get the rights of the group. To share one,
    its owner runs `chgrp -R GROUP STORE; chmod -R g+rwX STORE; find STORE -type d -exec chmod g+s {} +`.

    Parameters
    ----------
    root : Path or str, optional
        By default `SPIKECRATE_STORE`, else `$XDG_CACHE_HOME/spikecrate`, else `~/.cache/spikecrate`.

    Returns
    -------
    Store
        Ready for use.

    Raises
    ------
    StoreError
        Where the folder is another user's and not shared with this one, can be written by users outside its
        group, is not writable, or is of a newer spikecrate.
    DiskFullError
        Where the disk or the quota is full.
    """
    place = place_of(root)
    fix = OWN_FOLDER
    store = Store(place)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        observed = place.stat()
        require_usable(place, observed)
        _share_root(place, observed)
        with disk_full_named(place):
            if not (place / SCHEMA_FILE).exists():
                write_atomically(place / SCHEMA_FILE, json.dumps({"schema": SCHEMA}).encode())
            for folder in (store.results, store.failures, store.work, store.locks, store.memo, store.logs):
                make_folder(folder)
                # A part of one's own store that another user owns can be taken back.
                _require_trusted(folder, folder.stat(), _next_step(place, errno.EPERM))
            if observed.st_mode & stat.S_IWGRP:
                # Elsewhere these are made by whoever needs one first, with the rights of that user's umask.
                for folder in vars(store).values():
                    make_folder(folder)
    except OSError as error:
        if error.filename not in (None, str(place)):
            fix = _next_step(place, error.errno)
        message = f"the store {place} cannot be used: {error.filename or place}: {error.strerror}"
        raise StoreError(message, next_step=fix) from None
    return store


def require_usable(path: Path, observed: os.stat_result) -> None:
    """Raise where this user must not use a folder as a store; nothing is made.

    Parameters
    ----------
    path : Path
        The folder.
    observed : os.stat_result
        Its `stat`.

    Raises
    ------
    StoreError
        Where it is not a folder, another user's and not shared with this one, can be written by users outside its
        group, or is of a newer spikecrate.
    """
    if not stat.S_ISDIR(observed.st_mode):
        message = f"the store {path} is not a folder"
        raise StoreError(message, next_step=OWN_FOLDER)
    _require_trusted(path, observed)
    _check_schema(path / SCHEMA_FILE)


def concerns(store: Store) -> list[str]:
    """Return what may lose or hinder results in this store, one sentence each.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    list of str
        Empty where the store is on a disk with room.
    """
    found = []
    temporary = any(store.root.is_relative_to(folder) for folder in TEMPORARY)
    if temporary or is_memory_backed(store.root):
        found.append(
            f"the store {store.root} may not outlive a reboot; set SPIKECRATE_STORE to a folder on a disk"
        )
    space = os.statvfs(store.root)
    free_bytes = space.f_bavail * space.f_frsize
    if free_bytes < LITTLE_BYTES:
        found.append(
            f"the store {store.root} has {free_bytes / 2**30:.1f} GiB free; "
            "free some space (spikecrate store.gc), or set SPIKECRATE_STORE to a larger disk"
        )
    return found


@contextmanager
def system_errors_named(root: Path) -> Iterator[None]:
    """Turn an `OSError` inside the block that names a path in the store into a `StoreError`.

    A store in use can become another user's, or read-only, or its disk can fail, folder by folder.

    Parameters
    ----------
    root : Path
        The store's folder.

    Raises
    ------
    StoreError
        Naming the path.
    DiskFullError
        Where the disk or the quota is full.
    OSError
        Any other error of the block.
    """
    try:
        yield
    except OSError as error:
        path = Path(os.fsdecode(error.filename or ""))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with disk_full_named(path if error.filename else root):
                raise
        if not path.is_relative_to(root):
            raise
        message = f"the store cannot be used: {path}: {error.strerror}"
        raise StoreError(message, next_step=_next_step(root, error.errno)) from None


def _default() -> Path:
    """Return the default store; a relative XDG_CACHE_HOME is ignored, as its specification demands."""
    # https://specifications.freedesktop.org/basedir-spec/latest/
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache.startswith("/") else Path("~/.cache")) / "spikecrate"


def _require_trusted(path: Path, observed: os.stat_result, fix: str = OWN_FOLDER) -> None:
    """Raise where this user must not use a folder, judged by its owner, group and mode."""
    if observed.st_mode & stat.S_IWOTH:
        mode = stat.S_IMODE(observed.st_mode)
        reason = f"the store {path} can be written by every user of this machine (mode {mode:04o})"
        raise StoreError(reason, next_step=f"if you trust what is in it: chmod -R o-w {path}; else remove it")
    if observed.st_uid == os.geteuid():
        return
    reason = f"the store {path} belongs to user {observed.st_uid}, you are {os.geteuid()}"
    if observed.st_mode & stat.S_IRWXG != stat.S_IRWXG:
        raise StoreError(reason, next_step=fix)
    if observed.st_gid not in {os.getegid(), *os.getgroups()}:
        reason += f" and not in its group {observed.st_gid}"
        raise StoreError(reason, next_step=fix)
    if not observed.st_mode & stat.S_ISGID:
        reason += ", and it is not set-gid"
        raise StoreError(reason, next_step=f"ask its owner to share it: chmod g+s {path}")


def _share_root(place: Path, observed: os.stat_result) -> None:
    """Make what is created in a group-writable store of this user belong to the store's group."""
    mode = stat.S_IMODE(observed.st_mode)
    if observed.st_uid == os.geteuid() and mode & stat.S_IWGRP and not mode & stat.S_ISGID:
        place.chmod(mode | stat.S_ISGID)


def _next_step(root: Path, number: int | None) -> str:
    if number in (errno.EACCES, errno.EPERM):
        return f"make it yours again: sudo chown -R $(id -u) {root}; or set SPIKECRATE_STORE elsewhere"
    if number in (errno.EROFS, errno.EIO):
        return "read the kernel's log (dmesg), mount it for writing again, or set SPIKECRATE_STORE elsewhere"
    return "run it again; if it fails again, set SPIKECRATE_STORE to a folder of your own"


def _check_schema(path: Path) -> None:
    try:
        schema = json.loads(path.read_bytes())["schema"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        message = f"{path} cannot be read, so {path.parent} may not be a store of spikecrate"
        raise StoreError(
            message, next_step="set SPIKECRATE_STORE elsewhere, or remove the file if it is a store"
        ) from None
    if schema > SCHEMA:
        message = (
            f"{path.parent} is a store of a newer spikecrate (schema {schema}, this version reads {SCHEMA})"
        )
        raise StoreError(message, next_step="upgrade spikecrate, or set SPIKECRATE_STORE elsewhere")
