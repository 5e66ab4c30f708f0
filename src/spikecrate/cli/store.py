"""Commands on the store."""

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import counted, format_bytes
from spikecrate.cli.choices import JobKey, Memory, Time
from spikecrate.cli.command import command
from spikecrate.cli.text import say, table
from spikecrate.errors import JobNotFoundError, StoreCorruptError
from spikecrate.steps.listing import find_key
from spikecrate.store import gc, open_store, pins
from spikecrate.store import verify as checking

STORE: Final = "store"
SHOWN: Final = 20
NAMED: Final = 5
"""Number of corrupt files that a message names."""


def show_usage(found: dict[str, Any]) -> None:
    """Print the size of the store.

    Parameters
    ----------
    found : dict
        The result of `spikecrate.store.usage.usage`.
    """
    rows = [(row["kind"], row["count"], row["bytes"]) for row in found["kinds"]]
    rows += [(f"results of {row['sorter']}", row["results"], row["bytes"]) for row in found["sorters"]]
    table(("kind", "number", "size"), [(kind, count, format_bytes(size)) for kind, count, size in rows])
    say(f"{format_bytes(found['bytes'])} in {found['store']}; {counted(found['pinned'], 'pinned result')}")


def show_collected(done: dict[str, Any]) -> None:
    """Print the removed content, or with --dry-run the content to remove.

    Parameters
    ----------
    done : dict
        The result of `collect_garbage`.
    """
    word, freed = ("would remove", "would free") if done["dry_run"] else ("removed", "freed")
    for name in done["removed"]:
        say(f"{word} {name}")
    for row in done["collected"][:SHOWN]:
        size = format_bytes(row["size_bytes"])
        say(f"{word} {row['kind']} {row['what']}  {size}, last used {row['used'][:10]}")
    if len(done["collected"]) > SHOWN:
        kinds = Counter(row["kind"] for row in done["collected"][SHOWN:])
        say(f"and {', '.join(f'{number} more of {kind}' for kind, number in kinds.items())}")
    for name in ("locks", "memos", "partial_files"):
        if done[name]:
            say(f"{word} {done[name]} {name.replace('_', ' ')} that nothing needs")
    if done["busy"]:
        say(f"kept {done['busy']} that were in use")
    left = "" if done["left_bytes"] is None else f"; {format_bytes(done['left_bytes'])} stay"
    say(f"{freed} {format_bytes(done['freed_bytes'])}{left}")


def show_verified(done: dict[str, Any]) -> None:
    """Print that the store is intact.

    Parameters
    ----------
    done : dict
        The result of `verify`.
    """
    say(f"{done['checked']} results, memos, indexes, locks and SIFs are as they were written")


@command("store.du", STORE, "measuring the store", show=show_usage)
def usage(*, progress: Progress) -> dict[str, Any]:
    """Show how big the store is, by kind of content and by sorter.

    Examples
    --------
    spikecrate store.du
    """
    from spikecrate.store.usage import usage as measure

    return asdict(measure(open_store(), progress))


@command("store.gc", STORE, "collecting garbage", show=show_collected)
def collect_garbage(
    keep: Time | None = None, max: Memory | None = None, dry_run: bool = False, *, progress: Progress
) -> dict[str, Any]:
    """Remove what stopped runs left; with --keep or --max also old results, failures, logs and quarantine.

    Parameters
    ----------
    keep : TIME
        also remove what was not used for this long; example: 30d
    max : SIZE
        also remove the longest unused until the store fits; example: 200G
    dry_run : flag
        only show what would be removed

    Examples
    --------
    spikecrate store.gc --keep 30d --max 200G --dry-run
    """
    from spikecrate.runtimes.choice import usable
    from spikecrate.steps.sweep import left_over, sweep

    store = open_store()
    if dry_run:
        removed = left_over(store)
    else:
        removed = [name for runtime in usable(store) for name in sweep(store, runtime)]
    done = gc.collect(store, progress, keep_s=keep, max_bytes=max, dry_run=dry_run)
    return {"removed": removed, **asdict(done)}


@command("store.pin", STORE)
def pin(job: JobKey) -> dict[str, Any]:
    """Keep a result whatever store.gc is asked to remove.

    Parameters
    ----------
    job : JOB
        the first digits of a job key; example: 0b680c52

    Examples
    --------
    spikecrate store.pin 0b680c52
    """
    store = open_store()
    key = find_key(store, job)
    if not store.result(key).is_dir():
        message = f"job {key[:12]} has no result in the store, so there is nothing to pin"
        raise JobNotFoundError(message, next_step=f"spikecrate job.show {key[:12]} shows its state")
    changed = pins.pin(store, key, f"pinned {datetime.now(UTC).isoformat(timespec='seconds')}")
    return {"key": key, "pinned": True, "changed": changed}


@command("store.unpin", STORE)
def unpin(job: JobKey) -> dict[str, Any]:
    """Let store.gc remove a result again.

    Parameters
    ----------
    job : JOB
        the first digits of a job key; example: 0b680c52

    Examples
    --------
    spikecrate store.unpin 0b680c52
    """
    store = open_store()
    # The result of a pin may be gone.
    among = [key for key in pins.pinned(store) if job and key.startswith(job.lower())]
    key = among[0] if len(among) == 1 else find_key(store, job)
    return {"key": key, "pinned": False, "changed": pins.unpin(store, key)}


@command("store.verify", STORE, "verifying the store", show=show_verified)
def verify(dry_run: bool = False, *, progress: Progress) -> dict[str, Any]:
    """Read the whole store, name what is corrupt, and set it aside.

    Parameters
    ----------
    dry_run : flag
        only name what is corrupt

    Examples
    --------
    spikecrate store.verify
    """
    from spikecrate.images import provenance

    store = open_store()
    every = chain(checking.checks(store), provenance.checks(store))
    done = checking.verify(every, progress, dry_run=dry_run)
    found = done.found
    if found:
        first = "; ".join(f"{finding.kind} {finding.what}: {finding.problem}" for finding in found[:NAMED])
        also = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        fate = "left where it was" if dry_run else "set aside"
        message = f"{len(found)} of {done.checked} things in the store are corrupt, {fate}: {first}{also}"
        again = "spikecrate store.verify sets them aside"
        advice = again if dry_run else "sort again what is needed, and check the disk"
        raise StoreCorruptError(message, next_step=advice, details=asdict(done))
    return asdict(done)
