"""Results that `store.gc` never removes: for each, a file named by its key in the store's `pins/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikecrate._util.files import disk_full_named, write_atomically
from spikecrate.store.index import names_in

if TYPE_CHECKING:
    from spikecrate.store.place import Store


def pinned(store: Store) -> set[str]:
    """Return the keys of the pinned results.

    Parameters
    ----------
    store : Store
        The store.
    """
    return set(names_in(store.pins))


def pin(store: Store, key: str, text: str) -> bool:
    """Pin a result.

    Parameters
    ----------
    store : Store
        The store.
    key : str
        The job key.
    text : str
        Content of the file, for people.

    Returns
    -------
    bool
        Whether the result was not pinned before.

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
    """Unpin a result.

    Parameters
    ----------
    store : Store
        The store.
    key : str
        The job key.

    Returns
    -------
    bool
        Whether the result was pinned.

    Raises
    ------
    DiskFullError
    """
    with disk_full_named(store.root):
        path = store.pins / key
        if not path.exists():
            return False
        path.unlink(missing_ok=True)
    return True
