"""SpikeInterface's binary folder, in every form it had: folders that its versions wrote, and variations."""

from __future__ import annotations

import json

import numpy as np
import pytest
from recording_files import DATA, GAIN, places, samples, write_geom, write_probe, write_spikeinterface

from spikecrate.errors import (
    ProbeError,
    RecordingAmbiguousError,
    RecordingError,
    RecordingFormatError,
    RecordingNotFoundError,
)
from spikecrate.recordings import open_recording

VERSIONS = sorted(path.name for path in (DATA / "spikeinterface").iterdir() if path.is_dir())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_folder_that_a_version_wrote_is_read(version):
    recording = open_recording(DATA / "spikeinterface" / version)
    expected = np.random.default_rng(0).integers(-100, 100, (500, 4)).astype("int16")
    assert np.array_equal(recording.traces(), expected)
    assert recording.layout.locations == ((0.0, 25.0), (0.0, 75.0), (0.0, 0.0), (0.0, 50.0))
    assert recording.layout.gains == pytest.approx((0.2,) * 4, rel=1e-7)
    assert recording.layout.sampling_frequency == 20000
    assert recording.channel_ids == ("0", "1", "2", "3")


def test_one_of_several_segments_must_be_named(tmp_path):
    names = ["traces_cached_seg0.raw", "traces_cached_seg1.raw"]
    write_spikeinterface(tmp_path, samples(), file_paths=names)
    (tmp_path / names[1]).write_bytes(samples(30, seed=1).tobytes())
    with pytest.raises(RecordingAmbiguousError, match="2 segments") as caught:
        open_recording(tmp_path)
    first, second = (open_recording(path) for path in caught.value.details["choices"])
    assert np.array_equal(first.traces(), samples())
    assert np.array_equal(second.traces(), samples(30, seed=1))


def test_an_offset_and_the_other_axis_are_obeyed(tmp_path):
    write_spikeinterface(tmp_path, samples(), time_axis=1, file_offset=7)
    (tmp_path / "traces_cached_seg0.raw").write_bytes(b"header!" + samples().T.tobytes())
    assert np.array_equal(open_recording(tmp_path).traces(), samples())


def test_samples_in_another_folder_are_read_there(tmp_path):
    write_spikeinterface(tmp_path / "rec", samples(), file_paths=["../data/x.raw"])
    (tmp_path / "data").mkdir()
    (tmp_path / "rec" / "traces_cached_seg0.raw").rename(tmp_path / "data" / "x.raw")
    assert np.array_equal(open_recording(tmp_path / "rec").traces(), samples())


def test_big_endian_samples_are_read(tmp_path):
    write_spikeinterface(tmp_path, samples(dtype=">i2"))
    assert np.array_equal(open_recording(tmp_path).traces(), samples())


def test_one_gain_counts_for_all_channels(tmp_path):
    recording = open_recording(
        write_spikeinterface(tmp_path, samples(), gain_to_uV=0.25, offset_to_uV=[1, 2, 3, 4])
    )
    assert recording.layout.gains == (0.25,) * 4
    assert recording.layout.offsets == (1.0, 2.0, 3.0, 4.0)


def test_gains_and_places_may_stand_in_files_of_their_own(tmp_path):
    write_spikeinterface(tmp_path, samples(), gain_to_uV=None, offset_to_uV=None, probe=False)
    (tmp_path / "properties").mkdir()
    np.save(tmp_path / "properties" / "gain_to_uV.npy", np.full(4, GAIN, "float32"))
    np.save(tmp_path / "properties" / "offset_to_uV.npy", np.arange(4.0))
    np.save(tmp_path / "properties" / "location.npy", np.array(places(4)))
    layout = open_recording(tmp_path).layout
    assert layout.gains == (GAIN,) * 4
    assert layout.offsets == (0.0, 1.0, 2.0, 3.0)
    assert [list(row) for row in layout.locations] == places(4)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8'}\n", b"PK\x03\x04", b"\x80\x04."],
)
def test_a_damaged_array_is_named(tmp_path, content):
    write_spikeinterface(tmp_path, samples(), gain_to_uV=None)
    (tmp_path / "properties").mkdir()
    (tmp_path / "properties" / "gain_to_uV.npy").write_bytes(content)
    with pytest.raises(RecordingFormatError, match=r"gain_to_uV\.npy: not an array"):
        open_recording(tmp_path)


