"""From the words of the tasks on sorters to the library's arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spikecrate._util.progress import Terminal
from spikecrate.catalogue.tools import find
from spikecrate.errors import OutputError


def make(name: str, into: str) -> Path:
    """Write a new sorter's folder."""
    from spikecrate.catalogue import scaffold as folder

    return folder.make(name, Path(into).absolute() if into else None)


def relock(name: str, *, upgrade: bool) -> list[dict[str, Any]]:
    """Make a sorter's locks anew."""
    from spikecrate.catalogue.lock import relock as lock

    return [change.as_dict() for change in lock(find(name), Terminal(), upgrade=upgrade)]


def export(name: str, output: str) -> dict[str, Any]:
    """Describe a sorter for other tools; into a file where one is named.

    Raises
    ------
    OutputError
    """
    from spikecrate.catalogue.boutiques import descriptor

    described = descriptor(find(name))
    if output:
        try:
            Path(output).write_text(
                json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        except OSError as error:
            message = f"{output}: {error.strerror}"
            raise OutputError(message, next_step="name a file that can be written") from None
    return described
