"""An NWB file of a sorting: a new one, or a copy of one that has the rest of the session.

`parameters["nwb"]` has, from the library:

- `session_start_time`: ISO 8601 with a zone; or `file`: name of the existing file;
- `start_s`: seconds from the session's start to the first sample, where only a later part of it was sorted;
- `groups`: the group of each channel;
- `units_name`: name of the table; any but `units` lies in the processing module `ecephys`;
- `metadata`: fields of pynwb's classes, under `NWBFile`, `Subject`, `Device`, and `ElectrodeGroup` by group;
- `provenance`: `description` of the table, `software` as pairs of name and version, and the jobs that made the inputs.

Sources: pynwb 4.2.0; the NWB schema 2.10 (`nwb.file`, `nwb.ecephys`, `nwb.misc`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import nwb_existing
from nwb_existing import NAME_COLUMN, PLACES
from nwb_units import Units, add_units, own_name
from sorted_units import SortedUnits
from sorted_units import seconds as clock_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

NAME: Final = "sorting.nwb"
READ: Final = {
    "sorting": ("firings.mda", "units.csv"),
    "analysis": (
        *("units.csv", "metrics.csv", "metrics.json", "sparsity_mask.npy"),
        *(f"extensions/templates/{name}" for name in ("average.npy", "std.npy", "params.json")),
    ),
}
"""Files of the inputs that the file is made from."""


def write_nwb(
    inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path, resources: Resources
) -> None:
    """Write `sorting.nwb`.

    Parameters
    ----------
    inputs : mapping
        As `run` is given them, and perhaps `nwb`, the folder of an NWB file that is copied.
    parameters : mapping
        Those of tool.json, with `nwb` as above.
    out : Path
        An empty folder.
    resources : Resources
        Takes the warnings.

    Raises
    ------
    ValueError
        The events are not of the recording, the analysis is not of the sorting, or the file cannot take the units.
    """
    from hdmf import container
    from pynwb import NWBHDF5IO

    given, recording = parameters["nwb"], inputs["recording"]
    sorting = SortedUnits.read(inputs, parameters)
    # On the host the folder is the user's, with what else is in it.
    old = inputs["nwb"] / given["file"] if "nwb" in inputs else None
    identity = content_hash(parameters, inputs, old)
    # hdmf's object ids are random: these are the same for the same content.
    numbers = itertools.count()
    container.uuid4 = lambda: uuid.uuid5(uuid.NAMESPACE_URL, f"spikecrate:{identity}/{next(numbers)}")
    path = out / NAME
    if old is None:
        file = new_file(given, identity)
        rows = add_electrodes(file, recording, sorting.channel_ids, given)
        seconds, intervals = by_rate(sorting.samples, recording, parameters["gaps"], given["start_s"])
        add_units(file, Units(sorting, seconds, intervals, rows), inputs, given)
        with NWBHDF5IO(path, "w") as io:
            io.write(file)
        return
    nwb_existing.copy(old, path, resources)
    with nwb_existing.opened(path, old.name) as (io, file):
        nwb_existing.require_no_units(file, given["units_name"], old.name)
        series = nwb_existing.find_series(file, recording, resources)
        if series is None or series.timestamps is None:
            start = given["start_s"] + (0.0 if series is None else series.starting_time)
            seconds, intervals = by_rate(sorting.samples, recording, parameters["gaps"], start)
        else:
            seconds, intervals = nwb_existing.by_timestamps(
                sorting.samples, recording, series.timestamps, given["start_s"]
            )
        rows = nwb_existing.match_electrodes(file, series, recording, sorting.channel_ids, given["groups"])
        missing = np.flatnonzero(rows < 0)
        if len(missing) == len(rows) and not nwb_existing.electrode_names(file):
            rows, missing = add_electrodes(file, recording, sorting.channel_ids, given), missing[:0]
        groups = add_groups(file, [given["groups"][channel] for channel in missing], given["metadata"])
        io.write(file)
        told = [
            (groups[given["groups"][channel]].name, groups[given["groups"][channel]].location)
            for channel in missing
        ]
    if told:
        rows[missing] = nwb_existing.extend_electrodes(path, recording, missing, told, sorting.channel_ids)
    with nwb_existing.opened(path, old.name) as (io, file):
        add_units(file, Units(sorting, seconds, intervals, rows), inputs, given)
        io.write(file)


def content_hash(parameters: Mapping[str, Any], inputs: Mapping[str, Any], old: Path | None) -> str:
    """Return a hash of what the file is made from: its identifier, and the seed of its object ids."""
    total = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    # On the host a folder has more: the log and the run record of the job that made it.
    named = [inputs[name] / file for name, files in READ.items() if name in inputs for file in files]
    for path in [*filter(Path.is_file, named), *([old] if old else [])]:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def by_rate(
    samples: np.ndarray[Any, Any], recording: TraceReader, gaps: list[list[int]], start_s: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the times of samples, the time of gaps included, and the stretches between the gaps.

    Parameters
    ----------
    samples : numpy.ndarray
        Sample indices.
    recording : TraceReader
        With the sampling frequency and the length.
    gaps : list
        The first sample after each gap, and the number of samples that are missing before it.
    start_s : float
        Time of the first sample.

    Returns
    -------
    seconds : numpy.ndarray
        float64, s, of each sample.
    intervals : numpy.ndarray
        Stretches x 2 float64, s: from the first sample to the end of the last.
    """
    rate = recording.sampling_frequency
    begins = np.array([0, *(first for first, _missing in gaps)])
    ends = np.array([*begins[1:], recording.num_samples])
    shifts = np.cumsum([0, *(missing for _first, missing in gaps)])
    intervals = np.stack([begins + shifts, ends + shifts], axis=1) / rate
    return start_s + clock_seconds(samples, rate, gaps), start_s + intervals


