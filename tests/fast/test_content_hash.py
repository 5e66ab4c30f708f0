"""The hash of the samples: of nothing but the samples, all of them, and only good ones."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from contextlib import contextmanager

import blake3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording_files import samples, write_flat, write_mountainsort, write_spikeglx

from spikecrate._util.progress import Silent
from spikecrate.errors import RecordingChangedError, RecordingNotFoundError, RecordingValueError
from spikecrate.recordings import identity as content
from spikecrate.recordings import open_recording
from spikecrate.recordings.identity import hash_samples, identity


def canonical(traces):
    little = np.ascontiguousarray(traces, dtype=traces.dtype.newbyteorder("<"))
    return blake3.blake3(little.tobytes()).hexdigest()


class Watching(Silent):
    """A progress that does something at each step, and counts."""

    def __init__(self, act=lambda: None):
        self.act = act
        self.done = 0.0
        self.total = 0.0

    @contextmanager
    def bar(self, title, total):  # noqa: ARG002
        self.total = total

        def advance(units):
            self.done += units
            self.act()

        yield advance


@given(
    dtype=st.sampled_from(["<i2", ">i2", "|u1", "<f4", ">f8", "<u4"]),
    time_axis=st.sampled_from([0, 1]),
    channels=st.permutations(range(4)).flatmap(lambda all_: st.integers(1, 4).map(lambda n: all_[:n])),
    piece=st.sampled_from([1, 7, 64, 1000, 2**20]),
)
def test_the_hash_is_of_the_chosen_samples_however_they_lie(
    tmp_path_factory, dtype, time_axis, channels, piece
):
    traces = samples(57, dtype="uint8")
    folder = write_flat(
        tmp_path_factory.mktemp("hash"),
        traces,
        dtype=dtype,
        time_axis=time_axis,
        offset=5,
        probe=False,
        channels=list(channels),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "PIECE_BYTES", piece)
        found = hash_samples(open_recording(folder), Silent())
    assert found == canonical(traces[:, channels].astype(dtype))


def test_bytes_around_the_samples_do_not_count(tmp_path):
    first = open_recording(write_mountainsort(tmp_path / "a", samples()))
    write_mountainsort(tmp_path / "b", samples())
    with (tmp_path / "b" / "raw.mda").open("ab") as file:
        file.write(b"more")
    assert hash_samples(first, Silent()) == hash_samples(open_recording(tmp_path / "b"), Silent())


def test_a_sync_channel_does_not_count(tmp_path):
    recording = open_recording(write_spikeglx(tmp_path, samples()))
    assert hash_samples(recording, Silent()) == canonical(samples())


def test_one_other_sample_is_another_hash(tmp_path):
    traces = samples()
    first = hash_samples(open_recording(write_mountainsort(tmp_path / "a", traces)), Silent())
    traces[-1, -1] += 1
    assert hash_samples(open_recording(write_mountainsort(tmp_path / "b", traces)), Silent()) != first


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
@pytest.mark.parametrize("time_axis", [0, 1])
def test_the_first_sample_that_is_no_number_is_named(tmp_path, monkeypatch, value, dtype, time_axis):
    monkeypatch.setattr(content, "PIECE_BYTES", 64)
    traces = samples(dtype="float64")
    traces[123, 2] = traces[123, 3] = traces[400, 0] = value
    recording = open_recording(write_flat(tmp_path, traces, dtype=dtype, time_axis=time_axis))
    with pytest.raises(RecordingValueError, match=f"{value} in sample 123 of channel 3") as caught:
        hash_samples(recording, Silent())
    assert caught.value.details == {"file": str(tmp_path / "data.raw"), "sample": 123, "channel": "3"}


def test_channels_that_are_left_out_may_hold_anything(tmp_path):
    traces = samples(dtype="float32")
    traces[:, 3] = np.nan
    recording = open_recording(write_flat(tmp_path, traces, probe=False, channels=[0, 1, 2]))
    assert hash_samples(recording, Silent()) == canonical(traces[:, :3])


def rewrite(path):
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(1, 1))


def shrink(path):
    os.truncate(path, 100)


def replace(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("change", [rewrite, shrink, replace])
def test_a_file_that_changes_meanwhile_is_noticed(tmp_path, monkeypatch, change):
    monkeypatch.setattr(content, "PIECE_BYTES", 64)
    recording = open_recording(write_mountainsort(tmp_path, samples()))
    with pytest.raises(RecordingChangedError, match="changed while it was read"):
        hash_samples(recording, Watching(lambda: change(recording.files[0])))


def test_a_file_that_is_gone_is_named(tmp_path):
    recording = open_recording(write_mountainsort(tmp_path, samples()))
    recording.files[0].unlink()
    with pytest.raises(RecordingNotFoundError, match=r"raw\.mda"):
        hash_samples(recording, Silent())


def test_progress_ends_at_its_total(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "PIECE_BYTES", 64)
    progress = Watching()
    hash_samples(open_recording(write_spikeglx(tmp_path, samples())), progress)
    assert progress.done == progress.total == 500 * 5 * 2


def test_memory_does_not_grow_with_the_recording(tmp_path):
    big = tmp_path / "big.raw"
    with big.open("wb") as file:
        file.truncate(600 * 2**20)
    facts = {"file": "big.raw", "dtype": "int16", "num_channels": 4, "sampling_frequency": 30000}
    (tmp_path / "recording.json").write_text(json.dumps(facts))
    recording = open_recording(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hash_samples(recording, Silent())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024


def test_ctrl_c_is_obeyed_while_a_large_recording_is_hashed(tmp_path):
    """A sparse terabyte would take minutes to hash."""
    with (tmp_path / "big.raw").open("wb") as file:
        file.truncate(2**40)
    facts = {"file": "big.raw", "dtype": "int16", "num_channels": 4, "sampling_frequency": 30000}
    (tmp_path / "recording.json").write_text(json.dumps(facts))
    recording, started = open_recording(tmp_path), time.monotonic()
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        hash_samples(recording, Silent())
    interrupt.join()
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "changes",
    [
        {"samplerate": 20001.0},
        {"scale_factor": 0.51},
        {"geom": "0,0\n0,25\n0,50\n0,75.5\n"},
        {"traces": samples(seed=1)},
        {"traces": samples(num_samples=499)},
        {"traces": samples(dtype="int32")},
    ],
)
def test_whatever_a_sorter_sees_is_in_the_identity(tmp_path, changes):
    def facts(folder, traces=None, geom=None, **params):
        write_mountainsort(folder, samples() if traces is None else traces, **params)
        if geom is not None:
            (folder / "geom.csv").write_text(geom)
        recording = open_recording(folder)
        return identity(recording, hash_samples(recording, Silent()))

    assert facts(tmp_path / "a") != facts(tmp_path / "b", **changes)


def test_what_a_sorter_does_not_see_is_not_in_the_identity(tmp_path):
    first = open_recording(write_flat(tmp_path / "a", samples(), dtype="<i2"))
    second = open_recording(
        write_flat(
            tmp_path / "b", samples(), dtype=">i2", channel_ids=["a", "b", "c", "d"], title="x", spike_sign=1
        )
    )
    assert identity(first, hash_samples(first, Silent())) == identity(second, hash_samples(second, Silent()))


def test_minus_zero_is_the_same_place_as_zero(tmp_path):
    for name, zero in (("a", "0"), ("b", "-0.0")):
        write_mountainsort(tmp_path / name, samples())
        (tmp_path / name / "geom.csv").write_text(f"{zero},0\n0,1\n0,2\n0,3\n")
    texts = {json.dumps(identity(open_recording(tmp_path / name), "x")) for name in ("a", "b")}
    assert len(texts) == 1
