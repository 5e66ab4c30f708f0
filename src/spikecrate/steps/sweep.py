"""Remove what dead owners left: containers, processes, scratch folders."""

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
    """Name the folders of stopped runs, which `sweep` removes with what still runs in them; nothing is changed."""
    return [
        str(paths.root)
        for paths in attempts(store.work)
        if len(key := paths.root.name.split("-")[0]) == 64 and not is_running(store, key)
    ]


def sweep(store: Store, runtime: Runtime, own_key: str | None = None) -> list[str]:
    """Remove what stopped runs in this runtime left behind.

    A job whose lock can be taken has no living owner: the kernel gives the lock back when its owner dies.

    Parameters
    ----------
    store : Store
        Only what belongs to it is touched.
    runtime : Runtime
        Only what ran there.
    own_key : str, optional
        The job whose lock the caller holds, before it has started anything: all of it is left over.

    Returns
    -------
    list of str
        Names of the containers, processes and folders removed.
    """
    held: dict[str, Lock] = {}

    def is_orphan(key: str) -> bool:
        if key == own_key or key in held:
            return True
        if len(key) != 64:
            return False
        lock = Lock(store.lock(key))
        if not lock.try_acquire():
            return False
        held[key] = lock
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
                    # Of another member of the group that shares the store, whose next run removes it.
                    continue
                removed.append(str(paths.root))
    finally:
        for lock in held.values():
            lock.release()
    return removed


def _runtime_of(paths: WorkPaths) -> str | None:
    """Give the runtime of an attempt; None where its owner died before it could say."""
    try:
        return str(json.loads(paths.owner.read_bytes())["runtime"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
