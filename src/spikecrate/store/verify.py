"""Read everything in the store that has a hash, and set aside what is not what was written."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.store import quarantine, results
from spikecrate.store.file_hashes import FileHashCache
from spikecrate.store.index import SUFFIX, names_in, read_page
from spikecrate.store.lock import is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.store.place import Store

AHEAD: Final = 64
"""How many checks wait in line for each thread: enough to keep it busy, few enough to stop at once."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not what was written.

    Attributes
    ----------
    kind : str
        `result`, `memo`, `index`, `lock` or `SIF`.
    what : str
        Its path.
    problem : str
        What is wrong with it.
    aside : str or None
        Where it went; None where it was only named.
    """

    kind: str
    what: str
    problem: str
    aside: str | None


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing to be read.

    Attributes
    ----------
    kind : str
        As in `Finding`.
    path : Path
        Where it lies.
    size_bytes : int
        About how much there is to read.
    problem : callable
        Says what is wrong, or gives None.
    move : callable
        Sets it aside and gives where it went; None where it is gone by now.
    """

    kind: str
    path: Path
    size_bytes: int
    problem: Callable[[], str | None]
    move: Callable[[], Path | None]


def checks(store: Store) -> Iterator[Check]:
    """Give what there is to check in the store: results, memos, the index, locks."""
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


def verify(these: Iterable[Check], progress: Progress, *, dry_run: bool) -> tuple[int, list[Finding]]:
    """Check everything, on all cores.

    Parameters
    ----------
    these : iterable of Check
        What; `checks` gives those of the store itself.
    progress : Progress
        Told how far it is, and of each thing that is corrupt as it is found.
    dry_run : bool
        Name what is corrupt, and leave it where it is.

    Returns
    -------
    int, list of Finding
        How many things were checked, and those that are corrupt.
    """
    todo = list(these)
    found = []
    cores = len(os.sched_getaffinity(0))
    # Threads: the hashing of large files, where the time goes, holds no lock of the interpreter's.
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
    return len(todo), sorted(found, key=lambda finding: finding.what)


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
    judged: list[results.Identity] = []

    def problem() -> str | None:
        found = results.problem_of(store, key)
        if found is None:
            return None
        judged.append(found[1])
        return found[0]

    def move() -> Path | None:
        return results.set_aside(store, folder, judged[0])

    try:
        size = (folder / "firings.mda").stat().st_size
    except OSError:
        size = 0
    return Check(kind="result", path=folder, size_bytes=size + 2**16, problem=problem, move=move)


def _file_check(store: Store, kind: str, path: Path, problem_of: Callable[[Path], str | None]) -> Check:
    def problem() -> str | None:
        found = problem_of(path)
        # Replaced or removed meanwhile by those who use it.
        return found if found is not None and path.is_symlink() | path.exists() else None

    return Check(
        kind=kind,
        path=path,
        size_bytes=2**10,
        problem=problem,
        move=lambda: quarantine.set_aside(store, path),
    )


def _problem_of_rows(path: Path) -> str | None:
    return None if read_page(path) is not None else "is not what was written"


def _problem_of_lock(path: Path) -> str | None:
    if path.is_symlink() or not path.is_file():
        return "is no file"
    try:
        is_free(path)
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    return None


def as_dict(count: int, found: list[Finding]) -> dict[str, Any]:
    """Give what `verify` gave, in JSON types."""
    return {"checked": count, "found": [vars(finding) for finding in found]}
