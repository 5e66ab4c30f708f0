"""A sorting read from a file is what was written, or an error that names the file and the event."""

from __future__ import annotations

import errno
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate.errors import DiskFullError, ResultInvalidError
from spikecrate.sortings import Sorting, read_firings, write_firings
from spikecrate_harness import mda

RATE = 30000.0
EVENTS = st.lists(
    st.tuples(st.floats(0, 1e12, allow_nan=False), st.integers(1, 2**53 - 1), st.integers(-1, 400)),
    max_size=50,
)


def sorting_of(times, labels, **more):
    return Sorting.from_events(times, labels, sampling_frequency=RATE, **more)


def write_table(path, rows):
    mda.write(path, np.array(rows, dtype=np.float64))
    return path


@given(EVENTS)
def test_what_is_written_is_read_back(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("sorting") / "firings.mda"
    times, labels, channels = zip(*events, strict=True) if events else ((), (), ())
    written = sorting_of(times, labels, channels=channels)
    write_firings(path, written)
    back = read_firings(path, RATE)
    for name in ("times", "labels", "channels"):
        np.testing.assert_array_equal(getattr(back, name), getattr(written, name))
        assert getattr(back, name).dtype == getattr(written, name).dtype
    assert back.sampling_frequency == RATE


@given(EVENTS)
def test_events_are_ordered_by_time_then_label_and_none_is_lost(events):
    made = sorting_of([event[0] for event in events], [event[1] for event in events])
    assert list(zip(made.times, made.labels, strict=True)) == sorted((event[0], event[1]) for event in events)


def test_equal_events_keep_the_order_they_came_in():
    made = sorting_of([5, 5, 5], [1, 1, 1], channels=[3, 1, 2])
    assert made.channels.tolist() == [3, 1, 2]


def test_channels_count_from_0_in_python_and_from_1_in_the_file(tmp_path):
    made = sorting_of([5, 6, 7], [1, 1, 2], channels=[0, 3, -1])
    write_firings(tmp_path / "firings.mda", made)
    assert mda.read(tmp_path / "firings.mda")[0].tolist() == [1, 4, 0]
    assert read_firings(tmp_path / "firings.mda", RATE).channels.tolist() == [0, 3, -1]


def test_events_without_channels_have_an_unknown_one():
    assert sorting_of([5, 6], [1, 1]).channels.tolist() == [-1, -1]
    with pytest.raises(ResultInvalidError, match="channel -2, which is not an integer from -1"):
        sorting_of([5], [1], channels=[-2])


def test_a_channel_that_the_recording_does_not_have_is_refused_as_the_file_counts_it(tmp_path):
    path = write_table(tmp_path / "firings.mda", [[0, 4], [5, 6], [1, 1]])
    assert read_firings(path, RATE, num_channels=4).channels.tolist() == [-1, 3]
    with pytest.raises(ResultInvalidError, match="channel 4 of 3"):
        read_firings(path, RATE, num_channels=3)


@pytest.mark.parametrize(
    ("sorting", "line"),
    [
        (sorting_of([], []), "Sorting(0 units, 0 events, last event at 0 s at 30000 Hz)"),
        (sorting_of([45000], [3]), "Sorting(1 unit, 1 event, last event at 1.5 s at 30000 Hz)"),
        (
            sorting_of(range(10**5), [1, 2] * 50000, num_samples=1800000),
            "Sorting(2 units, 100000 events, 60 s at 30000 Hz)",
        ),
    ],
)
def test_a_sorting_shows_itself_in_one_line_whatever_its_size(sorting, line):
    assert repr(sorting) == line


def test_a_sorting_without_events_is_fine(tmp_path):
    path = write_table(tmp_path / "firings.mda", np.zeros((3, 0)))
    empty = read_firings(path, RATE, num_samples=100)
    assert len(empty) == 0
    assert empty.unit_ids.tolist() == []
    assert empty.trains() == {}


def test_trains_hold_every_event_of_every_unit():
    made = sorting_of([30, 10, 20, 40], [7, 2, 7, 2])
    assert {unit: train.tolist() for unit, train in made.trains().items()} == {2: [10, 40], 7: [20, 30]}
    assert made.unit_ids.tolist() == [2, 7]


@pytest.mark.parametrize(
    ("rows", "event", "words"),
    [
        ([[0, 0], [5, np.nan], [1, 1]], 1, "time nan"),
        ([[0, 0], [5, np.inf], [1, 1]], 1, "time inf"),
        ([[0, 0], [-1, 5], [1, 1]], 0, "time -1"),
        ([[0, 0], [5, 6], [1, 1.5]], 1, "label 1.5"),
        ([[0, 0], [5, 6], [1, 0]], 1, "label 0"),
        ([[0, 0], [5, 6], [np.nan, 1]], 0, "label nan"),
        ([[0, 0], [5, 6], [1, 1e300]], 1, "label 1e+300"),
        ([[0, 0], [5, 6], [1, 2.0**53]], 1, "label 9.00719925474099e+15"),
        ([[0, 0], [5, 6], [1, 2.0**63]], 1, "label 9.22337203685478e+18"),
        ([[0, 0], [5, 6], [1, 1.0000001]], 1, "label 1.0000001"),
        ([[0, -1], [5, 6], [1, 1]], 1, "channel -1"),
        ([[0, 0.5], [5, 6], [1, 1]], 1, "channel 0.5"),
        ([[0, 0], [5, 100], [1, 1]], 1, "time 100"),
        ([[0, 0, 0], [5, 6, np.nan], [1, 0, 1]], 1, "label 0"),
        ([[0, 0, -1], [5, 200, 6], [1, 1, 1]], 1, "time 200"),
    ],
)
def test_a_wrong_event_is_refused_by_file_number_and_value(tmp_path, rows, event, words):
    path = write_table(tmp_path / "firings.mda", rows)
    with pytest.raises(ResultInvalidError) as caught:
        read_firings(path, RATE, num_samples=100)
    assert str(path) in str(caught.value)
    assert f"event {event} has the {words}," in str(caught.value)
    assert caught.value.details["event"] == event


def test_the_last_sample_is_inside_the_recording(tmp_path):
    path = write_table(tmp_path / "firings.mda", [[0], [99.75], [1]])
    assert read_firings(path, RATE, num_samples=100).times.tolist() == [99.75]


@pytest.mark.parametrize("shape", [(2, 5), (5, 3), (15,), (3, 5, 2)])
def test_another_shape_is_refused(tmp_path, shape):
    mda.write(tmp_path / "firings.mda", np.ones(shape))
    with pytest.raises(ResultInvalidError, match=" x ".join(map(str, shape))):
        read_firings(tmp_path / "firings.mda", RATE)


def test_complex_numbers_are_refused(tmp_path):
    mda.write(tmp_path / "firings.mda", np.ones((3, 2), dtype=np.complex64))
    with pytest.raises(ResultInvalidError, match="complex64"):
        read_firings(tmp_path / "firings.mda", RATE)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "uint32"])
