"""Traces are read from any layout, on demand, and are the caller's own."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from layouts import layout_of
from recording_files import samples

from spikecrate_harness.layout import Layout
from spikecrate_harness.traces import open_traces


def layout_for(dtype, num_samples, file_channels, channels=None, *, time_axis=0, offset=0):
    columns = tuple(range(file_channels)) if channels is None else tuple(channels)
    return Layout.from_dict(
        layout_of(
            file_channels,
            num_samples,
            dtype=np.dtype(dtype).str,
            offset=offset,
            time_axis=time_axis,
            channels=list(columns),
            sampling_frequency=20000.0,
            gains=[0.5] * len(columns),
            offsets=[1.0] * len(columns),
            locations=[[0.0, 20.0 * column, 7.0] for column in columns],
        )
    )


def opened(layout, folder):
    return open_traces(layout, [folder / "raw.dat"])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "f2", "f4", "f8"])
def test_every_type_and_byte_order_is_read_in_the_machines_own(tmp_path, dtype, order):
    traces = samples(50, 3, dtype)
    (tmp_path / "raw.dat").write_bytes(traces.astype(order + dtype).tobytes())
    found = opened(layout_for(order + dtype, 50, 3), tmp_path).traces()
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    assert np.array_equal(found, traces)


@pytest.mark.parametrize("channels", [None, (1, 2), (3, 0), (2,)])
@pytest.mark.parametrize("time_axis", [0, 1])
@pytest.mark.parametrize("offset", [0, 13])
def test_any_channels_of_either_order_behind_any_header_are_read(tmp_path, channels, time_axis, offset):
    traces = samples(60, 4)
    stored = traces.T if time_axis else traces
    (tmp_path / "raw.dat").write_bytes(bytes(offset) + stored.tobytes() + b"more")
    layout = layout_for("<i2", 60, 4, channels, time_axis=time_axis, offset=offset)
    recording = opened(layout, tmp_path)
    wanted = traces if channels is None else traces[:, channels]
    assert np.array_equal(recording.traces(), wanted)
    part = recording.traces(5, 20)
    assert np.array_equal(part, wanted[5:20])
    assert part.flags.c_contiguous
    assert recording.traces(7, 7).shape == (0, wanted.shape[1])


def test_what_a_sorter_asks_of_a_recording_is_there(tmp_path):
    (tmp_path / "raw.dat").write_bytes(samples(60, 4).tobytes())
    recording = opened(layout_for("<i2", 60, 4, (3, 1)), tmp_path)
    assert (recording.num_samples, recording.num_channels, recording.sampling_frequency) == (60, 2, 20000.0)
    assert recording.locations.tolist() == [[0.0, 60.0], [0.0, 20.0]]
    assert recording.gains.tolist() == [0.5, 0.5]
    assert recording.offsets.tolist() == [1.0, 1.0]


def test_traces_may_be_changed_and_the_file_stays_as_it_was(tmp_path):
    path = tmp_path / "raw.dat"
    path.write_bytes(samples(60, 4).tobytes())
    before = path.read_bytes()
    opened(layout_for("<i2", 60, 4), tmp_path).traces()[:] = 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (0, 61), (10, 5), (61, 61)])
def test_a_range_outside_the_recording_is_refused(tmp_path, start, stop):
    (tmp_path / "raw.dat").write_bytes(samples(60, 4).tobytes())
    with pytest.raises(ValueError, match="of a recording with 60"):
        opened(layout_for("<i2", 60, 4), tmp_path).traces(start, stop)


def test_a_file_shorter_than_the_layout_is_refused_with_both_sizes(tmp_path):
    (tmp_path / "raw.dat").write_bytes(bytes(479))
    with pytest.raises(ValueError, match="480 bytes are needed, the file holds 479"):
        opened(layout_for("<i2", 60, 4), tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sparse files")
def test_a_piece_of_a_huge_file_takes_the_memory_of_the_piece(tmp_path):
    num_samples = 2**32
    with (tmp_path / "raw.dat").open("wb") as file:
        file.truncate(num_samples * 4 * 2)
    recording = opened(layout_for("<i2", num_samples, 4), tmp_path)
    tracemalloc.start()
    piece = recording.traces(num_samples - 1000, num_samples)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert piece.shape == (1000, 4)
    assert peak < 2**20
