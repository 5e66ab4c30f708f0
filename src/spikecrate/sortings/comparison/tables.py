"""Tables of a comparison: the tool `compare` writes them, the library reads them.

Each column is a field of a dataclass, which holds its unit, its formula and the source of that.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

Row = TypeVar("Row")

SPIKEFOREST: Final = "Magland et al. 2020, eLife 9:e55167"
SPIKEINTERFACE: Final = "Buccino et al. 2020, eLife 9:e61834"
HUNGARIAN: Final = "Kuhn 1955, Naval Res. Logist. Q. 2:83"
CORRELOGRAM: Final = "Perkel, Gerstein & Moore 1967, Biophys. J. 7:391"
PURITY: Final = (
    "majority rule: Manning, Raghavan & Schütze 2008, chapter 16.3; the measure is spikecrate's own"
)


class Meaning(NamedTuple):
    """What a column means: its unit, its formula and the source of that."""

    unit: str
    formula: str
    source: str


def _column(unit: str, formula: str, source: str = "") -> Any:
    return field(metadata={"meaning": Meaning(unit, formula, source)})


@dataclass(frozen=True, kw_only=True)
class TrueUnit:
    """A row of `truth.csv`: a true unit, and what one sorting makes of it."""

    sorting: str = _column("", "name of the sorting")
    unit: int = _column("", "label of the true unit")
    events: int = _column("1", "n1: events of the true unit")
    found: int | None = _column(
        "",
        "found unit assigned to it: one to one, the sum of the agreements is the largest; "
        "agreements below match_score count as 0",
        f"{HUNGARIAN}; {SPIKEINTERFACE}",
    )
    found_events: int = _column("1", "n2: events of the found unit; 0 without one")
    matched: int = _column(
        "1",
        "m: events at most tolerance_ms apart, each at most once; the largest number possible",
        SPIKEFOREST,
    )
    missed: int = _column("1", "n1 - m", SPIKEFOREST)
    extra: int = _column("1", "n2 - m", SPIKEFOREST)
    accuracy: float = _column("1", "m / (n1 + n2 - m), also the agreement of two units", SPIKEFOREST)
    precision: float = _column("1", "m / n2; 0 without a match", SPIKEFOREST)
    recall: float = _column("1", "m / n1", SPIKEFOREST)
    best: int | None = _column(
        "",
        "found unit of highest agreement, however low; several true units may share one",
        SPIKEFOREST,
    )
    best_events: int = _column("1", "events of that unit; 0 without one")
    best_matched: int = _column("1", "m with that unit", SPIKEFOREST)
    best_accuracy: float = _column("1", "accuracy with that unit", SPIKEFOREST)
    lag_ms: float | None = _column(
        "ms",
        "median of found - true time over the matches, around the peak of the cross-correlogram with lag_unit; "
        "of the times as the files have them, without truth_offset_ms",
        CORRELOGRAM,
    )
    lag_unit: int | None = _column("", "found unit of highest agreement at any lag up to max_lag_ms")
    lag_accuracy: float = _column("1", "accuracy with lag_unit when the lag is taken out")
    pieces: tuple[int, ...] = _column(
        "",
        "found units with most of their matches in this true unit, piece_precision of their events and "
        "piece_recall of its events; most matches first",
        PURITY,
    )
    oversplit: float = _column("1", "1 - recall of the largest piece / recall of the merged pieces", PURITY)
    merged_accuracy: float = _column("1", "accuracy of the merged pieces", PURITY)


@dataclass(frozen=True, kw_only=True)
class FoundUnit:
    """A row of `units.csv`: a unit of a sorting; without truth most of it is empty."""

    sorting: str = _column("", "name of the sorting")
    unit: int = _column("", "label in the sorting")
    events: int = _column("1", "n2: events of the unit")
    consensus: int | None = _column("", "unit of consensus.csv that it is a member of", SPIKEINTERFACE)
    true_unit: int | None = _column("", "true unit that it is assigned to", f"{HUNGARIAN}; {SPIKEINTERFACE}")
    matched: int | None = _column("1", "m: events that match one of that unit", SPIKEFOREST)
    missed: int | None = _column("1", "n1 - m; 0 where it is not assigned", SPIKEFOREST)
    extra: int | None = _column("1", "n2 - m; all where it is not assigned", SPIKEFOREST)
    accuracy: float | None = _column("1", "m / (n1 + n2 - m); empty where it is not assigned", SPIKEFOREST)
    precision: float | None = _column("1", "m / n2", SPIKEFOREST)
    recall: float | None = _column("1", "m / n1", SPIKEFOREST)
    best: int | None = _column("", "true unit of highest agreement, however low", SPIKEINTERFACE)
    best_matched: int | None = _column("1", "m with that unit", SPIKEFOREST)
    best_accuracy: float | None = _column("1", "accuracy with that unit", SPIKEFOREST)
    classes: tuple[str, ...] = _column(
        "", "classes of the unit; other than well_detected only where the truth is exhaustive", SPIKEINTERFACE
    )


@dataclass(frozen=True, kw_only=True)
class UnitPair:
    """A row of `agreement.csv`: two units of two sortings with a match."""

    first: str = _column("", "name of a sorting, or truth")
    first_unit: int = _column("", "label there")
    second: str = _column("", "name of another sorting")
    second_unit: int = _column("", "label there")
    matched: int = _column("1", "m: events that match", SPIKEFOREST)
    agreement: float = _column("1", "m / (n1 + n2 - m)", SPIKEFOREST)
    assigned: bool = _column(
        "", "whether the two are assigned to each other", f"{HUNGARIAN}; {SPIKEINTERFACE}"
    )


@dataclass(frozen=True, kw_only=True)
class ConsensusRow:
    """The first columns of `consensus.csv`; a column for each sorting follows, with the label there."""

    unit: int = _column("", "label in consensus.mda")
    sortings: int = _column(
        "1", "sortings that have the unit: assigned units, joined to groups", SPIKEINTERFACE
    )
    events: int = _column("1", "events with at least least_votes votes", "spikecrate")
    agreement: float = _column("1", "mean agreement over all pairs of its members", SPIKEINTERFACE)


TABLES: Final[dict[str, type]] = {
    "truth.csv": TrueUnit,
    "units.csv": FoundUnit,
    "agreement.csv": UnitPair,
    "consensus.csv": ConsensusRow,
}
TRUTH, UNITS, AGREEMENT, CONSENSUS = TABLES
SUMMARY: Final = "comparison.json"
LABELS: Final = "labels.npz"
EVENTS: Final = "consensus.mda"


def columns(row: type) -> dict[str, Meaning]:
    """Return what each column of a table means.

    Parameters
    ----------
    row : type
        One of the dataclasses above.

    Returns
    -------
    dict
        Name to meaning, in order.
    """
    return {one.name: one.metadata["meaning"] for one in fields(row)}


def write_table(
    path: Path, row: type[Row], rows: Iterable[Row], more: Sequence[str] = (), cells: Iterable[Any] = ()
) -> None:
    """Write a table.

    Parameters
    ----------
    path : Path
        The file.
    row : type
        The dataclass of its rows.
    rows : iterable
        The rows.
    more : sequence of str
        Names of further columns.
    cells : iterable
        Their cells, as many for each row.
    """
    names = [one.name for one in fields(row)]  # type: ignore[arg-type]
    further = iter(cells)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, *more])
        for one in rows:
            writer.writerow(
                [
                    *(_text(getattr(one, name)) for name in names),
                    *(_text(cell) for cell in (next(further) if more else ())),
                ]
            )


def read_table(
    path: Path, row: type[Row], more: Sequence[str] = ()
) -> tuple[tuple[Row, ...], list[list[str]]]:
    """Read a table.

    Parameters
    ----------
    path : Path
        The file.
    row : type
        The dataclass of its rows.
    more : sequence of str
        Names of further columns.

    Returns
    -------
    rows : tuple
        The rows.
    cells : list of list of str
        The cells of the further columns of each row.

    Raises
    ------
    ValueError
        The file is no such table; the message names the line.
    OSError
        It cannot be read.
    """
    known = fields(row)  # type: ignore[arg-type]
    expected = [*(one.name for one in known), *more]
    rows, cells = [], []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        try:
            if (head := next(reader, [])) != expected:
                message = f"the columns are {', '.join(head)}, not {', '.join(expected)}"
                raise ValueError(message)  # noqa: TRY301 (one place for all that is wrong)
            readers = [READERS[str(one.type)] for one in known] + [str] * len(more)
            for line in reader:
                values = [read(cell) for read, cell in zip(readers, line, strict=True)]
                rows.append(row(**dict(zip(expected[: len(known)], values, strict=False))))
                cells.append(line[len(known) :])
        except (ValueError, csv.Error) as error:
            message = f"{path}: line {reader.line_num}: {error}"
            raise ValueError(message) from None
    return tuple(rows), cells


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _finite(cell: str) -> float:
    value = float(cell)
    if not math.isfinite(value):
        message = f"{cell} is not finite"
        raise ValueError(message)
    return value


def _count(cell: str) -> int:
    value = int(cell)
    if value < 0:
        message = f"{cell} is negative"
        raise ValueError(message)
    return value


def _flag(cell: str) -> bool:
    if cell not in ("true", "false"):
        message = f"{cell!r} is neither true nor false"
        raise ValueError(message)
    return cell == "true"


def _or_none(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda cell: reader(cell) if cell else None


READERS: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "bool": _flag,
    "int": _count,
    "float": _finite,
    "int | None": _or_none(_count),
    "float | None": _or_none(_finite),
    "tuple[int, ...]": lambda cell: tuple(map(_count, cell.split())),
    "tuple[str, ...]": lambda cell: tuple(cell.split()),
}
"""Reader of a cell by the type of its field."""
