"""The MountainSort folder: every sample type, and every way in which its three files can be wrong."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from recording_files import samples, write_mountainsort

from spikecrate.errors import ProbeError, RecordingEmptyError, RecordingFormatError, RecordingTruncatedError
from spikecrate.recordings import open_recording


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"])
def test_every_real_sample_type_is_read(tmp_path, dtype):
    traces = samples(dtype=dtype)
    found = open_recording(write_mountainsort(tmp_path, traces)).traces()
    assert found.dtype == dtype
    assert np.array_equal(found, traces)


def test_complex_samples_are_refused(tmp_path):
    with pytest.raises(RecordingFormatError, match="complex samples"):
        open_recording(write_mountainsort(tmp_path, samples(dtype="complex64")))


@pytest.mark.parametrize("shape", [(2, 10), (2, 10, 1), (2, 10, 1, 1)])
def test_trailing_dimensions_of_one_do_not_matter(tmp_path, shape):
    write_mountainsort(tmp_path, samples(10, 2))
    header = struct.pack(f"<3i{len(shape)}q", -4, 2, -len(shape), *shape)
    (tmp_path / "raw.mda").write_bytes(header + samples(10, 2).tobytes())
    assert np.array_equal(open_recording(tmp_path).traces(), samples(10, 2))


@pytest.mark.parametrize("shape", [(20,), (2, 5, 2)])
def test_other_dimensions_are_refused(tmp_path, shape):
    write_mountainsort(tmp_path, samples(10, 2))
    header = struct.pack(f"<3i{len(shape)}i", -4, 2, len(shape), *shape)
    (tmp_path / "raw.mda").write_bytes(header + b"\0" * 40)
    with pytest.raises(RecordingFormatError, match="expected channels x samples"):
        open_recording(tmp_path)


@pytest.mark.parametrize(
    ("sides", "error"),
    [
        ((4, 2**62), RecordingTruncatedError),
        ((4, 501), RecordingTruncatedError),
        ((2**62, 4), RecordingFormatError),
        ((0, 500), RecordingEmptyError),
        ((4, 0), RecordingEmptyError),
    ],
)
def test_impossible_sizes_are_refused(tmp_path, sides, error):
    write_mountainsort(tmp_path, samples())
    (tmp_path / "raw.mda").write_bytes(struct.pack("<3i2q", -4, 2, -2, *sides) + samples().tobytes())
    with pytest.raises(error, match=r"raw\.mda"):
        open_recording(tmp_path)


def test_a_folder_without_geom_is_a_column_and_says_so(tmp_path):
    recording = open_recording(write_mountainsort(tmp_path, samples(), geom=False))
    assert recording.layout.locations == ((0.0, 0.0), (0.0, 20.0), (0.0, 40.0), (0.0, 60.0))
    assert any("geom.csv" in note and "20 um" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("0,0\n0,1\n", ((0, 0), (0, 1))),
        ("0, 0\r\n0, 1", ((0, 0), (0, 1))),
        ("# x,y\n\n 1e1\t-2.5 \n3 4\n\n", ((10, -2.5), (3, 4))),
        ("\ufeff0,0,\n0,1,\n", ((0, 0), (0, 1))),
        ("0,0,5\n0,1,6\n", ((0, 5), (1, 6))),
        ("0,0,5\n0,1,5\n", ((0, 0), (0, 1))),
    ],
)
def test_a_geom_is_read_as_people_write_it(tmp_path, text, rows):
    write_mountainsort(tmp_path, samples(num_channels=2))
    (tmp_path / "geom.csv").write_text(text, encoding="utf-8")
    assert open_recording(tmp_path).layout.locations == rows


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0,0\n", "1 rows for 2 channels"),
        ("0,0\n0,1\n0,2\n", "3 rows for 2 channels"),
        ("", "0 rows for 2 channels"),
        ("x,y\n0,0\n0,1\n", "line 1: expected x,y in um, got 'x,y'"),
        ("0,0\n\n0;1\n", "line 3: expected x,y"),
        ("0,0\n0,nan\n", "line 2: expected x,y"),
        ("0,0\n0,inf\n", "line 2: expected x,y"),
        ("0\n1\n", "line 1: expected x,y"),
        ("0,0\n0,1,2\n", "line 2: 3 numbers, the lines before have 2"),
    ],
)
def test_a_wrong_geom_names_the_line(tmp_path, text, problem):
    write_mountainsort(tmp_path, samples(num_channels=2))
    (tmp_path / "geom.csv").write_text(text)
    with pytest.raises(ProbeError, match=problem) as caught:
        open_recording(tmp_path)
    assert str(tmp_path / "geom.csv") in str(caught.value)


def test_channels_at_one_place_are_noted(tmp_path):
    write_mountainsort(tmp_path, samples(num_channels=3))
    (tmp_path / "geom.csv").write_text("0,0\n0,0\n0,0\n")
    assert any("2 of the 3 channels are at the same place" in note for note in open_recording(tmp_path).notes)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("samplerate", None, "expected a number above 0, got None"),
        ("samplerate", "30000", "expected a number above 0, got '30000'"),
        ("samplerate", True, "expected a number above 0, got True"),
        ("samplerate", 0, "expected a number above 0, got 0"),
        ("samplerate", -1, "expected a number above 0, got -1"),
        ("samplerate", float("nan"), "expected a number above 0, got nan"),
        ("samplerate", float("inf"), "expected a number above 0, got inf"),
        ("samplerate", 10**400, "expected a number above 0"),
        ("scale_factor", 0, "0 uV per count"),
        ("scale_factor", "x", "expected a number"),
        ("scale_factor", [1], "expected a number"),
        ("spike_sign", 2, "expected -1, 0 or 1, got 2"),
        ("spike_sign", "-", "expected -1, 0 or 1, got '-'"),
        ("spike_sign", True, "expected -1, 0 or 1, got True"),
    ],
)
def test_a_wrong_parameter_is_named(tmp_path, field, value, problem):
    write_mountainsort(tmp_path, samples(), **{field: value})
    with pytest.raises(RecordingFormatError, match=f"params.json: {field}: {problem}") as caught:
        open_recording(tmp_path)
    assert caught.value.details == {"file": str(tmp_path / "params.json"), "field": field}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{}", "samplerate: missing"),
        ("[]", "expected a JSON object, got"),
        ("{", "not valid JSON: .*, line 1 column 2"),
        ("[" * 100000, "nested too deeply"),
        ('{"samplerate": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_params_that_are_no_params_are_refused(tmp_path, content, problem):
    write_mountainsort(tmp_path, samples())
    (tmp_path / "params.json").write_text(content)
    with pytest.raises(RecordingFormatError, match=problem):
        open_recording(tmp_path)


def test_params_that_are_not_text_are_refused(tmp_path):
    write_mountainsort(tmp_path, samples())
    (tmp_path / "params.json").write_bytes(bytes(range(256)))
    with pytest.raises(RecordingFormatError, match=r"params\.json: not valid JSON"):
        open_recording(tmp_path)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-8-sig"])
def test_params_in_another_encoding_are_read(tmp_path, encoding):
    write_mountainsort(tmp_path, samples())
    text = '{"samplerate": 12500, "scale_factor": 0.5, "notes": "10 µV, Köln"}'
    (tmp_path / "params.json").write_bytes(text.encode(encoding))
    assert open_recording(tmp_path).layout.sampling_frequency == 12500


def test_missing_params_say_what_to_write(tmp_path):
    write_mountainsort(tmp_path, samples())
    (tmp_path / "params.json").unlink()
    with pytest.raises(RecordingFormatError, match="sampling frequency is needed") as caught:
        open_recording(tmp_path)
    example = caught.value.next_step.partition("for example ")[2]
    (tmp_path / "params.json").write_text(example)
    assert open_recording(tmp_path).layout.sampling_frequency == json.loads(example)["samplerate"]


def test_gain_and_sign_have_their_defaults(tmp_path):
    write_mountainsort(tmp_path, samples())
    (tmp_path / "params.json").write_text('{"samplerate": 30000}')
    recording = open_recording(tmp_path)
    assert recording.layout.gains == (1.0,) * 4
    assert recording.spike_sign is None
