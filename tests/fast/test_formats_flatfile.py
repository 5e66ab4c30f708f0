"""recording.json: any flat file, and errors that name the field."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
from recording_files import places, samples, write_flat, write_geom, write_probe, write_spikeglx

from spikecrate.errors import (
    ProbeError,
    RecordingFormatError,
    RecordingNotFoundError,
    RecordingTruncatedError,
)
from spikecrate.recordings import open_recording
from spikecrate.recordings.formats.flat import SCHEMA
from spikecrate.recordings.origin import reopen


def test_the_schema_is_valid_and_describes_every_field():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    fields = {name: field for name, field in SCHEMA["properties"].items() if name != "$schema"}
    assert all(field["description"].endswith(".") for field in fields.values())


@pytest.mark.parametrize(
    "dtype", ["|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<i4", "<u4", "<i8", "<f4", ">f4", "<f8"]
)
@pytest.mark.parametrize("time_axis", [0, 1])
def test_every_sample_type_order_and_axis_is_read(tmp_path, dtype, time_axis):
    traces = samples(dtype="uint8").clip(0, 120)
    recording = open_recording(write_flat(tmp_path, traces, dtype=dtype, time_axis=time_axis, offset=3))
    assert recording.layout.dtype == dtype
    assert np.array_equal(recording.traces(), traces)


@pytest.mark.parametrize(
    ("name", "stored"), [("int16", "<i2"), ("uint8", "|u1"), ("float32", "<f4"), ("=i4", "<i4")]
)
def test_types_are_named_as_numpy_does(tmp_path, name, stored):
    write_flat(tmp_path, samples(), dtype=stored)
    change(tmp_path, dtype=name)
    assert open_recording(tmp_path).layout.dtype == stored


def change(folder, **fields):
    path = folder / "recording.json"
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def test_some_channels_in_another_order_are_read(tmp_path):
    write_flat(tmp_path, samples(), probe=False, channels=[3, 1], channel_ids=["deep", "shallow"])
    recording = open_recording(tmp_path)
    assert np.array_equal(recording.traces(), samples()[:, [3, 1]])
    assert recording.channel_ids == ("deep", "shallow")
    assert recording.layout.locations == ((0.0, 0.0), (0.0, 20.0))


def test_samples_may_lie_anywhere(tmp_path):
    write_flat(tmp_path / "rec", samples())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "rec" / "data.raw").rename(tmp_path / "elsewhere" / "x y.raw")
    for file in ("../elsewhere/x y.raw", str(tmp_path / "elsewhere" / "x y.raw")):
        change(tmp_path / "rec", file=file)
        recording = open_recording(tmp_path / "rec")
        assert np.array_equal(recording.traces(), samples())
        assert recording.files[0].parent.samefile(tmp_path / "elsewhere")


def test_another_name_than_recording_json_will_do(tmp_path):
    write_flat(tmp_path, samples())
    (tmp_path / "recording.json").rename(tmp_path / "session 1.json")
    assert np.array_equal(open_recording(tmp_path / "session 1.json").traces(), samples())


def test_a_probeinterface_file_is_taken_by_its_wires(tmp_path):
    write_flat(tmp_path, samples(num_channels=3), probe="p.json")
    write_probe(tmp_path / "p.json", [[1, 0], [2, 0], [3, 0], [4, 0]], wires=[2, 0, -1, 1])
    assert open_recording(tmp_path).layout.locations == ((2.0, 0.0), (4.0, 0.0), (1.0, 0.0))


def test_a_probe_in_millimetres_becomes_micrometres(tmp_path):
    write_flat(tmp_path, samples(num_channels=2), probe="p.json")
    write_probe(tmp_path / "p.json", [[0, 0], [0.25, 0.5]], units="mm")
    assert open_recording(tmp_path).layout.locations == ((0.0, 0.0), (250.0, 500.0))


@pytest.mark.parametrize(
    ("positions", "wires", "problem"),
    [
        ([[0, 0]], [0], "no contact is wired to channel 1"),
        ([[0, 0], [0, 1]], [0, 0], "no contact is wired to channel 1"),
        ([[0, 0]], None, "1 contacts for 2 channels"),
    ],
)
def test_a_probe_that_does_not_fit_is_refused(tmp_path, positions, wires, problem):
    write_flat(tmp_path, samples(num_channels=2), probe="p.json")
    write_probe(tmp_path / "p.json", positions, wires=wires)
    with pytest.raises(ProbeError, match=problem):
        open_recording(tmp_path)


@pytest.mark.parametrize(
    ("positions", "wires", "problem"),
    [
        ([[0, 0], [0]], None, r"contact_positions\[1\]"),
        ([[0, 0], "ab"], None, r"contact_positions\[1\]"),
        ([[0, 0], [0, None]], None, r"contact_positions\[1\]"),
        ([[0, 0], [0, 1]], [0], "device_channel_indices: expected 2"),
        ([[0, 0], [0, 1]], [0, "1"], "device_channel_indices: expected 2"),
    ],
)
def test_a_malformed_probe_names_its_field(tmp_path, positions, wires, problem):
    write_flat(tmp_path, samples(num_channels=2), probe="p.json")
    write_probe(tmp_path / "p.json", positions, wires=wires)
    with pytest.raises(RecordingFormatError, match=problem):
        open_recording(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("file", None, "'file' is a required property"),
        ("file", "", "file: "),
        ("dtype", "int17", "'int17' cannot be sorted"),
        ("dtype", "complex64", "'complex64' cannot be sorted"),
        ("dtype", 2, "dtype: 2 is not of type 'string'"),
        ("num_channels", 0, "num_channels: 0 is less than the minimum of 1"),
        ("num_channels", "4", "num_channels: '4' is not of type 'integer'"),
        ("num_channels", 10**12, "more than any probe has"),
        ("sampling_frequency", 0, "sampling_frequency: 0 is less than or equal to"),
        ("sampling_frequency", float("nan"), "sampling_frequency: too large, or not a number"),
        ("sampling_frequency", 10**400, "sampling_frequency: too large, or not a number"),
        ("offset", -4, "offset: -4 is less than the minimum of 0"),
        ("time_axis", 2, r"time_axis: 2 is not one of \[0, 1\]"),
        ("channels", [4], "channels: 4 is not one of the 4 columns"),
        ("channels", [0, 0], "channels: .*non-unique"),
        ("channels", [], "channels: "),
        ("channel_ids", ["a"], "channel_ids: 1 names for 4 channels"),
        ("gain_uv", [1.0], "gain_uv: 1 values for 4 channels"),
        ("gain_uv", "1", "gain_uv: "),
        ("gain_uv", 0, "a gain of 0"),
        ("gain_uv", float("inf"), "gain_uv: a value is too large"),
        ("offset_uv", [0, 0, 0, float("nan")], "offset_uv: a value is too large"),
        ("spike_sign", 3, "spike_sign: 3 is not one of"),
        ("sampling_frequncy", 3, "unknown field 'sampling_frequncy', did you mean 'sampling_frequency'"),
        ("colour", 3, "unknown field 'colour'"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, field, value, problem):
    write_flat(tmp_path, samples())
    change(tmp_path, **{field: value})
    with pytest.raises(RecordingFormatError, match=problem) as caught:
        open_recording(tmp_path)
    assert str(tmp_path / "recording.json") in str(caught.value)
    assert "sampling_frequency" in caught.value.next_step or "gains" in caught.value.next_step


def test_a_wrong_field_of_a_view_is_named_with_those_that_a_view_has(tmp_path):
    write_flat(tmp_path, samples())
    change(tmp_path, view={"strat": 1})
    with pytest.raises(RecordingFormatError, match="unknown field 'strat', did you mean 'start'") as caught:
        open_recording(tmp_path)
    assert "its view's fields are start, end, channels" in caught.value.next_step


def test_a_probe_that_is_neither_is_refused(tmp_path):
    write_flat(tmp_path, samples(), probe="probe.xml")
    with pytest.raises(ProbeError, match=r"probe\.xml: it is neither a \.csv, \.json, \.prb, \.mat file"):
        open_recording(tmp_path)


def test_a_file_that_is_not_there_is_named_with_who_names_it(tmp_path):
    write_flat(tmp_path, samples(), file="gone.raw")
    with pytest.raises(RecordingNotFoundError, match=r"gone\.raw does not exist .*recording\.json names it"):
        open_recording(tmp_path)


def test_channel_after_channel_must_divide_evenly(tmp_path):
    write_flat(tmp_path, samples(), time_axis=1)
    with (tmp_path / "data.raw").open("ab") as file:
        file.write(b"x")
    with pytest.raises(RecordingFormatError, match="do not divide into channels"):
        open_recording(tmp_path)


def test_more_samples_than_there_are_is_cut_short(tmp_path):
    write_flat(tmp_path, samples(), num_samples=501)
    with pytest.raises(RecordingTruncatedError, match="4008 bytes are expected, the file holds 4000"):
        open_recording(tmp_path)


def test_fewer_samples_than_there_are_may_be_asked_for(tmp_path):
    write_flat(tmp_path, samples(), num_samples=100)
    assert np.array_equal(open_recording(tmp_path).traces(), samples()[:100])


def test_what_a_flat_recording_needs_is_no_more_than_four_fields(tmp_path):
    (tmp_path / "d.raw").write_bytes(samples().tobytes())
    content = {"file": "d.raw", "dtype": "int16", "num_channels": 4, "sampling_frequency": 25000}
    (tmp_path / "recording.json").write_text(json.dumps(content))
    recording = open_recording(tmp_path)
    assert np.array_equal(recording.traces(), samples())
    assert recording.layout.gains == (1.0,) * 4
    write_geom(tmp_path / "geom.csv", 4)
    change(tmp_path, probe="geom.csv")
    assert [list(row) for row in open_recording(tmp_path).layout.locations] == places(4)


# Parts of other recordings ------------------------------------------------------------------------


def describe(folder, **fields):
    folder.mkdir(exist_ok=True)
    (folder / "recording.json").write_text(json.dumps(fields))
    return folder


def test_a_view_is_part_of_the_description(tmp_path):
    write_flat(tmp_path, samples(), channel_ids=["a", "b", "c", "d"])
    change(tmp_path, view={"start": 0.005, "end": "400samples", "exclude_channels": ["b-c"]})
    recording = open_recording(tmp_path)
    assert recording.channel_ids == ("a", "d")
    assert np.array_equal(recording.traces(), samples()[100:400, [0, 3]])
    assert recording.origin == {"path": str(tmp_path)}
    assert reopen(recording.origin) == recording


def test_recordings_of_any_format_follow_one_another(tmp_path):
    write_spikeglx(tmp_path / "run", samples(seed=1))
    write_spikeglx(tmp_path / "other", samples(seed=2))
    day = describe(
        tmp_path / "day", recordings=["../run", str(tmp_path / "other")], view={"channels": ["AP1"]}
    )
    recording = open_recording(day)
    assert np.array_equal(recording.traces(), np.concatenate([samples(seed=1), samples(seed=2)])[:, 1:2])
    week = describe(tmp_path / "week", recordings=["../day", "../day/recording.json"], title="twice the same")
    assert np.array_equal(open_recording(week).traces(), np.concatenate([recording.traces()] * 2))


def test_stream_and_segments_of_the_recordings_are_chosen(tmp_path):
    for trigger in (0, 1):
        for probe in (0, 1):
            name = f"run_g0_t{trigger}.imec{probe}.ap"
            write_spikeglx(tmp_path / "run", samples(seed=2 * trigger + probe), name=name)
    one = describe(tmp_path / "one", recordings=["../run"], stream="imec1.ap", segment=1)
    assert np.array_equal(open_recording(one).traces(), samples(seed=3))
    both = describe(tmp_path / "both", recordings=["../run"], stream="imec0.ap", concatenate=True)
    assert np.array_equal(open_recording(both).traces(), np.concatenate([samples(), samples(seed=2)]))


@pytest.mark.parametrize("chain", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_a_description_that_leads_back_to_itself_is_refused(tmp_path, chain):
    for name, following in zip(chain, [*chain[1:], chain[0]], strict=True):
        describe(tmp_path / name, recordings=[f"../{following}"])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for path in (tmp_path / "a", tmp_path / "link"):
        with pytest.raises(
            RecordingFormatError, match=r"recording\.json: recordings: leads back to this file"
        ):
            open_recording(path)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"recordings": []}, "recordings: .*non-empty|recordings: .*too short"),
        ({"recordings": ["a"], "file": "x"}, "'file' does not go with recordings"),
        ({"recordings": ["a"], "gain_uv": 1}, "'gain_uv' does not go with recordings"),
        ({"recordings": ["a"], "segment": -1}, "segment: -1 is less than the minimum"),
        ({"recordings": ["a\0"]}, "is not a path"),
        ({"stream": "x"}, "stream: goes with recordings alone"),
        ({"view": {"begin": 3}}, "view: unknown field 'begin'"),
        ({"view": {"channels": ["9"]}}, "view: .*no channel '9'"),
        ({"view": {"start": "soon"}}, "view: --start 'soon' is not a time"),
        ({"view": {"start": -1}}, "view: "),
        ({"view": {"start": 10**400}}, "view: "),
        ({"view": {"start": float("nan")}}, "view: "),
        ({"view": {"end": float("inf")}}, "view: "),
        ({"view": {"start": 99}}, "view: .*none of the recording's 500"),
    ],
)
def test_a_wrong_part_is_named(tmp_path, fields, problem):
    write_flat(tmp_path / "rec", samples())
    if "recordings" in fields:
        describe(tmp_path / "rec", **fields)
    else:
        change(tmp_path / "rec", **fields)
    with pytest.raises(RecordingFormatError, match=problem):
        open_recording(tmp_path / "rec")


def test_recordings_that_are_cut_short_are_read_where_that_is_allowed(tmp_path):
    binary = write_spikeglx(tmp_path / "run", samples())
    binary.write_bytes(binary.read_bytes()[:1000])
    day = describe(tmp_path / "day", recordings=["../run"])
    with pytest.raises(RecordingTruncatedError):
        open_recording(day)
    assert np.array_equal(open_recording(day, allow_truncated=True).traces(), samples()[:100])
