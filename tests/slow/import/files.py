"""Write recordings of other formats, and read them with SpikeInterface; runs in the environment of the import tool.

`files.py write FORMAT FOLDER` prints the file's path; `files.py read READER PATH OUT` writes what SpikeInterface reads.
Those that have no writer in Python follow the vendors' published formats: Intan's "RHD2000 Data File Formats",
Neuralynx's "Neuralynx Data File Formats", Blackrock's "NEV/NSx File Format" 2.3, Plexon's `plexon.h`.
"""

from __future__ import annotations

import json
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

RATE, CHANNELS = 30000, 4


def samples(count=3000, channels=CHANNELS):
    return np.random.default_rng(5).integers(-900, 900, (count, channels)).astype("<i2")


def write_nwb(folder):
    """A raw series of two groups whose electrodes alternate, and an LFP series."""
    from pynwb import NWBHDF5IO, H5DataIO, NWBFile
    from pynwb.ecephys import LFP, ElectricalSeries

    file = NWBFile("a session", "one", datetime(2026, 1, 2, tzinfo=UTC))
    device = file.create_device(name="headstage")
    groups = [file.create_electrode_group(name, "a shank", "CA1", device) for name in ("shank0", "shank1")]
    for number in range(CHANNELS):
        place = {"rel_x": 200.0 * (number % 2), "rel_y": 20.0 * number}
        file.add_electrode(group=groups[number % 2], location="CA1", **place)
    region = file.create_electrode_table_region(list(range(CHANNELS)), "all")
    data = H5DataIO(samples(), compression="gzip")
    file.add_acquisition(ElectricalSeries("raw", data, region, rate=float(RATE), conversion=0.195e-6))
    lfp = ElectricalSeries("lfp", samples(300), region, rate=1000.0)
    file.create_processing_module("ecephys", "filtered").add(LFP(electrical_series=lfp))
    with NWBHDF5IO(folder / "session.nwb", "w") as io:
        io.write(file)
    return folder / "session.nwb"


def write_zarr(folder):
    """Two segments of a probe of two shanks."""
    from probeinterface import generate_multi_shank
    from spikeinterface.core import NumpyRecording

    recording = NumpyRecording([samples(), samples(2000)[::-1]], RATE, channel_ids=["a", "b", "c", "d"])
    probe = generate_multi_shank(num_shank=2, num_columns=1, num_contact_per_column=2)
    probe.set_device_channel_indices([2, 0, 3, 1])
    recording.set_probe(probe)
    recording.set_channel_gains(0.5)
    recording.set_channel_offsets(0)
    recording.save(format="zarr", folder=folder / "session.zarr", verbose=False)
    return folder / "session.zarr"


def qstring(text):
    return struct.pack("<I", 2 * len(text)) + text.encode("utf-16-le")


