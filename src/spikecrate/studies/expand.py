"""Expand the recordings of a study: globs to paths, paths to names that are unique."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from spikecrate.studies.definition import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate.studies.definition import RecordingEntry, Study


@dataclass(frozen=True, kw_only=True)
class Found:
    """One recording of a study.

    Attributes
    ----------
    name : str
        Unique in the study.
    path : Path
        Absolute.
    entry : RecordingEntry
        The entry that names it.
    """

    name: str
    path: Path
    entry: RecordingEntry

    @property
    def study_set(self) -> str:
        """The study set that the entry gives, or the folder around the recording."""
        return self.entry.study_set or self.path.parent.name


def expand(study: Study) -> list[Found]:
    """List the recordings of a study, in order of the file and of their paths.

    Parameters
    ----------
    study : Study
        The study.

    Returns
    -------
    list of Found
        A recording that several entries name is there once, as the first says.

    Raises
    ------
    StudyInvalidError
        A path does not exist, a glob has no match, or a name is given to several recordings; the message has the line.
    """
    found: dict[Path, RecordingEntry] = {}
    problems: list[tuple[int, str]] = []
    for entry in study.recordings:
        # A glob of everything beside the file is not one of the file.
        paths = [path for path in _paths(entry) if path not in (study.path, study.folder)]
        if not paths:
            words = "matches nothing" if has_magic(entry.path) else "does not exist"
            problems.append((entry.line, f"{entry.path} {words}"))
        if entry.name and len(paths) > 1:
            problems.append((entry.line, f"{len(paths)} recordings have the name {entry.name!r}"))
        if entry.truth and not Path(entry.truth).is_file():
            problems.append((entry.line, f"the truth {entry.truth} is not a file"))
        for path in paths:
            found.setdefault(path, entry)
    named = [Found(name=entry.name, path=path, entry=entry) for path, entry in found.items()]
    problems += _same_names(one for one in named if one.name)
    if problems:
        raise invalid(study.path, problems)
    return _with_names(named)


def _paths(entry: RecordingEntry) -> list[Path]:
    # Not Path.glob, which takes no absolute pattern.
    if has_magic(entry.path) and not Path(entry.path).exists():
        return [Path(match) for match in sorted(glob(entry.path, recursive=True))]  # noqa: PTH207
    return [Path(entry.path)] if Path(entry.path).exists() else []


def _same_names(named: Iterable[Found]) -> list[tuple[int, str]]:
    first: dict[str, int] = {}
    problems = []
    for one in named:
        line = first.setdefault(one.name, one.entry.line)
        if line != one.entry.line:
            problems.append((one.entry.line, f"the name {one.name!r} is on line {line} too"))
    return problems


def _with_names(found: list[Found]) -> list[Found]:
    """Name each recording by the end of its path: as many folders as tell it apart."""
    for depth in range(1, 1 + max(len(one.path.parts) for one in found)):
        names = [one.name or "/".join(one.path.parts[-depth:]) for one in found]
        counts = Counter(names)
        found = [
            replace(one, name=name) if counts[name] == 1 else one
            for one, name in zip(found, names, strict=True)
        ]
        if all(one.name for one in found):
            break
    return found
