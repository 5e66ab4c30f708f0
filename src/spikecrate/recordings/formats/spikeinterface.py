"""SpikeInterface's binary folder, as `recording.save(folder=...)` writes it since 0.93.

Source: SpikeInterface's `binaryfolder.py` and `binaryrecordingextractor.py`; tried on folders that 0.93, 0.97,
0.100, 0.104 and 0.105 wrote.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import ProbeError, RecordingFormatError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.flat_file import MAX_CHANNELS, flat_recording
from spikecrate.recordings.formats.entries import Entry
from spikecrate.recordings.formats.fields import Fields, as_numbers, shown
from spikecrate.recordings.formats.files import is_file, read_json, read_numbers
from spikecrate.recordings.probe import Probe
from spikecrate.recordings.probe_files import PROBE, read_geom, read_probeinterface

if TYPE_CHECKING:
    from spikecrate.recordings.model import Recording

DESCRIPTIONS: Final = ("binary.json", "si_folder.json", "cached.json")
"""Names of the description, newest first; si_folder.json of newer versions only points to binary.json."""
READER: Final = "BinaryRecordingExtractor"
FOLDER_READER: Final = "BinaryFolderRecording"
"""In a dumped JSON, the folder that `recording.save` wrote."""


def entries(named: Path, source: Path) -> list[Entry]:
    """List the segments of a SpikeInterface binary folder or of a dumped recording.

    Parameters
    ----------
    named : Path
        As the user named it: the folder, its description, or the file of one segment.
    source : Path
        A file of the folder, or the JSON that SpikeInterface dumped.

    Returns
    -------
    list of Entry

    Raises
    ------
    RecordingFormatError
        If the samples are not in flat files; the message says how to save them.
    """
    description = _description(source)
    files = _files(description.inner("kwargs"))
    return [
        Entry(
            path=file,
            open=partial(open_source, description=description, sample_file=file),
            segment=f"segment {index}",
        )
        for index, file in enumerate(files)
        if named not in files or named == file
    ]


def open_source(
    path: Path, description: Fields, sample_file: Path, *, allow_truncated: bool = False, probe: str = ""
) -> Recording:
    """Open one segment.

    Parameters
    ----------
    path : Path
        As the user named it.
    description : Fields
        The description of the samples.
    sample_file : Path
        The file of the segment.
    allow_truncated : bool
        As in `flat_recording`; the description does not say how long a file is.
    probe : str
        As in `flat_recording`, in place of the folder's own.

    Returns
    -------
    Recording

    Raises
    ------
    SpikecrateError
        A recording error that names the file, the field and the next step.
    """
    facts = description.inner("kwargs")
    name = "num_channels" if "num_channels" in facts.data else "num_chan"
    num_channels = facts.whole(name, most=MAX_CHANNELS)
    ids = facts.items("channel_ids", []) if facts.data.get("channel_ids") is not None else []
    if ids and len(ids) != num_channels:
        facts.refuse("channel_ids", f"{len(ids)} names for {num_channels} channels")
    filtered = Assumption(
        field="filter",
        message="the recording is marked as filtered",
        next_step="switch the sorter's own filter off",
    )
    return flat_recording(
        path=path,
        format="spikeinterface",
        source=description.path,
        sample_file=sample_file,
        dtype=facts.text("dtype"),
        offset=facts.whole("file_offset", 0),
        time_axis=facts.whole("time_axis", 0),
        file_channels=num_channels,
        sampling_frequency=facts.number("sampling_frequency"),
        gains=_values(description, "gain_to_uV", num_channels),
        offsets=_values(description, "offset_to_uV", num_channels),
        probe=probe or _probe(description, num_channels),
        next_steps={
            "gain_uv": "set the gains and save the recording again",
            "offset_uv": "set the offsets and save the recording again",
        },
        channel_ids=list(map(str, ids)) or None,
        assumptions=[filtered] if facts.data.get("is_filtered") is True else [],
        allow_truncated=allow_truncated,
    )


def is_dumped(path: Path) -> bool:
    """Return whether a JSON file is one that SpikeInterface's `recording.dump_to_json` wrote.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
    """
    data = read_json(path)
    return isinstance(data, dict) and {"class", "kwargs"} <= data.keys()


def _description(source: Path) -> Fields:
    """Find the file that describes the samples."""
    folder, seen = source.parent, ""
    in_folder = source.suffix == ".raw" or source.name in DESCRIPTIONS
    for path in (folder / name for name in DESCRIPTIONS) if in_folder else (source,):
        if is_file(path):
            fields = Fields(read_json(path), path)
            reader = fields.text("class", "").rpartition(".")[2]
            if reader == READER:
                return fields
            if reader == FOLDER_READER and not in_folder:
                return _description(
                    _found(fields.inner("kwargs").text("folder_path"), path) / DESCRIPTIONS[0]
                )
            seen = seen or f"{path}: class: {reader!r} is not samples in one flat file"
    message = seen or f"{folder}: there is no {DESCRIPTIONS[0]}"
    convert = f"convert it once: spikecrate recording.import {folder} DESTINATION"
    save = 'save it in SpikeInterface and name that folder: recording.save(folder="saved")'
    raise RecordingFormatError(message, next_step=convert if in_folder else f"{save}; or name its source")


def _files(facts: Fields) -> list[Path]:
    """Return the sample files, one a segment."""
    named = facts.data.get("file_paths")
    names: list[Any] = [named] if isinstance(named, str) else facts.items("file_paths")
    if not names or not all(isinstance(name, str) and name and "\0" not in name for name in names):
        facts.refuse("file_paths", f"expected the paths of sample files, got {shown(named)}")
    return [_found(name, facts.path) for name in names]


def _found(name: str, description: Path) -> Path:
    """Return a path of a description: relative to its folder, else to the current folder, as SpikeInterface writes it."""
    beside, here = description.parent / name, Path.cwd() / name
    # os.path has no exception for a name that no file can have; opening it explains.
    return here if not os.path.lexists(beside) and os.path.exists(here) else beside  # noqa: PTH110


def _values(description: Fields, name: str, num_channels: int) -> tuple[float, ...] | None:
    """Read one number a channel, from the facts, the properties, or the property's own file."""
    facts = description.inner("kwargs")
    found = _property(description, name) if facts.data.get(name) is None else facts.data.get(name)
    if found is None:
        return None
    numbers = as_numbers(found if isinstance(found, list) else [found] * num_channels)
    if numbers is None or len(numbers) != num_channels:
        facts.refuse(name, f"expected {num_channels} numbers, got {shown(found)}")
    return numbers


