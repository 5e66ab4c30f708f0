"""SpikeInterface's binary folder, as `recording.save(folder=...)` writes it since 0.93.

Source: SpikeInterface's `binaryfolder.py` and `binaryrecordingextractor.py`; tried on folders that 0.93, 0.97,
0.100, 0.104 and 0.105 wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import ProbeError, RecordingFormatError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.formats.fields import Fields, as_numbers, shown
from spikecrate.recordings.formats.files import ambiguous, is_file, read_json, read_numbers
from spikecrate.recordings.model import MAX_CHANNELS, Recording, flat_recording
from spikecrate.recordings.probe import Probe
from spikecrate.recordings.probe_files import PROBE, read_geom, read_probeinterface

if TYPE_CHECKING:
    from pathlib import Path

DESCRIPTIONS: Final = ("binary.json", "si_folder.json", "cached.json")
"""Names of the description, newest first; si_folder.json of newer versions only points to binary.json."""
READER: Final = "BinaryRecordingExtractor"


def open_source(path: Path, source: Path, *, probe: str = "") -> Recording:
    """Open a SpikeInterface binary folder, or one segment of it.

    Parameters
    ----------
    path : Path
        As the user named it: the folder, its description, or the file of one of several segments.
    source : Path
        A file of the folder.
    probe : str
        As in `flat_recording`, in place of the folder's own.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingAmbiguousError
        If there are several segments and `path` names none of them.
    SpikecrateError
        A recording error that names the file, the field and the next step.
    """
    description = _description(source.parent)
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
        sample_file=_segment(path, facts),
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
    )


def _description(folder: Path) -> Fields:
    """Find the file that describes the samples."""
    seen = ""
    for name in DESCRIPTIONS:
        path = folder / name
        if is_file(path):
            fields = Fields(read_json(path), path)
            reader = fields.text("class", "")
            if reader.rpartition(".")[2] == READER:
                return fields
            seen = seen or f"{path}: class: {reader!r} is not samples in one flat file"
    message = seen or f"{folder}: there is no {DESCRIPTIONS[0]}"
    step = f"convert it once: spikecrate recording.import {folder} DESTINATION"
    raise RecordingFormatError(message, next_step=step)


def _segment(path: Path, facts: Fields) -> Path:
    """Choose the sample file."""
    named = facts.data.get("file_paths")
    names: list[Any] = [named] if isinstance(named, str) else facts.items("file_paths")
    if not names or not all(isinstance(name, str) and name and "\0" not in name for name in names):
        facts.refuse("file_paths", f"expected the paths of sample files, got {shown(named)}")
    files: list[Path] = [facts.path.parent / name for name in names]
    if path in files:
        return path
    if len(files) > 1:
        raise ambiguous(facts.path.parent, "segments", files)
    return files[0]


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
