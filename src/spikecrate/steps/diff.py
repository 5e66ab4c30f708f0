"""Compare two jobs part by part: key, image, environment, machine, run and result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.catalogue.tools import find
from spikecrate.errors import ResultInvalidError, SorterInvalidError, SorterNotFoundError, UsageError
from spikecrate.runtimes.contract import SCRATCH
from spikecrate.sortings import read_firings
from spikecrate.sortings.comparison.compare import agree
from spikecrate.steps.inputs import recording_facts
from spikecrate.steps.key import differences
from spikecrate.steps.kinds import KINDS
from spikecrate.steps.paths import FIRINGS, LOG
from spikecrate.steps.record import outputs_hash
from spikecrate.steps.sources import changed_files, current, hash_of, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spikecrate.steps.sources import Sources
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

MACHINE: Final = ("platform", "machine", "not_pinned")
"""Fields of the harness's report that describe the machine; the others describe the environment."""
MEASURED: Final = (
    *("key", "units", "events", "warnings", "wall_s", "cpu_s"),
    *("peak_memory_bytes", "oom_kills", "unit_table_s", "opened"),
)
"""Fields that differ at every run, describe only this store's disk, or appear elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The differences between two finished jobs.

    Attributes
    ----------
    first, second : str
        The job keys.
    equal : bool
        Whether the output has the same bytes.
    key, recipe, image, environment, machine, run, result : list of str
        A line for each difference of this part.
    """

    first: str
    second: str
    equal: bool
    key: list[str]
    recipe: list[str]
    image: list[str]
    environment: list[str]
    machine: list[str]
    run: list[str]
    result: list[str]


def difference(first: Stored, second: Stored, store: Store) -> Difference:
    """Return the differences between two finished jobs, part by part.

    Parameters
    ----------
    first, second : Stored
        The jobs, from `spikecrate.steps.resolve`.
    store : Store
        The store; the files that changed are named where it keeps both recipes.

    Returns
    -------
    Difference
    """
    mine, theirs = first.record, second.record
    inside = [_inside(record) for record in (mine, theirs)]
    parts, earlier = theirs["key_parts"], mine["key_parts"]
    told = []
    if parts["tool"] != earlier["tool"]:
        told = ["the tools differ, so their parameters are not compared"]
        parts, earlier = ({**each, "parameters": {}} for each in (parts, earlier))
    equal = outputs_hash(mine) == outputs_hash(theirs)
    return Difference(
        first=mine["key"],
        second=theirs["key"],
        equal=equal,
        key=[*told, *differences(parts, earlier)],
        recipe=recipe_files(mine["key_parts"], theirs["key_parts"], store),
        image=_lines(
            *({name: record.get(name) for name in ("image", "environment")} for record in (mine, theirs))
        ),
        environment=_lines(*(found[0] for found in inside)),
        machine=_lines(*(found[1] for found in inside)),
        run=_lines(*(_run(record) for record in (mine, theirs))),
        result=[] if equal else _result(first, second),
    )


def recipe_files(mine: dict[str, Any], theirs: dict[str, Any], store: Store) -> list[str]:
    """Return the files in which the recipes of two jobs of one tool differ, if both are available.

    Parameters
    ----------
    mine, theirs : dict
        Key parts of the jobs.
    store : Store
        The store, which may keep the recipes.

    Returns
    -------
    list of str
        Empty where a recipe is not available.
    """
    if mine["tool"] != theirs["tool"] or mine["recipe"] == theirs["recipe"]:
        return []
    sources = [_sources(parts["tool"], parts["recipe"], store) for parts in (mine, theirs)]
    if sources[0] is None or sources[1] is None:
        return []
    return changed_files(sources[0], sources[1])


def _sources(name: str, recipe: str, store: Store) -> Sources | None:
    found = kept(name, recipe, store)
    if found is not None:
        return found[1]
    try:
        tool = find(name)
        sources = current(tool)
        return sources if hash_of(tool, sources) == recipe else None
    except (SorterNotFoundError, SorterInvalidError):
        return None


def _inside(record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the harness's report into environment and machine."""
    report = {name: value for name, value in record["inside"].items() if name not in MEASURED}
    scratch = next((mount["source"] for mount in record["mounts"] if mount.get("target") == str(SCRATCH)), "")
    if scratch:
        # On the host the scratch folder has a new path at every run.
        report = {name: _moved(value, scratch) for name, value in report.items()}
    machine = {name: report.pop(name) for name in MACHINE if name in report}
    engine = record.get("engine") or {}
    machine |= {"kernel": engine.get("kernel"), "gpu": record.get("gpu")}
    return {**report, "spikecrate": record["spikecrate"]}, machine


def _moved(value: Any, scratch: str) -> Any:
    """Replace the scratch folder with its path in a container, in every text."""
    if isinstance(value, dict):
        return {name: _moved(inner, scratch) for name, inner in value.items()}
    return value.replace(scratch, str(SCRATCH)) if isinstance(value, str) else value


def _run(record: dict[str, Any]) -> dict[str, Any]:
    """Return where and how the job ran, none of which is part of the key."""
    engine = {name: value for name, value in (record.get("engine") or {}).items() if name != "kernel"}
    where = {name: record.get(name) for name in ("runtime", "limits", "user")}
    return {**where, **engine, **{name: facts["path"] for name, facts in record["inputs"].items()}}


def _result(first: Stored, second: Stored) -> list[str]:
    mine, theirs = first.record, second.record
    kinds = [record["tool"]["kind"] for record in (mine, theirs)]
    facts = [name for name in KINDS[kinds[0]].facts if kinds[0] == kinds[1]]
    lines = list(_pairs({name: (mine[name], theirs[name]) for name in facts}))
    hashes, earlier = (
        {name: entry.get("blake3") for name, entry in record["files"].items()} for record in (theirs, mine)
    )
    lines += [
        f"{name}: {str(hashes.get(name))[:16]}… (was {str(earlier.get(name))[:16]}…)"
        for name in sorted({*hashes, *earlier} - {LOG})
        if hashes.get(name) != earlier.get(name)
    ]
    if not all(KINDS[kind].is_sorting for kind in kinds):
        return lines
    recordings = [recording_facts(record) or {} for record in (mine, theirs)]
    if not all(recordings) or recordings[0]["identity"] != recordings[1]["identity"]:
        return [*lines, "the recordings differ, so no events are compared"]
    try:
        sortings = [
            read_firings(found.folder / FIRINGS, recording["layout"]["sampling_frequency"])
            for found, recording in zip((first, second), recordings, strict=True)
        ]
        return [*lines, agree(*sortings).sentence()]
    except (ResultInvalidError, UsageError) as error:
        return [*lines, str(error)]


def _lines(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    first, second = dict(_flat("", mine)), dict(_flat("", theirs))
    names = sorted({*first, *second})
    return list(_pairs({name: (first.get(name), second.get(name)) for name in names}))


def _pairs(values: dict[str, tuple[Any, Any]]) -> Iterator[str]:
    for name, (mine, theirs) in values.items():
        if mine != theirs:
            yield f"{name}: {theirs} (was {mine})"


def _flat(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a table with their dotted names."""
    if not isinstance(value, dict):
        yield place, value
        return
    for name, inner in value.items():
        yield from _flat(f"{place}.{name}" if place else str(name), inner)
