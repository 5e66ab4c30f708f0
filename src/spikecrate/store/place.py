"""Where the store is, and what lies where in it."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.files import disk_full_named, write_atomically
from spikecrate.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = 1
"""Raised when the layout changes in a way that an older spikecrate would misread."""

KEY_DIGITS: Final = 64


@dataclass(frozen=True)
class Store:
    """The folder that holds everything spikecrate keeps; each property is one kind of thing.

    Attributes
    ----------
    root : Path
        Absolute path of the store.
    """

    root: Path

    @property
    def results(self) -> Path:
        """Finished results: `results/ab/abcd…/`."""
        return self.root / "results"

    @property
    def failures(self) -> Path:
        """The last failure of each job: `failures/ab/abcd…/`."""
        return self.root / "failures"

    @property
    def work(self) -> Path:
        """Jobs that are running, or were when their owner died."""
        return self.root / "work"

    @property
    def locks(self) -> Path:
        """One file for each job that runs."""
        return self.root / "locks"

    @property
    def memo(self) -> Path:
        """Answers about files: hashes of recordings, checks of results."""
        return self.root / "memo"

    @property
    def index(self) -> Path:
        """What lists are made from, a small file for each shard of results and failures."""
        return self.root / "index"

    @property
    def pins(self) -> Path:
        """One file for each result that `store.gc` leaves alone, named by its key."""
        return self.root / "pins"

    @property
    def environments(self) -> Path:
        """Virtual environments of the host runtime."""
        return self.root / "environments"

    @property
    def sifs(self) -> Path:
        """Images as single files for Apptainer, each with its provenance beside."""
        return self.root / "sif"

    @property
    def wheels(self) -> Path:
        """Wheels that bundles brought: environments are made of them without a network."""
        return self.root / "wheels"

    @property
    def sorters(self) -> Path:
        """Sorters that bundles brought and the catalogue lacks: a folder for SPIKECRATE_SORTERS."""
        return self.root / "sorters"

    @property
    def recipes(self) -> Path:
        """What images were made from, by the recipe's hash: so that an old result can be made again."""
        return self.root / "recipes"

    @property
    def logs(self) -> Path:
        """Logs of image and environment builds."""
        return self.root / "logs"

    @property
    def quarantine(self) -> Path:
        """Results that were found corrupt, set aside."""
        return self.root / "quarantine"

    def result(self, key: str) -> Path:
        """Folder of a job's result."""
        return self.results / key[:2] / key

    def failure(self, key: str) -> Path:
        """Folder of a job's last failure."""
        return self.failures / key[:2] / key

    def lock(self, name: str) -> Path:
        """File of the lock of that name."""
        return self.locks / f"{name}.lock"


def place_of(root: Path | str | None) -> Path:
    """Say where the store is: where it is named, by the caller or by `SPIKECRATE_STORE`; else under /tmp."""
    named = root or os.environ.get("SPIKECRATE_STORE")
    try:
        named = Path(named).expanduser() if named else None
    except RuntimeError:
        message = f"the store {named} cannot be used: this machine has no such user"
        raise StoreError(message, next_step="set SPIKECRATE_STORE to a folder of your own") from None
    return named.absolute() if named else Path(f"/tmp/spikecrate-{os.getuid()}")


def open_store(root: Path | str | None = None) -> Store:
    """Open the store, making it where there is none.

    Parameters
    ----------
    root : Path or str, optional
        By default `SPIKECRATE_STORE`, else `/tmp/spikecrate-<uid>`.

    Raises
    ------
    StoreError
        Where the folder is another user's, a link under /tmp, not writable, or of a newer spikecrate.
    DiskFullError
    """
    named = root or os.environ.get("SPIKECRATE_STORE")
    place = place_of(named)
    mend = "set SPIKECRATE_STORE to a folder of your own"
    store = Store(place)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A link that someone else planted in /tmp must not lead our files elsewhere.
        seen = place.stat() if named else place.lstat()
        if not stat.S_ISDIR(seen.st_mode):
            message = f"the store {place} is not a folder"
            raise StoreError(message, next_step=mend)
        if seen.st_uid != os.geteuid():
            message = f"the store {place} belongs to user {seen.st_uid}, you are {os.geteuid()}"
            raise StoreError(message, next_step=mend)
        _check_schema(place / "store.json")
        with disk_full_named(place):
            for folder in (store.results, store.failures, store.work, store.locks, store.memo, store.logs):
                folder.mkdir(exist_ok=True)
    except OSError as error:
        if error.filename not in (None, str(place)):
            mend = _mend(place, error.errno)
        message = f"the store {place} cannot be used: {error.filename or place}: {error.strerror}"
        raise StoreError(message, next_step=mend) from None
    return store


@contextmanager
def system_errors_named(root: Path) -> Iterator[None]:
    """Turn what the system says of a path in the store, inside the block, into an error of ours.

    A store in use can become another's, or read-only, or its disk can fail, folder by folder.

    Raises
    ------
    StoreError
        Naming the path.
    DiskFullError
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
        raise StoreError(message, next_step=_mend(root, error.errno)) from None


def _mend(root: Path, number: int | None) -> str:
    match number:
        case errno.EACCES | errno.EPERM:
            return f"make it yours again: sudo chown -R $(id -u) {root}; or set SPIKECRATE_STORE elsewhere"
        case errno.EROFS | errno.EIO:
            return "the kernel's log (dmesg) says why; mount it for writing again, or set SPIKECRATE_STORE elsewhere"
        case _:
            return "run it again; if it stays so, set SPIKECRATE_STORE to a folder of your own"


def _check_schema(path: Path) -> None:
    try:
        schema = json.loads(path.read_bytes())["schema"]
    except FileNotFoundError:
        write_atomically(path, json.dumps({"schema": SCHEMA}).encode())
        return
    except (ValueError, KeyError, TypeError):
        message = f"{path} cannot be read: is {path.parent} a store of spikecrate?"
        raise StoreError(
            message, next_step="set SPIKECRATE_STORE elsewhere, or remove the file if it is a store"
        ) from None
    if schema > SCHEMA:
        message = f"{path.parent} is a store of a newer spikecrate (schema {schema}, this one knows {SCHEMA})"
        raise StoreError(message, next_step="upgrade spikecrate, or set SPIKECRATE_STORE elsewhere")
