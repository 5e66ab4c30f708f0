"""How the catalogue is printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from spikecrate.cli.text import as_json, say, table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from spikecrate.catalogue.tools import Sorter


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
    if shown.image:
        say(f"prebuilt image: {shown.image}")
    if shown.requires:
        least = {"channels": "{} channels", "duration_s": "{:g} s"}
        say(
            f"needs at least {' and '.join(least[name].format(value) for name, value in shown.requires.items())}"
        )
    say("")
    table(
        ("parameter", "default", "range", "unit", "description"),
        (
            (name, json.dumps(entry["default"]), value_range(entry), entry.get("unit"), entry["description"])
            for name, entry in shown.parameters["properties"].items()
        ),
    )


def made(folder: Path) -> None:
    """Print where a new sorter's folder is, and what it lacks."""
    name = folder.name
    say(f"{folder} is there; what it lacks:")
    say("  sorter.json       the parameters, and what the sorter is")
    say("  run.py            the body of sort()")
    say(f"  requirements.in   the packages that run.py imports; then: spikecrate sorters.lock {name}")


def locked(changes: list[dict[str, Any]], *, to_json: bool) -> None:
    """Print what locking anew changed, a package a line."""
    if to_json:
        as_json(changes)
        return
    for change in changes:
        lines = [
            *(f"  + {name} {version}" for name, version in change["added"].items()),
            *(f"  - {name} {version}" for name, version in change["removed"].items()),
            *(f"  {name} {before} -> {after}" for name, (before, after) in change["updated"].items()),
        ]
        say(f"{change['lock']}{':' if lines else ': every package is as it was'}")
        for line in lines:
            say(line)


def exported(described: dict[str, Any], output: str) -> None:
    """Print a descriptor, or where it was written."""
    say(f"{output} is written" if output else json.dumps(described, indent=2, ensure_ascii=False))


def sorter_as_dict(shown: Sorter) -> dict[str, Any]:
    """Give a sorter as the catalogue's JSON holds it."""
    from dataclasses import asdict

    return {**asdict(shown), "folder": str(shown.folder)}


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
