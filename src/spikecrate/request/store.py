"""From the words of the tasks on the store to the library's arguments."""

from __future__ import annotations

from spikecrate.store import open_store


def collect_garbage() -> list[str]:
    """Remove what stopped runs left, in every runtime that this machine has."""
    from spikecrate.jobs.sweep import sweep
    from spikecrate.runtimes.choice import usable

    store = open_store()
    return [name for runtime in usable(store) for name in sweep(store, runtime)]
