"""What comes out: sortings, and how good they are."""

from spikecrate.sortings.compare import Comparison, UnitMatch, compare
from spikecrate.sortings.firings import Sorting, read_firings, write_firings
from spikecrate.sortings.quality import UnitQuality, unit_quality

__all__ = [
    "Comparison",
    "Sorting",
    "UnitMatch",
    "UnitQuality",
    "compare",
    "read_firings",
    "unit_quality",
    "write_firings",
]
