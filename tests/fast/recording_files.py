"""Small recordings in every format, written the way their programs write them, without spikecrate's own code.

`WRITERS` maps a format's name to a function `(folder, traces) -> path to open`. All of them say the same sampling
frequency, gain and places, so that what is read from them must be equal.
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

DATA = Path(__file__).parent.parent / "data"
OPENEPHYS = DATA / "openephys_binary" / "test" / "DelayedRecording"
RATE = 20000.0
GAIN = 0.5
"""uV per count, and of a SpikeGLX imec channel 1e6 * 0.5 V / 1000 / 1000."""
MDA_CODES = {
    "complex64": -1,
    "uint8": -2,
    "float32": -3,
    "int16": -4,
    "int32": -5,
    "uint16": -6,
    "float64": -7,
    "uint32": -8,
}
NOBODY = 65534


def samples(
    num_samples: int = 500, num_channels: int = 4, dtype: str = "int16", seed: int = 0
) -> NDArray[Any]:
    """Make samples x channels; negative ones too where the type has them."""
    values = np.random.default_rng(seed).integers(-100, 100, (num_samples, num_channels))
    return (abs(values) if np.dtype(dtype).kind == "u" else values).astype(dtype)


def places(num_channels: int) -> list[list[float]]:
    """Give the places, um: a column with a pitch that no format assumes by itself."""
    return [[0.0, 25.0 * index] for index in range(num_channels)]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user without rights; whoever is not root is one already."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def write_geom(path: Path, num_channels: int) -> None:
    """Write a geom.csv with `places`."""
    path.write_text("".join(f"{x:g},{y:g}\n" for x, y in places(num_channels)))


def write_probe(
    path: Path, positions: Sequence[Any], *, wires: Sequence[Any] | None = None, units: str = "um"
) -> None:
    """Write a probe as probeinterface does."""
    probe: dict[str, Any] = {"ndim": 2, "si_units": units, "contact_positions": positions}
    if wires is not None:
        probe["device_channel_indices"] = wires
    path.write_text(json.dumps({"specification": "probeinterface", "version": "0.3.1", "probes": [probe]}))


def mda_bytes(traces: NDArray[Any], *, wide: bool = False) -> bytes:
    """Give a raw.mda: channels x samples in column-major order, that is sample after sample."""
    num_samples, num_channels = traces.shape
    header = struct.pack("<3i", MDA_CODES[traces.dtype.name], traces.dtype.itemsize, -2 if wide else 2)
    header += struct.pack("<2q" if wide else "<2i", num_channels, num_samples)
    return header + traces.astype(traces.dtype.newbyteorder("<")).tobytes()


def write_mountainsort(folder: Path, traces: NDArray[Any], *, geom: bool = True, **params: Any) -> Path:
    """Write raw.mda, params.json and geom.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "raw.mda").write_bytes(mda_bytes(traces))
    facts = {"samplerate": RATE, "scale_factor": GAIN, "spike_sign": -1} | params
    (folder / "params.json").write_text(json.dumps(facts))
    if geom:
        write_geom(folder / "geom.csv", traces.shape[1])
    return folder


