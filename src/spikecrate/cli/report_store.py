"""How the store's jobs, its size, and what was collected or checked are printed."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from spikecrate._util.quantities import format_bytes
from spikecrate.cli.text import as_json, say, table

SHOWN: Final = 20


def jobs(rows: list[dict[str, Any]], *, more: bool, to_json: bool) -> None:
    """Print the jobs that the store knows."""
    if to_json:
        as_json(rows)
        return
    columns = ("status", "sorter", "units", "events", "wall_s", "runtime", "started")
    table(
        ("key", *columns, "pinned", "recording"),
        (
            (
                row["key"][:12],
                *(row[column] for column in columns),
                "yes" if row["pinned"] else "",
                row["recording"] or row["reason"],
            )
            for row in rows
        ),
    )
    if more:
        say(f"the latest {len(rows)}; --limit 0 lists all, and --sorter, --status, --recording some")


def usage(found: dict[str, Any], *, to_json: bool) -> None:
    """Print how big the store is."""
    if to_json:
        as_json(found)
        return
    table(
        ("kind", "number", "size"),
        (
            *((row["kind"], row["count"], format_bytes(row["bytes"])) for row in found["kinds"]),
            *(
                (f"results of {row['sorter']}", row["results"], format_bytes(row["bytes"]))
                for row in found["sorters"]
            ),
        ),
    )
    say(f"{format_bytes(found['bytes'])} in {found['store']}; {found['pinned']} results are pinned")


def collected(done: dict[str, Any], *, to_json: bool) -> None:
    """Print what was removed, or would be."""
    if to_json:
        as_json(done)
        return
    word, freed = ("would remove", "would free") if done["dry_run"] else ("removed", "freed")
    for name in done["removed"]:
        say(f"{word} {name}")
    for row in done["collected"][:SHOWN]:
        size = format_bytes(row["size_bytes"])
        say(f"{word} {row['kind']} {row['what']}  {size}, last used {row['used'][:10]}")
    if len(done["collected"]) > SHOWN:
        kinds = Counter(row["kind"] for row in done["collected"][SHOWN:])
        say(f"and {', '.join(f'{number} more of {kind}' for kind, number in kinds.items())}")
    for name in ("locks", "memos", "rests"):
        if done[name]:
            say(f"{word} {done[name]} {name} that nothing needs")
    if done["busy"]:
        say(f"kept {done['busy']} that were in use")
    left = "" if done["left_bytes"] is None else f"; {format_bytes(done['left_bytes'])} stay"
    say(f"{freed} {format_bytes(done['freed_bytes'])}{left}")


def verified(done: dict[str, Any], *, to_json: bool) -> None:
    """Print that the store is sound."""
    if to_json:
        as_json(done)
        return
    say(f"{done['checked']} results, memos, indexes, locks and SIFs are as they were written")
