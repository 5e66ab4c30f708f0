"""SpikeGLX: gains and places of real probes, which channels are kept, and which file of a run is meant."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from probeinterface.neuropixels_tools import read_spikeglx
from recording_files import DATA, GAIN, places, samples, write_geom, write_spikeglx

from spikecrate.errors import (
    ProbeError,
    RecordingAmbiguousError,
    RecordingEmptyError,
    RecordingFormatError,
    RecordingNotFoundError,
    RecordingTruncatedError,
)
from spikecrate.recordings import open_recording

# Gains as neo 0.14 gives them for these files (Ultra: by SpikeGLX's own rule), places as probeinterface 0.4
# does but for a constant: SpikeGLX counts x from the edge of the shank.
REAL = {
    "phase3a.imec.ap": (384, 2.34375, [(27, 0), (59, 0), (11, 20), (43, 20)]),
    "NP1_saved_only_subset_of_channels": (151, 2.34375, [(27, 0), (59, 0), (11, 20), (43, 20)]),
    "NP2_4_shanks_save_different_electrodes.imec0.ap": (384, 0.762939453125, [(777, 4320), (809, 4320)]),
    "NP2_2013_subset_channels.imec0.ap": (120, 3.02734375, [(27, 0), (59, 0), (27, 15)]),
    "NP1110_bank0_g0_t0.imec0.ap": (384, 2.34375, [(15.5, 0), (57.5, 42)]),
}


@pytest.mark.parametrize("name", sorted(REAL))
def test_gains_and_places_of_a_real_probe_are_read(tmp_path, name):
    num_channels, gain, first = REAL[name]
    text = (DATA / "spikeglx" / f"{name}.meta").read_text()
    size = 2 * 10 * (num_channels + 1)
    (tmp_path / f"{name}.meta").write_text(re.sub("fileSizeBytes=.*", f"fileSizeBytes={size}", text))
    (tmp_path / f"{name}.bin").write_bytes(bytes(size))
    recording = open_recording(tmp_path)
    layout = recording.layout
    assert layout.parts[0].channels == tuple(range(num_channels))
    assert layout.parts[0].file_channels == num_channels + 1
    assert layout.gains == pytest.approx((gain,) * num_channels)
    assert layout.locations[: len(first)] == tuple(first)
    assert recording.channel_ids[0] == "AP0"
    assert any("1 sync" in note for note in recording.notes)


@pytest.mark.parametrize("name", sorted(REAL))
def test_places_are_those_of_probeinterface_from_the_edge_of_the_shank(tmp_path, name):
    source = DATA / "spikeglx" / f"{name}.meta"
    num_channels = REAL[name][0]
    size = 2 * 10 * (num_channels + 1)
    (tmp_path / f"{name}.meta").write_text(
        re.sub("fileSizeBytes=.*", f"fileSizeBytes={size}", source.read_text())
    )
    (tmp_path / f"{name}.bin").write_bytes(bytes(size))
    probe = read_spikeglx(source)
    edge = probe.probe_planar_contour[:, 0].min()
    assert np.allclose(open_recording(tmp_path).layout.locations, probe.contact_positions - [edge, 0])


def test_each_channel_may_have_a_gain_of_its_own(tmp_path):
    table = "(0,4)" + "".join(f"({index} 0 0 {100 * (index + 1)} 50 1)" for index in range(4))
    changes = {"imDatPrb_type": "0", "imChan0apGain": None, "imMaxInt": None, "imAiRangeMax": "0.6"}
    recording = open_recording(write_spikeglx(tmp_path, samples(), **changes, **{"~imroTbl": table}))
    expected = [1e6 * 0.6 / 512 / gain for gain in (100, 200, 300, 400)]
    assert recording.layout.gains == pytest.approx(expected)


def test_the_gains_of_a_saved_subset_are_those_of_its_channels(tmp_path):
    table = "(0,8)" + "".join(f"({index} 0 0 {100 * (index + 1)} 50 1)" for index in range(8))
    changes = {"imDatPrb_type": "0", "acqApLfSy": "8,8,1", "snsSaveChanSubset": "1,3:4,7,16"}
    recording = open_recording(write_spikeglx(tmp_path, samples(), **changes, **{"~imroTbl": table}))
    assert recording.layout.gains == pytest.approx([1e6 * 0.5 / 1000 / gain for gain in (200, 400, 500, 800)])


def test_an_lf_stream_has_the_lf_gains(tmp_path):
    table = "(0,4)" + "".join(f"({index} 0 0 500 {50 * (index + 1)} 1)" for index in range(4))
    changes = {
        "imDatPrb_type": "0",
        "acqApLfSy": "4,4,1",
        "snsApLfSy": "0,4,1",
        "snsSaveChanSubset": "4:8",
        "~imroTbl": table,
    }
    recording = open_recording(write_spikeglx(tmp_path, samples(), name="run_g0_t0.imec0.lf", **changes))
    assert recording.layout.gains == pytest.approx([1e6 * 0.5 / 1000 / gain for gain in (50, 100, 150, 200)])


@pytest.mark.parametrize(("kind", "gain"), [("21", 80), ("24", 80), ("2013", 100)])
def test_probes_with_one_gain_need_not_name_it(tmp_path, kind, gain):
    recording = open_recording(write_spikeglx(tmp_path, samples(), imDatPrb_type=kind, imChan0apGain=None))
    assert recording.layout.gains == pytest.approx([1e6 * 0.5 / 1000 / gain] * 4)


def test_an_unknown_probe_without_a_gain_is_refused(tmp_path):
    with pytest.raises(RecordingFormatError, match="imChan0apGain: missing, and the gain of probe type 9999"):
        open_recording(write_spikeglx(tmp_path, samples(), imDatPrb_type="9999", imChan0apGain=None))


def nidq(folder, traces, counts, **changes):
    fields = {
        "typeThis": "nidq",
        "niAiRangeMax": "5",
        "niMaxInt": "32768",
        "niMNGain": "200",
        "niMAGain": "10",
        "niSampRate": "25000",
        "snsMnMaXaDw": counts,
        "~snsChanMap": "(x)(MN0C0;0:0)(MN0C1;1:1)(MA0C0;2:2)(XA0;3:3)(XD0;4:4)",
        "~snsGeomMap": None,
    }
    return write_spikeglx(folder, traces, name="run_g0_t0.nidq", **(fields | changes))


def test_of_a_nidq_stream_the_neural_channels_are_kept(tmp_path):
    recording = open_recording(nidq(tmp_path, samples(), "2,1,1,1"))
    assert recording.channel_ids == ("MN0C0", "MN0C1")
    assert recording.layout.gains == pytest.approx([1e6 * 5 / 32768 / 200] * 2)
    assert recording.layout.sampling_frequency == 25000
    assert np.array_equal(recording.traces(), samples()[:, :2])
    assert any("2 auxiliary, 1 digital" in note for note in recording.notes)


def test_a_nidq_stream_without_neural_channels_keeps_the_analog_ones(tmp_path):
    recording = open_recording(nidq(tmp_path, samples(), "0,1,3,1"))
    assert recording.layout.gains == pytest.approx([1e6 * 5 / 32768 / 10] + [1e6 * 5 / 32768] * 3)


def test_a_stream_of_digital_words_alone_is_empty(tmp_path):
    with pytest.raises(RecordingEmptyError, match="no analog channels"):
        open_recording(nidq(tmp_path, samples(), "0,0,0,5"))


def test_a_onebox_stream_keeps_its_analog_channels(tmp_path):
    changes = {
        "typeThis": "obx",
        "snsXaDwSy": "3,1,1",
        "obAiRangeMax": "5",
        "obMaxInt": "32768",
        "obSampRate": "30303",
    }
    recording = open_recording(write_spikeglx(tmp_path, samples(), name="run_g0_t0.obx0.obx", **changes))
    assert recording.layout.num_channels == 3
    assert recording.layout.sampling_frequency == 30303


def test_a_geom_beside_the_samples_serves_where_there_is_no_map(tmp_path):
    binary = nidq(tmp_path, samples(), "4,0,0,1")
    assert any("20 um" in note for note in open_recording(binary).notes)
    write_geom(tmp_path / "geom.csv", 4)
    assert [list(row) for row in open_recording(binary).layout.locations] == places(4)


@pytest.mark.parametrize("count", [1, 6])
def test_a_map_that_does_not_fit_the_channels_is_refused(tmp_path, count):
    geom = "(NP2013,4,250,70)" + "".join(f"(0:0:{25 * index}:1)" for index in range(count))
    with pytest.raises(ProbeError, match=f"snsGeomMap: {count} entries for 4 channels"):
        open_recording(write_spikeglx(tmp_path, samples(), **{"~snsGeomMap": geom}))


def test_a_part_that_was_split_off_takes_its_own_entries_of_the_map(tmp_path):
    geom = "(NP2013,4,250,70)" + "".join(f"({index // 4}:27:{25 * index}:1)" for index in range(16))
    changes = {"snsSaveChanSubset": "0:4", "snsSaveChanSubset_orig": "4:5,8:9,384", "~snsGeomMap": geom}
    recording = open_recording(write_spikeglx(tmp_path, samples(), **changes))
    assert recording.layout.locations == ((277, 100), (277, 125), (527, 200), (527, 225))


@pytest.mark.parametrize("empty", [None, "(PRB_1_4_0480_1,1,0,70)"])
def test_an_lf_stream_has_the_places_of_its_electrodes(tmp_path, empty):
    table = "(0,6)" + "".join(f"({index} {index % 2} 0 500 250 1)" for index in range(6))
    changes = {
        "imDatPrb_pn": "PRB_1_4_0480_1",
        "imDatPrb_type": "0",
        "acqApLfSy": "6,6,1",
        "snsApLfSy": "0,4,1",
    }
    changes |= {"snsSaveChanSubset": "7:10,12", "~imroTbl": table, "~snsGeomMap": empty}
    recording = open_recording(write_spikeglx(tmp_path, samples(), name="run_g0_t0.imec0.lf", **changes))
    # Electrodes 385, 2, 387, 4: two in a row, banks of 384.
    assert recording.layout.locations == ((59, 3840), (11, 20), (43, 3860), (27, 40))


def test_notes_in_another_code_page_are_passed_over(tmp_path):
    meta = write_spikeglx(tmp_path, samples()).with_suffix(".meta")
    meta.write_bytes(meta.read_bytes() + "userNotes=5 µm für Björn\n".encode("cp1252"))
    assert np.array_equal(open_recording(meta).traces(), samples())


def test_of_a_probes_folder_the_spikes_are_meant(tmp_path):
    write_spikeglx(tmp_path / "run_g0" / "run_g0_imec0", samples())
    write_spikeglx(tmp_path / "run_g0" / "run_g0_imec0", samples(10), name="run_g0_t0.imec0.lf")
    nidq(tmp_path / "run_g0", samples(20), "4,0,0,1")
    recording = open_recording(tmp_path / "run_g0")
    assert recording.files[0].name == "run_g0_t0.imec0.ap.bin"
    assert np.array_equal(recording.traces(), samples())


def test_two_probes_must_be_told_apart(tmp_path):
    first = write_spikeglx(tmp_path / "run_g0_imec0", samples())
    second = write_spikeglx(tmp_path / "run_g0_imec1", samples(), name="run_g0_t0.imec1.ap")
    with pytest.raises(RecordingAmbiguousError) as caught:
        open_recording(tmp_path)
    assert caught.value.details["choices"] == [str(first), str(second)]


@pytest.mark.parametrize("lost", [".bin", ".meta"])
def test_a_missing_half_is_named(tmp_path, lost):
    binary = write_spikeglx(tmp_path, samples())
    binary.with_suffix(lost).unlink()
    for path in (tmp_path, binary.with_suffix({".bin": ".meta", ".meta": ".bin"}[lost])):
        with pytest.raises(RecordingFormatError, match=rf"imec0\.ap\{lost} does not exist"):
            open_recording(path)


def test_any_other_bin_is_not_a_recording(tmp_path):
    (tmp_path / "firmware.bin").write_bytes(b"123")
    for path in (tmp_path, tmp_path / "firmware.bin"):
        with pytest.raises(RecordingNotFoundError):
            open_recording(path)


def test_a_file_shorter_than_its_metadata_says_is_cut_short(tmp_path):
    binary = write_spikeglx(tmp_path, samples(), fileSizeBytes="9000")
    with pytest.raises(RecordingTruncatedError, match="9000 bytes are expected, the file holds 5000"):
        open_recording(binary)


def test_a_file_longer_than_its_metadata_says_is_read_whole(tmp_path):
    recording = open_recording(write_spikeglx(tmp_path, samples(), fileSizeBytes="1000"))
    assert np.array_equal(recording.traces(), samples())
    assert any("1000 bytes" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("imSampRate", None, "missing"),
        ("imSampRate", "fast", "expected a number above 0"),
        ("imSampRate", "-30000", "expected a number above 0"),
        ("imSampRate", "nan", "expected a number above 0"),
        ("nSavedChans", "0x5", "expected a whole number"),
        ("nSavedChans", "999999999999", "more than any probe has"),
        ("snsApLfSy", "4,1", "expected 3 whole numbers"),
        ("snsApLfSy", "9,0,1", "does not add up to nSavedChans=5"),
        ("snsSaveChanSubset", "0:x", "expected channels such as"),
        ("snsSaveChanSubset", "0:2", "3 channels where 4 were saved"),
        ("fileSizeBytes", "many", "expected a whole number"),
        ("typeThis", "other", "expected imec, nidq or obx"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, field, value, problem):
    binary = write_spikeglx(tmp_path, samples(), **{field: value})
    with pytest.raises(RecordingFormatError, match=f"{field}: .*{problem}") as caught:
        open_recording(binary)
    assert caught.value.details["field"] == field


def test_a_huge_range_of_saved_channels_takes_no_memory(tmp_path):
    recording = open_recording(write_spikeglx(tmp_path, samples(), snsSaveChanSubset="0:999999999"))
    assert recording.layout.gains == (GAIN,) * 4


def test_spaces_in_the_name_of_a_run_are_kept(tmp_path):
    binary = write_spikeglx(tmp_path, samples(), name="a run, with: spaces_g0_t0.imec0.ap")
    shutil.move(binary, tmp_path / "data")
    binary.symlink_to(tmp_path / "data")
    assert np.array_equal(open_recording(binary).traces(), samples())


@pytest.mark.parametrize(
    ("part", "kind", "expected"),
    [
        ("NP1122", "1122", [(12.5, 0), (15.5, 0), (12.5, 3), (15.5, 3)]),
        ("NP1123", "1123", [(10.25, 0), (14.75, 0), (10.25, 4.5), (14.75, 4.5)]),
        ("NP1200", "1200", [(56.5, 0), (88.5, 0), (36.5, 31), (68.5, 31)]),
        ("PRB_1_2_0480_2", "0", [(27, 0), (59, 0), (11, 20), (43, 20)]),
        ("PRB_1_4_9999_9", "0", [(27, 0), (59, 0), (11, 20), (43, 20)]),
        ("NP1014", "0", [(27, 0), (59, 0), (11, 20), (43, 20)]),
        ("NP1033", "1030", [(11, 0), (114, 0), (11, 20), (114, 20)]),
        ("PRB2_4_4_0480_1", "24", [(27, 0), (59, 0), (27, 15), (59, 15)]),
        (None, "1300", [(11, 0), (59, 0), (11, 20), (59, 20)]),
        (None, None, [(27, 0), (59, 0), (11, 20), (43, 20)]),
    ],
)
def test_columns_and_rows_of_a_shank_map_are_those_of_the_part_number(tmp_path, part, kind, expected):
    maps = {"~snsGeomMap": None, "~snsShankMap": "(1,2,480)(0:0:0:1)(0:1:0:1)(0:0:1:1)(0:1:1:1)"}
    columns = "" if kind is None else " 1"
    table = {"~imroTbl": "(0,4)" + "".join(f"({index} 0 0 1000 250{columns})" for index in range(4))}
    binary = write_spikeglx(tmp_path, samples(), imDatPrb_pn=part, imDatPrb_type=kind, **maps, **table)
    assert open_recording(binary).layout.locations == tuple(expected)


def test_shanks_of_a_shank_map_are_a_shank_s_pitch_apart(tmp_path):
    maps = {"~snsGeomMap": None, "~snsShankMap": "(4,2,640)(0:0:0:1)(1:0:0:1)(2:1:0:1)(3:0:1:1)"}
    recording = open_recording(write_spikeglx(tmp_path, samples(), imDatPrb_pn="NP2013", **maps))
    assert recording.layout.locations == ((27, 0), (277, 0), (559, 0), (777, 15))


def test_a_shank_map_of_an_unknown_probe_is_not_read(tmp_path):
    maps = {"~snsGeomMap": None, "~snsShankMap": "(1,2,480)(0:0:0:1)(0:1:0:1)(0:0:1:1)(0:1:1:1)"}
    recording = open_recording(write_spikeglx(tmp_path, samples(), imDatPrb_pn="NP9999", **maps))
    assert any("has no map of this probe" in note for note in recording.notes)


@pytest.mark.parametrize(("kind", "counts"), [("0", 512), ("21", 8192), ("24", 8192), ("2013", 2048)])
def test_a_file_without_im_max_int_has_that_of_its_probe(tmp_path, kind, counts):
    table = (
        "(0,4)" + "".join(f"({index} 0 0 1000 250 1)" for index in range(4)) if kind == "0" else "(x)(0 0)"
    )
    binary = write_spikeglx(tmp_path, samples(), imDatPrb_type=kind, imMaxInt=None, **{"~imroTbl": table})
    assert open_recording(binary).layout.gains == pytest.approx([1e6 * 0.5 / counts / 1000] * 4)


def test_an_unknown_probe_without_im_max_int_is_refused(tmp_path):
    with pytest.raises(RecordingFormatError, match="imMaxInt: missing, and the probe is not known"):
        open_recording(write_spikeglx(tmp_path, samples(), imDatPrb_type="9999", imMaxInt=None))


@pytest.mark.parametrize("named", ["run_g0_t0.imec0.ap.bin", "run_g0_t0.imec0.ap.meta.txt", ""])
def test_a_meta_that_an_editor_renamed_is_read(tmp_path, named):
    meta = write_spikeglx(tmp_path, samples()).with_suffix(".meta")
    meta.rename(meta.with_name(f"{meta.name}.txt"))
    assert np.array_equal(open_recording(tmp_path / named).traces(), samples())
