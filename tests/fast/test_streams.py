"""Streams and segments: the one that is meant, the options that choose, and segments joined end to end."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording_files import RATE, WRITERS, samples, write_openephys, write_spikeglx, write_spikeinterface

from spikecrate.cli.main import report
from spikecrate.errors import (
    RecordingAmbiguousError,
    RecordingFormatError,
    RecordingNotFoundError,
    RecordingTruncatedError,
    UsageError,
)
from spikecrate.recordings import open_recording
from spikecrate.recordings.model import Gap
from spikecrate.recordings.origin import reopen

RECORDING = "Record Node 101/experiment1/recording1"


def write_run(folder, triggers, *, run="run_g0", stream="imec0.ap", starts=None):
    """Write triggers of a run as SpikeGLX does, and return the samples of each."""
    traces = [samples(100 + index, seed=index) for index in range(len(triggers))]
    for index, (trigger, data) in enumerate(zip(triggers, traces, strict=True)):
        start = None if starts is None else str(starts[index])
        write_spikeglx(folder, data, name=f"{run}_t{trigger}.{stream}", firstSample=start)
    return traces


def write_recordings(root, places, *, streams=("Probe-100.0",), starts=None):
    """Write recordings of Open Ephys at places such as experiment1/recording2; return the samples of each."""
    traces = []
    for index, place in enumerate(places):
        written = write_openephys(root / f"made {index}", samples(100 + index, seed=index), streams=streams)
        target = root / "Record Node 101" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(written / RECORDING, target)
        shutil.rmtree(written)
        traces.append(samples(100 + index, seed=index))
        for stream in streams if starts is not None else ():
            numbers = np.arange(100 + index) + starts[index]
            np.save(target / "continuous" / stream / "sample_numbers.npy", numbers)
    return traces


# Streams -------------------------------------------------------------------------------------------


def test_a_stream_is_chosen_by_its_name_or_its_end(tmp_path):
    for probe in (0, 1):
        write_spikeglx(tmp_path, samples(seed=probe), name=f"run_g0_t0.imec{probe}.ap")
        fields = {"snsApLfSy": "0,4,1", "imDatPrb_type": "0", "~imroTbl": "(0,4)" + "(0 0 0 500 250 1)" * 4}
        write_spikeglx(tmp_path, samples(50), name=f"run_g0_t0.imec{probe}.lf", **fields)
    with pytest.raises(RecordingAmbiguousError, match="2 streams") as caught:
        open_recording(tmp_path)
    assert "--stream NAME: imec0.ap, imec1.ap" in caught.value.next_step
    for word in ("imec1.ap", "1.ap"):
        assert np.array_equal(open_recording(tmp_path, stream=word).traces(), samples(seed=1))
    assert open_recording(tmp_path, stream="imec1.lf").layout.num_samples == 50


def test_the_command_line_lists_the_streams_below_the_message(tmp_path, capsys):
    paths = [write_spikeglx(tmp_path, samples(), name=f"run_g0_t0.imec{probe}.ap") for probe in (0, 1)]
    with pytest.raises(RecordingAmbiguousError) as caught:
        open_recording(tmp_path)
    report(caught.value, to_json=False, debug=False)
    first, *choices, last = capsys.readouterr().err.splitlines()
    assert first == f"spikecrate: {tmp_path} holds 2 streams:"
    assert [line.strip() for line in choices] == list(map(str, paths))
    assert last == "next: name one of these, or pass --stream NAME: imec0.ap, imec1.ap"


@pytest.mark.parametrize(
    ("word", "problem", "step"),
    [
        ("imec0.pa", r"no stream 'imec0\.pa'; did you mean 'imec0\.ap'\?", "imec0.ap, imec1.ap"),
        ("ap", "several streams that end in 'ap'", "imec0.ap, imec1.ap"),
    ],
)
def test_a_stream_that_is_not_there_is_told_with_the_nearest(tmp_path, word, problem, step):
    for probe in (0, 1):
        write_spikeglx(tmp_path, samples(), name=f"run_g0_t0.imec{probe}.ap")
    with pytest.raises(UsageError, match=problem) as caught:
        open_recording(tmp_path, stream=word)
    assert caught.value.next_step == f"--stream with one of: {step}"


def test_a_format_of_one_stream_has_none_to_choose(tmp_path):
    path = WRITERS["mountainsort"](tmp_path, samples())
    with pytest.raises(UsageError, match="no stream 'x'") as caught:
        open_recording(path, stream="x")
    assert caught.value.next_step == "leave out --stream"


def test_local_fields_beside_spikes_are_not_meant(tmp_path):
    write_openephys(tmp_path, samples(), streams=("NP-100.ProbeA-AP", "NP-100.ProbeA-LFP"))
    path = tmp_path / RECORDING / "structure.oebin"
    structure = json.loads(path.read_text())
    structure["continuous"][1]["sample_rate"] = 2500
    path.write_text(json.dumps(structure))
    assert open_recording(tmp_path).files[0].parent.name == "NP-100.ProbeA-AP"
    fields = open_recording(tmp_path, stream="ProbeA-LFP")
    assert fields.layout.sampling_frequency == 2500
    shutil.rmtree(tmp_path / RECORDING / "continuous" / "NP-100.ProbeA-AP")
    del structure["continuous"][0]
    path.write_text(json.dumps(structure))
    assert open_recording(tmp_path).layout.sampling_frequency == 2500


def test_record_nodes_of_one_stream_are_streams_of_their_own(tmp_path):
    write_openephys(tmp_path, samples())
    shutil.copytree(tmp_path / "Record Node 101", tmp_path / "Record Node 102")
    with pytest.raises(RecordingAmbiguousError, match="2 streams"):
        open_recording(tmp_path, concatenate=True)
    recording = open_recording(tmp_path, stream="Record Node 102/Probe-100.0")
    assert recording.files[0].is_relative_to(tmp_path / "Record Node 102")


# Segments ------------------------------------------------------------------------------------------


def test_triggers_are_listed_chosen_and_joined_in_their_order(tmp_path):
    traces = write_run(tmp_path, [0, 1, 10, 2])
    with pytest.raises(RecordingAmbiguousError, match="4 segments") as caught:
        open_recording(tmp_path)
    names = [choice.rpartition("_t")[2] for choice in caught.value.details["choices"]]
    assert names == [f"{trigger}.imec0.ap.bin" for trigger in (0, 1, 2, 10)]
    assert "--segment N (0 to 3" in caught.value.next_step
    assert "--concatenate" in caught.value.next_step
    in_order = [traces[index] for index in (0, 1, 3, 2)]
    assert np.array_equal(open_recording(tmp_path, segment=2).traces(), in_order[2])
    joined = open_recording(tmp_path, concatenate=True)
    assert np.array_equal(joined.traces(), np.concatenate(in_order))
    assert joined.path == tmp_path


def test_gates_and_the_folders_of_probes_are_joined(tmp_path):
    first = write_run(tmp_path / "run_g0" / "run_g0_imec0", [0, 1])
    second = write_run(tmp_path / "run_g1" / "run_g1_imec0", [0], run="run_g1")
    joined = open_recording(tmp_path, concatenate=True)
    assert np.array_equal(joined.traces(), np.concatenate(first + second))
    assert np.array_equal(open_recording(tmp_path / "run_g0", segment=1).traces(), first[1])


def test_what_catgt_joined_is_not_joined_again(tmp_path):
    traces = write_run(tmp_path, [0, 1, "cat"])
    joined = open_recording(tmp_path, concatenate=True)
    assert np.array_equal(joined.traces(), np.concatenate(traces[:2]))
    assert np.array_equal(open_recording(tmp_path, segment=2).traces(), traces[2])


@pytest.mark.parametrize(("segment", "count"), [(2, 2), (-1, 2), (1, 1)])
def test_a_segment_that_is_not_there_is_told(tmp_path, segment, count):
    write_run(tmp_path, range(count))
    with pytest.raises(UsageError, match=f"no segment {segment}"):
        open_recording(tmp_path, segment=segment)


def test_one_segment_and_all_exclude_each_other(tmp_path):
    write_run(tmp_path, [0, 1])
    with pytest.raises(UsageError, match="--segment chooses one segment, --concatenate joins all"):
        open_recording(tmp_path, segment=0, concatenate=True)


def test_experiments_and_recordings_are_joined_in_their_order(tmp_path):
    places = ["experiment2/recording1", "experiment1/recording10", "experiment1/recording2"]
    traces = write_recordings(tmp_path, places)
    joined = open_recording(tmp_path, concatenate=True)
    assert np.array_equal(joined.traces(), np.concatenate(traces[::-1]))
    assert np.array_equal(open_recording(tmp_path, segment=2).traces(), traces[0])


def test_segments_of_a_spikeinterface_folder_are_joined(tmp_path):
    traces = [samples(seed=0), samples(200, seed=1)]
    names = ["traces_cached_seg0.raw", "traces_cached_seg1.raw"]
    write_spikeinterface(tmp_path, traces[0], file_paths=names)
    (tmp_path / names[1]).write_bytes(traces[1].tobytes())
    assert np.array_equal(open_recording(tmp_path, concatenate=True).traces(), np.concatenate(traces))
    assert np.array_equal(open_recording(tmp_path, segment=1).traces(), traces[1])


def test_segments_that_differ_are_not_joined(tmp_path):
    write_run(tmp_path, [0])
    write_spikeglx(tmp_path, samples(), name="run_g0_t1.imec0.ap", imSampRate="25000")
    with pytest.raises(
        RecordingFormatError, match=r"t0\.imec0\.ap\.bin and .*t1\.imec0\.ap\.bin cannot be joined"
    ):
        open_recording(tmp_path, concatenate=True)


# Time between segments -----------------------------------------------------------------------------


@given(waits=st.lists(st.integers(0, 10**6), min_size=1, max_size=3), start=st.integers(0, 10**9))
def test_the_time_between_triggers_of_a_run_is_a_gap(tmp_path_factory, waits, start):
    folder = tmp_path_factory.mktemp("run")
    lengths = [100 + index for index in range(len(waits) + 1)]
    starts = [start]
    for length, wait in zip(lengths, waits, strict=False):
        starts.append(starts[-1] + length + wait)
    write_run(folder, range(len(lengths)), starts=starts)
    recording = open_recording(folder, concatenate=True)
    begins = np.cumsum([0, *lengths])[:-1]
    expected = (np.array(starts) - start) / RATE
    assert np.array_equal(recording.seconds(begins), expected)
    assert len(recording.gaps) == sum(wait > 0 for wait in waits)
    assert any("gap" in note for note in recording.notes) == any(waits)


def test_the_time_between_recordings_of_an_experiment_is_a_gap(tmp_path):
    places = ["experiment1/recording1", "experiment1/recording2", "experiment2/recording1"]
    write_recordings(tmp_path, places, starts=[5000, 9000, 700])
    recording = open_recording(tmp_path, concatenate=True)
    assert recording.gaps == (Gap(sample=100, missing=9000 - 5100),)
    assert any("the time between 2 of the joined segments is not known" in note for note in recording.notes)


def test_a_gap_inside_a_segment_counts_before_the_next(tmp_path):
    write_recordings(tmp_path, ["experiment1/recording1", "experiment1/recording2"], starts=[0, 1000])
    stream = tmp_path / "Record Node 101" / "experiment1" / "recording1" / "continuous" / "Probe-100.0"
    numbers = np.arange(100)
    numbers[40:] += 300
    np.save(stream / "sample_numbers.npy", numbers)
    recording = open_recording(tmp_path, concatenate=True)
    assert recording.gaps == (Gap(sample=40, missing=300), Gap(sample=100, missing=600))
    assert recording.seconds(np.array([100])).tolist() == [1000 / RATE]


@pytest.mark.parametrize("starts", [None, [5000, 100]])
def test_a_time_that_is_not_known_is_noted_and_not_counted(tmp_path, starts):
    write_run(tmp_path, [0, 1], starts=starts)
    recording = open_recording(tmp_path, concatenate=True)
    assert recording.gaps == ()
    assert any("the time between 2 of the joined segments is not known" in note for note in recording.notes)


# How it is opened again ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"segment": 1}, {"concatenate": True}, {"stream": "ap", "segment": 0}])
def test_what_was_chosen_is_opened_again(tmp_path, options):
    write_run(tmp_path / "a", [0, 1], starts=[0, 500])
    recording = open_recording(tmp_path / "a", **options)
    assert recording.origin == {"path": str(tmp_path / "a"), **options}
    assert reopen(json.loads(json.dumps(recording.origin))) == recording
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = reopen(recording.origin, moved=tmp_path / "b")
    assert np.array_equal(moved.traces(), open_recording(tmp_path / "b", **options).traces())


# A session's folder --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["spikeglx", "openephys"])
def test_a_session_folder_above_the_run_is_searched(tmp_path, form):
    WRITERS[form](tmp_path / "mouse7" / "2023-05-04_run_g0", samples())
    assert np.array_equal(open_recording(tmp_path).traces(), samples())
    assert np.array_equal(open_recording(tmp_path / "mouse7").traces(), samples())


def test_two_formats_in_a_session_must_be_told_apart(tmp_path):
    WRITERS["spikeglx"](tmp_path / "a", samples())
    WRITERS["openephys"](tmp_path / "b", samples())
    with pytest.raises(RecordingAmbiguousError, match="2 formats"):
        open_recording(tmp_path)


def test_a_recording_far_below_is_not_found(tmp_path):
    WRITERS["spikeglx"](tmp_path / "a" / "b" / "c" / "d" / "e", samples())
    WRITERS["openephys"](tmp_path / "f" / "g" / "h", samples())
    WRITERS["spikeglx"](tmp_path / ".hidden", samples())
    (tmp_path / "loop").symlink_to(tmp_path)
    with pytest.raises(RecordingNotFoundError):
        open_recording(tmp_path)


# Files that are cut short --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["spikeglx", "mountainsort", "flat"])
def test_a_shortened_file_is_read_where_that_is_allowed(tmp_path, form):
    path = WRITERS[form](tmp_path / "rec", samples(), **({"num_samples": 500} if form == "flat" else {}))
    file = open_recording(path).files[0]
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2 + 1])
    with pytest.raises(RecordingTruncatedError) as caught:
        open_recording(path)
    assert "--allow-truncated" in caught.value.next_step
    recording = open_recording(path, allow_truncated=True)
    assert np.array_equal(recording.traces(), samples()[: recording.layout.num_samples])
    assert 248 <= recording.layout.num_samples <= 250
    (note,) = (note for note in recording.notes if "cut short" in note)
    assert f"{len(data) - len(data) // 2 - 1} of {len(data)} bytes" in note
    assert reopen(recording.origin) == recording


def test_a_shortened_file_without_a_whole_sample_stays_an_error(tmp_path):
    path = WRITERS["mountainsort"](tmp_path, samples())
    (path / "raw.mda").write_bytes((path / "raw.mda").read_bytes()[:22])
    with pytest.raises(RecordingTruncatedError):
        open_recording(path, allow_truncated=True)


def test_a_shortened_file_of_one_channel_after_the_other_stays_an_error(tmp_path):
    path = WRITERS["flat"](tmp_path, samples(), time_axis=1, num_samples=500)
    (path / "data.raw").write_bytes((path / "data.raw").read_bytes()[:-2])
    with pytest.raises(RecordingTruncatedError) as caught:
        open_recording(path, allow_truncated=True)
    assert "--allow-truncated" not in caught.value.next_step


def test_shortened_segments_are_joined(tmp_path):
    traces = write_run(tmp_path, [0, 1], starts=[0, 100])
    binary = tmp_path / "run_g0_t0.imec0.ap.bin"
    binary.write_bytes(binary.read_bytes()[: 90 * 10])
    recording = open_recording(tmp_path, concatenate=True, allow_truncated=True)
    assert np.array_equal(recording.traces(), np.concatenate([traces[0][:90], traces[1]]))
    assert recording.gaps == (Gap(sample=90, missing=10),)