def test_an_array_that_promises_too_much_takes_no_memory(tmp_path):
    write_spikeinterface(tmp_path, samples(), gain_to_uV=None)
    (tmp_path / "properties").mkdir()
    np.save(tmp_path / "properties" / "gain_to_uV.npy", np.zeros(4))
    path = tmp_path / "properties" / "gain_to_uV.npy"
    path.write_bytes(path.read_bytes().replace(b"(4,), }            ", b"(400000000000000,),}"))
    with pytest.raises(RecordingFormatError, match="not an array"):
        open_recording(tmp_path)


def test_unknown_gains_and_places_are_noted(tmp_path):
    write_spikeinterface(tmp_path, samples(), gain_to_uV=None, probe=False)
    recording = open_recording(tmp_path)
    assert recording.layout.gains == (1.0,) * 4
    assert any("gains" in note for note in recording.notes)
    assert any("20 um" in note for note in recording.notes)


def test_an_older_probe_is_taken_in_the_order_of_its_wires(tmp_path):
    write_spikeinterface(tmp_path, samples(num_channels=3), probe=False)
    write_probe(tmp_path / "probe.json", [[0, 0], [0, 10], [0, 20]], wires=[9, 5, 7])
    assert open_recording(tmp_path).layout.locations == ((0.0, 10.0), (0.0, 20.0), (0.0, 0.0))


def test_a_geom_beside_the_samples_serves_where_there_is_no_probe(tmp_path):
    write_spikeinterface(tmp_path, samples(), probe=False)
    write_geom(tmp_path / "geom.csv", 4)
    assert [list(row) for row in open_recording(tmp_path).layout.locations] == places(4)


def test_a_probe_with_too_few_contacts_is_refused(tmp_path):
    write_spikeinterface(tmp_path, samples())
    write_probe(tmp_path / "probegroup.json", places(3))
    with pytest.raises(ProbeError, match="3 contacts for 4 channels"):
        open_recording(tmp_path)


def test_several_probes_follow_one_another_or_their_common_order(tmp_path):
    write_spikeinterface(tmp_path, samples())
    probes = [
        {"contact_positions": [[0, 0], [0, 1]]},
        {"contact_positions": [[5, 0], [5, 1]], "si_units": "mm"},
    ]
    (tmp_path / "probegroup.json").write_text(json.dumps({"probes": probes}))
    assert open_recording(tmp_path).layout.locations == ((0, 0), (0, 1), (5000, 0), (5000, 1000))
    (tmp_path / "probegroup.json").write_text(
        json.dumps({"probes": probes, "global_contact_order": [2, 0, 3, 1]})
    )
    assert open_recording(tmp_path).layout.locations == ((5000, 0), (0, 0), (5000, 1000), (0, 1))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dtype": "complex64"}, "'complex64' cannot be sorted"),
        ({"dtype": 5}, r"kwargs\.dtype: expected a text"),
        ({"num_channels": 10**9}, r"kwargs\.num_channels: expected a whole number"),
        ({"num_channels": 2.5}, r"kwargs\.num_channels: expected a whole number"),
        ({"file_paths": []}, r"kwargs\.file_paths: expected"),
        ({"file_paths": [3]}, r"kwargs\.file_paths: expected"),
        ({"time_axis": 2}, "time_axis: 2 is neither"),
        ({"file_offset": -1}, r"kwargs\.file_offset: expected"),
        ({"sampling_frequency": 0}, r"kwargs\.sampling_frequency: expected a number above 0"),
        ({"gain_to_uV": [1, 2]}, r"gain_to_uV: expected 4 numbers"),
        ({"gain_to_uV": ["a"] * 4}, r"gain_to_uV: expected 4 numbers"),
        ({"channel_ids": ["a"]}, "channel_ids: 1 names for 4 channels"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, changes, problem):
    write_spikeinterface(tmp_path, samples(), **changes)
    with pytest.raises(RecordingFormatError, match=problem) as caught:
        open_recording(tmp_path)
    assert "binary.json" in str(caught.value)


