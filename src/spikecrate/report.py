"""What the command line prints: tables for people, one line of JSON for programs."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

from spikecrate.quantities import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spikecrate.api import Forecast, Result
    from spikecrate.sorters import Sorter


FILES_SHOWN: Final = 40


def say(text: str) -> None:
    """Print to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def as_json(value: Any) -> None:
    """Print one JSON value on one line."""
    say(json.dumps(value, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers to the right, what is missing as a dash."""
    texts = [[_cell(value) for value in row] for row in rows]
    right = [
        bool(texts) and all(row[at] == "–" or row[at][:1].isdigit() for row in texts)
        for at in range(len(columns))
    ]
    widths = [max([len(column), *(len(row[at]) for row in texts)]) for at, column in enumerate(columns)]
    for row in [list(columns), *texts]:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        say("  ".join(cells).rstrip())


def result(done: Result, *, to_json: bool) -> None:
    """Print a result."""
    if to_json:
        as_json(done.as_dict())
        return
    record = done.record
    how = (
        f"sorted in {record['wall_s']:.1f} s ({record['runtime']})"
        if done.status == "ran"
        else f"found in {done.elapsed_s * 1000:.0f} ms (it was sorted in {record['wall_s']:.1f} s)"
    )
    sorter = record["sorter"]
    say(f"{sorter['name']} {sorter['version']}: {record['units']} units, {record['events']} events; {how}")
    say(f"key     {done.key}")
    say(f"result  {done.output or done.folder}")


def forecast(seen: Forecast, *, to_json: bool) -> None:
    """Print what would happen, why, and the exact command line."""
    if to_json:
        as_json(seen.as_dict())
        return
    words = {"hit": "found in the store", "wait": "waited for", "run": f"run with {seen.runtime}"}
    say(f"{seen.job.key}: would be {words[seen.plan.action]}")
    if seen.plan.nearest is not None:
        say(f"new against the nearest earlier result, {seen.plan.nearest[:12]}:")
    for reason in seen.plan.reasons:
        say(f"  {reason}")
    say(shlex.join(seen.argv))


def jobs(rows: list[dict[str, Any]], *, to_json: bool) -> None:
    """Print the jobs that the store knows."""
    if to_json:
        as_json(rows)
        return
    columns = ("status", "sorter", "units", "events", "wall_s", "runtime", "started")
    table(
        ("key", *columns, "recording"),
        (
            (row["key"][:12], *(row[column] for column in columns), row["recording"] or row["reason"])
            for row in rows
        ),
    )


def sorters(found: Iterable[Sorter], *, to_json: bool) -> None:
    """Print the catalogue."""
    if to_json:
        as_json([sorter_as_dict(sorter) for sorter in found])
        return
    table(
        ("name", "version", "title", "licence", "gpu", "equal bytes", "also known as"),
        (
            (
                sorter.name,
                sorter.version,
                sorter.title,
                sorter.license,
                sorter.gpu,
                "yes" if sorter.deterministic else "no",
                ", ".join(sorter.aliases),
            )
            for sorter in found
        ),
    )


def sorter(shown: Sorter, *, to_json: bool) -> None:
    """Print one sorter with its parameters."""
    if to_json:
        as_json(sorter_as_dict(shown))
        return
    say(f"{shown.title} ({shown.name} {shown.version}), {shown.license}")
    say(shown.description)
    if shown.reference.get("doi"):
        say(f"doi:{shown.reference['doi']}")
    say("")
    table(
        ("parameter", "default", "range", "unit", "description"),
        (
            (name, json.dumps(entry["default"]), value_range(entry), entry.get("unit"), entry["description"])
            for name, entry in shown.parameters["properties"].items()
        ),
    )


def sorter_as_dict(shown: Sorter) -> dict[str, Any]:
    """Give a sorter as the catalogue's JSON holds it."""
    from dataclasses import asdict

    return {**asdict(shown), "folder": str(shown.folder)}


def images(rows: list[dict[str, Any]], *, to_json: bool) -> None:
    """Print the images and SIFs."""
    if to_json:
        as_json(rows)
        return
    table(
        ("image", "recipe", "digest", "size", "SIF", "results", "state"),
        (
            (
                row["name"],
                row["recipe"][:12],
                row["digest"].removeprefix("sha256:")[:12],
                _size(row["size_bytes"]),
                _size(row["sif_bytes"]),
                row["results"],
                row["state"],
            )
            for row in rows
        ),
    )


def pruned(done: dict[str, Any], *, to_json: bool) -> None:
    """Print what was removed, what was kept and why, and the space."""
    if to_json:
        as_json(done)
        return
    word, words = ("would remove", "would free") if done["dry_run"] else ("removed", "freed")
    for row in done["removed"]:
        say(f"{word} {row['what']}  {_size(row['size_bytes'])}")
    for row in done["kept"]:
        say(f"kept {row['what']}: {row['why']}")
    say(f"{words} {_size(done['freed_bytes'])}")


def image_differences(found: dict[str, Any], *, to_json: bool) -> None:
    """Print what differs between two images: packages, settings, and the first files."""
    if to_json:
        as_json(found)
        return
    for side in ("first", "second"):
        say(f"{side.ljust(6)}  {found[side]['title']}  {found[side]['digest'] or ''}".rstrip())
    for kind in ("debian", "python", "settings"):
        for row in found[kind] or []:
            say(f"{kind}  {row['name']}: {_version(row['first'])} | {_version(row['second'])}")
    if found["files"] is None:
        say("files and settings are not compared: a lock has packages alone")
    for row in (found["files"] or [])[:FILES_SHOWN]:
        say(f"file  {row['name']}: {row['difference']}")
    if len(found["files"] or []) > FILES_SHOWN:
        say(f"and {len(found['files']) - FILES_SHOWN} more files; --json names all")
    if not any(found[kind] for kind in ("debian", "python", "settings", "files")):
        say("nothing differs")


def value_range(entry: dict[str, Any]) -> str | None:
    """Write the range of a parameter: its choices, or its bounds."""
    if "enum" in entry:
        return ", ".join(json.dumps(value) for value in entry["enum"])
    low, high = entry.get("minimum"), entry.get("maximum")
    above, below = entry.get("exclusiveMinimum"), entry.get("exclusiveMaximum")
    parts = [
        *([f"≥ {low}"] if low is not None else []),
        *([f"> {above}"] if above is not None else []),
        *([f"≤ {high}"] if high is not None else []),
        *([f"< {below}"] if below is not None else []),
    ]
    return " and ".join(parts) or None


def fields(values: dict[str, Any], *, to_json: bool) -> None:
    """Print a JSON object: as it is, or a field a line."""
    if to_json:
        as_json(values)
        return
    width = max(map(len, values), default=0)
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        say(f"{name.ljust(width)}  {shown}")


def _size(number: int | None) -> str | None:
    return None if number is None else format_bytes(number)


def _version(value: Any) -> str:
    """Write a package as one side has it: of Python's, version and the first digits of its RECORD's hash."""
    if isinstance(value, dict):
        return f"{value['version']} ({(value['record'] or 'no RECORD')[:15]})"
    return "–" if value is None else str(value)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
