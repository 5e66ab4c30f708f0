"""Places, shanks and channels of every Neuropixels file that is at hand, against probeinterface's own readers.

The files are those of tests/data, and below the folders that SPIKECRATE_PROBE_FILES names: the test data of
probeinterface's source distribution, for example.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, ROOT
from probeinterface.neuropixels_tools import (
    build_neuropixels_probe,
    read_openephys_neuropixels,
    read_spikeglx,
)

from spikecrate.errors import ProbeError
from spikecrate.recordings import open_recording

sys.path.insert(0, str(ROOT / "tests" / "fast"))
from probe_parts import PARTS, TABLES, shanks, write_part

ROOTS = [DATA, *map(Path, filter(None, os.environ.get("SPIKECRATE_PROBE_FILES", "").split(os.pathsep)))]
MINUTES = 10


def found(pattern):
    return sorted(path for root in ROOTS for path in root.rglob(pattern) if ".ipynb" not in str(path))


def told(capsys, text):
    """Print a line, whatever is captured."""
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


def compare(recording, oracle, edge=0.0):
    """Hold a recording's places and shanks to the oracle's; give the number of channels."""
    assert np.allclose(recording.layout.locations, oracle.contact_positions - [edge, 0])
    assert list(recording.groups) == shanks(oracle)
    return recording.layout.num_channels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.timeout(MINUTES * 60)
def test_every_part_number_and_table(tmp_path, seed, capsys):
    count = 0
    for part in PARTS:
        edge = build_neuropixels_probe(part).probe_planar_contour[:, 0].min()
        for table in TABLES:
            binary = write_part(tmp_path / part / table, part, table, seed)
            compare(open_recording(binary), read_spikeglx(binary.with_suffix(".meta")), edge)
            count += 1
    told(capsys, f"{count} .meta files of {len(PARTS)} part numbers equal probeinterface's")


def test_every_meta_file(tmp_path, capsys):
    files = found("*.meta")
    assert files
    channels = 0
    for number, path in enumerate(files):
        text = path.read_text(errors="replace")
        size = 4 * int(re.search("nSavedChans=(.*)", text)[1])
        folder = tmp_path / str(number)
        folder.mkdir()
        name = path.name if path.name.endswith(".ap.meta") else f"{path.stem}.ap.meta"
        (folder / name).write_text(re.sub("fileSizeBytes=.*", f"fileSizeBytes={size}", text))
        (folder / name).with_suffix(".bin").write_bytes(bytes(size))
        # probeinterface knows neither LF channels nor the field in which IBL's splitter keeps a part's channels.
        split = re.search("snsSaveChanSubset_orig=(.*)", text)
        subset = split[1] if split else "all" if path.name.endswith(".lf.meta") else None
        asked_for = re.sub("snsSaveChanSubset=.*", f"snsSaveChanSubset={subset}", text) if subset else text
        (tmp_path / "oracle.meta").write_text(asked_for)
        oracle = read_spikeglx(tmp_path / "oracle.meta")
        part = re.search("^imDatPrb_pn=(.*)", text, re.MULTILINE)
        full = build_neuropixels_probe(part[1].strip() if part else "NP1010")
        channels += compare(open_recording(folder), oracle, full.probe_planar_contour[:, 0].min())
    told(capsys, f"{len(files)} .meta files, {channels} channels equal probeinterface's")


def streams(text):
    """Give the streams that a settings.xml may be of; before 0.6 they have the number of their node and probe."""
    names = re.findall('<STREAM name="([^"]*)"', text)
    nodes = re.findall('name="[^"]*Neuropix-PXI[^>]*NodeId="([0-9]+)"', text)
    return dict.fromkeys([*names, *(f"{node}.{number}" for node in nodes for number in range(4))])


def asked(path, stream):
    """Give probeinterface's probe of a stream, None where it has none, or its error."""
    try:
        return read_openephys_neuropixels(path, stream_name=stream, raise_error=False)
    except Exception as error:  # noqa: BLE001 (it raises exceptions of any class)
        return error


@pytest.mark.filterwarnings("ignore")
def test_every_stream_of_a_settings_file(tmp_path, capsys):
    """Each stream of each settings.xml, as a recording beside the same file."""
    read, channels, refused, without = 0, 0, 0, 0
    files = found("settings*.xml")
    for number, path in enumerate(files):
        for stream in (f"Neuropix-PXI-100.{name}" for name in streams(path.read_text())):
            oracle = asked(path, stream)
            count = 4 if oracle is None or isinstance(oracle, Exception) else oracle.get_contact_count()
            folder = tmp_path / str(number) / stream
            recording = folder / "Record Node 101" / "experiment1" / "recording1"
            (recording / "continuous" / stream).mkdir(parents=True)
            (folder / "Record Node 101" / "settings.xml").write_bytes(path.read_bytes())
            (recording / "continuous" / stream / "continuous.dat").write_bytes(bytes(4 * count))
            names = [{"channel_name": f"CH{index}", "bit_volts": 0.195} for index in range(count)]
            facts = {
                "folder_name": f"{stream}/",
                "sample_rate": 30000,
                "num_channels": count,
                "channels": names,
            }
            (recording / "structure.oebin").write_text(json.dumps({"continuous": [facts]}))
            if oracle is None:
                assert open_recording(folder).groups is None
                without += 1
            elif isinstance(oracle, Exception):
                with suppress(ProbeError):
                    assert open_recording(folder).groups is None
                refused += 1
            else:
                channels += compare(open_recording(folder), oracle)
                read += 1
    assert read
    told(
        capsys,
        f"{len(files)} settings.xml files: {read} streams, {channels} channels equal probeinterface's; {without} are of "
        f"other devices, {refused} it cannot read",
    )
