"""Open Ephys binary: which stream is meant, which channels are kept, and what their units mean."""

from __future__ import annotations

import json

import numpy as np
import pytest
from recording_files import GAIN, OPENEPHYS, places, samples, write_geom, write_openephys

from spikecrate.errors import (
    ProbeError,
    RecordingAmbiguousError,
    RecordingEmptyError,
    RecordingFormatError,
    RecordingNotFoundError,
)
from spikecrate.recordings import open_recording

RECORDING = "Record Node 101/experiment1/recording1"


def test_the_streams_of_a_real_recording_are_listed_and_open():
    with pytest.raises(RecordingAmbiguousError, match="2 streams") as caught:
        open_recording(OPENEPHYS)
    first, second = (open_recording(path) for path in caught.value.details["choices"])
    assert {first.files[0].parent.name, second.files[0].parent.name} == {
        "File_Reader-106.0",
        "File_Reader-114.0",
    }
    assert first.layout.gains == (0.05000000074505806,) * 16
    assert first.channel_ids[:2] == ("CH0", "CH1")


@pytest.mark.parametrize(
    "level", ["", "Record Node 101", f"{RECORDING}/..", RECORDING, f"{RECORDING}/continuous"]
)
def test_several_streams_must_be_told_apart_at_every_level(tmp_path, level):
    write_openephys(tmp_path, samples(), streams=("A-100.0", "B-101.0"))
    with pytest.raises(RecordingAmbiguousError) as caught:
        open_recording(tmp_path / level)
    choices = caught.value.details["choices"]
    assert choices == [str(tmp_path / RECORDING / "continuous" / name) for name in ("A-100.0", "B-101.0")]
    assert all(f"\n  {choice}" in str(caught.value) for choice in choices)
    assert open_recording(choices[1]).files[0].parent.name == "B-101.0"


def test_several_recordings_are_listed_in_their_order(tmp_path):
    write_openephys(tmp_path, samples())
    first = tmp_path / RECORDING
    for number in (2, 10):
        other = first.with_name(f"recording{number}")
        (other / "continuous" / "Probe-100.0").mkdir(parents=True)
        (other / "structure.oebin").write_text((first / "structure.oebin").read_text())
    with pytest.raises(RecordingAmbiguousError) as caught:
        open_recording(tmp_path)
    names = [choice.split("/")[-3] for choice in caught.value.details["choices"]]
    assert names == ["recording1", "recording2", "recording10"]


def test_headstage_channels_are_kept_and_others_left_out(tmp_path):
    recording = open_recording(write_openephys(tmp_path, samples(), adc=3))
    assert recording.channel_ids == ("CH1", "CH2", "CH3", "CH4")
    assert np.array_equal(recording.traces(), samples())
    assert any("3 ADC" in note for note in recording.notes)


def test_a_stream_of_adc_channels_alone_is_a_recording_in_volts(tmp_path):
    recording = open_recording(write_openephys(tmp_path, samples(), channel_name="ADC1", units=""))
    assert recording.layout.gains == (GAIN * 1e6,) * 4


@pytest.mark.parametrize(
    ("channel", "kept"),
    [
        ({"description": "Auxiliary data channel", "channel_name": "AUX1"}, 0),
        ({"description": "Analog Input channel from a NIDAQ device", "channel_name": "AI0"}, 0),
        ({"channel_name": "AP_SYNC"}, 0),
        ({"channel_name": "EXT", "type": 2}, 0),
        ({"channel_name": "EXT", "type": 1}, 0),
        ({"channel_name": "EXT", "type": 0}, 1),
        ({"channel_name": "EXT"}, 1),
    ],
)
def test_a_channel_is_known_by_type_name_and_description(tmp_path, channel, kept):
    write_openephys(tmp_path, samples(), geom=False)
    path = tmp_path / RECORDING / "structure.oebin"
    structure = json.loads(path.read_text())
    structure["continuous"][0]["channels"][3].update(channel)
    path.write_text(json.dumps(structure))
    assert open_recording(tmp_path).layout.num_channels == 3 + kept


@pytest.mark.parametrize(("unit", "factor"), [("uV", 1), ("µV", 1), ("", 1), ("mV", 1e3), ("V", 1e6)])
def test_units_become_microvolts(tmp_path, unit, factor):
    recording = open_recording(write_openephys(tmp_path, samples(), units=unit))
    assert recording.layout.gains == (GAIN * factor,) * 4


SETTINGS = """<SETTINGS><INFO><VERSION>0.6.7</VERSION></INFO><SIGNALCHAIN>
<PROCESSOR name="Neuropix-PXI" libraryVersion="0.4.0" nodeId="100"><STREAM name="Probe"/><EDITOR>
<NP_PROBE slot="3" port="1" dock="1" probe_part_number="NP2000" probe_serial_number="1"><SELECTED_ELECTRODES {}/>
</NP_PROBE></EDITOR></PROCESSOR></SIGNALCHAIN></SETTINGS>"""


def write_settings(folder, electrodes, name="settings.xml"):
    chosen = " ".join(f'E{index}="{electrode}"' for index, electrode in enumerate(electrodes))
    (folder / "Record Node 101" / name).write_text(SETTINGS.format(chosen))


def test_the_places_of_a_neuropixels_probe_are_those_of_the_settings(tmp_path):
    write_openephys(tmp_path, samples(), geom=False, adc=1)
    write_settings(tmp_path, [0, 1, 2, 3], "settings_2.xml")
    assert any("20 um" in note for note in open_recording(tmp_path).notes)
    write_settings(tmp_path, [5, 2, 0, 1])
    assert open_recording(tmp_path).layout.locations == ((32, 30), (0, 15), (0, 0), (32, 0))
    write_geom(tmp_path / RECORDING / "continuous" / "Probe-100.0" / "geom.csv", 4)
    assert [list(row) for row in open_recording(tmp_path).layout.locations] == places(4)