def new_file(given: Mapping[str, Any], identity: str) -> Any:
    """Return a file of pynwb with all metadata, and the subject where it is known."""
    from pynwb import NWBFile
    from pynwb.file import Subject

    metadata = given["metadata"]
    start = datetime.fromisoformat(given["session_start_time"])
    fields = {
        "session_description": "a recording whose spikes are sorted",
        "identifier": identity,
        **metadata.get("NWBFile", {}),
    }
    subject = dict(metadata.get("Subject", {}))
    if "date_of_birth" in subject:
        subject["date_of_birth"] = datetime.fromisoformat(subject["date_of_birth"])
    return NWBFile(
        **fields,
        session_start_time=start,
        # The time of writing would be another one each time.
        file_create_date=start,
        was_generated_by=[list(made) for made in given["provenance"]["software"]],
        subject=Subject(**subject) if subject else None,
    )


def add_electrodes(
    file: Any, recording: TraceReader, names: Sequence[str], given: Mapping[str, Any]
) -> np.ndarray[Any, Any]:
    """Add an electrode a channel with its group to a file that has none; return the row of each channel."""
    groups = add_groups(file, given["groups"], given["metadata"])
    file.add_electrode_column(NAME_COLUMN, "name of the channel in the recording")
    for name, group, place in zip(names, given["groups"], recording.layout.locations, strict=True):
        rel = dict(zip(PLACES, place, strict=False))
        found = groups[group]
        file.add_electrode(location=found.location, group=found, **{NAME_COLUMN: name}, **rel)
    return np.arange(len(names))


def add_groups(file: Any, names: Sequence[str], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Add groups of electrodes, and the probe where the file has none of its name; return the groups by their names."""
    groups: dict[str, Any] = {}
    for name in dict.fromkeys(names):
        device = {"name": "probe", "description": "probe of the recording", **metadata.get("Device", {})}
        device["name"] = own_name(device["name"])
        probe = file.devices.get(device["name"]) or file.create_device(**device)
        known = own_name(name)
        while known in file.electrode_groups:
            known += "_"
        facts = {
            "description": f"channels of the group {name}",
            "location": "unknown",
            **metadata.get("ElectrodeGroup", {}).get(name, {}),
        }
        groups[name] = file.create_electrode_group(name=known, device=probe, **facts)
    return groups
