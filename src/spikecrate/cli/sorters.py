"""Commands on the catalogue."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Progress
from spikecrate.catalogue.parameters import operations
from spikecrate.catalogue.tools import Tool, catalogue, find
from spikecrate.cli.choices import FilePath, SorterName
from spikecrate.cli.command import command
from spikecrate.cli.text import say, table
from spikecrate.errors import OutputError, UsageError

if TYPE_CHECKING:
    from spikecrate.catalogue.lock import Change

SORTERS: Final = "sorters"


def show_catalogue(found: Iterable[dict[str, Any]]) -> None:
    """Print the catalogue.

    Parameters
    ----------
    found : iterable of dict
        The sorters, as the JSON has them.
    """
    shown = ("name", "version", "title", "license", "gpu")
    rows = [
        (*map(sorter.get, shown), "yes" if sorter["deterministic"] else "no", ", ".join(sorter["aliases"]))
        for sorter in found
    ]
    table(("name", "version", "title", "licence", "gpu", "equal bytes", "also known as"), rows)


def show_sorter(sorter: dict[str, Any]) -> None:
    """Print one sorter with its parameters.

    Parameters
    ----------
    sorter : dict
        The sorter, as the JSON has it.
    """
    say(f"{sorter['title']} ({sorter['name']} {sorter['version']}), {sorter['license']}")
    say(sorter["description"])
    if sorter["reference"].get("doi"):
        say(f"doi:{sorter['reference']['doi']}")
    if sorter["image"]:
        say(f"prebuilt image: {sorter['image']}")
    if sorter["requires"]:
        needs = {
            "channels": "at least {} channels",
            "duration_s": "at least {:g} s",
            "distinct_places": "a place of its own for each channel",
        }
        say(f"needs {', '.join(needs[name].format(value) for name, value in sorter['requires'].items())}")
    say()
    schemas = sorter["parameters"]["properties"]
    _show_parameters(schemas)
    for entry in schemas.values():
        for name, operation in operations(entry).items():
            say(f"\n{name}: {operation['description']}")
            _show_parameters(operation["properties"])


def _show_parameters(schemas: dict[str, Any]) -> None:
    rows = [
        (name, json.dumps(entry["default"]), value_range(entry), entry.get("unit"), entry["description"])
        for name, entry in schemas.items()
    ]
    table(("parameter", "default", "range", "unit", "description"), rows)


def show_locked(changes: "list[Change]") -> None:
    """Print the changes in a sorter's locks, a package a line.

    Parameters
    ----------
    changes : list of Change
        The changes in each lock.
    """
    for change in changes:
        lines = [
            *(f"  + {name} {version}" for name, version in change.added.items()),
            *(f"  - {name} {version}" for name, version in change.removed.items()),
            *(f"  {name} {before} -> {after}" for name, (before, after) in change.updated.items()),
        ]
        say("\n".join([f"{change.lock}{':' if lines else ': no package changed'}", *lines]))


@command("sorters.list", SORTERS, alias="sorters", show=show_catalogue)
def sorters_list() -> list[dict[str, Any]]:
    """List the catalogue.

    Examples
    --------
    spikecrate sorters
    """
    return [sorter_as_dict(sorter) for sorter in catalogue().values()]


@command("sorters.show", SORTERS, show=show_sorter)
def sorters_show(sorter: SorterName) -> dict[str, Any]:
    """Show a sorter and its parameters: default, range, unit, meaning.

    Parameters
    ----------
    sorter : SORTER
        name or alias of a sorter; example: ms4

    Examples
    --------
    spikecrate sorters.show ms4
    """
    return sorter_as_dict(find(sorter))


@command("sorters.new", SORTERS)
def sorters_new(name: str, into: str = "") -> None:
    """Write the folder of a new sorter; it lacks the body of sort() and the lock.

    Parameters
    ----------
    name : NAME
        name of the sorter and of its folder; example: mine
    into : DIR
        folder of sorters; by default the first of SPIKECRATE_SORTERS; example: sorters/

    Examples
    --------
    spikecrate sorters.new mine --into sorters/
    """
    from spikecrate.catalogue.scaffold import make

    own = [part for part in os.environ.get("SPIKECRATE_SORTERS", "").split(os.pathsep) if part]
    if not into and not own:
        message = "sorters.new does not know where to write: neither --into nor SPIKECRATE_SORTERS is given"
        raise UsageError(message, next_step=f"spikecrate sorters.new {name} --into DIR")
    folder = make(name, Path(into or own[0]).absolute())
    say(f"{folder} is made; it lacks:")
    say("  sorter.json       the parameters, and what the sorter is")
    say("  run.py            the body of sort()")
    say(f"  requirements.in   the packages that run.py imports; then: spikecrate sorters.lock {name}")
    if str(folder.parent) not in {str(Path(part).absolute()) for part in own}:
        say(f"to find it: export SPIKECRATE_SORTERS={folder.parent}")


@command("sorters.lock", SORTERS, "locking {sorter}", show=show_locked)
def sorters_lock(sorter: SorterName, upgrade: bool = False, *, progress: Progress) -> "list[Change]":
    """Lock a sorter's packages, each with its hashes, and show what changed.

    Parameters
    ----------
    sorter : SORTER
        name or alias of a sorter; example: ms4
    upgrade : flag
        take the newest versions that are allowed

    Examples
    --------
    spikecrate sorters.lock mine --upgrade
    """
    from spikecrate.catalogue.lock import relock

    return relock(find(sorter), progress, upgrade=upgrade)


@command("sorters.export", SORTERS)
def sorters_export(sorter: SorterName, output: FilePath | None = None) -> None:
    """Describe a sorter as a Boutiques descriptor, for other tools.

    Parameters
    ----------
    sorter : SORTER
        name or alias of a sorter; example: ms4
    output : FILE
        file for it; by default it is printed; example: ms4.json

    Examples
    --------
    spikecrate sorters.export ms4 --output ms4.json
    """
    from spikecrate.catalogue.boutiques import descriptor

    text = json.dumps(descriptor(find(sorter)), indent=2, ensure_ascii=False)
    if output is None:
        return say(text)
    try:
        output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        message = f"{output}: {error.strerror}"
        raise OutputError(message, next_step="name a file that can be written") from None
    return say(f"{output} is written")


def sorter_as_dict(sorter: "Tool") -> dict[str, Any]:
    """Return a sorter as the catalogue's JSON has it.

    Parameters
    ----------
    sorter : Tool
        A sorter of the catalogue.
    """
    return {**asdict(sorter), "folder": str(sorter.folder)}


def value_range(entry: dict[str, Any]) -> str | None:
    """Return the range of a parameter: its choices, or its bounds.

    Parameters
    ----------
    entry : dict
        The parameter in `sorter.json`.

    Returns
    -------
    str or None
    """
    if "enum" in entry:
        return ", ".join(json.dumps(value) for value in entry["enum"])
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    parts = [f"{sign} {entry[name]}" for name, sign in bounds.items() if entry.get(name) is not None]
    return " and ".join(parts) or None
