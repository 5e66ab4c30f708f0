"""What is assumed of a recording, and a parameter that does not fit it, are said at `sort`."""

from __future__ import annotations

import math

import pytest
from lab import ANSWER, TWO_EVENTS, Notes
from recording_files import (
    WRITERS,
    samples,
    write_flat,
    write_mountainsort,
    write_openephys,
    write_spikeglx,
    write_spikeinterface,
)

from spikecrate import api
from spikecrate.recordings import open_recording, sort_warnings
from spikecrate.recordings.assumptions import smallest_distance
from spikecrate.steps.request import SortRequest


def fields(path):
    return [assumption.field for assumption in open_recording(path).assumptions]


@pytest.mark.parametrize("form", ["mountainsort", "spikeinterface", "flat"])
def test_nothing_is_assumed_where_the_files_give_everything(tmp_path, form):
    assert open_recording(WRITERS[form](tmp_path, samples())).assumptions == ()


def test_a_missing_probe_is_assumed_and_the_file_to_write_is_named(tmp_path):
    (assumption,) = open_recording(write_mountainsort(tmp_path, samples(), geom=False)).assumptions
    assert assumption.field == "probe"
    assert assumption.message == "there is no geom.csv; the 4 channels are assumed in one column, 20 um apart"
    assert (
        assumption.next_step
        == "put a geom.csv (x,y in um, one row a channel) beside the samples, or name one: --probe FILE"
    )
    assert str(assumption) == f"{assumption.message}; {assumption.next_step}"


def test_a_flat_file_without_a_probe_names_the_field_to_add(tmp_path):
    (assumption,) = open_recording(write_flat(tmp_path, samples(), probe=False)).assumptions
    assert assumption.next_step.startswith("add probe (a geom.csv")
    assert assumption.next_step.endswith("to recording.json")


def test_bytes_after_the_last_sample_are_counted(tmp_path):
    write_flat(tmp_path, samples())
    with (tmp_path / "data.raw").open("ab") as file:
        file.write(b"123")
    (assumption,) = open_recording(tmp_path).assumptions
    assert assumption.field == "samples"
    assert "data.raw has 3 bytes after its last sample" in assumption.message


def test_channels_of_the_file_that_are_not_in_use_are_counted(tmp_path):
    (assumption,) = open_recording(write_openephys(tmp_path, samples(), adc=3)).assumptions
    assert (assumption.field, assumption.message) == ("channels", "channels of the file not in use: 3 ADC")
    assert str(assumption) == assumption.message


def test_channels_that_the_probe_s_map_marks_as_not_in_use_are_counted(tmp_path):
    geom = "(NP2013,4,250,70)(0:0:0:1)(0:0:25:0)(0:0:50:0)(0:0:75:1)"
    found = open_recording(write_spikeglx(tmp_path, samples(), **{"~snsGeomMap": geom})).assumptions
    assert any(
        "marks as not in use (a reference or a dead site) are sorted: 2 of 4" in item.message
        for item in found
    )
    assert fields(write_spikeglx(tmp_path / "all", samples())) == ["channels"]


def test_a_missing_gain_is_assumed(tmp_path):
    write_mountainsort(tmp_path / "a", samples())
    (tmp_path / "a" / "params.json").write_text('{"samplerate": 20000}')
    assert open_recording(tmp_path / "a").notes == (
        "the recording gives no gain; a count is taken as 1 uV; add scale_factor (uV per count) to params.json",
    )
    assert fields(write_spikeinterface(tmp_path / "b", samples(), gain_to_uV=None)) == ["gain_uv"]


@pytest.mark.parametrize("dtype", ["uint16", "uint8", ">u4"])
def test_the_offset_of_unsigned_counts_is_assumed_where_it_is_not_given(tmp_path, dtype):
    write_flat(tmp_path / "a", samples(dtype=dtype))
    (assumption,) = open_recording(tmp_path / "a").assumptions
    assert assumption.field == "offset_uv"
    assert str(assumption).endswith("count 0 is taken as 0 uV; add offset_uv to recording.json")
    assert fields(write_flat(tmp_path / "b", samples(dtype=dtype), offset_uv=-64)) == []


