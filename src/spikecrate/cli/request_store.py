"""From the words of the tasks on the store to the library's arguments."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Terminal
from spikecrate._util.quantities import parse_bytes, parse_seconds
from spikecrate.cli.request_words import whole_number
from spikecrate.errors import JobNotFoundError, SorterNotFoundError, StoreCorruptError
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.store import Store

SHOWN: Final = 50
"""How many jobs fit on a screen or two."""
NAMED: Final = 5


def jobs(
    *, sorter: str, status: str, recording: str, limit: str, shown: bool
) -> tuple[list[dict[str, Any]], bool]:
    """List jobs, and say whether there are more; without a limit all, or as many as are well shown.

    Raises
    ------
    UsageError
        Naming the word that cannot be read.
    """
    from spikecrate.steps.listing import list_jobs

    count = whole_number("--limit", limit)
    most = (SHOWN if shown else 0) if count is None else count
    rows = list_jobs(
        open_store(),
        Terminal(),
        sorters=_sorters(sorter),
        status=status,
        recording=recording,
        limit=most + 1 if most else None,
    )
    return (rows[:most], len(rows) > most) if most else (rows, False)


def usage() -> dict[str, Any]:
    """Measure the store."""
    from spikecrate.store import usage

    return usage.usage(open_store(), Terminal())


def collect_garbage(*, keep: str = "", most: str = "", dry_run: bool = False) -> dict[str, Any]:
    """Remove what stopped runs left, in every runtime that this machine has, and what is old.

    Raises
    ------
    UsageError
        For an amount of time or of bytes that cannot be read.
    """
    from spikecrate.runtimes.choice import usable
    from spikecrate.steps.sweep import left_over, sweep
    from spikecrate.store import gc

    keep_s = parse_seconds(keep) if keep else None
    max_bytes = parse_bytes(most) if most else None
    store = open_store()
    if dry_run:
        removed = left_over(store)
    else:
        removed = [name for runtime in usable(store) for name in sweep(store, runtime)]
    done = gc.collect(store, Terminal(), keep_s=keep_s, max_bytes=max_bytes, dry_run=dry_run)
    return {"removed": removed, **done}


def pin(job: str) -> dict[str, Any]:
    """Pin a result, by the first digits of its key.

    Raises
    ------
    JobNotFoundError
        Where there is no such job, or it has no result.
    """
    from spikecrate.steps.listing import find_key
    from spikecrate.store import pins

    store = open_store()
    key = find_key(store, job)
    if not store.result(key).is_dir():
        message = f"job {key[:12]} has no result in the store, so there is nothing to pin"
        raise JobNotFoundError(message, next_step=f"spikecrate job.show {key[:12]} says what became of it")
    changed = pins.pin(store, key, f"pinned {datetime.now(UTC).isoformat(timespec='seconds')}")
    return {"key": key, "pinned": True, "changed": changed}


def unpin(job: str) -> dict[str, Any]:
    """Take the pin from a result, by the first digits of its key.

    Raises
    ------
    JobNotFoundError
    """
    from spikecrate.store import pins

    store = open_store()
    key = _pinned_key(store, job)
    return {"key": key, "pinned": False, "changed": pins.unpin(store, key)}


def verify(*, dry_run: bool) -> dict[str, Any]:
    """Check the whole store: results, memos, index, locks and SIFs.

    Raises
    ------
    StoreCorruptError
        Where something is corrupt; `details` has all of it.
    """
    from spikecrate.images import provenance
    from spikecrate.store import verify as checking

    store = open_store()
    these = chain(checking.checks(store), provenance.checks(store))
    count, found = checking.verify(these, Terminal(), dry_run=dry_run)
    if found:
        first = "; ".join(f"{finding.kind} {finding.what}: {finding.problem}" for finding in found[:NAMED])
        also = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        done = "left where it was" if dry_run else "set aside"
        message = f"{len(found)} of {count} things in the store are corrupt, {done}: {first}{also}"
        raise StoreCorruptError(
            message,
            next_step="spikecrate store.verify sets them aside"
            if dry_run
            else "sort again what is needed; is the disk sound?",
            details=checking.as_dict(count, found),
        )
    return checking.as_dict(count, found)


def _sorters(word: str) -> set[str]:
    """Give the names under which a sorter's jobs stand: it may be an alias, or gone from the catalogue."""
    from spikecrate.catalogue.tools import find

    if not word:
        return set()
    try:
        return {word, find(word).name}
    except SorterNotFoundError:
        return {word}


def _pinned_key(store: Store, job: str) -> str:
    """Complete a key among the pins, which may be of a result that is gone, else among the jobs."""
    from spikecrate.steps.listing import find_key
    from spikecrate.store import pins

    among = [key for key in pins.pinned(store) if job and key.startswith(job.lower())]
    return among[0] if len(among) == 1 else find_key(store, job)
