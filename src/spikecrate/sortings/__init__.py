"""Sortings: the model and its file, comparison with ground truth, agreement and metrics."""

from spikecrate.sortings.compare import Comparison, UnitMatch, compare
from spikecrate.sortings.metrics import UnitQuality, unit_quality
from spikecrate.sortings.model import Sorting, read_firings, write_firings

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