def test_a_filtered_recording_is_said(tmp_path):
    assert fields(write_spikeinterface(tmp_path, samples(), is_filtered=True)) == ["filter"]


@pytest.mark.parametrize(
    ("sign", "parameters", "message"),
    [
        (-1, {"detect_sign": 1}, "negative but ms4 is set to detect positive peaks; pass --param detect_sign=-1"),
        (1, {"detect_sign": 0}, "positive but ms4 is set to detect peaks of either sign; pass --param detect_sign=1"),
        (0, {"detect_sign": -1}, "of either sign but ms4 is set to detect negative peaks; pass --param detect_sign=0"),
        (1, {"peak_sign": "neg"}, "positive but ms4 is set to detect negative peaks; pass --param peak_sign=pos"),
        (1, {"peak_sign": "-"}, "positive but ms4 is set to detect negative peaks; pass --param peak_sign=+"),
    ],
)  # fmt: skip
def test_a_sorter_that_looks_for_the_other_sign_is_a_misfit(tmp_path, sign, parameters, message):
    recording = open_recording(write_mountainsort(tmp_path, samples(), spike_sign=sign))
    (misfit,) = sort_warnings(recording, parameters, tool="ms4")
    assert str(misfit) == f"this recording's spikes are {message}"


@pytest.mark.parametrize(
    "parameters", [{}, {"detect_sign": -1}, {"peak_sign": "neg"}, {"peak_sign": "-"}, {"detect_sign": None}]
)
def test_a_sorter_that_looks_for_the_recording_s_sign_fits(tmp_path, parameters):
    recording = open_recording(write_mountainsort(tmp_path, samples(), spike_sign=-1))
    assert sort_warnings(recording, parameters, tool="ms4") == ()


def probe_of(folder, places):
    folder.mkdir()
    path = write_flat(folder, samples(10, len(places)))
    (folder / "geom.csv").write_text("".join(f"{x},{y}\n" for x, y in places))
    return open_recording(path)


def test_one_neighbourhood_of_all_channels_is_a_misfit_on_a_dense_probe(tmp_path):
    dense = probe_of(tmp_path / "dense", [(32 * (i % 2), 20 * (i // 2)) for i in range(384)])
    (misfit,) = sort_warnings(dense, {"adjacency_radius": -1}, tool="ms4")
    assert str(misfit) == (
        "adjacency_radius=-1 makes ms4 treat all 384 channels as one neighbourhood, which is slow beyond 32; "
        "pass --param adjacency_radius=100"
    )
    assert sort_warnings(dense, {"adjacency_radius": 100}, tool="ms4") == ()
    small = probe_of(tmp_path / "small", [(0, 20 * i) for i in range(32)])
    sparse = probe_of(tmp_path / "sparse", [(0, 400 * i) for i in range(40)])
    for recording in (small, sparse):
        assert sort_warnings(recording, {"adjacency_radius": -1}, tool="ms4") == ()


def test_the_smallest_distance_is_that_of_every_pair():
    places = [(7 * i % 31, 11 * i % 17) for i in range(60)]
    pairs = [math.dist(a, b) for a in places for b in places if a != b]
    assert smallest_distance(places) == min(pairs)
    assert smallest_distance([(1, 1), (1, 1)]) is None


@pytest.mark.usefixtures("here")
def test_assumptions_and_misfits_are_said_at_sort_and_on_a_cache_hit(tmp_path, sorter, store):
    path = write_mountainsort(tmp_path / "rec", samples(), geom=False, spike_sign=1)
    properties = {"detect_sign": {"type": "integer", "default": -1, "description": "Sign of the peaks."}}
    name = sorter(
        ANSWER + TWO_EVENTS,
        parameters={"type": "object", "additionalProperties": False, "properties": properties},
    )
    expected = [str(item) for item in sort_warnings(open_recording(path), {"detect_sign": -1}, tool=name)]
    assert len(expected) == 2
    for status in ("ran", "cached"):
        heard = Notes()
        assert api.find_or_run(SortRequest(recording=path, sorter=name), store, heard).status == status
        assert [note for note in heard.notes if note in expected] == expected