def test_samples_that_are_not_there_are_named_with_who_names_them(tmp_path):
    write_spikeinterface(tmp_path, samples(), file_paths=["gone.raw"])
    with pytest.raises(RecordingNotFoundError, match=r"gone\.raw does not exist .*binary\.json names it"):
        open_recording(tmp_path)


def test_another_kind_of_folder_says_how_to_convert_it(tmp_path):
    (tmp_path / "si_folder.json").write_text('{"class": "spikeinterface.core.npyfolder.NpyFolder"}')
    with pytest.raises(RecordingFormatError, match="not samples in one flat file") as caught:
        open_recording(tmp_path)
    assert "recording.import" in caught.value.next_step


# A recording that was dumped as JSON --------------------------------------------------------------


def dump(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"module": "spikeinterface", "version": "0.105.3", "relative_paths": False} | content)
    )
    return path


def dumped_arguments(folder, files):
    write_spikeinterface(folder, samples(), file_paths=files)
    return json.loads((folder / "binary.json").read_text())


@pytest.mark.parametrize("name", ["spikeinterface_recording.json", "any.json"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_dumped_recording_of_flat_files_is_read_in_place(tmp_path, name, absolute):
    raw = "traces_cached_seg0.raw"
    content = dumped_arguments(tmp_path, [str(tmp_path / raw) if absolute else raw])
    (tmp_path / "binary.json").unlink()
    path = dump(tmp_path / name, **content)
    assert np.array_equal(open_recording(path).traces(), samples())
    if name == "spikeinterface_recording.json":
        assert np.array_equal(open_recording(tmp_path).traces(), samples())


def test_a_dumped_recording_may_name_its_files_from_the_current_folder(tmp_path, monkeypatch):
    content = dumped_arguments(tmp_path / "data", ["data/traces_cached_seg0.raw"])
    path = dump(tmp_path / "out" / "spikeinterface_recording.json", **content)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(open_recording(path).traces(), samples())


def test_a_dumped_recording_of_a_saved_folder_is_that_folder(tmp_path):
    saved = write_spikeinterface(tmp_path / "saved", samples())
    reader = "spikeinterface.core.binaryfolder.BinaryFolderRecording"
    path = dump(tmp_path / "dumped.json", **{"class": reader, "kwargs": {"folder_path": str(saved)}})
    recording = open_recording(path)
    assert recording.layout == open_recording(saved).layout
    assert recording.path == path


@pytest.mark.parametrize(
    "arguments",
    [{}, {"recording": {"class": "x.BinaryRecordingExtractor", "kwargs": {}}}, {"file_path": "x.nwb"}],
)
def test_a_dumped_chain_of_steps_says_how_to_save_it(tmp_path, arguments):
    reader = "spikeinterface.preprocessing.filter.BandpassFilterRecording"
    path = dump(tmp_path / "dumped.json", **{"class": reader, "kwargs": arguments})
    with pytest.raises(
        RecordingFormatError, match="'BandpassFilterRecording' is not samples in one flat file"
    ) as caught:
        open_recording(path)
    assert 'recording.save(folder="saved")' in caught.value.next_step


def test_a_dumped_folder_that_is_not_there_is_named(tmp_path):
    reader = "spikeinterface.core.binaryfolder.BinaryFolderRecording"
    for place in ("gone", "nul\0l", "x" * 5000):
        path = dump(tmp_path / "dumped.json", **{"class": reader, "kwargs": {"folder_path": place}})
        with pytest.raises(RecordingError):
            open_recording(path)
