"""Read and check the output of a comparison."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spikecrate.sortings.comparison.consensus import ConsensusUnit
from spikecrate.sortings.comparison.several import TRUE
from spikecrate.sortings.comparison.tables import (
    AGREEMENT,
    CONSENSUS,
    EVENTS,
    SUMMARY,
    TRUTH,
    UNITS,
    ConsensusRow,
    FoundUnit,
    TrueUnit,
    UnitPair,
    read_table,
)
from spikecrate_harness import mda

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ComparisonTables:
    """The tables of a comparison.

    Attributes
    ----------
    truth : tuple of TrueUnit
        One for each true unit and sorting; none without truth.
    units : tuple of FoundUnit
        One for each unit of each sorting.
    agreement : tuple of UnitPair
        Every two units with a match.
    consensus : tuple of ConsensusUnit
        Units that several sortings have; none for a single sorting.
    summary : dict
        Content of `comparison.json`.
    """

    truth: tuple[TrueUnit, ...]
    units: tuple[FoundUnit, ...]
    agreement: tuple[UnitPair, ...]
    consensus: tuple[ConsensusUnit, ...]
    summary: dict[str, Any]


def read_comparison(folder: Path, names: Sequence[str]) -> ComparisonTables:
    """Read the tables of a comparison, and check that they agree with each other.

    Parameters
    ----------
    folder : Path
        The folder.
    names : sequence of str
        Names of the sortings, in their order.

    Returns
    -------
    ComparisonTables

    Raises
    ------
    ValueError
        A file is not what a comparison writes, or a table names a unit that another lacks; the message names both.
    OSError
        A file cannot be read.
    """
    truth, _ = read_table(folder / TRUTH, TrueUnit)
    units, _ = read_table(folder / UNITS, FoundUnit)
    agreement, _ = read_table(folder / AGREEMENT, UnitPair)
    rows, cells = read_table(folder / CONSENSUS, ConsensusRow, names)
    consensus = []
    for row, labels in zip(rows, cells, strict=True):
        members = {name: int(label) for name, label in zip(names, labels, strict=True) if label}
        if len(members) != row.sortings:
            message = f"{folder / CONSENSUS}: unit {row.unit}: {len(members)} members, not {row.sortings}"
            raise ValueError(message)
        consensus.append(
            ConsensusUnit(unit=row.unit, members=members, agreement=row.agreement, events=row.events)
        )
    tables = ComparisonTables(
        truth=truth,
        units=units,
        agreement=agreement,
        consensus=tuple(consensus),
        summary=_read_summary(folder / SUMMARY),
    )
    shape, events = mda.open_array(folder / EVENTS).shape, sum(unit.events for unit in consensus)
    wrong = next(_contradictions(tables, names), None)
    if wrong is None and shape != (3, events):
        wrong = EVENTS, f"{' x '.join(map(str, shape))} numbers, not 3 x {events}"
    if wrong is not None:
        message = f"{folder / wrong[0]}: {wrong[1]}"
        raise ValueError(message)
    return tables


def _contradictions(tables: ComparisonTables, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each table with a row that does not agree with the others, and which row."""
    found = {(unit.sorting, unit.unit): unit.events for unit in tables.units}
    true = {(TRUE, one.unit): one.events for one in tables.truth}
    for one in tables.truth:
        partner = 0 if one.found is None else found.get((one.sorting, one.found))
        if one.sorting not in names or partner != one.found_events:
            yield TRUTH, f"true unit {one.unit} of {one.sorting}: found"
        if (one.matched + one.missed, one.matched + one.extra) != (one.events, one.found_events):
            yield TRUTH, f"true unit {one.unit} of {one.sorting}: its counts differ"
    for unit in tables.units:
        if unit.sorting not in names or not (unit.true_unit is None or (TRUE, unit.true_unit) in true):
            yield UNITS, f"unit {unit.unit} of {unit.sorting}: true_unit"
        if unit.matched is not None and unit.matched + (unit.extra or 0) != unit.events:
            yield UNITS, f"unit {unit.unit} of {unit.sorting}: its counts differ"
    both = found | true
    for pair in tables.agreement:
        if (pair.first, pair.first_unit) not in both or (pair.second, pair.second_unit) not in both:
            yield (
                AGREEMENT,
                f"{pair.first} {pair.first_unit} and {pair.second} {pair.second_unit}: no such units",
            )
    for member in tables.consensus:
        if not found.keys() >= {*member.members.items()}:
            yield CONSENSUS, f"unit {member.unit}: no such members"


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        message = f"{path}: {error}"
        raise ValueError(message) from None
    if not isinstance(summary, dict):
        message = f"{path} is not an object"
        raise ValueError(message)  # noqa: TRY004 (one kind of error for every wrong file)
    return summary
