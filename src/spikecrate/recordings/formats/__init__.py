"""Find the format of a recording by the names of its files, and open it."""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import RecordingNotFoundError
from spikecrate.recordings.assumptions import gaps_note
from spikecrate.recordings.formats.entries import ambiguous, choose, join
from spikecrate.recordings.formats.files import is_file, reading
from spikecrate.recordings.probe import absolute_probe

if TYPE_CHECKING:
    from spikecrate.recordings.formats.entries import Entry
    from spikecrate.recordings.model import Recording

FORMATS: Final = {
    "raw.mda": "mountainsort",
    "binary.json": "spikeinterface",
    "si_folder.json": "spikeinterface",
    "cached.json": "spikeinterface",
    "spikeinterface_recording.json": "spikeinterface",
    "structure.oebin": "openephys",
    "continuous.dat": "openephys",
}
"""Files of one name, and the module that lists what they hold with its `entries`."""
LOOKED_FOR: Final = (
    "raw.mda (MountainSort), binary.json (SpikeInterface), *.bin with *.meta (SpikeGLX), structure.oebin "
    "(Open Ephys binary), recording.json (any flat file)"
)


def open_recording(
    path: str | Path,
    *,
    stream: str = "",
    segment: int | None = None,
    concatenate: bool = False,
    allow_truncated: bool = False,
    probe: str = "",
) -> Recording:
    """Open a recording where it lies: nothing is copied, and no sample is read.

    Parameters
    ----------
    path : str or Path
        A recording's folder, a session's folder above it, or the file that describes it or holds its samples.
    stream : str
        Name of the stream, or its end where that is of one alone: `imec0.ap`, `ProbeA`. By default the one with
        electrodes.
    segment : int, optional
        Which of several segments, from 0, in their order.
    concatenate : bool
        Whether to join all segments end to end.
    allow_truncated : bool
        Whether a file that is shorter than its description says is read as far as it goes.
    probe : str
        Places of the channels in place of those that the files give: a geom.csv, .prb, chanMap.mat or probeinterface
        JSON file, `tetrode`, `column` or the part number of a Neuropixels probe.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingNotFoundError
        If there is no recording; the message lists the files it looked for.
    RecordingAmbiguousError
        If the path holds several streams or segments and the options choose none; the message lists them.
    UsageError
        If there is no such stream or segment.
    SpikecrateError
        Another recording error, naming the file, the field and the next step.
    """
    named = absolute(path)
    # The origin of the recording must mean the same file from another folder.
    probe = str(absolute(probe)) if os.path.isfile(probe) else probe  # noqa: PTH113
    found = formats_at(named)
    if not found:
        message = f"{named} is not a recording; looked for {LOOKED_FOR}"
        convert = f"spikecrate recording.import {shlex.quote(str(named))} DESTINATION"
        step = "check the path" if named.is_dir() else "describe a flat file by a recording.json"
        raise RecordingNotFoundError(message, next_step=f"{step}, or convert another format: {convert}")
    if len(found) > 1:
        raise ambiguous(named, "formats", list(map(str, found.values())), "name one of these")
    ((form, source),) = found.items()
    listed: list[Entry] = import_module(f"{__name__}.{form}").entries(named, source)
    chosen = choose(named, listed, stream=stream, segment=segment, concatenate=concatenate)
    probe = absolute_probe(probe)
    opened = [
        entry.open(named if len(chosen) == 1 else entry.path, allow_truncated=allow_truncated, probe=probe)
        for entry in chosen
    ]
    recording = join(chosen, opened) if len(opened) > 1 else opened[0]
    flags = {"stream": stream, "concatenate": concatenate, "allow_truncated": allow_truncated, "probe": probe}
    given: dict[str, Any] = {name: value for name, value in flags.items() if value}
    given |= {} if segment is None else {"segment": segment}
    return replace(
        recording,
        path=named,
        assumptions=tuple(dict.fromkeys((*recording.assumptions, *gaps_note(recording)))),
        origin={"path": str(named), **given},
    )


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
    if path.suffix != ".json":
        return {}
    from spikecrate.recordings.formats.spikeinterface import is_dumped

    return {"spikeinterface" if is_dumped(path) else "flat": path}


def _in_folder(folder: Path) -> dict[str, Path]:
    """Return each format that a folder has files of, and a file that describes the recording."""
    from spikecrate.recordings.formats.openephys import structures_at, structures_below

    # A user's own description takes precedence over a program's.
    if is_file(folder / "recording.json"):
        return {"flat": folder / "recording.json"}
    found: dict[str, Path] = {}
    for name in ("raw.mda", "binary.json", "si_folder.json", "cached.json", "spikeinterface_recording.json"):
        if is_file(folder / name):
            found.setdefault(FORMATS[name], folder / name)
    structure = next(structures_at(folder), None)
    if structure is not None:
        found["openephys"] = structure
    if found:
        return found
    from spikecrate.recordings.formats.spikeglx import find_stream

    inside = {"spikeglx": find_stream(folder), "openephys": next(structures_below(folder), None)}
    return {form: source for form, source in inside.items() if source is not None}
