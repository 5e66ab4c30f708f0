"""What a sorting makes of ground truth: its spikes, the classes of its units, and true units in several pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.errors import UsageError
from spikecrate.sortings.comparison.compare import prepare
from spikecrate.sortings.comparison.matching import Units, matched_events

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spikecrate.sortings.comparison.compare import Comparison
    from spikecrate.sortings.model import Sorting

WELL_DETECTED: Final = 0.8
REDUNDANT: Final = 0.2
OVERMERGED: Final = 0.2
"""Agreements that bound the classes, as in SpikeInterface's comparison with ground truth (Buccino et al. 2020,
doi:10.7554/eLife.61834)."""
PIECE_PRECISION: Final = 0.5
PIECE_RECALL: Final = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class SpikeLabels:
    """Label of every spike of two sortings.

    Attributes
    ----------
    truth : numpy.ndarray
        One of `TP` and `FN` per true event: found, missed.
    found : numpy.ndarray
        One of `TP` and `FP` per found event: true, extra. All events of a unit that is not assigned are extra.
    true_event, found_event : numpy.ndarray
        Int64, the two events of each match, by true event.
    """

    truth: NDArray[np.str_]
    found: NDArray[np.str_]
    true_event: NDArray[np.int64]
    found_event: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class UnitClasses:
    """Classes of found units, as labels; a unit may be in several.

    Attributes
    ----------
    well_detected : tuple of int
        Assigned, with a high accuracy.
    overmerged : tuple of int or None
        Agree with more than one true unit. None, as the fields below, where the truth is not exhaustive.
    redundant : tuple of int or None
        Not assigned, and agree with a true unit that agrees more with another found unit.
    false_positive : tuple of int or None
        Not assigned, and agree with no true unit.
    bad : tuple of int or None
        Not assigned.
    """

    well_detected: tuple[int, ...]
    overmerged: tuple[int, ...] | None = None
    redundant: tuple[int, ...] | None = None
    false_positive: tuple[int, ...] | None = None
    bad: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class UnitSplit:
    """The found units that are pieces of one true unit.

    Attributes
    ----------
    unit : int
        Label of the true unit.
    pieces : tuple of int
        Labels of the found units, most matches first.
    largest_recall, merged_recall : float
        Share of the true events that the largest piece matches, and that all pieces match when they are merged.
    merged_accuracy : float
        Accuracy of the merged pieces.
    """

    unit: int
    pieces: tuple[int, ...]
    largest_recall: float
    merged_recall: float
    merged_accuracy: float

    @property
    def oversplit(self) -> float:
        """Share of the events of the merged pieces that the largest piece lacks, 0 to 1; 0 without a piece."""
        return 1 - self.largest_recall / self.merged_recall if self.merged_recall else 0.0


def label_spikes(truth: Sorting, found: Sorting, comparison: Comparison) -> SpikeLabels:
    """Label the spikes of both sortings by the matches of assigned units.

    The labels are those of SpikeInterface's comparison with ground truth (Buccino et al. 2020,
    doi:10.7554/eLife.61834).

    Parameters
    ----------
    truth, found : Sorting
        The sortings that were compared.
    comparison : Comparison
        As `compare` returned it.

    Returns
    -------
    SpikeLabels

    Raises
    ------
    UsageError
        If the comparison is of other sortings.

    Examples
    --------
    >>> from spikecrate.sortings import Sorting, compare
    >>> truth = Sorting.from_events([100, 200, 300], [1, 1, 1], sampling_frequency=30000)
    >>> found = Sorting.from_events([103, 202, 900], [5, 5, 5], sampling_frequency=30000)
    >>> labels = label_spikes(truth, found, compare(truth, found))
    >>> labels.truth.tolist(), labels.found.tolist()
    (['TP', 'TP', 'FN'], ['TP', 'TP', 'FP'])
    """
    import numpy as np

    true, other, tolerance = _prepared(truth, found, comparison)
    column = {label: number for number, label in enumerate(other.labels.tolist())}
    partner = np.array(
        [-1 if unit.found is None else column[unit.found] for unit in comparison.assigned], dtype=np.int64
    )
    true_event, found_event = matched_events(true, other, partner, tolerance)
    labels = np.full(len(truth), "FN"), np.full(len(found), "FP")
    for events, matched in zip(labels, (true_event, found_event), strict=True):
        events[matched] = "TP"
    return SpikeLabels(truth=labels[0], found=labels[1], true_event=true_event, found_event=found_event)


def classify(
    comparison: Comparison,
    *,
    exhaustive: bool,
    well_detected: float = WELL_DETECTED,
    redundant: float = REDUNDANT,
    overmerged: float = OVERMERGED,
) -> UnitClasses:
    """Sort the found units into classes.

    The classes and thresholds are those of SpikeInterface's comparison with ground truth (Buccino et al. 2020,
    doi:10.7554/eLife.61834).

    Parameters
    ----------
    comparison : Comparison
        Of ground truth with a sorting.
    exhaustive : bool
        Whether the truth holds every unit of the recording; where it does not, a unit without a true partner may
        be a real one, and only `well_detected` is known.
    well_detected : float
        Least accuracy of a well detected unit.
    redundant : float
        Least agreement of a redundant unit with its best true unit; below it a unit is a false positive.
    overmerged : float
        An overmerged unit agrees more than this with each of its true units.

    Returns
    -------
    UnitClasses

    Examples
    --------
    >>> from spikecrate.sortings import Sorting, compare
    >>> truth = Sorting.from_events([100, 200, 300], [1, 1, 1], sampling_frequency=30000)
    >>> found = Sorting.from_events([100, 100, 200, 300, 900], [1, 2, 1, 1, 3], sampling_frequency=30000)
    >>> classes = classify(compare(truth, found), exhaustive=True)
    >>> classes.well_detected, classes.redundant, classes.false_positive
    ((1,), (2,), (3,))
    """
    import numpy as np

    well = {unit.found for unit in comparison.assigned if unit.accuracy >= well_detected}
    labels, agreement = comparison.found_units, comparison.agreement
    known = tuple(label for label in labels.tolist() if label in well)
    if not exhaustive:
        return UnitClasses(well_detected=known)

    def chosen(mask: NDArray[np.bool_]) -> tuple[int, ...]:
        return tuple(labels[mask].tolist())

    bad = np.isin(labels, comparison.unassigned)
    highest = agreement.max(axis=0, initial=0)
    best_of_its_unit = np.ones(len(labels), dtype=bool)
    if agreement.size:
        best_of_its_unit = agreement.argmax(axis=1)[agreement.argmax(axis=0)] == np.arange(len(labels))
    return UnitClasses(
        well_detected=known,
        overmerged=chosen((agreement > overmerged).sum(axis=0) > 1),
        redundant=chosen(bad & (highest >= redundant) & ~best_of_its_unit),
        false_positive=chosen(bad & (highest < redundant)),
        bad=chosen(bad),
    )


def find_splits(
    truth: Sorting,
    found: Sorting,
    comparison: Comparison,
    *,
    least_precision: float = PIECE_PRECISION,
    least_recall: float = PIECE_RECALL,
) -> tuple[UnitSplit, ...]:
    """Find the pieces of every true unit, and measure what merging them would give.

    The measure is this project's own. A found unit is a piece of the true unit with which it has the most matches:
    the majority rule of cluster purity (Manning, Raghavan and Schütze 2008, "Introduction to Information Retrieval",
    chapter 16.3).

    Parameters
    ----------
    truth, found : Sorting
        The sortings that were compared.
    comparison : Comparison
        As `compare` returned it.
    least_precision : float
        Least precision of a piece.
    least_recall : float
        Least recall of a piece: a unit with a few common events is none.

    Returns
    -------
    tuple of UnitSplit
        One per true unit, by ascending label.

    Raises
    ------
    UsageError
        If the comparison is of other sortings.

    Examples
    --------
    >>> from spikecrate.sortings import Sorting, compare
    >>> truth = Sorting.from_events([100, 200, 300, 400], [1, 1, 1, 1], sampling_frequency=30000)
    >>> found = Sorting.from_events([100, 200, 300, 400], [7, 7, 7, 8], sampling_frequency=30000)
    >>> (split,) = find_splits(truth, found, compare(truth, found))
    >>> split.pieces, split.largest_recall, split.merged_recall, split.oversplit
    ((7, 8), 0.75, 1.0, 0.25)
    """
    import numpy as np

    true, other, tolerance = _prepared(truth, found, comparison)
    rows, columns = comparison.matches.shape
    owner = comparison.matches.argmax(axis=0) if rows else np.zeros(columns, dtype=np.int64)
    largest = comparison.matches.max(axis=0, initial=0)
    piece = (largest > 0) & (largest >= least_precision * other.events)
    piece &= largest >= least_recall * (true.events[owner] if rows else 0)
    kept = piece[other.numbers]
    merged = Units(
        times=other.times[kept],
        numbers=owner[other.numbers[kept]].astype(np.uint64),
        labels=true.labels,
        events=np.bincount(owner[other.numbers[kept]], minlength=rows),
    )
    true_event, _ = matched_events(true, merged, np.arange(rows), tolerance)
    matches = np.bincount(true.numbers[true_event], minlength=rows)
    splits = []
    for row in range(rows):
        pieces = np.flatnonzero(piece & (owner == row))
        pieces = pieces[np.argsort(-largest[pieces], kind="stable")]
        events, matched = int(true.events[row]), int(matches[row])
        splits.append(
            UnitSplit(
                unit=int(true.labels[row]),
                pieces=tuple(other.labels[pieces].tolist()),
                largest_recall=int(largest[pieces].max(initial=0)) / events,
                merged_recall=matched / events,
                merged_accuracy=matched / (events + int(merged.events[row]) - matched),
            )
        )
    return tuple(splits)


def _prepared(truth: Sorting, found: Sorting, comparison: Comparison) -> tuple[Units, Units, float]:
    import numpy as np

    true, other, tolerance = prepare(truth, found, comparison.tolerance_ms, comparison.truth_offset_ms)
    for side, units, labels, events in (
        ("truth", true, comparison.true_units, comparison.true_events),
        ("found", other, comparison.found_units, comparison.found_events),
    ):
        if not (np.array_equal(units.labels, labels) and np.array_equal(units.events, events)):
            message = f"{side}: its units or their numbers of events are not those of the comparison"
            raise UsageError(message, next_step="pass the two sortings that were compared")
    return true, other, tolerance
