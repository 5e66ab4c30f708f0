"""Sortings: the model and its file, comparison with ground truth and with each other, and metrics."""

from spikecrate.sortings.comparison.compare import Comparison, UnitMatch, compare
from spikecrate.sortings.comparison.consensus import Consensus, find_consensus
from spikecrate.sortings.comparison.lag import UnitLag, estimate_lags
from spikecrate.sortings.comparison.truth import (
    SpikeLabels,
    UnitClasses,
    UnitSplit,
    classify,
    find_splits,
    label_spikes,
)
from spikecrate.sortings.metrics import UnitQuality, unit_quality
from spikecrate.sortings.model import Sorting, read_firings, write_firings

__all__ = [
    "Comparison",
    "Consensus",
    "Sorting",
    "SpikeLabels",
    "UnitClasses",
    "UnitLag",
    "UnitMatch",
    "UnitQuality",
    "UnitSplit",
    "classify",
    "compare",
    "estimate_lags",
    "find_consensus",
    "find_splits",
    "label_spikes",
    "read_firings",
    "unit_quality",
    "write_firings",
]
