"""Remove the containers, processes and scratch folders of runs whose process died."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from spikecrate._util.files import remove_tree
from spikecrate.steps.paths import attempts
from spikecrate.steps.plan import is_running
from spikecrate.store import results
from spikecrate.store.lock import Lock

if TYPE_CHECKING:
    from spikecrate.runtimes import Runtime
    from spikecrate.steps.paths import WorkPaths
    from spikecrate.store import Store


def left_over(store: Store) -> list[str]:
    """Return the folders of dead runs, which `sweep` would remove.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    list of str
        Paths.
    """
    return [
        str(paths.root)
        for paths in attempts(store.work)
        if len(key := paths.root.name.split("-")[0]) == 64 and not is_running(store, key)
    ]


def sweep(store: Store, runtime: Runtime, own_key: str | None = None) -> list[str]:
    """Remove the containers, processes and folders that dead runs of this runtime left.

    A job whose lock is free has no living owner: the kernel releases a lock when its owner dies.

    Parameters
    ----------
    store : Store
        The store whose runs are swept.
    runtime : Runtime
        The runtime whose runs are swept.
    own_key : str, optional
        A job that the caller has locked and not yet started: all of its attempts are dead.

    Returns
    -------
    list of str
        Names of the removed containers, processes and folders.
    """
    locked: dict[str, Lock] = {}

    def is_orphan(key: str) -> bool:
        if key == own_key or key in locked:
            return True
        if len(key) != 64:
            return False
        lock = Lock(store.lock(key))
        if not lock.try_acquire():
            return False
        locked[key] = lock
        return True

    try:
        removed = runtime.sweep(str(store.root), is_orphan)
        for paths in attempts(store.work):
            key = paths.root.name.split("-")[0]
            if _runtime_of(paths) in (runtime.name, None) and is_orphan(key):
                if results.put_back(store, paths.root):
                    continue
                try:
                    remove_tree(paths.root)
                except PermissionError:
                    # Another member of the group that shares the store owns it; that user's next run removes it.
                    continue
                removed.append(str(paths.root))
    finally:
        for lock in locked.values():
            lock.release()
    return removed


def _runtime_of(paths: WorkPaths) -> str | None:
    """Return the runtime of an attempt; None if its owner died before it wrote the runtime."""
    try:
        return str(json.loads(paths.owner.read_bytes())["runtime"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
