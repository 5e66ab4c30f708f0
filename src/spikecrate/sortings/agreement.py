"""Agreement of two sortings of one recording, for each unit and as one number."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from spikecrate.sortings import compare
from spikecrate.sortings.compare import TOLERANCE_MS

if TYPE_CHECKING:
    from spikecrate.sortings import Sorting


@dataclass(frozen=True, kw_only=True)
class UnitAgreement:
    """One unit of the first sorting and the unit of the second that is paired with it.

    Attributes
    ----------
    unit, events : int
        Label and number of events in the first sorting.
    found : int or None
        Label in the second sorting; None where no unit shares an event with this one.
    found_events : int
        Events of the paired unit.
    agreement : float
        Matches / (events of both - matches), 0 to 1.
    """

    unit: int
    events: int
    found: int | None
    found_events: int
    agreement: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two sortings, the units of the first paired one to one with those of the second.

    Attributes
    ----------
    overall : float
        Share of the events of both that the paired units have in common, 0 to 1; 1 for two empty sortings.
    units : tuple of UnitAgreement
        One for each unit of the first sorting, by ascending label.
    unpaired : tuple of int
        Labels that only the second sorting has.
    """

    overall: float
    units: tuple[UnitAgreement, ...]
    unpaired: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the agreement in JSON types."""
        return {
            "overall": self.overall,
            "units": [asdict(unit) for unit in self.units],
            "unpaired": list(self.unpaired),
        }

    def sentence(self) -> str:
        """Return one line: the overall agreement and the five units that differ the most."""
        differing = sorted(
            (unit for unit in self.units if unit.agreement < 1), key=lambda unit: unit.agreement
        )
        parts = [f"unit {unit.unit}: {unit.agreement:.3f}" for unit in differing[:5]]
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
    paired = comparison.assigned
    matches = sum(unit.matches for unit in paired)
    either = len(first) + len(second) - matches
    return Agreement(
        overall=matches / either if either else 1.0,
        units=tuple(
            UnitAgreement(
                unit=unit.unit,
                events=unit.events,
                found=unit.found,
                found_events=unit.found_events,
                agreement=round(unit.accuracy, 6),
            )
            for unit in paired
        ),
        unpaired=comparison.unassigned,
    )
