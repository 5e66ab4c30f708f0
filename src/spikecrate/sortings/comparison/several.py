"""Everything that is asked of several sortings of one recording, with ground truth or without, as tables."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import UsageError
from spikecrate.sortings.comparison.against_truth import UNASSIGNED, Judged, Settings
from spikecrate.sortings.comparison.consensus import find_consensus
from spikecrate.sortings.comparison.tables import (
    AGREEMENT,
    CONSENSUS,
    EVENTS,
    LABELS,
    SUMMARY,
    TABLES,
    TRUTH,
    UNITS,
    ConsensusRow,
    FoundUnit,
    TrueUnit,
    UnitPair,
    columns,
    write_table,
)
from spikecrate.sortings.model import Sorting, firings_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from spikecrate.sortings.comparison.compare import Comparison
    from spikecrate.sortings.comparison.consensus import Consensus

TRUE: Final = "truth"
"""Name of the truth in `agreement.csv`."""
RESERVED: Final = frozenset({TRUE, *columns(ConsensusRow)})
"""Names that no sorting can have: those of the truth and of the first columns of `consensus.csv`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Several sortings of one recording, compared with the truth and with each other.

    Attributes
    ----------
    truth : tuple of TrueUnit
        Rows of `truth.csv`.
    units : tuple of FoundUnit
        Rows of `units.csv`.
    agreement : tuple of UnitPair
        Rows of `agreement.csv`.
    consensus : Consensus or None
        None for a single sorting.
    labels : dict
        Name to array of `labels.npz`.
    summary : dict
        Content of `comparison.json`.
    names : tuple of str
        Names of the sortings.
    """

    truth: tuple[TrueUnit, ...]
    units: tuple[FoundUnit, ...]
    agreement: tuple[UnitPair, ...]
    consensus: Consensus | None
    labels: dict[str, NDArray[Any]]
    summary: dict[str, Any]
    names: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write the tables, the labels, the events of the consensus and the summary.

        Equal sortings and settings give equal bytes.

        Parameters
        ----------
        folder : Path
            An existing folder.
        """
        import numpy as np

        from spikecrate_harness import mda

        write_table(folder / TRUTH, TrueUnit, self.truth)
        write_table(folder / UNITS, FoundUnit, self.units)
        write_table(folder / AGREEMENT, UnitPair, self.agreement)
        events = np.empty((3, 0))
        rows, members = [], []
        if self.consensus is not None:
            events = firings_table(self.consensus.sorting)
            for unit in self.consensus.units:
                rows.append(
                    ConsensusRow(
                        unit=unit.unit,
                        sortings=len(unit.members),
                        events=unit.events,
                        agreement=unit.agreement,
                    )
                )
                members.append([unit.members.get(name) for name in self.names])
        write_table(folder / CONSENSUS, ConsensusRow, rows, self.names, members)
        mda.write(folder / EVENTS, events)
        _write_arrays(folder / LABELS, self.labels)
        text = json.dumps(self.summary, indent=1, ensure_ascii=False) + "\n"
        (folder / SUMMARY).write_text(text, encoding="utf-8")