def write_intan(folder):
    """Four amplifier channels, one auxiliary input and one ADC, in blocks of 128 samples."""
    count, size = 2944, 128
    header = struct.pack("<Ihh", 0xC6912702, 3, 0) + struct.pack("<fh6f", RATE, 1, 1, 0.1, 7500, 1, 0.1, 7500)
    header += struct.pack("<hff", 0, 1000, 1000) + qstring("") * 3
    header += struct.pack("<hh", 0, 0) + qstring("n/a") + struct.pack("<h", 1)
    names = [(f"A-{number:03}", 0) for number in range(CHANNELS)] + [("A-AUX1", 1), ("A-ADC-00", 3)]
    header += qstring("Port A") + qstring("A") + struct.pack("<hhh", 1, len(names), CHANNELS)
    for order, (name, kind) in enumerate(names):
        header += qstring(name) * 2 + struct.pack("<6h", order, order, kind, 1, order, 0)
        header += struct.pack("<4hff", 1, 0, 0, 0, 1e6, 0)
    traces = (samples(count).astype(int) + 32768).astype("<u2")
    blocks = []
    for start in range(0, count, size):
        times = np.arange(start, start + size, dtype="<i4")
        ones = [np.ones(size // 4, "<u2"), np.ones(size, "<u2")]
        blocks += [part.tobytes() for part in (times, traces[start : start + size].T.copy(), *ones)]
    (folder / "session.rhd").write_bytes(header + b"".join(blocks))
    return folder / "session.rhd"


def write_cbin(folder):
    """A recording of SpikeGLX as IBL compresses it; the .meta is of a real run."""
    import mtscomp

    (meta,) = folder.glob("*.meta")
    channels = next(int(line[12:]) for line in meta.read_text().splitlines() if line[:12] == "nSavedChans=")
    raw = meta.with_suffix(".bin")
    raw.write_bytes(samples(channels=channels).tobytes())
    files = meta.with_suffix(".cbin"), meta.with_suffix(".ch")
    options = {"sample_rate": RATE, "n_channels": channels, "dtype": np.int16, "chunk_duration": 0.03}
    mtscomp.compress(raw, *files, check_after_compress=False, **options)
    return files[0]


def write_neuralynx(folder):
    """One .ncs a channel, records of 512 samples."""
    for number, channel in enumerate(samples(512 * 6).T, start=1):
        header = (
            "######## Neuralynx Data File Header\r\n-FileType NCS\r\n-FileVersion 3.4\r\n-RecordSize 1044\r\n"
            "-TimeCreated 2020/01/02 10:00:00\r\n-TimeClosed 2020/01/02 10:00:01\r\n"
            '-HardwareSubSystemType DigitalLynxSX\r\n-ApplicationName Cheetah "5.7.4"\r\n'
            f"-SamplingFrequency 32000\r\n-ADMaxValue 32767\r\n-ADBitVolts 0.000000061\r\n-AcqEntName CSC{number}\r\n"
            f"-NumADChannels 1\r\n-ADChannel {number - 1}\r\n-InputRange 2000\r\n-InputInverted False\r\n"
            "-DspDelayCompensation Enabled\r\n-DspFilterDelay_µs 0\r\n"
        ).encode("latin-1")
        records = [
            struct.pack("<QIII", 1000000 + 16000 * index, number - 1, 32000, 512) + part.tobytes()
            for index, part in enumerate(channel.reshape(-1, 512))
        ]
        (folder / f"CSC{number}.ncs").write_bytes(header.ljust(16384, b"\0") + b"".join(records))
    return folder


def write_blackrock(folder):
    """A .ns5 of version 2.3."""
    channels = b"".join(
        struct.pack("<2sH16sBBhhhh16sIIHIIH", b"CC", number, f"elec{number}".encode(), 1, number,
                    -32764, 32764, -8191, 8191, b"uV", 300, 4, 1, 7500000, 3, 1)
        for number in range(1, CHANNELS + 1)
    )  # fmt: skip
    start = struct.pack("<8H", 2020, 1, 4, 2, 10, 0, 0, 0)
    header = struct.pack("<8sBBI16s256sII", b"NEURALCD", 2, 3, 314 + len(channels), b"30 kS/s", b"", 1, 30000)
    traces = samples()
    data = struct.pack("<BII", 1, 0, len(traces)) + traces.tobytes()
    (folder / "session.ns5").write_bytes(header + start + struct.pack("<I", CHANNELS) + channels + data)
    return folder / "session.ns5"


def write_plexon(folder):
    """A .plx of version 107 with four slow (continuous) channels, in blocks of 500 samples."""
    traces = samples()
    head = struct.pack(
        "<Ii128s14i", 0x58454C50, 107, b"", RATE, 0, 0, CHANNELS, 32, 8, 2020, 1, 2, 10, 0, 0, 0, RATE
    )
    head += struct.pack("<d4B3H18s18s10s", len(traces), 1, 1, 12, 12, 3000, 5000, 1000, b"", b"", b"")
    head = head.ljust(7504, b"\0")
    for number in range(CHANNELS):
        head += struct.pack("<32s6i128s", f"WB{number + 1:02}".encode(), number, RATE, 1, 1, 1000, 0, b"")
        head += struct.pack("<BBH", 0, 0, number) + bytes(108)
    for start in range(0, len(traces), 500):
        for number in range(CHANNELS):
            part = traces[start : start + 500, number]
            head += struct.pack("<hHIhhhh", 5, 0, start, number, 0, 1, len(part)) + part.tobytes()
    (folder / "session.plx").write_bytes(head)
    return folder / "session.plx"


def write_edf(folder):
    from pyedflib import EdfWriter, highlevel

    signals = [f"ch{number}" for number in range(CHANNELS)]
    headers = highlevel.make_signal_headers(
        signals, sample_frequency=1000, physical_min=-1000, physical_max=1000
    )
    with EdfWriter(str(folder / "session.edf"), CHANNELS) as writer:
        writer.setSignalHeaders(headers)
        writer.writeSamples(list(samples(3000).T.astype(float)))
    return folder / "session.edf"


def read(reader, path, out):
    """Write what SpikeInterface reads, and what it knows of the channels."""
    import spikeinterface.extractors as known

    recording = getattr(known, f"read_{reader}")(path, **json.loads(sys.argv[5]) if sys.argv[5:] else {})
    np.save(out, recording.get_traces(segment_index=0))
    described = {
        "rate": recording.sampling_frequency,
        "ids": [str(name) for name in recording.channel_ids],
        "gains": recording.get_channel_gains().tolist(),
        "offsets": recording.get_channel_offsets().tolist(),
        "locations": recording.get_channel_locations().tolist() if recording.has_probe() else None,
    }
    sys.stdout.write(json.dumps(described))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        sys.stdout.write(str(globals()[f"write_{sys.argv[2]}"](Path(sys.argv[3]))))
    else:
        read(sys.argv[2], sys.argv[3], sys.argv[4])
