"""A folder that is complete or absent, however its writer ends."""

from __future__ import annotations

import errno
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from spikecrate._util.files import sync_folder
from spikecrate.errors import DiskFullError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Make a folder in one step: the block fills one beside it, which reaches the disk and is then renamed.

    Parameters
    ----------
    target : Path
        Absolute; it does not exist or is empty. Folders above it are made.

    Yields
    ------
    Path
        The folder to fill; it is removed if the block raises.

    Raises
    ------
    DiskFullError
        If no space is left.
    OutputError
        If the folder cannot be written.
    """
    staging = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        staging.mkdir(parents=True)
        yield staging
        sync_folder(staging)
        staging.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{target}: no space left on the disk"
            step = "free some space, or name a folder on another disk"
            raise DiskFullError(message, next_step=step, doctor="") from None
        message = f"{target} cannot be written: {error.strerror or error}"
        raise OutputError(message, next_step="name a folder that this user may write to") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