def write_spikeinterface(folder: Path, traces: NDArray[Any], *, probe: bool = True, **changes: Any) -> Path:
    """Write a binary folder as SpikeInterface 0.105 does; `changes` are made to the reader's arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "traces_cached_seg0.raw").write_bytes(traces.tobytes())
    count = traces.shape[1]
    arguments = {
        "file_paths": ["traces_cached_seg0.raw"],
        "sampling_frequency": RATE,
        "t_starts": None,
        "num_channels": count,
        "dtype": traces.dtype.str,
        "channel_ids": [f"AP{index}" for index in range(count)],
        "time_axis": 0,
        "file_offset": 0,
        "gain_to_uV": [GAIN] * count,
        "offset_to_uV": [0.0] * count,
        "is_filtered": False,
    }
    content = {
        "class": "spikeinterface.core.binaryrecordingextractor.BinaryRecordingExtractor",
        "version": "0.105.3",
        "kwargs": arguments | changes,
        "properties": {"gain_to_uV": None, "offset_to_uV": None},
        "relative_paths": True,
    }
    (folder / "binary.json").write_text(json.dumps(content))
    if probe:
        write_probe(folder / "probegroup.json", places(count))
    return folder


def write_spikeglx(
    folder: Path, traces: NDArray[Any], *, name: str = "run_g0_t0.imec0.ap", **changes: str | None
) -> Path:
    """Write a stream with a sync channel, .bin and .meta; give the .bin. A field that is None is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    count = traces.shape[1]
    stored = np.concatenate([traces, np.full((len(traces), 1), 64)], axis=1).astype("<i2")
    binary = folder / f"{name}.bin"
    binary.write_bytes(stored.tobytes())
    fields = {
        "typeThis": "imec",
        "nSavedChans": str(count + 1),
        "fileSizeBytes": str(stored.nbytes),
        "imSampRate": str(RATE),
        "imAiRangeMax": "0.5",
        "imMaxInt": "1000",
        "imDatPrb_type": "2013",
        "imChan0apGain": "1000",
        "snsApLfSy": f"{count},0,1",
        "acqApLfSy": f"{count},0,1",
        "snsSaveChanSubset": "all",
        "~snsChanMap": f"({count},0,1)"
        + "".join(f"(AP{index};{index}:{index})" for index in range(count))
        + f"(SY0;{count}:{count})",
        "~snsGeomMap": "(NP2013,4,250,70)" + "".join(f"(0:{x:g}:{y:g}:1)" for x, y in places(count)),
    }
    lines = [f"{field}={value}\n" for field, value in (fields | changes).items() if value is not None]
    binary.with_suffix(".meta").write_text("".join(lines))
    return binary


def write_openephys(
    folder: Path,
    traces: NDArray[Any],
    *,
    streams: Sequence[str] = ("Probe-100.0",),
    adc: int = 0,
    geom: bool = True,
    **channel: Any,
) -> Path:
    """Write a root folder of the GUI; `channel` changes every headstage channel. ADC channels follow them."""
    recording = folder / "Record Node 101" / "experiment1" / "recording1"
    count = traces.shape[1]
    stored = np.concatenate([traces, np.zeros((len(traces), adc))], axis=1).astype("<i2")
    headstage = [
        {"channel_name": f"CH{index + 1}", "description": "Headstage data channel"}
        | {"bit_volts": GAIN, "units": "uV"}
        | channel
        for index in range(count)
    ]
    analog = [
        {"channel_name": f"ADC{index + 1}", "description": "ADC data channel"}
        | {"bit_volts": 0.00015, "units": "V"}
        for index in range(adc)
    ]
    facts = []
    for name in streams:
        stream = recording / "continuous" / name
        stream.mkdir(parents=True)
        (stream / "continuous.dat").write_bytes(stored.tobytes())
        if geom:
            write_geom(stream / "geom.csv", count)
        channels = headstage + analog
        facts.append(
            {"folder_name": f"{name}/", "sample_rate": RATE}
            | {"num_channels": len(channels), "channels": channels}
        )
    content = {"GUI version": "0.6.7", "continuous": facts, "events": [], "spikes": []}
    (recording / "structure.oebin").write_text(json.dumps(content))
    return folder


def write_flat(
    folder: Path,
    traces: NDArray[Any],
    *,
    dtype: str | None = None,
    time_axis: int = 0,
    offset: int = 0,
    probe: str | bool = True,
    **fields: Any,
) -> Path:
    """Write data.raw as asked for and recording.json; geom.csv too unless `probe` is False or another file."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = traces.astype(traces.dtype if dtype is None else dtype)
    data = (stored.T if time_axis == 1 else stored).tobytes()
    (folder / "data.raw").write_bytes(b"\xff" * offset + data)
    content = {
        "file": "data.raw",
        "dtype": stored.dtype.str,
        "num_channels": traces.shape[1],
        "sampling_frequency": RATE,
        "gain_uv": GAIN,
        "time_axis": time_axis,
        "offset": offset,
    } | fields
    if probe is True:
        write_geom(folder / "geom.csv", traces.shape[1])
    if probe:
        content["probe"] = "geom.csv" if probe is True else probe
    (folder / "recording.json").write_text(json.dumps(content))
    return folder


WRITERS: dict[str, Callable[..., Path]] = {
    "mountainsort": write_mountainsort,
    "spikeinterface": write_spikeinterface,
    "spikeglx": write_spikeglx,
    "openephys": write_openephys,
    "flat": write_flat,
}
