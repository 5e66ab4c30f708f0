"""Gaps in time: found in the numbers of Open Ephys' samples, and counted in seconds."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_files import RATE, samples, write_flat, write_openephys

from spikecrate._util.progress import Silent
from spikecrate.api.result import Result
from spikecrate.errors import RecordingFormatError
from spikecrate.recordings import open_recording
from spikecrate.recordings.copying import write_copy
from spikecrate.recordings.describe import overview
from spikecrate.recordings.formats import sample_numbers
from spikecrate.recordings.formats.sample_numbers import find_gaps
from spikecrate.recordings.model import Gap
from spikecrate.recordings.views import concatenate, seconds
from spikecrate.sortings import Sorting, write_firings
from spikecrate.steps.inputs import RecordingInput

STREAM = "Record Node 101/experiment1/recording1/continuous/Probe-100.0"


def write_numbers(root, numbers, name="sample_numbers.npy"):
    np.save(root / STREAM / name, numbers)


def jumping(num_samples, jumps, *, start=0):
    """Return numbers that rise by one, and by more at some samples: the brute force of the oracle."""
    steps = np.ones(num_samples, dtype=np.int64)
    for sample, missing in jumps.items():
        steps[sample] += missing
    steps[0] = start
    return np.cumsum(steps)


def by_difference(numbers):
    """Return the gaps as numpy finds them, reading every number."""
    steps = np.diff(numbers)
    return tuple(Gap(sample=int(at) + 1, missing=int(steps[at]) - 1) for at in np.flatnonzero(steps != 1))


JUMPS = st.dictionaries(st.integers(1, 399), st.integers(1, 10**9), max_size=30)


@settings(deadline=None)
@given(jumps=JUMPS, start=st.integers(0, 10**12), kind=st.sampled_from(["<i8", ">i8", "<u8"]))
def test_every_gap_is_found_where_numpy_finds_it(tmp_path_factory, jumps, start, kind):
    folder = tmp_path_factory.mktemp("gaps")
    numbers = jumping(400, jumps, start=start).astype(kind)
    np.save(folder / "sample_numbers.npy", numbers)
    assert find_gaps(folder, 400) == (by_difference(numbers.astype(np.int64)), [])


@settings(deadline=None)
@given(jumps=JUMPS, asked=st.lists(st.integers(0, 399), min_size=1, max_size=50))
def test_times_are_those_of_the_clock(jumps, asked):
    numbers = jumping(400, jumps)
    found = seconds(np.array(asked), RATE, by_difference(numbers))
    assert found.dtype == np.float64
    assert np.array_equal(found, numbers[asked] / RATE)


def test_a_gap_is_noted_with_where_and_how_long(tmp_path):
    path = write_openephys(tmp_path, samples())
    write_numbers(path, jumping(500, {100: 2000, 200: 4000, 300: 1, 400: 1}, start=5000))
    recording = open_recording(path)
    found = [(gap.sample, gap.missing) for gap in recording.gaps]
    assert found == [(100, 2000), (200, 4000), (300, 1), (400, 1)]
    assert overview(recording)["gaps"] == "4 (6002 samples missing)"
    (note,) = (item for item in recording.assumptions if item.field == "gaps")
    assert "4 gaps: 2000 samples (0.1 s) missing before sample 100 (0.005 s)" in note.message
    assert "4000 samples (0.2 s) missing before sample 200 (0.11 s)" in note.message
    assert "and 1 more" in note.message
    assert recording.seconds(np.array([99, 100, 200])).tolist() == [99 / RATE, 2100 / RATE, 6200 / RATE]


def notes_on_gaps(recording):
    return [note.message for note in recording.assumptions if note.field == "gaps"]


def test_the_note_on_gaps_is_that_of_the_view_or_join(tmp_path):
    path = write_openephys(tmp_path / "rec", samples())
    write_numbers(path, jumping(500, {100: 2000, 300: 40}))
    recording = open_recording(path)
    assert notes_on_gaps(recording.view(end="100samples")) == []
    (view,) = notes_on_gaps(recording.view(start="200samples"))
    assert "1 gap: 40 samples (0.002 s) missing before sample 100 (" in view
    (joined,) = notes_on_gaps(concatenate([recording, recording]))
    assert "4 gaps" in joined
    assert "before sample 600 (" in joined
    (tmp_path / "day.json").write_text(
        json.dumps({"recordings": ["rec", "rec"], "view": {"start": "500samples"}})
    )
    (described,) = notes_on_gaps(open_recording(tmp_path / "day.json"))
    assert "2 gaps: 2000 samples (0.1 s) missing before sample 100 (" in described


@pytest.mark.parametrize("name", ["sample_numbers.npy", "timestamps.npy"])
def test_numbers_without_a_gap_are_not_noted(tmp_path, name):
    path = write_openephys(tmp_path, samples())
    write_numbers(path, jumping(500, {}, start=54752), name)
    assert (open_recording(path).gaps, open_recording(path).notes) == ((), ())


def test_timestamps_in_seconds_are_no_sample_numbers(tmp_path):
    path = write_openephys(tmp_path, samples())
    write_numbers(path, np.cumsum(np.random.default_rng(0).random(500)), "timestamps.npy")
    assert (open_recording(path).gaps, open_recording(path).notes) == ((), ())


def test_more_gaps_than_are_counted_are_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_numbers, "MAX_GAPS", 3)
    path = write_openephys(tmp_path, samples())
    write_numbers(path, jumping(500, {10: 1, 20: 1, 30: 1, 40: 1, 50: 1}))
    recording = open_recording(path)
    assert [gap.sample for gap in recording.gaps] == [10, 20, 30]
    assert any("more than 3 gaps" in note for note in recording.notes)


def test_a_clock_that_was_set_back_is_a_gap_below_zero(tmp_path):
    path = write_openephys(tmp_path, samples())
    write_numbers(path, jumping(500, {250: -101}, start=5000))
    recording = open_recording(path)
    assert recording.gaps == (Gap(sample=250, missing=-101),)
    assert any("101 samples (0.00505 s) counted twice before sample 250" in note for note in recording.notes)


@pytest.mark.parametrize("count", [0, 1, 499, 501])
def test_fewer_or_more_numbers_than_samples_are_noted(tmp_path, count):
    path = write_openephys(tmp_path, samples())
    write_numbers(path, np.arange(count))
    recording = open_recording(path)
    assert recording.gaps == ()
    assert any(f"numbers {count} samples, the recording has 500" in note for note in recording.notes)
    assert recording.layout.num_samples == 500


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"text",
        saved(np.zeros((2, 2), dtype=int)),
        saved(np.full(500, 2**62)),
        saved(np.arange(3)).replace(b"descr", b"{{{{{"),
        saved(np.arange(3)).replace(b"(3,)", b"(-3)"),
    ],
)
def test_damaged_numbers_are_noted(tmp_path, content):
    path = write_openephys(tmp_path, samples())
    (path / STREAM / "sample_numbers.npy").write_bytes(content)
    recording = open_recording(path)
    assert recording.gaps == ()
    assert any("sample_numbers.npy is damaged" in note for note in recording.notes)


@settings(deadline=None)
@given(data=st.data())
def test_any_bytes_for_numbers_open(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    content = bytearray(saved(jumping(400, {7: 9})))
    start = data.draw(st.integers(0, len(content)))
    piece = data.draw(st.binary(max_size=20))
    content[start : start + len(piece)] = piece
    (folder / "sample_numbers.npy").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    gaps, _notes = find_gaps(folder, 400)
    assert all(0 < gap.sample < 400 for gap in gaps)
    assert list(gaps) == sorted(gaps, key=lambda gap: gap.sample)


def test_a_gap_is_found_without_reading_the_numbers(tmp_path):
    numbers = np.lib.format.open_memmap(
        tmp_path / "sample_numbers.npy", mode="w+", dtype="<i8", shape=(2**27,)
    )
    del numbers  # zeros that take no space on the disk; only the last one is written
    with (tmp_path / "sample_numbers.npy").open("r+b") as file:
        file.seek(-8, 2)
        file.write((2**27).to_bytes(8, "little"))
    gaps, _notes = find_gaps(tmp_path, 2**27)
    assert len(gaps) == sample_numbers.MAX_GAPS


@pytest.mark.parametrize("kept", [True, False])
def test_the_times_of_a_result_in_seconds_count_the_gaps(tmp_path, kept):
    path = write_openephys(tmp_path / "rec", samples())
    write_numbers(path, jumping(500, {100: 2000, 200: 30}))
    recording = open_recording(path)
    events = Sorting.from_events([99, 99.5, 100, 250], [1, 1, 2, 2], sampling_frequency=RATE)
    write_firings(tmp_path / "firings.mda", events)
    # Without the recording, of a result that was loaded, the record has the gaps.
    entry = RecordingInput(name="recording", recording=recording, states=(), identity={}).facts
    record = {"inputs": {"recording": json.loads(json.dumps(entry))}}
    result = Result(
        key="0" * 64,
        status="cached" if kept else "loaded",
        folder=tmp_path,
        output=None,
        record=record,
        elapsed_s=0,
        recording=recording if kept else None,
    )
    assert result.times_s.tolist() == [99 / RATE, 99.5 / RATE, 2100 / RATE, 2280 / RATE]


def test_a_copy_has_the_gaps_of_the_recording_and_of_a_view(tmp_path):
    root = write_openephys(tmp_path / "rec", samples())
    write_numbers(root, jumping(500, {100: 7, 300: -2}))
    recording = open_recording(root)
    for name, found in (("whole", recording), ("part", recording.view(start="50samples", end="200samples"))):
        copy = write_copy(found, tmp_path / name, Silent())
        assert copy.gaps == found.gaps != ()
        assert np.array_equal(copy.seconds(np.arange(150)), found.seconds(np.arange(150)))
        assert any("missing before sample" in note for note in copy.notes)


@pytest.mark.parametrize(
    "gaps", [[[0, 5]], [[3, 1], [3, 1]], [[9, 1], [3, 1]], [[3]], [["3", 1]], [[3, 10**30]], 3]
)
def test_gaps_of_a_recording_json_that_are_none_are_refused(tmp_path, gaps):
    write_flat(tmp_path, samples(), gaps=gaps)
    with pytest.raises(RecordingFormatError, match=r"recording\.json: gaps"):
        open_recording(tmp_path)


def test_gaps_after_the_end_of_a_file_that_is_cut_short_are_left_out(tmp_path):
    write_flat(tmp_path, samples(), gaps=[[100, 7], [499, 1]], num_samples=400)
    assert open_recording(tmp_path).gaps == (Gap(sample=100, missing=7),)
