"""Results that are never collected: for each a file of its key's name in the store's `pins/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikecrate._util.files import disk_full_named, write_atomically
from spikecrate.store.index import names_in

if TYPE_CHECKING:
    from spikecrate.store.place import Store


def pinned(store: Store) -> set[str]:
    """Give the keys that are pinned."""
    return set(names_in(store.pins))


def pin(store: Store, key: str, text: str) -> bool:
    """Pin a result; say whether it was not pinned before.

    Parameters
    ----------
    store : Store
        Where.
    key : str
        The job key.
    text : str
        What the file says of it, for people.

    Raises
    ------
    DiskFullError
    """
    path = store.pins / key
    if path.exists():
        return False
    write_atomically(path, f"{text}\n".encode())
    return True


def unpin(store: Store, key: str) -> bool:
    """Take a pin away; say whether there was one."""
    with disk_full_named(store.root):
        path = store.pins / key
        if not path.exists():
            return False
        path.unlink(missing_ok=True)
    return True
