"""Agreement of two sortings of one recording, for each unit and as one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spikecrate.sortings import compare
from spikecrate.sortings.compare import TOLERANCE_MS

if TYPE_CHECKING:
    from spikecrate.sortings import Sorting, UnitMatch


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