def compare_all(
    sortings: Mapping[str, Sorting], truth: Sorting | None = None, settings: Settings | None = None
) -> Compared:
    """Compare several sortings of one recording with the truth, where there is one, and with each other.

    Parameters
    ----------
    sortings : mapping
        Name to sorting; two or more, or with a truth one.
    truth : Sorting, optional
        The true events.
    settings : Settings, optional
        Tolerance and thresholds.

    Returns
    -------
    Compared

    Raises
    ------
    UsageError
        If there is nothing to compare, a name is reserved, the sampling frequencies differ, or a setting is out of its
        range.

    Examples
    --------
    >>> truth = Sorting.from_events([100, 200, 300], [1, 1, 2], sampling_frequency=30000)
    >>> found = Sorting.from_events([103, 200, 900], [5, 5, 5], sampling_frequency=30000)
    >>> first, second = compare_all({"ms4": found}, truth).truth
    >>> first.found, first.matched, first.missed, first.extra
    (5, 2, 0, 1)
    """
    chosen = settings or Settings()
    if len(sortings) < (2 if truth is None else 1):
        message = f"{len(sortings)} sortings{'' if truth is None else ' and a truth'}"
        raise UsageError(message, next_step="pass two sortings or more, or one and the truth")
    if wrong := sorted(RESERVED & sortings.keys()):
        message = f"a sorting is named {wrong[0]!r}, which names something else in the tables"
        raise UsageError(message, next_step="choose another name")
    consensus = None
    if len(sortings) > 1:
        consensus = find_consensus(
            sortings,
            tolerance_ms=chosen.tolerance_ms,
            match_score=chosen.match_score,
            least_votes=chosen.least_votes,
        )
    member_of = {
        (name, label): unit.unit
        for unit in (consensus.units if consensus else ())
        for name, label in unit.members.items()
    }
    comparisons = dict(consensus.comparisons) if consensus else {}
    labels: dict[str, NDArray[Any]] = {}
    if consensus:
        labels["consensus_votes"] = consensus.votes.astype("<u2")
    true_rows, found_rows, scores = [], [], []
    for number, (name, sorting) in enumerate(sortings.items(), start=1):
        if truth is None:
            counts = _counts(sorting)
            found_rows += [_without_truth(name, unit, n, member_of) for unit, n in counts.items()]
            continue
        judged = Judged.of(name, truth, sorting, chosen)
        comparisons[TRUE, name] = judged.comparison
        true_rows += (mine := judged.true_rows())
        found_rows += judged.found_rows(member_of)
        scores.append(judged.score(mine))
        labels |= {f"{side}_{number}": array for side, array in judged.labels(truth, sorting).items()}
    ordered = dict(sorted(comparisons.items(), key=lambda entry: entry[0][0] != TRUE))
    return Compared(
        truth=tuple(true_rows),
        units=tuple(found_rows),
        agreement=tuple(pair for names, one in ordered.items() for pair in _pairs(*names, one)),
        consensus=consensus,
        labels=labels,
        summary={
            "settings": asdict(chosen),
            "sampling_frequency": next(iter(sortings.values())).sampling_frequency,
            "truth": None if truth is None else _size(truth),
            "sortings": [{"name": name, **_size(sorting)} for name, sorting in sortings.items()],
            "with_truth": scores,
            "pairs": [_pair_summary(*names, one) for names, one in comparisons.items() if TRUE not in names],
            "consensus": None if consensus is None else _consensus_summary(consensus),
            "tables": {
                table: {name: meaning._asdict() for name, meaning in columns(row).items()}
                for table, row in TABLES.items()
            },
            "labels": LABEL_MEANINGS,
        },
        names=tuple(sortings),
    )


LABEL_MEANINGS: Final = {
    "truth_K": "uint8 for each true event: 1 matched, 0 missed by sorting K, counted from 1; events by time, then label",
    "found_K": "uint8 for each event of sorting K: 1 matched, 0 extra",
    "true_event_K, found_event_K": "uint32: the two events of each match, counted from 0",
    "consensus_votes": "uint16 for each event of consensus.mda: the number of sortings that have it",
}


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as `numpy.savez` does, but with bytes that do not depend on the version of Python.

    Not compressed: the bytes would depend on the version of zlib.
    """
    import numpy as np

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), data.getbuffer())


def _without_truth(name: str, unit: int, events: int, member_of: Mapping[tuple[str, int], int]) -> FoundUnit:
    return FoundUnit(
        sorting=name,
        unit=unit,
        events=events,
        consensus=member_of.get((name, unit)),
        true_unit=None,
        **dict.fromkeys(UNASSIGNED),
        best=None,
        best_matched=None,
        best_accuracy=None,
        classes=(),
    )


def _counts(sorting: Sorting) -> dict[int, int]:
    import numpy as np

    units, counts = np.unique(sorting.labels, return_counts=True)
    return dict(zip(units.tolist(), counts.tolist(), strict=True))


def _size(sorting: Sorting) -> dict[str, int]:
    return {"units": len(sorting.unit_ids), "events": len(sorting)}


def _pairs(first: str, second: str, comparison: Comparison) -> list[UnitPair]:
    import numpy as np

    assigned = {(unit.unit, unit.found) for unit in comparison.assigned}
    rows, columns = np.nonzero(comparison.matches)
    cells = (
        comparison.true_units[rows],
        comparison.found_units[columns],
        comparison.matches[rows, columns],
        comparison.agreement[rows, columns],
    )
    return [
        UnitPair(
            first=first,
            first_unit=one,
            second=second,
            second_unit=other,
            matched=matched,
            agreement=agreement,
            assigned=(one, other) in assigned,
        )
        for one, other, matched, agreement in zip(*(values.tolist() for values in cells), strict=True)
    ]


def _pair_summary(first: str, second: str, comparison: Comparison) -> dict[str, Any]:
    paired = [unit for unit in comparison.assigned if unit.found is not None]
    matched = sum(unit.matches for unit in paired)
    either = int(comparison.true_events.sum() + comparison.found_events.sum()) - matched
    return {
        "first": first,
        "second": second,
        "assigned_units": len(paired),
        "matched": matched,
        "overall_agreement": matched / either if either else 1.0,
        "mean_agreement": sum(unit.accuracy for unit in paired) / len(paired) if paired else None,
    }


def _consensus_summary(consensus: Consensus) -> dict[str, Any]:
    members = [len(unit.members) for unit in consensus.units]
    return {
        "least_votes": consensus.least_votes,
        "units": len(members),
        "events": len(consensus.sorting),
        "units_by_sortings": {str(count): members.count(count) for count in sorted({*members}, reverse=True)},
    }
