"""Read everything in the store that has a hash, and set corrupt content aside."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.store import quarantine, results
from spikecrate.store.file_hashes import FileHashCache
from spikecrate.store.index import SUFFIX, names_in, read_page
from spikecrate.store.lock import is_free
from spikecrate.store.usage import measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.store.place import Store

AHEAD: Final = 64
"""Checks queued for each thread: enough to keep it busy, few enough to stop at once."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Corrupt content.

    Attributes
    ----------
    kind : str
        `result`, `memo`, `index`, `lock` or `SIF`.
    what : str
        Its path.
    problem : str
        The problem.
    aside : str or None
        Its path in the quarantine; None where it was left in place.
    """

    kind: str
    what: str
    problem: str
    aside: str | None


@dataclass(frozen=True)
class Verification:
    """The outcome of `verify`.

    Attributes
    ----------
    checked : int
        Number of checks.
    found : list of Finding
        The corrupt content, by path.
    """

    checked: int
    found: list[Finding]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check of one file or folder.

    Attributes
    ----------
    kind : str
        As in `Finding`.
    path : Path
        The file or folder.
    size_bytes : int
        Approximate number of bytes to read.
    problem : callable
        Returns the problem; None where the content is intact.
    move : callable
        Moves it to the quarantine and returns its path there; None where it is gone by now.
    """

    kind: str
    path: Path
    size_bytes: int
    problem: Callable[[], str | None]
    move: Callable[[], Path | None]


def checks(store: Store) -> Iterator[Check]:
    """Yield the checks of a store: of results, file hashes, the index and locks.

    Parameters
    ----------
    store : Store
        The store.

    Yields
    ------
    Check
    """
    for key in results.keys(store):
        yield _result_check(store, key)
    memo = FileHashCache(store.memo)
    for path in memo.entries():
        yield _file_check(store, "memo", path, memo.problem_of)
    for shelves in (store.results, store.failures):
        folder = store.index / shelves.name
        for name in names_in(folder):
            if name.endswith(SUFFIX):
                yield _file_check(store, "index", folder / name, _problem_of_rows)
    for path in store.locks.iterdir():
        yield _file_check(store, "lock", path, _problem_of_lock)


def verify(these: Iterable[Check], progress: Progress, *, dry_run: bool) -> Verification:
    """Run checks on all cores, and move corrupt content to the quarantine.

    Parameters
    ----------
    these : iterable of Check
        The checks; `checks` yields those of the store itself.
    progress : Progress
        Receives the number of read bytes, and a note on each finding.
    dry_run : bool
        Leave corrupt content in place.

    Returns
    -------
    Verification

    Raises
    ------
    DiskFullError
        Where corrupt content cannot be moved.
    """
    todo = list(these)
    found = []
    cores = len(os.sched_getaffinity(0))
    # Threads suffice: most of the time goes into hashing, which releases the interpreter's lock.
    pool = ThreadPoolExecutor(cores)
    try:
        with progress.bar("checking the store", sum(check.size_bytes for check in todo)) as advance:
            for at in range(0, len(todo), AHEAD * cores):
                running = {pool.submit(check.problem): check for check in todo[at : at + AHEAD * cores]}
                for done in as_completed(running):
                    check, problem = running[done], done.result()
                    if problem is not None:
                        found.append(_reported(check, problem, progress, dry_run=dry_run))
                    advance(check.size_bytes)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return Verification(len(todo), sorted(found, key=lambda finding: finding.what))


def _reported(check: Check, problem: str, progress: Progress, *, dry_run: bool) -> Finding:
    aside = None if dry_run else check.move()
    where = "" if aside is None else f"; set aside in {aside}"
    progress.note(f"{check.kind} {check.path}: {problem}{where}")
    return Finding(
        kind=check.kind,
        what=str(check.path),
        problem=problem,
        aside=None if aside is None else str(aside),
    )


def _result_check(store: Store, key: str) -> Check:
    folder = store.result(key)

    def problem() -> str | None:
        found = results.problem_of(store, key)
        return None if found is None else found[0]

    def move() -> Path | None:
        # Another process may have replaced it meanwhile.
        found = results.problem_of(store, key)
        return None if found is None else results.set_aside(store, folder, found[1])

    return Check(kind="result", path=folder, size_bytes=measured(folder)[1], problem=problem, move=move)


def _file_check(store: Store, kind: str, path: Path, problem_of: Callable[[Path], str | None]) -> Check:
    def problem() -> str | None:
        found = problem_of(path)
        # A job may have removed it meanwhile.
        return found if found is not None and path.is_symlink() | path.exists() else None

    return Check(
        kind=kind,
        path=path,
        size_bytes=2**10,
        problem=problem,
        move=lambda: quarantine.set_aside(store, path),
    )


def _problem_of_rows(path: Path) -> str | None:
    return None if read_page(path) is not None else "does not match its hash"


def _problem_of_lock(path: Path) -> str | None:
    if path.is_symlink() or not path.is_file():
        return "is not a file"
    try:
        is_free(path)
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    return None
