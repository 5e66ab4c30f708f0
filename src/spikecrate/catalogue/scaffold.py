"""A new sorter's folder: everything but the sorter."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from string import Template
from typing import Final

from spikecrate._util.data import data_path
from spikecrate._util.files import remove_tree
from spikecrate.errors import UsageError

TEMPLATES: Final = Path(__file__).with_name("skeleton")
ENDING: Final = ".template"
NAME: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
"""As sorter.schema.json has it."""


def make(name: str, into: Path | None = None) -> Path:
    """Write the folder of a new sorter; it lacks the body of `sort` and the lock.

    Parameters
    ----------
    name : str
        Of the sorter and of the folder.
    into : Path, optional
        Folder of sorters; by default the first of `SPIKECRATE_SORTERS`, else the catalogue of the clone.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UsageError
        For a name that no image can have, a folder that is there already, and nowhere to write.
    """
    if not NAME.fullmatch(name):
        message = f"{name!r} cannot be a sorter's name: it is part of image names"
        raise UsageError(message, next_step="lower case letters and digits, parts joined by - or _")
    parent = into or _own()
    target = parent / name
    if target.exists():
        message = f"{target} is there already"
        raise UsageError(message, next_step="choose another name, or another folder: --into DIR")
    beside = parent / f".{name}-{secrets.token_hex(4)}"
    try:
        beside.mkdir()
        for template in sorted(TEMPLATES.glob(f"*{ENDING}")):
            text = Template(template.read_text(encoding="utf-8")).substitute(name=name)
            (beside / template.name.removesuffix(ENDING)).write_text(text, encoding="utf-8")
        beside.rename(target)
    except OSError as error:
        message = f"{target}: {error.strerror}"
        raise UsageError(message, next_step="name a folder that can be written: --into DIR") from None
    finally:
        remove_tree(beside)
    return target


def _own() -> Path:
    named = [part for part in os.environ.get("SPIKECRATE_SORTERS", "").split(os.pathsep) if part]
    if named:
        return Path(named[0])
    catalogue = data_path("sorters")
    if not (catalogue.parent / "tasks.py").exists():
        message = "there is no folder of sorters here to write to"
        raise UsageError(message, next_step="--into DIR; then: export SPIKECRATE_SORTERS=DIR")
    return catalogue