def test_every_real_type_of_mda_is_read(tmp_path, dtype):
    mda.write(tmp_path / "firings.mda", np.array([[0, 0], [5, 6], [2, 1]], dtype=dtype))
    assert read_firings(tmp_path / "firings.mda", RATE).labels.tolist() == [2, 1]


def test_a_file_that_is_cut_off_missing_or_not_mda_is_refused_by_name(tmp_path):
    path = tmp_path / "firings.mda"
    with pytest.raises(ResultInvalidError, match=str(path)):
        read_firings(path, RATE)
    write_table(path, np.ones((3, 4)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ResultInvalidError, match=str(path)):
        read_firings(path, RATE)
    path.write_bytes(b"not an array at all")
    with pytest.raises(ResultInvalidError, match=str(path)):
        read_firings(path, RATE)


def test_a_folder_in_the_files_place_is_refused_by_name(tmp_path):
    (tmp_path / "firings.mda").mkdir()
    with pytest.raises(ResultInvalidError, match=r"firings\.mda"):
        read_firings(tmp_path / "firings.mda", RATE)


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(ResultInvalidError, match=r"\(3,\) times, \(2,\) labels"):
        sorting_of([1, 2, 3], [1, 1])


def test_a_write_that_fails_leaves_the_earlier_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "firings.mda"
    write_firings(path, sorting_of([1], [1]))
    before = path.read_bytes()

    def fill_the_disk(beside, _array):
        beside.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mda, "write", fill_the_disk)
    with pytest.raises(DiskFullError):
        write_firings(path, sorting_of([2], [2]))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "store"] == ["firings.mda"]


@pytest.mark.parametrize("module", ["sortings", "sortings.metrics", "recordings.toy", "steps.crate"])
def test_importing_what_handles_sortings_does_not_import_numpy(module):
    code = f"import sys, spikecrate.{module}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
