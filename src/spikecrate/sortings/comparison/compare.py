"""Comparison of a sorting with ground truth, or with another sorting.

Two events match when they are at most the tolerance apart, and each event is matched at most once. The
terms are SpikeForest's (Magland et al. 2020, eLife 9:e55167): with m matches between a true unit of n1 events
and a found unit of n2, accuracy is m / (n1 + n2 - m), precision m / n2, recall m / n1. Unlike SpikeForest's
counter, the tolerance is in milliseconds, and events in a chain are counted in full.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spikecrate.sortings.comparison.matching import Units
    from spikecrate.sortings.model import Sorting

TOLERANCE_MS: Final = 0.4
MATCH_SCORE: Final = 0.5
"""Least agreement of two units that are assigned to each other; SpikeInterface has the same."""


@dataclass(frozen=True, kw_only=True)
class UnitMatch:
    """One true unit and the found unit that is matched with it.

    Attributes
    ----------
    unit, events : int
        The true unit's label and its number of events.
    found : int or None
        Label of the found unit; None where no found unit shares an event with the true one.
    found_events, matches : int
        Events of the found unit, and how many of them match an event of the true unit.
    """

    unit: int
    events: int
    found: int | None
    found_events: int
    matches: int

    @property
    def misses(self) -> int:
        """Number of true events without a match."""
        return self.events - self.matches

    @property
    def false_positives(self) -> int:
        """Number of found events without a match."""
        return self.found_events - self.matches

    @property
    def accuracy(self) -> float:
        """Matches / (matches + misses + false positives); 0 where nothing matches."""
        return _ratio(self.matches, self.events + self.found_events - self.matches)

    @property
    def precision(self) -> float:
        """Matches / (matches + false positives); 0 where nothing matches."""
        return _ratio(self.matches, self.found_events)

    @property
    def recall(self) -> float:
        """Matches / (matches + misses); 0 where nothing matches."""
        return _ratio(self.matches, self.events)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts and the three ratios in JSON types."""
        derived = ("misses", "false_positives", "accuracy", "precision", "recall")
        return asdict(self) | {name: getattr(self, name) for name in derived}


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Matches of every true unit with every found unit.

    Attributes
    ----------
    tolerance_ms : float
        Largest distance of two events that match.
    match_score : float
        Least agreement of two units that are assigned to each other.
    truth_offset_ms : float
        Added to the times of the true events.
    true_units, found_units : numpy.ndarray
        Labels, int64, ascending.
    true_events, found_events : numpy.ndarray
        Number of events of each unit, int64.
    matches : numpy.ndarray
        Events matched one to one, int64, true units x found units.
    """

    tolerance_ms: float
    match_score: float
    truth_offset_ms: float
    true_units: NDArray[np.int64]
    found_units: NDArray[np.int64]
    true_events: NDArray[np.int64]
    found_events: NDArray[np.int64]
    matches: NDArray[np.int64]

    @cached_property
    def agreement(self) -> NDArray[np.float64]:
        """Matches / (true + found events - matches), 0 to 1, float64, true units x found units."""
        import numpy as np

        either = self.true_events[:, np.newaxis] + self.found_events - self.matches
        agreement: NDArray[np.float64] = self.matches / np.maximum(either, 1)
        return agreement

    @property
    def best(self) -> tuple[UnitMatch, ...]:
        """For every true unit the found unit of highest agreement; a found unit may occur more than once."""
        return self.best_from(0)

    def best_from(self, least: float) -> tuple[UnitMatch, ...]:
        """Return for every true unit the found unit of highest agreement, where that is high enough.

        SpikeForest has no least agreement, SpikeInterface 0.1.

        Parameters
        ----------
        least : float
            Least agreement of a match; a true unit below it has no found unit.

        Returns
        -------
        tuple of UnitMatch
        """
        columns = self.agreement.argmax(axis=1).tolist() if self.matches.size else []
        return self._units(
            {row: column for row, column in enumerate(columns) if self.agreement[row, column] >= least}
        )

    @cached_property
    def assigned(self) -> tuple[UnitMatch, ...]:
        """For every true unit the found unit of the one-to-one assignment with the largest total agreement.

        An agreement below `match_score` counts as none: a few events in common cannot displace a good match.
        """
        import numpy as np

        from spikecrate.sortings.comparison.assignment import assign

        gain = np.where(self.agreement >= self.match_score, self.agreement, 0)
        pairs = zip(*(places.tolist() for places in assign(gain)), strict=True)
        return self._units({row: column for row, column in pairs if gain[row, column]})

    @property
    def unassigned(self) -> tuple[int, ...]:
        """Labels of the found units that are assigned to no true unit."""
        taken = {unit.found for unit in self.assigned}
        return tuple(label for label in self.found_units.tolist() if label not in taken)

    def as_dict(self) -> dict[str, Any]:
        """Return both matchings in JSON types."""
        return {
            "tolerance_ms": self.tolerance_ms,
            "match_score": self.match_score,
            "truth_offset_ms": self.truth_offset_ms,
            "best": [unit.as_dict() for unit in self.best],
            "assigned": [unit.as_dict() for unit in self.assigned],
            "unassigned": list(self.unassigned),
        }

    def _units(self, columns: dict[int, int]) -> tuple[UnitMatch, ...]:
        units = []
        true = zip(self.true_units.tolist(), self.true_events.tolist(), strict=True)
        for row, (unit, events) in enumerate(true):
            column = columns.get(row)
            matches = 0 if column is None else int(self.matches[row, column])
            found, found_events = None, 0
            if column is not None and matches:
                found, found_events = int(self.found_units[column]), int(self.found_events[column])
            units.append(
                UnitMatch(unit=unit, events=events, found=found, found_events=found_events, matches=matches)
            )
        return tuple(units)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two sortings, the units of the first paired one to one with those of the second.

    Attributes
    ----------
    overall : float
        Share of the events of both that the paired units have in common, 0 to 1; 1 for two empty sortings.
    units : tuple of UnitMatch
        One for each unit of the first sorting, by ascending label; its accuracy is the agreement.
    unpaired : tuple of int
        Labels that only the second sorting has.
    """

    overall: float
    units: tuple[UnitMatch, ...]
    unpaired: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the agreement in JSON types."""
        return {
            "overall": self.overall,
            "units": [
                {name: getattr(unit, name) for name in ("unit", "events", "found", "found_events")}
                | {"agreement": round(unit.accuracy, 6)}
                for unit in self.units
            ],
            "unpaired": list(self.unpaired),
        }

    def sentence(self) -> str:
        """Return one line: the overall agreement and the five units that differ the most."""
        differing = sorted((unit for unit in self.units if unit.accuracy < 1), key=lambda unit: unit.accuracy)
        parts = [f"unit {unit.unit}: {unit.accuracy:.3f}" for unit in differing[:5]]
        parts += [f"unit {unit} is unpaired" for unit in self.unpaired[:5]]
        detail = f" ({', '.join(parts)})" if parts else ""
        return f"agreement {self.overall:.4f} within {TOLERANCE_MS} ms{detail}"


def compare(
    truth: Sorting,
    found: Sorting,
    tolerance_ms: float = TOLERANCE_MS,
    *,
    match_score: float = MATCH_SCORE,
    truth_offset_ms: float = 0,
) -> Comparison:
    """Match the events of every true unit with those of every found unit.

    Parameters
    ----------
    truth, found : Sorting
        Of the same recording; either may be empty.
    tolerance_ms : float
        Events at most this far apart, in milliseconds, can match.
    match_score : float
        Units of a lower agreement are not assigned to each other; 0 to 1.
    truth_offset_ms : float
        Added to the times of the true events, in milliseconds; `lag.estimate_lags` estimates it.

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError
        If the sampling frequencies differ, or a parameter is out of its range.

    Examples
    --------
    >>> from spikecrate.sortings import Sorting, compare
    >>> truth = Sorting.from_events([100, 200, 300], [1, 1, 2], sampling_frequency=30000)
    >>> found = Sorting.from_events([103, 200, 900], [5, 5, 5], sampling_frequency=30000)
    >>> first, second = compare(truth, found).assigned
    >>> first.found, first.matches, round(first.accuracy, 2)
    (5, 2, 0.67)
    >>> second.found, second.accuracy
    (None, 0.0)
    """
    from spikecrate.sortings.comparison.matching import count_matches

    if not 0 <= match_score <= 1:
        message = f"match_score is {match_score:g}"
        raise UsageError(message, next_step="pass an agreement from 0 to 1")
    true, other, tolerance = prepare(truth, found, tolerance_ms, truth_offset_ms)
    return Comparison(
        tolerance_ms=float(tolerance_ms),
        match_score=float(match_score),
        truth_offset_ms=float(truth_offset_ms),
        true_units=true.labels,
        found_units=other.labels,
        true_events=true.events,
        found_events=other.events,
        matches=count_matches(true, other, tolerance),
    )


def prepare(
    truth: Sorting, found: Sorting, tolerance_ms: float, truth_offset_ms: float
) -> tuple[Units, Units, float]:
    """Check that two sortings can be compared, and number their units.

    Parameters
    ----------
    truth, found, tolerance_ms, truth_offset_ms
        As in `compare`.

    Returns
    -------
    truth, found : Units
        The true events are shifted by the offset.
    tolerance : float
        In samples.

    Raises
    ------
    UsageError
        As in `compare`.
    """
    from spikecrate.sortings.comparison.matching import number_units

    rate = truth.sampling_frequency
    if rate != found.sampling_frequency:
        message = f"the sortings have {rate:g} Hz and {found.sampling_frequency:g} Hz"
        raise UsageError(message, next_step="compare two sortings of the same recording")
    if not 0 <= tolerance_ms < float("inf"):
        message = f"tolerance_ms is {tolerance_ms:g}"
        raise UsageError(message, next_step="pass a finite number of milliseconds, 0 or more")
    if not abs(truth_offset_ms) < float("inf"):
        message = f"truth_offset_ms is {truth_offset_ms:g}"
        raise UsageError(message, next_step="pass a finite number of milliseconds")
    # Rounded, so that 0.1 ms at 30 kHz is exactly 3 samples.
    tolerance, offset = (round(length * rate / 1000, 6) for length in (tolerance_ms, truth_offset_ms))
    return (
        number_units(truth.times + offset if offset else truth.times, truth.labels),
        number_units(found.times, found.labels),
        tolerance,
    )


def agree(first: Sorting, second: Sorting) -> Agreement:
    """Compare two sortings of the same recording.

    Parameters
    ----------
    first, second : Sorting
        Of the same recording; either may be empty.

    Returns
    -------
    Agreement
        With the units paired so that their total agreement is the largest, however low that of a pair is.

    Raises
    ------
    UsageError
        If their sampling frequencies differ.

    Examples
    --------
    >>> from spikecrate.sortings import Sorting
    >>> first = Sorting.from_events([100, 200, 300, 400], [1, 1, 2, 2], sampling_frequency=30000)
    >>> second = Sorting.from_events([101, 201, 300, 900], [7, 7, 8, 8], sampling_frequency=30000)
    >>> agree(first, second).sentence()
    'agreement 0.6000 within 0.4 ms (unit 2: 0.333)'
    """
    comparison = compare(first, second, match_score=0)
    units = comparison.assigned
    matches = sum(unit.matches for unit in units)
    either = len(first) + len(second) - matches
    return Agreement(overall=matches / either if either else 1.0, units=units, unpaired=comparison.unassigned)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