def _property(description: Fields, name: str) -> Any:
    """Return a property of the channels as JSON types, or None."""
    properties = description.data.get("properties")
    if isinstance(properties, dict) and properties.get(name) is not None:
        return properties[name]
    path = description.path.parent / "properties" / f"{name}.npy"
    return read_numbers(path) if is_file(path) else None


def _probe(description: Fields, num_channels: int) -> Probe | None:
    """Read the places and the groups of the channels."""
    probe = _placed(description, num_channels)
    names = _property(description, "group")
    # SpikeInterface gives the channels of one probe the group 0, also where the probe has several shanks.
    if (
        probe is None
        or not isinstance(names, list)
        or len(names) != num_channels
        or len(set(map(str, names))) < 2
    ):
        return probe
    return Probe(probe.locations, tuple(map(str, names)))


def _placed(description: Fields, num_channels: int) -> Probe | None:
    """Read the probe from the place where this version of SpikeInterface keeps it."""
    folder = description.path.parent
    group, legacy, geom = folder / "probegroup.json", folder / PROBE, folder / "geom.csv"
    if is_file(group):
        return read_probeinterface(group, num_channels, order="given")
    location, other = _property(description, "location"), folder / DESCRIPTIONS[1]
    if location is None and other != description.path and is_file(other):
        # Before 0.105 si_folder.json alone may have it.
        location = _property(Fields(read_json(other), other), "location")
    if location is not None:
        return Probe(_table(folder, location, num_channels))
    if is_file(legacy):
        return read_probeinterface(legacy, num_channels, order="ranks")
    return read_geom(geom, num_channels) if is_file(geom) else None


def _table(folder: Path, rows: Any, num_channels: int) -> tuple[tuple[float, ...], ...]:
    """Check a table of locations."""
    table = [as_numbers(row) for row in rows] if isinstance(rows, list) else []
    known = tuple(row for row in table if row is not None and len(row) in (2, 3))
    if len(known) != num_channels or len(known) != len(table):
        message = f"{folder}: location: expected x and y of {num_channels} channels, got {shown(rows)}"
        raise ProbeError(message, next_step="save the recording again with its probe")
    return known
