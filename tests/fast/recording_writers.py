"""Small recordings of every format with whatever is to be tried on them: other fields, no probe, extra channels.

Each `write_*` takes a folder (made if need be) and samples x channels, and returns the path to open. What they
say in common (RATE, GAIN, `places`) makes the recordings equal but for their format.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spikecrate_harness import mda

RATE = 20000.0
GAIN = 0.5
DATA = Path(__file__).parent.parent / "data"
OPENEPHYS = DATA / "openephys_binary" / "test" / "DelayedRecording" / "Record Node 118"
NOBODY = 65534


def samples(num_samples=500, num_channels=4, dtype="int16", seed=0):
    """Give noise, samples x channels."""
    noise = np.random.default_rng(seed).normal(100, 30, (num_samples, num_channels))
    return np.round(np.clip(noise, 0, 200)).astype(dtype)


def places(num_channels):
    """Give the locations that the recordings written here have."""
    return [[0.0, 25.0 * index] for index in range(num_channels)]


def write_geom(path, num_channels):
    path.write_text("".join(f"{x:g},{y:g}\n" for x, y in places(num_channels)))
    return path


def write_mountainsort(folder, traces, *, geom=True, **params):
    folder.mkdir(parents=True, exist_ok=True)
    mda.write(folder / "raw.mda", traces.T)
    content = {"samplerate": RATE, "scale_factor": GAIN, "spike_sign": -1} | params
    (folder / "params.json").write_text(json.dumps(content))
    if geom:
        write_geom(folder / "geom.csv", traces.shape[1])
    return folder


def write_spikeinterface(folder, traces, *, probe=True, **kwargs):
    """Write a binary folder as SpikeInterface 0.105 does."""
    folder.mkdir(parents=True, exist_ok=True)
    count = traces.shape[1]
    (folder / "traces_cached_seg0.raw").write_bytes(traces.tobytes())
    facts = {
        "file_paths": ["traces_cached_seg0.raw"],
        "sampling_frequency": RATE,
        "t_starts": None,
        "num_channels": count,
        "dtype": traces.dtype.str,
        "channel_ids": [str(index) for index in range(count)],
        "time_axis": 0,
        "file_offset": 0,
        "gain_to_uV": [GAIN] * count,
        "offset_to_uV": [0.0] * count,
        "is_filtered": False,
    }
    content = {
        "class": "spikeinterface.core.binaryrecordingextractor.BinaryRecordingExtractor",
        "version": "0.105.3",
        "kwargs": facts | kwargs,
        "properties": {},
        "relative_paths": True,
    }
    (folder / "binary.json").write_text(json.dumps(content))
    if probe:
        write_probe(folder / "probegroup.json", places(count))
    return folder


def write_probe(path, positions, *, wires=None, units="um"):
    """Write a probeinterface JSON with one probe."""
    probe = {"ndim": 2, "si_units": units, "contact_positions": positions}
    if wires is not None:
        probe["device_channel_indices"] = wires
    path.write_text(json.dumps({"specification": "probeinterface", "version": "0.3", "probes": [probe]}))
    return path


def write_spikeglx(folder, traces, *, name="run_g0_t0.imec0.ap", **changes):
    """Write an imec stream with a sync channel after the AP channels; returns the .bin file."""
    folder.mkdir(parents=True, exist_ok=True)
    count = traces.shape[1]
    binary = folder / f"{name}.bin"
    sync = np.full((len(traces), 1), 64, dtype="int16")
    binary.write_bytes(np.hstack([traces.astype("int16"), sync]).astype("<i2").tobytes())
    fields = {
        "typeThis": "imec",
        "imDatPrb_type": "2013",
        "imDatPrb_pn": "NP2013",
        "imAiRangeMax": "0.5",
        "imMaxInt": "1000",
        "imChan0apGain": str(500.0 / GAIN),
        "imSampRate": f"{RATE:g}",
        "nSavedChans": str(count + 1),
        "acqApLfSy": f"{count},0,1",
        "snsApLfSy": f"{count},0,1",
        "snsSaveChanSubset": f"0:{count}",
        "fileSizeBytes": str(binary.stat().st_size),
        "~snsChanMap": "(x)" + "".join(f"(AP{index};{index}:{index})" for index in range(count)),
        "~snsGeomMap": "(NP2013,1,0,70)" + "".join(f"(0:{x:g}:{y:g}:1)" for x, y in places(count)),
    } | changes
    lines = [f"{key}={value}" for key, value in fields.items() if value is not None]
    binary.with_suffix(".meta").write_text("\n".join(lines) + "\n")
    return binary


def write_openephys(root, traces, *, streams=("Probe-100.0",), geom=True, adc=0, **channel):
    """Write a record node with one recording; `adc` channels follow the headstage's."""
    recording = root / "Record Node 101" / "experiment1" / "recording1"
    count = traces.shape[1]
    extra = np.ones((len(traces), adc), dtype="int16")
    described = []
    for stream in streams:
        folder = recording / "continuous" / stream
        folder.mkdir(parents=True)
        content = np.hstack([traces.astype("int16"), extra]).astype("<i2")
        (folder / "continuous.dat").write_bytes(content.tobytes())
        if geom:
            write_geom(folder / "geom.csv", count)
        heads = [
            {"channel_name": f"CH{index + 1}", "bit_volts": GAIN, "units": "uV"} | channel
            for index in range(count)
        ]
        others = [
            {"channel_name": f"ADC{index + 1}", "bit_volts": 0.00015, "units": ""} for index in range(adc)
        ]
        described.append(
            {
                "folder_name": f"{stream}/",
                "sample_rate": RATE,
                "num_channels": count + adc,
                "channels": heads + others,
            }
        )
    structure = {"GUI version": "0.6.7", "continuous": described, "events": [], "spikes": []}
    (recording / "structure.oebin").write_text(json.dumps(structure))
    return root


def write_flat(folder, traces, *, dtype=None, time_axis=0, offset=0, probe=True, **changes):
    """Write a flat file with a recording.json."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = traces.astype(dtype or traces.dtype)
    data = (stored.T if time_axis else stored).tobytes(order="C")
    (folder / "data.raw").write_bytes(b"#" * offset + data)
    content = {
        "file": "data.raw",
        "dtype": stored.dtype.str,
        "num_channels": traces.shape[1],
        "sampling_frequency": RATE,
        "gain_uv": GAIN,
        "offset": offset,
        "time_axis": time_axis,
    }
    if probe:
        write_geom(folder / "geom.csv", traces.shape[1])
        content["probe"] = probe if isinstance(probe, str) else "geom.csv"
    content |= changes
    (folder / "recording.json").write_text(json.dumps(content))
    return folder


WRITERS = {
    "mountainsort": write_mountainsort,
    "spikeinterface": write_spikeinterface,
    "spikeglx": write_spikeglx,
    "openephys": write_openephys,
    "flat": write_flat,
}


@contextmanager
def as_nobody():
    """Read files without root's rights, which see through every permission."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
