"""The lag of found spikes behind true ones, one per unit.

True spike times of an intracellular electrode can lie milliseconds from the peak outside the cell. A lag is
estimated and reported; only `truth_offset_ms` of `compare` shifts anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from spikecrate.errors import UsageError
from spikecrate.sortings.comparison.compare import TOLERANCE_MS, prepare
from spikecrate.sortings.comparison.matching import count_matches, matched_events

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spikecrate.sortings.comparison.matching import Units
    from spikecrate.sortings.model import Sorting

MAX_LAG_MS: Final = 5.0
ROUNDS: Final = 2
"""Times that a lag is refined: the first median is cut off on one side by the window around a lag of the grid."""


@dataclass(frozen=True, kw_only=True)
class UnitLag:
    """Lag of one true unit.

    Attributes
    ----------
    unit : int
        Label of the true unit.
    found : int or None
        Label of the found unit of highest agreement at any lag; None where no found unit shares an event.
    lag_ms : float or None
        Median of found minus true time over the matches, in milliseconds; as `truth_offset_ms` it aligns the unit.
    agreement, unshifted_agreement : float
        Agreement of the two units with this lag taken out, and as they are.
    """

    unit: int
    found: int | None
    lag_ms: float | None
    agreement: float
    unshifted_agreement: float


def estimate_lags(
    truth: Sorting, found: Sorting, tolerance_ms: float = TOLERANCE_MS, *, max_lag_ms: float = MAX_LAG_MS
) -> tuple[UnitLag, ...]:
    """Estimate how far the found spikes lie behind the true ones.

    The lag is the peak of the cross-correlogram (Perkel, Gerstein and Moore 1967,
    doi:10.1016/S0006-3495(67)86597-4) of the true unit with the found unit that agrees most, over lags one tolerance
    apart; then the median over the matches. Of equal peaks the one nearest to 0 counts.

    Parameters
    ----------
    truth, found : Sorting
        Of the same recording; either may be empty.
    tolerance_ms : float
        As in `compare`, above 0.
    max_lag_ms : float
        Largest lag that is tried, either way.

    Returns
    -------
    tuple of UnitLag
        One per true unit, by ascending label.

    Raises
    ------
    UsageError
        If the sampling frequencies differ, or a parameter is out of its range.

    Examples
    --------
    >>> from spikecrate.sortings import Sorting
    >>> truth = Sorting.from_events([1000, 2000, 3500], [1, 1, 1], sampling_frequency=30000)
    >>> found = Sorting.from_events([1060, 2060, 3560], [4, 4, 4], sampling_frequency=30000)
    >>> estimate_lags(truth, found)
    (UnitLag(unit=1, found=4, lag_ms=2.0, agreement=1.0, unshifted_agreement=0.0),)
    """
    import numpy as np

    true, other, tolerance = prepare(truth, found, tolerance_ms, 0)
    if not (tolerance > 0 and 0 <= max_lag_ms < float("inf")):
        message = f"tolerance_ms is {tolerance_ms:g}, max_lag_ms {max_lag_ms:g}"
        raise UsageError(message, next_step="pass a tolerance above 0, and a largest lag of 0 or more")
    samples_per_ms = truth.sampling_frequency / 1000
    rows = len(true.labels)
    partner, lag = np.full(rows, -1, dtype=np.int64), np.zeros(rows)
    peak = np.zeros(rows)
    last = int(max_lag_ms * samples_per_ms / tolerance) if len(other.labels) else -1
    for step in sorted(range(-last, last + 1), key=abs):
        shifted = _shifted(true, np.full(rows, step * tolerance))
        matches = count_matches(shifted, other, tolerance)
        agreement = matches / (true.events[:, np.newaxis] + other.events - matches)
        higher = agreement.max(axis=1) > peak
        partner[higher] = agreement.argmax(axis=1)[higher]
        peak[higher] = agreement.max(axis=1)[higher]
        lag[higher] = step * tolerance
    for _ in range(ROUNDS):
        lag += _median_rest(_shifted(true, lag), other, partner, tolerance)
    aligned = _agreement(_shifted(true, lag), other, partner, tolerance)
    unshifted = _agreement(true, other, partner, tolerance)
    return tuple(
        UnitLag(
            unit=unit,
            found=None if column < 0 else int(other.labels[column]),
            lag_ms=None if column < 0 else round(float(lag[row]) / samples_per_ms, 6),
            agreement=float(aligned[row]),
            unshifted_agreement=float(unshifted[row]),
        )
        for row, (unit, column) in enumerate(zip(true.labels.tolist(), partner.tolist(), strict=True))
    )


def _shifted(units: Units, lag: NDArray[np.float64]) -> Units:
    """Add to every event the lag of its unit."""
    import numpy as np

    times = units.times + lag[units.numbers]
    order = np.argsort(times, kind="stable")
    return replace(units, times=times[order], numbers=units.numbers[order])


def _median_rest(
    true: Units, other: Units, partner: NDArray[np.int64], tolerance: float
) -> NDArray[np.float64]:
    """Return for each true unit the median of found minus true time over its matches; 0 without one."""
    import numpy as np

    own, matched = matched_events(true, other, partner, tolerance)
    order = np.argsort(true.numbers[own], kind="stable")
    rest = (other.times[matched] - true.times[own])[order]
    counts = np.bincount(true.numbers[own], minlength=len(partner))
    parts = np.split(rest, np.cumsum(counts)[:-1])
    return np.array([np.median(part) if len(part) else 0.0 for part in parts[: len(partner)]])


def _agreement(
    true: Units, other: Units, partner: NDArray[np.int64], tolerance: float
) -> NDArray[np.float64]:
    """Return for each true unit the agreement with its partner; 0 without one."""
    import numpy as np

    own, _ = matched_events(true, other, partner, tolerance)
    matches = np.bincount(true.numbers[own], minlength=len(partner))
    paired = partner >= 0
    agreement = np.zeros(len(partner))
    either = true.events[paired] + other.events[partner[paired]] - matches[paired]
    agreement[paired] = matches[paired] / either
    return agreement
