"""Update the locks of a sorter from its requirements, and report the changes."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import run
from spikecrate.errors import CommandError, EnvironmentBuildError, SorterInvalidError

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Tool

PYTHON: Final = "3.11"
"""Version of Python in the base image."""
OVERRIDES: Final = ".overrides.in"
"""Suffix of a file whose versions override the requirements of packages."""
REQUIREMENT: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Change:
    """Changes in one lock.

    Attributes
    ----------
    lock : str
        Name of the file.
    added, removed : dict
        Package to version.
    updated : dict
        Package to its version before and after.
    """

    lock: str
    added: dict[str, str]
    removed: dict[str, str]
    updated: dict[str, tuple[str, str]]


def relock(sorter: Tool, progress: Progress, *, upgrade: bool) -> list[Change]:
    """Resolve every lock of a sorter again: `requirements.lock` from `requirements.in`, and so on.

    A lock that would install the same packages is left untouched, byte for byte, so that the recipe stays the same.

    Parameters
    ----------
    sorter : Tool
        A sorter of the catalogue.
    progress : Progress
        Receives a note after each lock.
    upgrade : bool
        Take the newest allowed versions; otherwise keep the locked versions where they still fit.

    Returns
    -------
    list of Change
        One for each lock.

    Raises
    ------
    SorterInvalidError
        If the folder has no `requirements.in`.
    EnvironmentBuildError
        If there is no solution, or the package index cannot be reached.
    """
    # requirements.in first: it constrains the other locks.
    named = (path for path in sorter.folder.glob("*.in") if not path.name.endswith(OVERRIDES))
    sources = sorted(named, key=lambda path: (path.stem != "requirements", path.stem))
    if not sources:
        message = f"{sorter.folder} has no requirements.in"
        raise SorterInvalidError(message, next_step="list the packages that run.py imports there, one a line")
    changes = []
    with tempfile.TemporaryDirectory(prefix="spikecrate-lock-") as place:
        # Resolve in a copy, so that no lock is half written and all come from the same state of the index.
        staging = Path(place)
        for path in (*sorter.folder.glob("*.in"), *sorter.folder.glob("*.lock")):
            shutil.copyfile(path, staging / path.name)
        for source in sources:
            _compile(sorter, source.name, staging, progress, upgrade=upgrade)
        for source in sources:
            name = f"{source.stem}.lock"
            lock, new = sorter.folder / name, (staging / name).read_text(encoding="utf-8")
            old = lock.read_text(encoding="utf-8") if lock.exists() else ""
            changes.append(compare(name, old, new))
            if requirements(old) != requirements(new):
                shutil.copyfile(staging / name, lock)
    return changes


def compare(lock: str, old: str, new: str) -> Change:
    r"""Compare two versions of a lock.

    Parameters
    ----------
    lock : str
        Name of the file.
    old, new : str
        Its text before and after.

    Returns
    -------
    Change

    Examples
    --------
    >>> change = compare("requirements.lock", "numpy==2.0\nblake3==1.0", "numpy==2.1\nrich==14.0")
    >>> change.added, change.removed, change.updated
    ({'rich': '14.0'}, {'blake3': '1.0'}, {'numpy': ('2.0', '2.1')})
    """
    before, after = packages(old), packages(new)
    both = sorted(before.keys() & after.keys())
    return Change(
        lock=lock,
        added={name: after[name] for name in sorted(after.keys() - before.keys())},
        removed={name: before[name] for name in sorted(before.keys() - after.keys())},
        updated={name: (before[name], after[name]) for name in both if before[name] != after[name]},
    )


def packages(lock: str) -> dict[str, str]:
    """Return the package and version of every entry of a lock.

    Parameters
    ----------
    lock : str
        Text of the lock.

    Returns
    -------
    dict
        Name of the package, in lower case, to version.
    """
    return {name.lower(): version for name, version in REQUIREMENT.findall(lock)}


def requirements(lock: str) -> list[str]:
    """Return the lines of a lock without comments and blank lines.

    Parameters
    ----------
    lock : str
        Text of the lock.

    Returns
    -------
    list of str
    """
    return [line.strip() for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _compile(sorter: Tool, source: str, folder: Path, progress: Progress, *, upgrade: bool) -> None:
    import uv

    stem = source.removesuffix(".in")
    lock, overrides = f"{stem}.lock", f"{stem}{OVERRIDES}"
    output: list[str] = []
    try:
        run(
            [
                *(uv.find_uv_bin(), "pip", "compile", source, "--output-file", lock, "--quiet"),
                *("--generate-hashes", "--no-emit-index-url", "--python-version", PYTHON),
                *("--custom-compile-command", f"spikecrate sorters.lock {sorter.name}"),
                *(("--overrides", overrides) if (folder / overrides).exists() else ()),
                *(("--upgrade",) if upgrade else ()),
            ],
            cwd=folder,
            on_line=output.append,
        )
    except CommandError:
        message = f"{sorter.folder / source} cannot be locked:\n" + "\n".join(output[-20:])
        step = "fix the file, and check that the package index can be reached"
        raise EnvironmentBuildError(message, next_step=step) from None
    progress.note(f"{lock} of {sorter.name} is resolved")
