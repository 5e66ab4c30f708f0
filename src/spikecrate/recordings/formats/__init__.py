"""Find the format of a recording by the names of its files, and open it."""

from __future__ import annotations

import os
import shlex
import stat
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.errors import RecordingNotFoundError
from spikecrate.recordings.formats.files import ambiguous, is_file, reading

if TYPE_CHECKING:
    from spikecrate.recordings.model import Recording

FORMATS: Final = {
    "raw.mda": "mountainsort",
    "binary.json": "spikeinterface",
    "si_folder.json": "spikeinterface",
    "cached.json": "spikeinterface",
    "structure.oebin": "openephys",
    "continuous.dat": "openephys",
}
"""Files of one name, and the module that opens their format with its `open_source`."""
LOOKED_FOR: Final = (
    "raw.mda (MountainSort), binary.json (SpikeInterface), *.bin with *.meta (SpikeGLX), structure.oebin "
    "(Open Ephys binary), recording.json (any flat file)"
)


def open_recording(path: str | Path) -> Recording:
    """Open a recording where it lies: nothing is copied, and no sample is read.

    Parameters
    ----------
    path : str or Path
        A recording's folder, or the file that describes it or holds its samples.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingNotFoundError
        If there is no recording; the message lists the files it looked for.
    RecordingAmbiguousError
        If the folder holds several recordings; the message lists their paths.
    SpikecrateError
        Another recording error, naming the file, the field and the next step.
    """
    named = absolute(path)
    found = formats_at(named)
    if not found:
        message = f"{named} is not a recording; looked for {LOOKED_FOR}"
        convert = f"spikecrate recording.import {shlex.quote(str(named))} DESTINATION"
        step = "check the path" if named.is_dir() else "describe a flat file by a recording.json"
        raise RecordingNotFoundError(message, next_step=f"{step}, or convert another format: {convert}")
    if len(found) > 1:
        raise ambiguous(named, "formats", list(found.values()))
    ((form, source),) = found.items()
    recording: Recording = import_module(f"{__name__}.{form}").open_source(named, source)
    return recording


def formats_at(named: Path) -> dict[str, Path]:
    """Return the formats that are read in place and that a path has files of.

    Parameters
    ----------
    named : Path
        A folder or file.

    Returns
    -------
    dict
        Name of each format, and the file that describes the recording.

    Raises
    ------
    RecordingNotFoundError, RecordingPermissionError, RecordingLinkError
        If the path cannot be looked at.
    RecordingAmbiguousError
        If it is a folder with several recordings of one format.
    """
    with reading(named):
        is_folder = stat.S_ISDIR(named.stat().st_mode)
    return _in_folder(named) if is_folder else _of_file(named)


def absolute(path: str | Path) -> Path:
    """Return the absolute path; links are kept as named.

    Parameters
    ----------
    path : str or Path
        A path that a user named.

    Returns
    -------
    Path

    Raises
    ------
    RecordingNotFoundError
        If it is empty or has a null character.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        message = f"{text!r} is not a path"
        raise RecordingNotFoundError(message, next_step="pass the path of a recording")
    named = Path(text).absolute()
    # After a link, ".." means the folder above its target; only the file system resolves that.
    return Path(os.path.realpath(named)) if ".." in named.parts else named


def _of_file(path: Path) -> dict[str, Path]:
    """Return the format of a file and the file, or nothing."""
    from spikecrate.recordings.formats.spikeglx import is_stream

    if path.name in FORMATS:
        return {FORMATS[path.name]: path}
    if path.suffix == ".raw" and is_file(path.parent / "binary.json"):
        return {"spikeinterface": path}
    if is_stream(path):
        return {"spikeglx": path}
    return {"flat": path} if path.suffix == ".json" else {}


def _in_folder(folder: Path) -> dict[str, Path]:
    """Return each format that a folder has files of, and the file that describes the recording."""
    from spikecrate.recordings.formats.openephys import structures_at

    # A user's own description takes precedence over a program's.
    if is_file(folder / "recording.json"):
        return {"flat": folder / "recording.json"}
    found: dict[str, Path] = {}
    for name in ("raw.mda", "binary.json", "si_folder.json", "cached.json"):
        if is_file(folder / name):
            found.setdefault(FORMATS[name], folder / name)
    structure = next(structures_at(folder), None)
    if structure is not None:
        found["openephys"] = structure
    if found:
        return found
    from spikecrate.recordings.formats.spikeglx import find_stream

    stream = find_stream(folder)
    return {} if stream is None else {"spikeglx": stream}
