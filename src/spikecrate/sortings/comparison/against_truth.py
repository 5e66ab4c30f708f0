"""One sorting against the truth: the rows of the tables, the numbers of the summary and the label of each spike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from spikecrate.sortings.comparison.compare import MATCH_SCORE, TOLERANCE_MS, compare
from spikecrate.sortings.comparison.lag import MAX_LAG_MS, estimate_lags
from spikecrate.sortings.comparison.tables import FoundUnit, TrueUnit
from spikecrate.sortings.comparison.truth import (
    OVERMERGED,
    PIECE_PRECISION,
    PIECE_RECALL,
    REDUNDANT,
    WELL_DETECTED,
    classify,
    find_splits,
    label_spikes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from spikecrate.sortings.comparison.compare import Comparison, UnitMatch
    from spikecrate.sortings.comparison.lag import UnitLag
    from spikecrate.sortings.comparison.truth import UnitClasses, UnitSplit
    from spikecrate.sortings.model import Sorting

UNASSIGNED: Final[dict[str, Any]] = {
    "matched": 0,
    "missed": 0,
    "extra": 0,
    "accuracy": None,
    "precision": None,
    "recall": None,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How sortings are compared.

    Attributes
    ----------
    tolerance_ms, match_score, truth_offset_ms : float
        As in `compare`.
    exhaustive : bool
        Whether the truth holds every unit of the recording.
    well_detected, redundant, overmerged : float
        Bounds of the classes, as in `classify`.
    piece_precision, piece_recall : float
        Least precision and recall of a piece, as in `find_splits`.
    max_lag_ms : float
        Largest lag that is tried; 0 to estimate none.
    least_votes : int or None
        As in `find_consensus`.
    """

    tolerance_ms: float = TOLERANCE_MS
    match_score: float = MATCH_SCORE
    truth_offset_ms: float = 0
    exhaustive: bool = False
    well_detected: float = WELL_DETECTED
    redundant: float = REDUNDANT
    overmerged: float = OVERMERGED
    piece_precision: float = PIECE_PRECISION
    piece_recall: float = PIECE_RECALL
    max_lag_ms: float = MAX_LAG_MS
    least_votes: int | None = None

    @classmethod
    def chosen(cls, parameters: Mapping[str, Any]) -> Settings:
        """Return the settings among the parameters of the tool.

        Parameters
        ----------
        parameters : mapping
            Name to value.

        Returns
        -------
        Settings
        """
        return cls(**{one.name: parameters[one.name] for one in fields(cls)})


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """One sorting against the truth.

    Attributes
    ----------
    name : str
        Name of the sorting.
    settings : Settings
        How it was compared.
    comparison : Comparison
        Matches of every true unit with every found unit.
    classes : UnitClasses
        Classes of the found units.
    lags : tuple of UnitLag or None
        One per true unit; None where lags were not asked for.
    splits : tuple of UnitSplit
        One per true unit.
    """

    name: str
    settings: Settings
    comparison: Comparison
    classes: UnitClasses
    lags: tuple[UnitLag | None, ...]
    splits: tuple[UnitSplit, ...]

    @classmethod
    def of(cls, name: str, truth: Sorting, found: Sorting, chosen: Settings) -> Judged:
        """Compare a sorting with the truth.

        Parameters
        ----------
        name : str
            Name of the sorting.
        truth, found : Sorting
            Of the same recording; either may be empty.
        chosen : Settings
            Tolerance and thresholds.

        Returns
        -------
        Judged

        Raises
        ------
        UsageError
            If the sampling frequencies differ, or a setting is out of its range.
        """
        comparison = compare(
            truth,
            found,
            chosen.tolerance_ms,
            match_score=chosen.match_score,
            truth_offset_ms=chosen.truth_offset_ms,
        )
        lags: tuple[UnitLag | None, ...] = (None,) * len(comparison.true_units)
        if chosen.max_lag_ms and chosen.tolerance_ms:
            lags = estimate_lags(truth, found, chosen.tolerance_ms, max_lag_ms=chosen.max_lag_ms)
        return cls(
            name=name,
            settings=chosen,
            comparison=comparison,
            classes=classify(
                comparison,
                exhaustive=chosen.exhaustive,
                well_detected=chosen.well_detected,
                redundant=chosen.redundant,
                overmerged=chosen.overmerged,
            ),
            lags=lags,
            splits=find_splits(
                truth,
                found,
                comparison,
                least_precision=chosen.piece_precision,
                least_recall=chosen.piece_recall,
            ),
        )

    def true_rows(self) -> list[TrueUnit]:
        """Return the rows of `truth.csv`, by ascending label of the true unit."""
        both = zip(self.comparison.assigned, self.comparison.best, self.lags, self.splits, strict=True)
        return [
            TrueUnit(
                sorting=self.name,
                unit=one.unit,
                events=one.events,
                found=one.found,
                found_events=one.found_events,
                **_scores(one),
                best=best.found,
                best_events=best.found_events,
                best_matched=best.matches,
                best_accuracy=best.accuracy,
                lag_ms=None if lag is None else lag.lag_ms,
                lag_unit=None if lag is None else lag.found,
                lag_accuracy=0.0 if lag is None else lag.agreement,
                pieces=split.pieces,
                oversplit=split.oversplit,
                merged_accuracy=split.merged_accuracy,
            )
            for one, best, lag, split in both
        ]

    def found_rows(self, member_of: Mapping[tuple[str, int], int]) -> list[FoundUnit]:
        """Return the rows of `units.csv`, by ascending label of the found unit.

        Parameters
        ----------
        member_of : mapping
            Name of the sorting and label, to the unit of the consensus.

        Returns
        -------
        list of FoundUnit
        """
        comparison = self.comparison
        assigned = {unit.found: unit for unit in comparison.assigned if unit.found is not None}
        true_units = comparison.true_units.tolist()
        rows = []
        for column, (unit, events) in enumerate(
            zip(comparison.found_units.tolist(), comparison.found_events.tolist(), strict=True)
        ):
            match = assigned.get(unit)
            row = int(comparison.agreement[:, column].argmax()) if true_units else 0
            matched = int(comparison.matches[row, column]) if true_units else 0
            rows.append(
                FoundUnit(
                    sorting=self.name,
                    unit=unit,
                    events=events,
                    consensus=member_of.get((self.name, unit)),
                    true_unit=None if match is None else match.unit,
                    **(_scores(match) if match else UNASSIGNED | {"extra": events}),
                    best=true_units[row] if matched else None,
                    best_matched=matched,
                    best_accuracy=float(comparison.agreement[row, column]) if matched else 0.0,
                    classes=self._classes(unit),
                )
            )
        return rows

    def _classes(self, unit: int) -> tuple[str, ...]:
        return tuple(name for name, units in vars(self.classes).items() if unit in (units or ()))

    def score(self, rows: list[TrueUnit]) -> dict[str, Any]:
        """Return the numbers of the sorting for `comparison.json`; without a true unit the means are None.

        Parameters
        ----------
        rows : list of TrueUnit
            Those of `true_rows`.

        Returns
        -------
        dict
        """
        least = self.settings.well_detected
        lags = [
            row.lag_ms
            for row in rows
            if row.lag_ms is not None and row.lag_accuracy >= self.settings.match_score
        ]

        def mean(values: list[float]) -> float | None:
            return sum(values) / len(values) if values else None

        return {
            "sorting": self.name,
            "true_units": len(rows),
            "found_units": len(self.comparison.found_units),
            "assigned_units": sum(row.found is not None for row in rows),
            "matched": sum(row.matched for row in rows),
            "missed": sum(row.missed for row in rows),
            "extra": sum(row.extra for row in rows),
            "mean_accuracy": mean([row.accuracy for row in rows]),
            "mean_precision": mean([row.precision for row in rows]),
            "mean_recall": mean([row.recall for row in rows]),
            "mean_best_accuracy": mean([row.best_accuracy for row in rows]),
            "well_detected": sum(row.accuracy >= least for row in rows),
            "well_detected_best": sum(row.best_accuracy >= least for row in rows),
            "classes": {
                name: None if units is None else len(units) for name, units in vars(self.classes).items()
            },
            "lag_ms": median(lags) if lags else None,
            "lag_units": len(lags),
        }

    def labels(self, truth: Sorting, found: Sorting) -> dict[str, NDArray[Any]]:
        """Return the labels of the events of both, as `labels.npz` holds them.

        Parameters
        ----------
        truth, found : Sorting
            The sortings that were compared.

        Returns
        -------
        dict
            Name without the number of the sorting, to array.
        """
        spikes = label_spikes(truth, found, self.comparison)
        return {
            "truth": (spikes.truth == "TP").astype("u1"),
            "found": (spikes.found == "TP").astype("u1"),
            "true_event": spikes.true_event.astype("<u4"),
            "found_event": spikes.found_event.astype("<u4"),
        }


def _scores(match: UnitMatch) -> dict[str, Any]:
    return {
        "matched": match.matches,
        "missed": match.misses,
        "extra": match.false_positives,
        "accuracy": match.accuracy,
        "precision": match.precision,
        "recall": match.recall,
    }
