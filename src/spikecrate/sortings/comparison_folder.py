"""Read and check the output of a comparison."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spikecrate.sortings.compared import TRUE
from spikecrate.sortings.consensus import ConsensusUnit
from spikecrate.sortings.tables import (
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
    from collections.abc import Sequence
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
    summary = _read_summary(folder / SUMMARY)
    found = {(one.sorting, one.unit): one.events for one in units}
    true = {(TRUE, one.unit): one.events for one in truth}

    def require(*, good: bool, table: str, what: str) -> None:
        if not good:
            message = f"{folder / table}: {what}"
            raise ValueError(message)

    for one in truth:
        place = f"true unit {one.unit} of {one.sorting}"
        partner = 0 if one.found is None else found.get((one.sorting, one.found))
        require(
            good=one.sorting in names and partner == one.found_events, table=TRUTH, what=f"{place}: found"
        )
        counts = (one.matched + one.missed, one.matched + one.extra)
        require(
            good=counts == (one.events, one.found_events), table=TRUTH, what=f"{place}: its counts differ"
        )
    for unit in units:
        place = f"unit {unit.unit} of {unit.sorting}"
        known = unit.true_unit is None or (TRUE, unit.true_unit) in true
        require(good=unit.sorting in names and known, table=UNITS, what=f"{place}: true_unit")
        require(
            good=unit.matched is None or unit.matched + (unit.extra or 0) == unit.events,
            table=UNITS,
            what=f"{place}: its counts differ",
        )
    both = found | true
    for pair in agreement:
        ends = (pair.first, pair.first_unit), (pair.second, pair.second_unit)
        require(good=both.keys() >= {*ends}, table=AGREEMENT, what=f"{ends}: no such units")
    consensus = []
    for row, labels in zip(rows, cells, strict=True):
        members = {name: int(label) for name, label in zip(names, labels, strict=True) if label}
        good = len(members) == row.sortings and found.keys() >= {*members.items()}
        require(good=good, table=CONSENSUS, what=f"unit {row.unit}: no such members")
        consensus.append(
            ConsensusUnit(unit=row.unit, members=members, agreement=row.agreement, events=row.events)
        )
    shape = mda.open_array(folder / EVENTS).shape
    events = sum(unit.events for unit in consensus)
    require(good=shape == (3, events), table=EVENTS, what=f"{shape}, not 3 x {events}")
    return ComparisonTables(
        truth=truth, units=units, agreement=agreement, consensus=tuple(consensus), summary=summary
    )


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
