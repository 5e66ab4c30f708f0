"""The public calls, one module a verb; a verb that takes a result is also a method of it."""

from spikecrate.api.analyze import Analysis, analyze
from spikecrate.api.curate import curate
from spikecrate.api.export import Export, export
from spikecrate.api.result import GroupedResult, Result
from spikecrate.api.run import find_or_run, load, run
from spikecrate.api.sort import sort, sort_by_group

Result.analyze = analyze
Result.curate = curate
Result.export = export

__all__ = [
    "Analysis",
    "Export",
    "GroupedResult",
    "Result",
    "analyze",
    "curate",
    "export",
    "find_or_run",
    "load",
    "run",
    "sort",
    "sort_by_group",
]
