"""The quarantine: corrupt content, moved out of every reader's way and kept for inspection."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from spikecrate._util.files import disk_full_named, make_folder

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate.store.place import Store


def set_aside(store: Store, path: Path) -> Path | None:
    """Move a file or folder to the quarantine.

    Parameters
    ----------
    store : Store
        The store.
    path : Path
        A file or folder in it.

    Returns
    -------
    Path or None
        Its path in the quarantine; None where it is gone by now.

    Raises
    ------
    DiskFullError
    """
    aside = store.quarantine / f"{path.stem}-{secrets.token_hex(4)}{path.suffix}"
    try:
        with disk_full_named(store.root):
            make_folder(store.quarantine)
            path.rename(aside)
    except FileNotFoundError:
        return None
    return aside
