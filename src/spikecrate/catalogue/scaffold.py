"""Start a new sorter: write its folder with every file except the lock."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from string import Template
from typing import Final

from spikecrate._util.data import PACKAGE, data_path
from spikecrate._util.files import remove_tree
from spikecrate.errors import UsageError

TEMPLATES: Final = Path(__file__).with_name("skeleton")
ENDING: Final = ".template"
NAME: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
"""The pattern of sorter.schema.json."""

ELSEWHERE: Final = "pass --into DIR, then export SPIKECRATE_SORTERS=DIR so that the catalogue has it"


def make(name: str, into: Path | None = None) -> Path:
    """Write the folder of a new sorter, except the body of `sort` and the lock.

    Parameters
    ----------
    name : str
        Name of the sorter and of its folder.
    into : Path, optional
        Folder of sorters. By default the first of `SPIKECRATE_SORTERS`; in a clone, its `sorters/`.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    UsageError
        If the name cannot be part of an image name, or the folder exists, cannot be written or would lie in the
        installed package.
    """
    if not NAME.fullmatch(name):
        message = f"{name!r} cannot name a sorter, because image names contain it"
        raise UsageError(message, next_step="use lower case letters and digits, joined by - or _")
    parent = into or _own()
    target = parent / name
    if PACKAGE in target.resolve().parents:
        # An update of the package removes files that do not belong to it.
        message = f"{target} lies in the installed package"
        raise UsageError(message, next_step=ELSEWHERE)
    if target.exists():
        message = f"{target} exists already"
        raise UsageError(message, next_step="choose another name, or another folder: --into DIR")
    staging = parent / f".{name}-{secrets.token_hex(4)}"
    try:
        staging.mkdir()
        for template in sorted(TEMPLATES.glob(f"*{ENDING}")):
            text = Template(template.read_text(encoding="utf-8")).substitute(name=name)
            (staging / template.name.removesuffix(ENDING)).write_text(text, encoding="utf-8")
        staging.rename(target)
    except OSError as error:
        message = f"{target}: {error.strerror}"
        raise UsageError(message, next_step="choose a folder that you can write to: --into DIR") from None
    finally:
        remove_tree(staging)
    return target


def _own() -> Path:
    named = [part for part in os.environ.get("SPIKECRATE_SORTERS", "").split(os.pathsep) if part]
    if named:
        return Path(named[0])
    clone = data_path("sorters").parent
    # Only users who work in the clone write to its catalogue, not everyone who runs its spikecrate.
    if not (clone / "tasks.py").exists() or not Path.cwd().is_relative_to(clone):
        message = "no folder is given for the new sorter"
        raise UsageError(message, next_step=ELSEWHERE)
    return clone / "sorters"
