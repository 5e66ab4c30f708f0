"""A sorter's locks made anew from the packages that it names, and what changed by that."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.process import run
from spikecrate.errors import CommandError, EnvironmentBuildError, SorterInvalidError

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Sorter

PYTHON: Final = "3.11"
"""Of the base image."""
OVERRIDES: Final = ".overrides.in"
"""How the name of a file ends that says otherwise than packages do what they need."""
REQUIREMENT: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is new in one lock.

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

    def as_dict(self) -> dict[str, Any]:
        """Give it in JSON types."""
        return asdict(self)


def relock(sorter: Sorter, progress: Progress, *, upgrade: bool) -> list[Change]:
    """Make every lock of a sorter anew: `requirements.lock` from `requirements.in`, and so on.

    A lock that says the same as before is left as it is, byte for byte: the sorter's recipe does not change.

    Parameters
    ----------
    sorter : Sorter
        Of the catalogue.
    progress : Progress
        Gets what the resolver says.
    upgrade : bool
        Take the newest versions that are allowed; by default what is locked stays where it still fits.

    Returns
    -------
    list of Change
        One a lock.

    Raises
    ------
    SorterInvalidError
        Where the folder names no packages.
    EnvironmentBuildError
        Where there is no solution, or the package index is out of reach.
    """
    # requirements first: the others are held to its lock.
    named = (path for path in sorter.folder.glob("*.in") if not path.name.endswith(OVERRIDES))
    sources = sorted(named, key=lambda path: (path.stem != "requirements", path.stem))
    if not sources:
        message = f"{sorter.folder} has no requirements.in"
        raise SorterInvalidError(message, next_step="name there what run.py imports, a package a line")
    changes = []
    with tempfile.TemporaryDirectory(prefix="spikecrate-lock-") as place:
        # Beside, and whole: a lock is never half written, and all are of one moment.
        beside = Path(place)
        for path in (*sorter.folder.glob("*.in"), *sorter.folder.glob("*.lock")):
            shutil.copyfile(path, beside / path.name)
        for source in sources:
            _compile(sorter, source.name, beside, progress, upgrade=upgrade)
        for source in sources:
            name = f"{source.stem}.lock"
            new, old = (beside / name).read_text(encoding="utf-8"), _text(sorter.folder / name)
            changes.append(compare(name, old, new))
            if requirements(old) != requirements(new):
                shutil.copyfile(beside / name, sorter.folder / name)
    return changes


def compare(lock: str, old: str, new: str) -> Change:
    """Say what two texts of a lock differ in."""
    before, after = packages(old), packages(new)
    return Change(
        lock=lock,
        added={name: after[name] for name in sorted(after.keys() - before.keys())},
        removed={name: before[name] for name in sorted(before.keys() - after.keys())},
        updated={
            name: (before[name], after[name])
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name]
        },
    )


def packages(lock: str) -> dict[str, str]:
    """Read package and version of every entry of a lock."""
    return {name.lower(): version for name, version in REQUIREMENT.findall(lock)}


def requirements(lock: str) -> list[str]:
    """Give the lines of a lock that install something: no comments."""
    return [line.strip() for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _compile(sorter: Sorter, source: str, folder: Path, progress: Progress, *, upgrade: bool) -> None:
    import uv

    stem = source.removesuffix(".in")
    lock, overrides = f"{stem}.lock", f"{stem}{OVERRIDES}"
    said: list[str] = []
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
            on_line=said.append,
        )
    except CommandError:
        message = f"{sorter.folder / source} cannot be locked:\n" + "\n".join(said[-20:])
        raise EnvironmentBuildError(
            message, next_step="mend the file; is the package index in reach?"
        ) from None
    progress.note(f"{lock} of {sorter.name} is resolved")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
