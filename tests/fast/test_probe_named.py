"""The probe that a user names: .prb and chanMap.mat files, tetrodes, columns and Neuropixels part numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import probeinterface
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from probeinterface.neuropixels_tools import build_neuropixels_probe
from recording_files import DATA, samples, write_mountainsort, write_spikeglx, write_spikeinterface
from scipy.io import savemat

from spikecrate.errors import ProbeError, RecordingError, RecordingFormatError
from spikecrate.recordings import open_recording
from spikecrate.recordings.formats import matfile
from spikecrate.recordings.formats.matfile import read_mat
from spikecrate.recordings.formats.neuropixels import BLOCK, BLOCKS, bank_zero, part_numbers
from spikecrate.recordings.formats.spikeglx import Meta
from spikecrate.recordings.named_probe import read_probe
from spikecrate.recordings.origin import reopen
from spikecrate.recordings.probe import absolute_probe, groups_by_distance, in_plane
from spikecrate.recordings.probe_files import read_prb

IDS = ("a", "b", "c", "d")
PRB = """
total_nb_channels = 4
radius = 100
channel_groups = {
    0: {"channels": list(range(2)), "graph": [], "geometry": {0: [0, 0], 1: [0, 20.5]}},
    "left": {"channels": [3, 2], "geometry": [[200, 0], [200, -20]]},
}
"""


def prb(folder, text=PRB):
    path = folder / "probe.prb"
    path.write_text(text)
    return path


def chan_map(folder, *, do_compression=False, **changes):
    path = folder / "chanMap.mat"
    variables = {
        "Nchannels": 4,
        "chanMap": np.array([[2, 1, 4, 3]], dtype=float),
        "xcoords": np.array([[0], [10], [20], [30]], dtype=float),
        "ycoords": np.array([[5], [6], [7], [8]], dtype=np.int16),
        "kcoords": np.array([[1], [1], [2], [2]], dtype=float),
        "connected": np.ones((4, 1), dtype=bool),
        "name": "a probe",
    } | changes
    variables = {name: value for name, value in variables.items() if value is not None}
    savemat(path, variables, do_compression=do_compression)
    return path


# .prb ----------------------------------------------------------------------------------------------


def test_a_prb_gives_places_and_groups_by_channel(tmp_path):
    probe, notes = read_probe(str(prb(tmp_path)), 4, IDS)
    assert probe.locations == ((0, 0), (0, 20.5), (200, -20), (200, 0))
    assert probe.groups == ("0", "0", "left", "left")
    assert probe.channels is None
    assert notes == []


def test_a_prb_is_read_as_probeinterface_reads_it(tmp_path):
    text = PRB.replace("[[200, 0], [200, -20]]", "{3: [200, 0], 2: [200, -20]}").replace('"left"', "1")
    group = probeinterface.read_prb(prb(tmp_path, text))
    expected = {}
    for number, probe in enumerate(group.probes):
        for channel, row in zip(probe.device_channel_indices, probe.contact_positions, strict=True):
            expected[int(channel)] = (tuple(row), str(number))
    found, _notes = read_probe(str(tmp_path / "probe.prb"), 4, IDS)
    assert list(zip(found.locations, found.groups, strict=True)) == [
        expected[channel] for channel in range(4)
    ]


def test_a_prb_is_never_executed(tmp_path):
    witness = tmp_path / "ran"
    text = f"open({str(witness)!r}, 'w')\n" + PRB
    assert read_probe(str(prb(tmp_path, text)), 4, IDS)[0].groups == ("0", "0", "left", "left")
    with pytest.raises(ProbeError, match=r"probe\.prb: not a \.prb file of literals"):
        read_prb(prb(tmp_path, f"channel_groups = open({str(witness)!r}, 'w')"), 4)
    assert not witness.exists()


def test_code_in_a_prb_is_shown_with_its_line_and_the_way_on(tmp_path):
    text = "channel_groups = {0: {\n'channels': [i for i in range(4)], 'geometry': {}}}"
    with pytest.raises(
        ProbeError, match=r"line 2: \[.* for i in .*\] is code, which is never exec"
    ) as caught:
        read_prb(prb(tmp_path, text), 4)
    assert caught.value.next_step == "write the values themselves into probe.prb"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1", "channel_groups: missing"),
        ("channel_groups = []", "expected a dict of groups"),
        ("channel_groups = {0: {'channels': 3}}", "channels: expected a list"),
        ("channel_groups = {0: {'channels': [0]}}", "geometry: expected a place"),
        ("channel_groups = {0: {'channels': [0], 'geometry': {}}}", "no x and y in um of channel 0"),
        (
            "channel_groups = {0: {'channels': [0], 'geometry': {0: ['a', 1]}}}",
            "no x and y in um of channel 0",
        ),
        ("channel_groups = {0: {'channels': [0, 0], 'geometry': {0: [1, 1]}}}", "channel 0 is named twice"),
        ("channel_groups = {0: {'channels': [7], 'geometry': {7: [1, 1]}}}", "channel 7 is not one of"),
        (
            "channel_groups = {0: {'channels': range(1000000000000), 'geometry': {}}}",
            "a range of 1000000000000",
        ),
        ("channel_groups = {", "not a .prb file"),
        ("(" * 5000, "not a .prb file"),
    ],
)
def test_a_prb_that_does_not_fit_is_refused_with_the_place(tmp_path, text, problem):
    with pytest.raises(ProbeError) as caught:
        read_prb(prb(tmp_path, text), 4)
    assert problem in str(caught.value)


# chanMap.mat ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("do_compression", [False, True])
def test_a_channel_map_gives_places_and_groups_by_channel(tmp_path, do_compression):
    probe, notes = read_probe(str(chan_map(tmp_path, do_compression=do_compression)), 4, IDS)
    assert probe.locations == ((10, 6), (0, 5), (30, 8), (20, 7))
    assert probe.groups == ("1", "1", "2", "2")
    assert notes == []


def test_a_channel_map_may_count_from_0_and_have_no_groups(tmp_path):
    path = chan_map(
        tmp_path, chanMap=None, chanMap0ind=np.array([[1, 0, 3, 2]]), kcoords=None, connected=None
    )
    probe, _notes = read_probe(str(path), 4, IDS)
    assert probe.locations == ((10, 6), (0, 5), (30, 8), (20, 7))
    assert probe.groups is None


def test_channels_that_are_not_connected_are_left_out_and_named(tmp_path):
    write_mountainsort(tmp_path, samples())
    path = chan_map(tmp_path, connected=np.array([[True], [True], [False], [True]]))
    whole = open_recording(tmp_path)
    recording = open_recording(tmp_path, probe=str(path))
    assert recording.channel_ids == ("1", "2", "3")
    assert recording.groups == ("1", "1", "2")
    assert np.array_equal(recording.traces(), whole.traces()[:, :3])
    assert any("no place for 1 of the 4 channels, which are left out: 4" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"xcoords": None}, "xcoords: missing"),
        ({"ycoords": np.zeros(3)}, "ycoords: 3 entries, xcoords has 4"),
        ({"chanMap": np.array([1, 2, 3, 9])}, "channel 8 is not one of"),
        ({"chanMap": np.array([1, 1, 2, 3])}, "is not a channel's place"),
        ({"chanMap": np.array([1, 2, 3, math.nan])}, "is not a channel's place"),
        ({"connected": np.zeros(4, dtype=bool)}, "names none of the channels"),
    ],
)
def test_a_channel_map_that_does_not_fit_is_refused(tmp_path, changes, problem):
    with pytest.raises(ProbeError) as caught:
        read_probe(str(chan_map(tmp_path, **changes)), 4, IDS)
    assert problem in str(caught.value)


def test_a_file_of_version_7_3_is_refused_with_the_way_on(tmp_path):
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "chanMap.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(RecordingFormatError) as caught:
        read_probe(str(tmp_path / "chanMap.mat"), 4, IDS)
    assert "7.3" in str(caught.value)
    assert caught.value.next_step == "save it in MATLAB with save(..., '-v7')"


@given(
    array=st.sampled_from(["f8", "f4", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]).flatmap(
        lambda dtype: arrays.arrays(
            np.dtype(dtype), arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4)
        )
    ),
    do_compression=st.booleans(),
)
def test_arrays_are_read_as_scipy_wrote_them(tmp_path_factory, array, do_compression):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(
        path,
        {"x": array, "text": "a", "z": 1j, "cell": np.array([[1, "b"]], dtype=object)},
        do_compression=do_compression,
    )
    found = read_mat(path, ("x", "text", "z", "cell"))
    assert list(found) == ["x"]
    assert np.array_equal(found["x"], array, equal_nan=array.dtype.kind == "f")


@given(st.data())
def test_a_damaged_mat_file_is_read_or_refused(tmp_path_factory, data):
    path = chan_map(tmp_path_factory.mktemp("mat"), do_compression=data.draw(st.booleans()))
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(124, len(content)))
    content[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(content)
    try:
        read_probe(str(path), 4, IDS)
    except RecordingError:
        return


def test_an_array_cannot_inflate_without_bound(tmp_path, monkeypatch):
    savemat(tmp_path / "bomb.mat", {"x": np.zeros(1 << 16)}, do_compression=True)
    monkeypatch.setattr(matfile, "TEXT_LIMIT", 1 << 16)
    with pytest.raises(RecordingFormatError, match="more than 65536 bytes"):
        read_mat(tmp_path / "bomb.mat", ("x",))


# Kinds of probes -----------------------------------------------------------------------------------


def test_every_four_channels_are_a_tetrode(tmp_path):
    write_mountainsort(tmp_path, samples(num_channels=8), geom=False)
    recording = open_recording(tmp_path, probe="tetrode")
    assert recording.groups == ("0",) * 4 + ("1",) * 4
    assert groups_by_distance(recording.layout.locations) == recording.groups
    wires = {tuple(np.round(row, 9) + 0.0) for row in probeinterface.generate_tetrode().contact_positions}
    assert set(recording.layout.locations[:4]) == wires
    assert recording.notes == ()


def test_channels_that_are_no_tetrodes_are_refused(tmp_path):
    write_mountainsort(tmp_path, samples(num_channels=6), geom=False)
    with pytest.raises(ProbeError, match="6 channels are not tetrodes of 4"):
        open_recording(tmp_path, probe="tetrode")


def test_a_column_that_is_named_is_not_assumed(tmp_path):
    write_mountainsort(tmp_path, samples(), geom=False)
    recording = open_recording(tmp_path, probe="column")
    assert recording.layout.locations == open_recording(tmp_path).layout.locations
    assert recording.notes == ()


@pytest.mark.parametrize("part", [part for part in part_numbers() if part != "NP1110"])
def test_bank_0_has_electrodes_of_probeinterfaces_probe(part):
    probe, bank = build_neuropixels_probe(part), bank_zero(part)
    edge = probe.probe_planar_contour[:, 0].min()
    known = {tuple(row) for row in (probe.contact_positions - [edge, 0]).round(6)}
    assert {tuple(row) for row in np.round(bank.locations, 6)} <= known
    assert (
        len(set(bank.locations))
        == len(bank.locations)
        == min(len(known), probe.annotations["num_readout_channels"])
    )


def test_a_probe_whose_wires_are_in_another_order_needs_a_file():
    with pytest.raises(ProbeError, match="NP1110: its channels are not in the order of its electrodes"):
        read_probe("NP1110", 4, IDS)


def test_the_blocks_of_a_probe_with_four_shanks_are_those_of_a_real_recording():
    path = DATA / "spikeglx" / "NP2_4_shanks_save_different_electrodes.imec0.ap.meta"
    entries = [tuple(map(int, entry.split())) for entry in Meta(path, path.read_text()).table("imroTbl")[1]]
    first_shank = [(channel, electrode) for channel, shank, _bank, _ref, electrode in entries if shank == 0]
    assert first_shank
    for channel, electrode in first_shank:
        assert BLOCKS[channel // BLOCK] == electrode % 384 // BLOCK


def test_a_part_number_places_the_first_channels_and_says_so(tmp_path):
    write_mountainsort(tmp_path, samples(), geom=False)
    recording = open_recording(tmp_path, probe="NP1010")
    assert recording.layout.locations == ((27, 0), (59, 0), (11, 20), (43, 20))
    assert recording.groups == ("0",) * 4
    (note,) = recording.notes
    assert "the first 4 of NP1010 in bank 0" in note


@pytest.mark.parametrize(
    ("word", "near"),
    [("tetrodes", "tetrode"), ("np1010", "NP1010"), ("Column", "column"), ("NP20133", "NP2013")],
)
def test_an_unknown_kind_names_the_nearest_and_the_kinds(word, near):
    with pytest.raises(ProbeError) as caught:
        read_probe(word, 4, IDS)
    assert f"did you mean {near}?" in str(caught.value)
    assert "tetrode, column, or a Neuropixels part number" in caught.value.next_step


def test_a_named_probe_takes_the_place_of_the_files_own(tmp_path):
    write_spikeglx(tmp_path, samples())
    (tmp_path / "other.csv").write_text("0,1\n1,1\n2,1\n3,1\n")
    recording = open_recording(tmp_path, probe=str(tmp_path / "other.csv"))
    assert recording.layout.locations == ((0, 1), (1, 1), (2, 1), (3, 1))


def test_a_probe_file_is_absolute_in_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_probe("a.prb") == str(tmp_path / "a.prb")
    assert absolute_probe("NP1010") == "NP1010"
    write_mountainsort(tmp_path / "rec", samples())
    prb(tmp_path)
    opened = open_recording("rec", probe="probe.prb")
    monkeypatch.chdir("/")
    assert reopen(opened.origin) == opened


# Groups and planes ---------------------------------------------------------------------------------


def test_the_groups_of_a_probeinterface_file_are_its_probes_and_shanks(tmp_path):
    group = probeinterface.ProbeGroup()
    for number in range(2):
        probe = probeinterface.generate_multi_shank(num_shank=2, num_columns=1, num_contact_per_column=1)
        probe.move([1000 * number, 0])
        probe.set_device_channel_indices(np.arange(2) + 2 * number)
        group.add_probe(probe)
    probeinterface.write_probeinterface(tmp_path / "probe.json", group)
    probe, _notes = read_probe(str(tmp_path / "probe.json"), 4, IDS)
    assert probe.groups == ("0.0", "0.1", "1.0", "1.1")


def test_a_file_of_one_probe_without_shanks_names_no_groups(tmp_path):
    probe = probeinterface.generate_tetrode()
    probe.set_device_channel_indices(np.arange(4))
    probeinterface.write_probeinterface(tmp_path / "probe.json", probe)
    assert read_probe(str(tmp_path / "probe.json"), 4, IDS)[0].groups is None


@given(st.lists(st.tuples(*[st.integers(-300, 300)] * 2), min_size=1, max_size=30))
def test_groups_by_distance_are_the_components_of_near_channels(places):
    near = np.array([[math.dist(a, b) <= 100 for b in places] for a in places])
    reach = np.linalg.matrix_power(near.astype(float), len(places)) > 0
    names: dict[bytes, str] = {}
    expected = tuple(names.setdefault(row.tobytes(), str(len(names))) for row in reach)
    assert groups_by_distance(places) == expected


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 5.0])] * 3), min_size=1, max_size=6))
def test_places_are_flattened_along_an_axis_that_does_not_vary(rows):
    planar, note = in_plane(tuple(rows))
    varying = [axis for axis in range(3) if len({row[axis] for row in rows}) > 1]
    if len(varying) == 3:
        assert planar == tuple(rows)
        assert "sorters see x and y alone" in str(note)
        return
    assert {len(row) for row in planar} == {2}
    assert len(set(planar)) == len(set(rows))
    assert (note is not None) == (2 in varying)


@pytest.mark.parametrize(
    ("property", "groups"), [(["a", "a", "b", "b"], ("a", "a", "b", "b")), ([0] * 4, ("0", "0", "1", "1"))]
)
def test_the_groups_of_a_spikeinterface_folder_are_its_property_or_else_its_shanks(
    tmp_path, property, groups
):
    folder = write_spikeinterface(tmp_path, samples())
    probe = json.loads((folder / "probegroup.json").read_text())
    probe["probes"][0]["shank_ids"] = ["0", "0", "1", "1"]
    (folder / "probegroup.json").write_text(json.dumps(probe))
    described = json.loads((folder / "binary.json").read_text())
    described["properties"]["group"] = property
    (folder / "binary.json").write_text(json.dumps(described))
    assert open_recording(folder).groups == groups


def test_a_json_without_probes_is_refused(tmp_path):
    (tmp_path / "probe.json").write_text(json.dumps({"probes": []}))
    with pytest.raises(ProbeError, match="0 contacts for 4 channels"):
        read_probe(str(tmp_path / "probe.json"), 4, IDS)
