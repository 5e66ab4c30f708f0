"""NWB by the libraries of others: `write FILE KIND TRACES PLACES`, `read FILE TABLE [SERIES]`, `inspect FILE`; JSON is printed."""

import json
import sys
import warnings
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pynwb
from nwbinspector import inspect_nwbfile
from pynwb.ecephys import ElectricalSeries
from spikeinterface.extractors.nwbextractors import NwbSortingExtractor

RATE = 32000.0


def write(path, kind, traces, places):
    """Write a file with the traces as a series (by its rate or timestamps), or with some electrodes alone."""
    # From another corner of the probe.
    corner = np.add(json.loads(places), 100) * (10 if kind == "far" else 1)
    file = pynwb.NWBFile("a session", "id of the session", datetime(2021, 1, 1, tzinfo=UTC))
    device = file.create_device(name="rig", description="rig", manufacturer="lab")
    group = file.create_electrode_group(name="shank0", device=device, description="d", location="AL")
    named = kind == "named"
    if named:
        file.add_electrode_column("channel_name", "name of the channel")
    file.add_electrode_column("quality", "impression")
    for index in range(2 if named else 4):
        x, y = corner[index]
        name = {"channel_name": str(index + 1)} if named else {}
        file.add_electrode(location="AL", group=group, rel_x=float(x), rel_y=float(y), quality="good", **name)
    if not named:
        region = file.create_electrode_table_region(region=[0, 1, 2, 3], description="all")
        samples = np.load(traces)
        clock = {"rate": RATE, "starting_time": 2.5}
        if kind == "timestamps":
            stamps = 3 + np.arange(len(samples)) / RATE * 1.00001
            stamps[200_000:] += 5
            clock = {"timestamps": stamps}
        options = {"data": samples, "electrodes": region, "conversion": 1e-6, "description": "raw"}
        file.add_acquisition(ElectricalSeries(name="raw", **options, **clock))
    if kind == "units":
        file.add_unit(spike_times=[1.0, 2.0])
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    return {}


def read(path, table, series=None):
    """Read units by pynwb and by SpikeInterface."""
    errors = list(map(str, pynwb.validate(path=path)))
    with pynwb.NWBHDF5IO(path, "r") as io:
        file = io.read()
        units = file.units if table == "units" else file.processing["ecephys"][table.split("/")[-1]]
        text = {
            column.name: column.description for column in units.columns if not column.name.endswith("_index")
        }
        plain = {
            name: units[name][:].tolist() if isinstance(units[name].data[:], np.ndarray) else units[name][:]
            for name in text
            if f"{name}_index" not in {column.name for column in units.columns}
            and not name.startswith("waveform_")
        }
        several = {
            name: [
                np.asarray(units[name].target.data[slice(*ends)]).tolist()
                for ends in slices(units[name].data[:])
            ]
            for name in ("spike_times", "obs_intervals", "electrodes")
            if name in text
        }
        found = {
            "errors": errors,
            "columns": text,
            "plain": plain,
            **several,
            "waveforms": {
                name: np.asarray(units[name][:]).tolist()
                for name in ("waveform_mean", "waveform_sd")
                if name in text
            },
            "rate": units.waveform_rate,
            "before_ms": units.waveform_time_before_peak_in_ms,
            "ids": units.id[:].tolist(),
            "description": units.description,
            "table": {
                name: file.electrodes[name][:].tolist()
                for name in file.electrodes.colnames
                if name != "group"
            },
            "groups": [group.name for group in file.electrodes["group"][:]],
            "scratch": {name: json.loads(note.data) for name, note in file.scratch.items()},
            "created": [str(date) for date in file.file_create_date],
            "start": file.session_start_time.isoformat(),
            "identifier": file.identifier,
            "subject": None if file.subject is None else file.subject.subject_id,
            "devices": list(file.devices),
        }
    sorting = NwbSortingExtractor(path, unit_table_path=table, electrical_series_path=series)
    trains = {str(unit): sorting.get_unit_spike_train(unit).tolist() for unit in sorting.unit_ids}
    return {**found, "trains": trains, "sampling_frequency": sorting.sampling_frequency}


def slices(ends):
    """Give the begin and the end of each row of a ragged column."""
    return pairwise([0, *map(int, ends)])


def inspect(path):
    """Return every finding of nwbinspector."""
    return [
        [found.importance.name, found.check_function_name, found.message]
        for found in inspect_nwbfile(nwbfile_path=path)
    ]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {"write": write, "read": read, "inspect": inspect}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(json.dumps(found, default=lambda value: value.item()))
