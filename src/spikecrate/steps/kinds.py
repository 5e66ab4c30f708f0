"""Kinds of tools: the required output of each, and its facts in the run record.

This module declares everything that is special about a sorting, a recording or an analysis; the rest of `steps/` handles any output.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.catalogue.tools import HARNESS_ENTRYPOINT, SORTER
from spikecrate.errors import RecordingError, ResultInvalidError
from spikecrate.recordings import open_recording
from spikecrate.recordings.formats.files import read_json
from spikecrate.steps.paths import FIRINGS, UNITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spikecrate.sortings.units import Unit
    from spikecrate.steps.job import Job

RECORDING: Final = "recording"
"""Name of the input that a sorter sorts."""
PREPROCESS: Final = "preprocess"
"""The kind of tool that makes a recording."""
ANALYZE: Final = "analyze"
"""The kind of tool that makes tables and an analyzer of a sorting."""
COMPARE: Final = "compare"
"""The kind of tool that makes tables of the units that sortings have in common."""
CURATE: Final = "curate"
"""The kind of tool that makes a sorting of a sorting."""
EXPORT: Final = "export"
"""The kind of tool that writes a sorting in the format of another program."""
FIGURE: Final = "figure"
"""The kind of tool that draws pictures."""
DESCRIPTION: Final = "recording.json"
CONTRACT_STEP: Final = "see docs/contract.md for what a tool must write to /out"
FIRINGS_HEADER: Final = 64
EVENT_BYTES: Final = 24
"""Three float64 per event; a sorting has at most one event per sample and channel."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The required output of a kind of tool.

    Attributes
    ----------
    name : str
        Name, as in the tool's description.
    files : tuple of str
        Files in /out that become files of the result folder; the run record lists their hashes.
    optional : tuple of str
        Files in /out that are treated alike, but may be missing.
    folder : str
        Subfolder of the result for all other files of the tool.
    facts : tuple of str
        Fields of the run record for this kind.
    check : callable or None
        Checks these files in the output folder of a job and returns the facts; raises ResultInvalidError.
    """

    name: str
    files: tuple[str, ...]
    optional: tuple[str, ...] = ()
    folder: str
    facts: tuple[str, ...]
    check: Callable[[Path, Job], dict[str, Any]] | None = None

    @property
    def is_sorting(self) -> bool:
        """Whether the output is a sorting."""
        return FIRINGS in self.files

    def files_in(self, folder: Path) -> tuple[str, ...]:
        """Return `files`, and those of `optional` that are there.

        Parameters
        ----------
        folder : Path
            The output folder of a job, or a result folder.
        """
        return (*self.files, *(name for name in self.optional if os.path.lexists(folder / name)))


def require_file(path: Path) -> None:
    """Check that a file in /out is a regular file.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ResultInvalidError
        The file is missing or a link.
    """
    if path.is_symlink() or not path.is_file():
        kind = "a symbolic link" if path.is_symlink() else "missing"
        message = f"/out/{path.name} is {kind}: the tool broke the container contract"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP)


def warnings_of(report: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """Return why a result may not be what the user expects: the tool's warnings, or that a sorting has no units.

    Parameters
    ----------
    report : dict
        The harness's report.
    facts : dict
        The facts of the tool's kind.

    Returns
    -------
    list of str
    """
    return report.get("warnings") or (["no units found"] if facts.get("units") == 0 else [])


def check_sorting(out: Path, job: Job) -> dict[str, Any]:
    """Check `firings.mda` against the recording, and write it in the documented form; check `units.csv` against it.

    Parameters
    ----------
    out : Path
        The output folder.
    job : Job
        The job.

    Returns
    -------
    dict
        `units` and `events`, the numbers of each.

    Raises
    ------
    ResultInvalidError
        A file is too large or unreadable, or has a time or channel that the recording lacks, or the two differ.
    """
    from spikecrate.sortings.model import read_firings, write_firings
    from spikecrate.sortings.units import SORTED

    path, layout = out / FIRINGS, job.layout
    most = FIRINGS_HEADER + EVENT_BYTES * layout.num_samples * layout.num_channels
    # Reading a larger file could fill the memory.
    if (size := path.stat().st_size) > most:
        message = f"/out/{FIRINGS} has {size} bytes, but at most {most} are possible for this recording"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP)
    sorting = read_firings(
        path, layout.sampling_frequency, num_samples=layout.num_samples, num_channels=layout.num_channels
    )
    if job.tool.entrypoint != HARNESS_ENTRYPOINT:
        # A sorter with its own entry point may write another type or order; the harness writes the documented form.
        write_firings(path, sorting)
    if (out / UNITS).exists():
        units = _read_table(out / UNITS, SORTED, layout.num_channels)
        events = {unit: len(train) for unit, train in sorting.trains().items()}
        if {unit.unit: unit.events for unit in units} != events or len(units) != len(events):
            message = f"/out/{UNITS} and /out/{FIRINGS} are of different units or events"
            raise ResultInvalidError(message, next_step=CONTRACT_STEP)
    return {"units": len(sorting.unit_ids), "events": len(sorting.times)}


def _read_table(path: Path, columns: tuple[str, ...], num_channels: int) -> tuple[Unit, ...]:
    """Read a table of units in /out, and check its channels."""
    from spikecrate.sortings.units import read_units

    try:
        units = read_units(path, columns)
    except ValueError as error:
        message = f"the tool's table of units is not valid: {str(error).replace(str(path.parent), '/out')}"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP) from None
    if any((unit.channel or 0) >= num_channels for unit in units):
        message = f"/out/{path.name} names a channel beyond the {num_channels} of the recording"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP)
    return units


def _is_own(folder: Path, name: str) -> bool:
    """Return whether a name leads, without a link, to something inside a folder."""
    path = folder / name
    return "\0" not in name and path.is_relative_to(folder) and path.resolve() == path


def check_recording(out: Path, job: Job) -> dict[str, Any]:
    """Check that the output is a recording in its own files, and that the samples are as many as it describes.

    Parameters
    ----------
    out : Path
        The output folder.
    job : Job
        Not used: a recording is checked by itself.

    Returns
    -------
    dict
        `channels` and `samples`, the numbers of each.

    Raises
    ------
    ResultInvalidError
        It is of no format that is read in place, its samples are more or fewer than it describes, or a file that it
        names is a link or elsewhere.
    """
    del job
    out = out.resolve()
    try:
        described = read_json(out / DESCRIPTION) if (out / DESCRIPTION).exists() else {}
        # Before anything is opened: the tool chose the names, and the library has more rights than the tool.
        fields = described if isinstance(described, dict) else {}
        if foreign := fields.keys() & {"recordings", "view"}:
            message = f"/out/{DESCRIPTION}: {min(foreign)}: the samples must be those of a file in /out"
            raise ResultInvalidError(message, next_step=CONTRACT_STEP)
        for field in ("file", "probe"):
            name = fields.get(field)
            if isinstance(name, str) and not _is_own(out, name):
                message = f"/out/{DESCRIPTION}: {field}: {name!r} is a link or lies outside /out"
                raise ResultInvalidError(message, next_step=CONTRACT_STEP)
        recording = open_recording(out)
    except RecordingError as error:
        message = f"/out is not a recording: {str(error).replace(str(out), '/out')}"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP) from None
    layout, (file,) = recording.layout, recording.files
    if not _is_own(out, str(file)):
        message = f"/out: the sample file {file.name} is a link or lies outside /out"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP)
    expected = layout.parts[0].file_bytes
    if (size := file.stat().st_size) != expected:
        message = f"/out/{file.name} has {size} bytes, its description needs {expected}"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP)
    return {"channels": layout.num_channels, "samples": layout.num_samples}


def check_analysis(out: Path, job: Job) -> dict[str, Any]:
    """Check the tables of an analysis.

    Parameters
    ----------
    out : Path
        The output folder.
    job : Job
        The job, with the recording whose channels the table of units names.

    Returns
    -------
    dict
        `units` and `events`, the numbers of each.

    Raises
    ------
    ResultInvalidError
        A table is missing or not valid, or names a channel that the recording lacks.
    """
    from spikecrate.sortings.units import METRICS, NAMES, read_metrics

    for name in (UNITS, METRICS):
        require_file(out / name)
    units = _read_table(out / UNITS, NAMES, job.layout.num_channels)
    try:
        metrics = read_metrics(out / METRICS)
    except ValueError as error:
        message = f"/out is not an analysis: {str(error).replace(str(out), '/out')}"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP) from None
    if metrics.get("unit") != [unit.unit for unit in units]:
        message = f"/out/{METRICS} and /out/{UNITS} are of different units"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP)
    return {"units": len(units), "events": sum(unit.events for unit in units)}


def check_comparison(out: Path, job: Job) -> dict[str, Any]:
    """Check the tables of a comparison.

    Parameters
    ----------
    out : Path
        The output folder.
    job : Job
        The job, with the names of the sortings.

    Returns
    -------
    dict
        `sortings`, `true_units` and `consensus_units`, the numbers of each.

    Raises
    ------
    ResultInvalidError
        A file is missing or not valid, or a table names a unit that another lacks.
    """
    from spikecrate.sortings.comparison.folder import read_comparison
    from spikecrate.sortings.comparison.tables import EVENTS, LABELS, SUMMARY, TABLES

    for name in (*TABLES, EVENTS, LABELS, SUMMARY):
        require_file(out / name)
    names = job.parts.parameters["names"]
    try:
        found = read_comparison(out, names)
    except ValueError as error:
        message = f"/out is not a comparison: {str(error).replace(str(out), '/out')}"
        raise ResultInvalidError(message, next_step=CONTRACT_STEP) from None
    return {
        "sortings": len(names),
        "true_units": len({unit.unit for unit in found.truth}),
        "consensus_units": len(found.consensus),
    }


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(
            name=SORTER,
            files=(FIRINGS,),
            optional=(UNITS,),
            folder="sorter",
            facts=("units", "events"),
            check=check_sorting,
        ),
        Kind(
            name=PREPROCESS,
            files=(),
            folder="recording",
            facts=("channels", "samples"),
            check=check_recording,
        ),
        Kind(name=ANALYZE, files=(), folder="analysis", facts=("units", "events"), check=check_analysis),
        Kind(
            name=CURATE,
            files=(FIRINGS,),
            optional=(UNITS,),
            folder="curation",
            facts=("units", "events"),
            check=check_sorting,
        ),
        Kind(
            name=COMPARE,
            files=(),
            folder="comparison",
            facts=("sortings", "true_units", "consensus_units"),
            check=check_comparison,
        ),
        Kind(name=EXPORT, files=(), folder="export", facts=()),
        Kind(name=FIGURE, files=(), folder="figures", facts=()),
        Kind(name="command", files=(), folder="output", facts=()),
    )
}
"""Every kind of tool by its name."""
