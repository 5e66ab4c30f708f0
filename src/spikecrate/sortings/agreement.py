"""How far two sortings of one recording agree, unit by unit and as one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spikecrate.sortings import compare
from spikecrate.sortings.compare import TOLERANCE_MS

if TYPE_CHECKING:
    from spikecrate.sortings import Sorting


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two sortings, the first's units paired one to one with the second's.

    Attributes
    ----------
    overall : float
        Of all events of both, the share that the paired units have in common, 0 to 1; 1 for two empty ones.
    units : tuple of dict
        For each unit of the first: `unit`, `events`, `found`, `found_events`, `agreement`.
    unpaired : tuple of int
        Units that only the second has.
    """

    overall: float
    units: tuple[dict[str, Any], ...]
    unpaired: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the agreement, JSON types only."""
        return {"overall": self.overall, "units": list(self.units), "unpaired": list(self.unpaired)}

    def sentence(self) -> str:
        """Say it in a line: the number, and the units that differ the most."""
        worst = sorted(
            (unit for unit in self.units if unit["agreement"] < 1), key=lambda unit: float(unit["agreement"])
        )
        said = [f"unit {unit['unit']}: {unit['agreement']:.3f}" for unit in worst[:5]]
        said += [f"unit {unit} is left over" for unit in self.unpaired[:5]]
        return f"agreement {self.overall:.4f} within {TOLERANCE_MS} ms" + (
            f" ({', '.join(said)})" if said else ""
        )


def agree(first: Sorting, second: Sorting) -> Agreement:
    """Compare two sortings of the same recording.

    Raises
    ------
    UsageError
        If their sampling frequencies differ.
    """
    comparison = compare(first, second)
    paired = comparison.assigned
    matches = sum(unit.matches for unit in paired)
    either = len(first) + len(second) - matches
    return Agreement(
        overall=matches / either if either else 1.0,
        units=tuple(
            {
                "unit": unit.unit,
                "events": unit.events,
                "found": unit.found,
                "found_events": unit.found_events,
                "agreement": round(unit.accuracy, 6),
            }
            for unit in paired
        ),
        unpaired=comparison.unassigned,
    )
