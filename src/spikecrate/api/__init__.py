"""The public calls, one module a verb; a verb that takes a result is also a method of it."""

from spikecrate.api.analyze import Analysis, analyze
from spikecrate.api.compare import ComparisonResult, compare
from spikecrate.api.curate import curate
from spikecrate.api.export import Export, export
from spikecrate.api.plot import Picture, plot
from spikecrate.api.preprocess import Preprocessed, preprocess
from spikecrate.api.result import GroupedResult, Result
from spikecrate.api.run import find_or_run, load, run
from spikecrate.api.sort import sort, sort_by_group

Result.analyze = analyze
Result.compare = compare
Result.plot = plot
Result.curate = curate
Result.export = export

__all__ = [
    "Analysis",
    "ComparisonResult",
    "Export",
    "GroupedResult",
    "Picture",
    "Preprocessed",
    "Result",
    "analyze",
    "compare",
    "curate",
    "export",
    "find_or_run",
    "load",
    "plot",
    "preprocess",
    "run",
    "sort",
    "sort_by_group",
]