@pytest.mark.parametrize(
    ("electrodes", "problem"),
    [
        ([0, 1], "2 electrodes for the 4 channels"),
        ([9999] * 4, r"settings\.xml: probeinterface cannot read the probe of Probe-100"),
    ],
)
def test_settings_that_do_not_fit_the_channels_are_refused(tmp_path, electrodes, problem):
    write_openephys(tmp_path, samples(), geom=False)
    write_settings(tmp_path, electrodes)
    with pytest.raises(ProbeError, match=problem):
        open_recording(tmp_path)


def test_of_several_streams_the_one_with_electrodes_is_meant(tmp_path):
    write_openephys(tmp_path, samples(), streams=("A-100.board", "A-100.memory_usage"))
    path = tmp_path / RECORDING / "structure.oebin"
    structure = json.loads(path.read_text())
    structure["continuous"][1]["channels"] = [
        {"channel_name": "MEM", "bit_volts": 1, "units": "%", "type": 0}
    ]
    structure["continuous"][1]["num_channels"] = 1
    path.write_text(json.dumps(structure))
    assert open_recording(tmp_path).files[0].parent.name == "A-100.board"


@pytest.mark.parametrize("name", ["AuxCortex1", "HPC_ADC2", "PFC1"])
def test_a_renamed_headstage_channel_is_kept(tmp_path, name):
    assert open_recording(write_openephys(tmp_path, samples(), channel_name=name)).notes == ()


def test_unknown_places_are_a_column_and_noted(tmp_path):
    recording = open_recording(write_openephys(tmp_path, samples(), geom=False))
    assert recording.layout.locations[1] == (0.0, 20.0)
    assert any("gives no locations of the channels" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("channel", "problem"),
    [
        ({"units": "pH"}, r"channels\[0\]\.units: expected uV, mV or V, got 'pH'"),
        ({"bit_volts": 0}, "a gain of 0"),
        ({"bit_volts": None}, r"channels\[0\]\.bit_volts: expected a number"),
        ({"channel_name": 3}, r"channels\[0\]\.channel_name: expected a text"),
    ],
)
def test_a_wrong_channel_is_named(tmp_path, channel, problem):
    with pytest.raises(RecordingFormatError, match=problem):
        open_recording(write_openephys(tmp_path, samples(), **channel))


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("num_channels", 5, "5, but 4 channels are described"),
        ("sample_rate", 0, "expected a number above 0"),
        ("folder_name", "../../elsewhere", "expected the name of a folder"),
        ("folder_name", "", "expected the name of a folder"),
        ("channels", {}, "expected a list"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, field, value, problem):
    write_openephys(tmp_path, samples())
    path = tmp_path / RECORDING / "structure.oebin"
    structure = json.loads(path.read_text())
    structure["continuous"][0][field] = value
    path.write_text(json.dumps(structure))
    with pytest.raises(RecordingFormatError, match=rf"continuous\[0\]\.{field}: {problem}"):
        open_recording(tmp_path)


def test_a_recording_without_streams_is_empty(tmp_path):
    write_openephys(tmp_path, samples())
    (tmp_path / RECORDING / "structure.oebin").write_text('{"continuous": []}')
    with pytest.raises(RecordingEmptyError, match="no continuous stream"):
        open_recording(tmp_path)


def test_a_stream_whose_samples_are_gone_is_named(tmp_path):
    write_openephys(tmp_path, samples())
    (tmp_path / RECORDING / "continuous" / "Probe-100.0" / "continuous.dat").unlink()
    with pytest.raises(
        RecordingNotFoundError, match=r"continuous\.dat does not exist .*structure\.oebin names it"
    ):
        open_recording(tmp_path)


def test_samples_without_their_structure_say_where_it_belongs(tmp_path):
    write_openephys(tmp_path, samples())
    (tmp_path / RECORDING / "structure.oebin").unlink()
    with pytest.raises(RecordingFormatError, match=r"there is no structure\.oebin"):
        open_recording(tmp_path / RECORDING / "continuous" / "Probe-100.0" / "continuous.dat")


def test_settings_without_places_of_this_stream_leave_a_column(tmp_path):
    write_openephys(tmp_path, samples(), geom=False, streams=("NI-DAQmx-103.Other",))
    write_settings(tmp_path, [0, 1, 2, 3])
    assert any("20 um" in note for note in open_recording(tmp_path).notes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "settings.xml, which does not exist;"),
        (SETTINGS[:60], "settings.xml, which is cut short;"),
        ("<SETTINGS></SETTINGS>", "settings.xml;"),
    ],
)
def test_settings_that_were_not_copied_whole_are_said_to_be_missing(tmp_path, text, problem):
    write_openephys(tmp_path, samples(), geom=False)
    if text is not None:
        (tmp_path / "Record Node 101" / "settings.xml").write_text(text)
    assert any(problem in note for note in open_recording(tmp_path).notes)


def test_a_structure_in_another_code_page_is_read(tmp_path):
    write_openephys(tmp_path, samples(), streams=("Müller-100.0",), units="µV")
    path = tmp_path / RECORDING / "structure.oebin"
    path.write_bytes(json.dumps(json.loads(path.read_text()), ensure_ascii=False).encode("cp1252"))
    recording = open_recording(tmp_path)
    assert recording.layout.gains == (GAIN,) * 4
    assert np.array_equal(recording.traces(), samples())
