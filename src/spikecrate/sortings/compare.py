"""Comparison of a sorting with ground truth, or with another sorting.

Two events match when they are at most the tolerance apart, and each event is matched at most once. The
terms are SpikeForest's (Magland et al. 2020, eLife 9:e55167): with m matches between a true unit of n1 events
and a found unit of n2, accuracy is m / (n1 + n2 - m), precision m / n2, recall m / n1. Unlike SpikeForest's
counter, the tolerance is in milliseconds, and events in a chain are counted in full.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spikecrate.sortings.model import Sorting

TOLERANCE_MS: Final = 0.4


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
    true_units, found_units : numpy.ndarray
        Labels, int64, ascending.
    true_events, found_events : numpy.ndarray
        Number of events of each unit, int64.
    matches : numpy.ndarray
        Events matched one to one, int64, true units x found units.
    """

    tolerance_ms: float
    true_units: NDArray[np.int64]
    found_units: NDArray[np.int64]
    true_events: NDArray[np.int64]
    found_events: NDArray[np.int64]
    matches: NDArray[np.int64]

    @property
    def agreement(self) -> NDArray[np.float64]:
        """Matches / (true + found events - matches), 0 to 1, float64, true units x found units."""
        import numpy as np

        either = self.true_events[:, np.newaxis] + self.found_events - self.matches
        agreement: NDArray[np.float64] = self.matches / np.maximum(either, 1)
        return agreement

    @property
    def best(self) -> tuple[UnitMatch, ...]:
        """For every true unit the found unit of highest agreement; a found unit may occur more than once."""
        columns = self.agreement.argmax(axis=1).tolist() if self.matches.size else []
        return self._units(dict(enumerate(columns)))

    @property
    def assigned(self) -> tuple[UnitMatch, ...]:
        """For every true unit the found unit of the one-to-one assignment with the largest total agreement."""
        from spikecrate.sortings.assignment import assign

        rows, columns = assign(self.agreement)
        return self._units(dict(zip(rows.tolist(), columns.tolist(), strict=True)))

    @property
    def unassigned(self) -> tuple[int, ...]:
        """Labels of the found units that are assigned to no true unit."""
        taken = {unit.found for unit in self.assigned}
        return tuple(label for label in self.found_units.tolist() if label not in taken)

    def as_dict(self) -> dict[str, Any]:
        """Return both matchings in JSON types."""
        return {
            "tolerance_ms": self.tolerance_ms,
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


def compare(truth: Sorting, found: Sorting, tolerance_ms: float = TOLERANCE_MS) -> Comparison:
    """Match the events of every true unit with those of every found unit.

    Parameters
    ----------
    truth, found : Sorting
        Of the same recording; either may be empty.
    tolerance_ms : float
        Events at most this far apart, in milliseconds, can match.

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError
        If the sampling frequencies differ, or the tolerance is negative or not finite.

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
    import numpy as np

    if truth.sampling_frequency != found.sampling_frequency:
        message = f"the sortings have {truth.sampling_frequency:g} Hz and {found.sampling_frequency:g} Hz"
        raise UsageError(message, next_step="compare two sortings of the same recording")
    if not 0 <= tolerance_ms < float("inf"):
        message = f"tolerance_ms is {tolerance_ms:g}"
        raise UsageError(message, next_step="pass a finite number of milliseconds, 0 or more")
    # Rounded, so that 0.1 ms at 30 kHz is exactly 3 samples.
    tolerance = round(tolerance_ms * truth.sampling_frequency / 1000, 6)
    true_units, true_events = np.unique(truth.labels, return_counts=True)
    found_units, columns, found_events = np.unique(found.labels, return_inverse=True, return_counts=True)
    trains = truth.trains()
    matches = np.zeros((len(true_units), len(found_units)), dtype=np.int64)
    for row, unit in enumerate(true_units.tolist()):
        matches[row] = _count_matches(trains[unit], found.times, columns, len(found_units), tolerance)
    return Comparison(
        tolerance_ms=float(tolerance_ms),
        true_units=true_units,
        found_units=found_units,
        true_events=true_events.astype(np.int64),
        found_events=found_events.astype(np.int64),
        matches=matches,
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
        With the units paired so that their total agreement is the largest.

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
    comparison = compare(first, second)
    units = comparison.assigned
    matches = sum(unit.matches for unit in units)
    either = len(first) + len(second) - matches
    return Agreement(overall=matches / either if either else 1.0, units=units, unpaired=comparison.unassigned)


def _count_matches(
    train: NDArray[np.float64],
    times: NDArray[np.float64],
    columns: NDArray[np.intp],
    num_columns: int,
    tolerance: float,
) -> NDArray[np.int64]:
    """Count the largest one-to-one matchings of one true unit's train with each of the found units'.

    Both sides are sorted and the tolerance is the same for all events, so the greedy rule is optimal: each true event
    in turn takes the earliest free found event within reach. Most events have at most one candidate, and those are
    counted in one vector operation; the loop visits only candidates that share an event.
    """
    import numpy as np

    first = np.searchsorted(times, train - tolerance, side="left")
    last = np.searchsorted(times, train + tolerance, side="right")
    reach = last - first
    mine = np.repeat(np.arange(len(train)), reach)
    theirs = np.arange(len(mine)) - np.repeat(np.cumsum(reach) - reach, reach) + np.repeat(first, reach)
    order = np.argsort(columns[theirs], kind="stable")
    mine, theirs = mine[order], theirs[order]
    unit = columns[theirs]

    # Candidates are ordered by unit, true event, found event. Two neighbours are linked where they share the true
    # event, or where the later one's reach starts no later than the earlier one's ends.
    linked = (unit[1:] == unit[:-1]) & ((mine[1:] == mine[:-1]) | (theirs[1:] <= theirs[:-1]))
    shared = np.zeros(len(unit), dtype=bool)
    shared[1:] |= linked
    shared[:-1] |= linked
    counts = np.bincount(unit[~shared], minlength=num_columns)
    unit_before = taken_mine = taken_theirs = -1
    for column, true_event, found_event in np.stack([unit, mine, theirs], axis=1)[shared].tolist():
        if column != unit_before:
            taken_mine, taken_theirs, unit_before = -1, -1, column
        if true_event > taken_mine and found_event > taken_theirs:
            taken_mine, taken_theirs = true_event, found_event
            counts[column] += 1
    return counts


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
