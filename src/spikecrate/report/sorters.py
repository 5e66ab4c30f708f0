"""How the catalogue is printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from spikecrate.report.text import as_json, say, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate.sorters import Sorter


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
