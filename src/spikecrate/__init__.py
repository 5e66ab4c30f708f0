"""Run spike sorters in pinned containers: this went in, this ran, run it again.

>>> import spikecrate
>>> result = spikecrate.sort("rec/", sorter="ms4")  # doctest: +SKIP
>>> result.sorting.unit_ids  # doctest: +SKIP
array([1, 2, 3])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecrate._version import __version__

if TYPE_CHECKING:
    from spikecrate import errors
    from spikecrate.api import (
        analyze,
        compare,
        curate,
        export,
        load,
        plot,
        preprocess,
        run,
        sort,
        sort_by_group,
    )
    from spikecrate.api.result import GroupedResult, Result
    from spikecrate.recordings import Recording, open_recording
    from spikecrate.recordings.views import concatenate
    from spikecrate.steps.request import SortRequest, StepRequest


__all__ = [
    "GroupedResult",
    "Recording",
    "Result",
    "SortRequest",
    "StepRequest",
    "__version__",
    "analyze",
    "compare",
    "concatenate",
    "curate",
    "errors",
    "export",
    "load",
    "open_recording",
    "plot",
    "preprocess",
    "run",
    "sort",
    "sort_by_group",
]

_HOMES = {
    "sort": "spikecrate.api",
    "analyze": "spikecrate.api",
    "compare": "spikecrate.api",
    "plot": "spikecrate.api",
    "preprocess": "spikecrate.api",
    "curate": "spikecrate.api",
    "export": "spikecrate.api",
    "sort_by_group": "spikecrate.api",
    "GroupedResult": "spikecrate.api.result",
    "run": "spikecrate.api",
    "SortRequest": "spikecrate.steps.request",
    "StepRequest": "spikecrate.steps.request",
    "load": "spikecrate.api",
    "Result": "spikecrate.api.result",
    "Recording": "spikecrate.recordings",
    "open_recording": "spikecrate.recordings",
    "concatenate": "spikecrate.recordings.views",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `import spikecrate` takes milliseconds."""
    if name != "errors" and name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    if name == "errors":
        return import_module("spikecrate.errors")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
