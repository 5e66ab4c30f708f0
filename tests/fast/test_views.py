"""A view has the samples that were asked for and a join all of them, whatever the files look like; nothing is copied."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

import blake3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording_files import GAIN, RATE, WRITERS, places, samples, write_flat

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.errors import RecordingFormatError, RecordingValueError, UsageError
from spikecrate.recordings import identity as content
from spikecrate.recordings import open_recording
from spikecrate.recordings.identity import hash_samples, hash_together, identity
from spikecrate.recordings.model import Gap
from spikecrate.recordings.origin import reopen
from spikecrate.recordings.views import concatenate

IDS = ("a", "b-1", "b-2", "c-1-2", "7", "8")
GROUPS = ("left", "left", "right-1", "right-1", "left", "0")
NUM = 300
TRACES = samples(NUM, len(IDS))
KINDS = [(dtype, time_axis) for dtype in ("<i2", ">i2") for time_axis in (0, 1)]


def canonical(traces):
    """Return the hash of samples x channels by its definition."""
    little = np.ascontiguousarray(traces, dtype=traces.dtype.newbyteorder("<"))
    return blake3.blake3(little.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """The same samples in files of both byte orders and both time axes, each behind a header."""
    folder = tmp_path_factory.mktemp("wholes")
    fields = {"channel_ids": list(IDS), "offset": 5, "gain_uv": [1 + index / 8 for index in range(len(IDS))]}
    return [
        replace(
            open_recording(
                write_flat(folder / str(place), TRACES, dtype=dtype, time_axis=time_axis, **fields)
            ),
            groups=GROUPS,
        )
        for place, (dtype, time_axis) in enumerate(KINDS)
    ]


def words(pairs):
    """Return channels as a user names them: a name, or a range between two."""
    return [IDS[first] if first == last else f"{IDS[first]}{mark}{IDS[last]}" for first, last, mark in pairs]


def picked(pairs):
    """Return the channels that such words mean."""
    return {index for first, last, _mark in pairs for index in range(min(first, last), max(first, last) + 1)}


def time_of(sample, form):
    """Return a sample's time as a user gives it."""
    return {
        "float": sample / RATE,
        "seconds": f"{sample / RATE:.9f}",
        "unit": f"{sample / RATE:.9f} s",
        "minutes": f"{sample / RATE / 60:.12f}m",
        "samples": f"{sample}samples",
    }[form]


CHANNEL = st.integers(0, len(IDS) - 1)
PAIRS = st.lists(st.tuples(CHANNEL, CHANNEL, st.sampled_from("-:")), max_size=3)
FORM = st.sampled_from(["float", "seconds", "unit", "minutes", "samples"])
CHOICE = st.fixed_dictionaries(
    {
        "ends": st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
        "forms": st.tuples(FORM, FORM),
        "kept": PAIRS,
        "left_out": PAIRS,
        "group": st.none() | st.sampled_from(GROUPS),
    }
)


@given(kind=st.integers(0, len(KINDS) - 1), choices=st.lists(CHOICE, min_size=1, max_size=3))
def test_a_view_and_a_view_of_it_have_the_samples_that_slicing_gives(wholes, kind, choices):
    recording, rows, columns = wholes[kind], np.arange(NUM), list(range(len(IDS)))
    for choice in choices:
        start, stop = (round(end * len(rows)) for end in choice["ends"])
        named = [
            [pair for pair in choice[name] if {IDS[end] for end in pair[:2]} <= set(recording.channel_ids)]
            for name in ("kept", "left_out")
        ]
        group = choice["group"] if choice["group"] in recording.groups else None
        wanted = [
            column
            for column in columns
            if (not named[0] or column in picked(named[0]))
            and column not in picked(named[1])
            and group in (None, GROUPS[column])
        ]
        asked = {
            "start": time_of(start, choice["forms"][0]),
            "end": time_of(stop, choice["forms"][1]),
            "channels": words(named[0]),
            "exclude_channels": words(named[1]),
            "group": group,
        }
        if start >= stop or not wanted:
            with pytest.raises(UsageError, match="none of"):
                recording.view(**asked)
            return
        recording = recording.view(**asked)
        rows, columns = rows[start:stop], wanted
    expected = TRACES[rows][:, columns]
    assert np.array_equal(recording.traces(), expected)
    middle = len(rows) // 2
    assert np.array_equal(recording.traces(middle // 2, middle), expected[middle // 2 : middle])
    assert hash_samples(recording, Silent()) == canonical(expected)
    assert recording.channel_ids == tuple(IDS[column] for column in columns)
    assert recording.groups == tuple(GROUPS[column] for column in columns)
    assert recording.layout.gains == tuple(1 + column / 8 for column in columns)
    assert [list(row) for row in recording.layout.locations] == [
        places(len(IDS))[column] for column in columns
    ]
    assert recording.duration_s == len(rows) / RATE
    assert recording.size_bytes == len(rows) * len(IDS) * 2


CUTS = st.lists(st.integers(1, NUM - 1), max_size=6, unique=True).map(lambda cuts: [0, *sorted(cuts), NUM])


@given(cuts=CUTS, kinds=st.lists(st.integers(0, len(KINDS) - 1), min_size=7, max_size=7), ends=CUTS)
def test_any_cuts_joined_are_the_whole_and_byte_orders_and_time_axes_may_change(wholes, cuts, kinds, ends):
    pieces = [
        wholes[kind].view(start=f"{start}samples", end=f"{stop}samples")
        for kind, (start, stop) in zip(kinds, pairwise(cuts), strict=False)
    ]
    joined = concatenate(pieces)
    assert np.array_equal(joined.traces(), TRACES)
    assert hash_samples(joined, Silent()) == canonical(TRACES)
    assert identity(joined, "") == identity(wholes[0], "")
    for start, stop in pairwise(ends):
        again = joined.view(start=f"{start}samples", end=f"{stop}samples", channels=["b-2-8"])
        assert np.array_equal(again.traces(), TRACES[start:stop, 2:])
        assert hash_samples(again, Silent()) == canonical(TRACES[start:stop, 2:])


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_cuts_of_a_recording_of_every_format_joined_have_its_identity(tmp_path, form):
    traces = samples()
    whole = open_recording(WRITERS[form](tmp_path / "rec", traces))
    cuts = [0, 1, 100, 101, 499, 500]
    joined = concatenate(
        [whole.view(start=start / RATE, end=f"{stop}samples") for start, stop in pairwise(cuts)]
    )
    assert np.array_equal(joined.traces(), traces)
    hashes = [hash_samples(recording, Silent()) for recording in (joined, whole)]
    assert identity(joined, hashes[0]) == identity(whole, hashes[1])
    assert hashes[0] == canonical(traces)


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_the_views_of_all_groups_are_the_recording(wholes, kind):
    groups = wholes[kind].by_group()
    assert list(groups) == ["left", "right-1", "0"]
    for name, recording in groups.items():
        mask = [group == name for group in GROUPS]
        assert np.array_equal(recording.traces(), TRACES[:, mask])


def test_one_name_or_range_is_not_taken_for_its_letters(wholes):
    assert wholes[0].view(channels="7-8").channel_ids == ("7", "8")
    assert wholes[0].view(exclude_channels="b-2-8").channel_ids == ("a", "b-1")
    with pytest.raises(UsageError, match="no channel '78'"):
        wholes[0].view(channels="78")


def test_a_join_of_more_parts_than_files_may_be_open_is_read(wholes):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pieces = [
        wholes[sample % 4].view(start=f"{sample}samples", end=f"{sample + 1}samples") for sample in range(NUM)
    ]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
    try:
        joined = concatenate(pieces)
        assert np.array_equal(joined.traces(), TRACES)
        assert hash_samples(joined, Silent()) == canonical(TRACES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Times --------------------------------------------------------------------------------------------


@st.composite
def gaps_of(draw):
    """Draw gaps; the clock is set back at some."""
    places_ = sorted(draw(st.sets(st.integers(1, NUM - 1), max_size=5)))
    return tuple(Gap(sample=place, missing=draw(st.integers(-40, 500).filter(bool))) for place in places_)


def clock_of(gaps):
    """Return what the clock counts at each sample, one step after the other."""
    clock, jumps = [0], {gap.sample: gap.missing for gap in gaps}
    for sample in range(1, NUM):
        clock.append(clock[-1] + 1 + jumps.get(sample, 0))
    return np.array(clock)


# Halfway between two samples, the last bit of the time decides.
TICK = st.floats(0, 2500).filter(lambda tick: abs(tick % 1 - 0.5) > 1e-6)


@given(gaps=gaps_of(), tick=TICK)
def test_a_start_is_the_first_sample_that_the_clock_puts_there_or_later(wholes, gaps, tick):
    recording, clock = replace(wholes[0], gaps=gaps), clock_of(gaps)
    assert np.array_equal(recording.seconds(np.arange(NUM)), clock / RATE)
    later = np.flatnonzero(clock >= round(tick))
    if not len(later):
        with pytest.raises(UsageError, match="none of the recording's 300"):
            recording.view(start=tick / RATE)
        return
    view = recording.view(start=tick / RATE)
    assert np.array_equal(view.traces(), TRACES[later[0] :])
    assert np.array_equal(
        view.seconds(np.arange(NUM - later[0])), (clock[later[0] :] - clock[later[0]]) / RATE
    )
    if later[0] > 0:
        assert np.array_equal(recording.view(end=tick / RATE).traces(), TRACES[: later[0]])


@given(gaps=gaps_of(), cuts=CUTS)
def test_gaps_inside_what_is_joined_are_kept_and_none_is_known_between(wholes, gaps, cuts):
    recording, steps = replace(wholes[0], gaps=gaps), np.diff(clock_of(gaps))
    joined = concatenate(
        [recording.view(start=f"{start}samples", end=f"{stop}samples") for start, stop in pairwise(cuts)]
    )
    steps[[cut - 1 for cut in cuts[1:-1]]] = 1
    assert np.allclose(np.diff(joined.seconds(np.arange(NUM))) * RATE, steps)


@pytest.mark.parametrize("start", [1e-4, 1, np.float32(0.005), np.int64(0), "20 samples", "1sample"])
def test_every_number_is_a_time_and_is_kept_as_json(wholes, start):
    sample = {"20 samples": 20, "1sample": 1}.get(start) if isinstance(start, str) else round(start * RATE)
    if sample >= NUM:
        with pytest.raises(UsageError, match="none of the recording's 300") as caught:
            wholes[0].view(start=start)
        assert "earlier --start" in caught.value.next_step
        return
    view = wholes[0].view(start=start)
    assert np.array_equal(view.traces(), TRACES[sample:])
    assert json.loads(json.dumps(view.origin)) == view.origin


@pytest.mark.parametrize(
    "time", ["", "soon", "-1", -1, -1e-9, float("nan"), float("inf"), "1 parsec", "-3samples"]
)
@pytest.mark.parametrize("option", ["start", "end"])
def test_what_is_no_time_is_refused_by_its_option(wholes, option, time):
    with pytest.raises(UsageError, match=f"--{option} .* is not a time") as caught:
        wholes[0].view(**{option: time})
    assert f"--{option} 10m" in caught.value.next_step


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"channels": ["c-1-3"]}, r"no channel 'c-1-3'.*c-1-2"),
        ({"exclude_channels": ["b-1-x"]}, "no channel 'b-1-x'"),
        ({"group": "rigth-1"}, r"no group 'rigth-1'.*right-1"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_the_nearest(wholes, asked, said):
    with pytest.raises(UsageError, match=said):
        wholes[0].view(**asked)


# Origins ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_a_recording_is_opened_again_from_its_origin(tmp_path, form):
    whole = open_recording(WRITERS[form](tmp_path / "rec", samples()))
    first, *_others, last = whole.channel_ids
    view = whole.view(start=0.001, end="400samples", exclude_channels=[first])
    inner = view.view(end=0.002, channels=[f"{view.channel_ids[0]}:{last}"])
    joined = concatenate([view, view.view(start="7samples")])
    for recording in (whole, view, inner, joined, joined.view(end="450samples", channels=[last])):
        again = reopen(json.loads(json.dumps(recording.origin)))
        assert again == recording
        assert np.array_equal(again.traces(), recording.traces())


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"sampling_frequency": 30000.0}, r"sampling frequencies are 20000\.0 and 30000\.0"),
        ({"dtype": "float32"}, "types of samples are i2 and f4"),
        ({"dtype": "<u2"}, "types of samples are i2 and u2"),
        ({"channel_ids": ["1", "2", "4", "3"]}, "channels are 1, 2, 3, 4 and 1, 2, 4, 3"),
        ({"channels": [0, 1, 2], "probe": False}, "channels are 1, 2, 3, 4 and 1, 2, 3"),
        ({"gain_uv": 2 * GAIN}, r"gains in uV per count are 0\.5, .* and 1\.0"),
        ({"offset_uv": 3}, r"offsets in uV are 0\.0, .* and 3\.0"),
        ({"probe": False}, r"locations in um are .*25\.0.* and .*20\.0"),
    ],
)
def test_recordings_that_differ_are_not_joined_and_the_difference_is_named(tmp_path, changes, difference):
    one = open_recording(write_flat(tmp_path / "one", abs(samples())))
    other = open_recording(write_flat(tmp_path / "other", abs(samples()), **changes))
    with pytest.raises(RecordingFormatError, match=difference) as caught:
        concatenate([one, one, other])
    assert str(one.path) in str(caught.value)
    assert str(other.path) in str(caught.value)


def test_recordings_to_join_may_be_any_iterable_but_not_none(tmp_path):
    one = open_recording(write_flat(tmp_path / "one", samples()))
    assert concatenate(one for _ in range(3)).layout.num_samples == 3 * one.layout.num_samples
    with pytest.raises(UsageError, match="no recordings to join"):
        concatenate([])


def test_a_group_may_be_named_by_its_number(tmp_path):
    one = open_recording(write_flat(tmp_path / "one", samples()))
    assert one.view(group=0) == one.view(group="0")


# What is read -------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch):
    """Record the stretches of bytes that are read of each file: inode, first byte, bytes."""
    seen = []

    def preadv(descriptor, buffers, offset):
        got = os.pread(descriptor, len(buffers[0]), offset)
        buffers[0][: len(got)] = got
        seen.append((os.fstat(descriptor).st_ino, offset, len(got)))
        return len(got)

    monkeypatch.setattr(content.os, "preadv", preadv)
    monkeypatch.setattr(content, "PIECE_BYTES", 256)
    return seen


def bytes_read(reads):
    """Return the bytes that were read of each file, none of them twice."""
    found = {}
    for inode, offset, count in reads:
        places_ = set(range(offset, offset + count))
        assert not places_ & found.setdefault(inode, set()), "read twice"
        found[inode] |= places_
    return found


def bytes_of(recording, columns):
    """Return the bytes of a recording's stretches in some columns of its files."""
    found = {}
    for file, part in zip(recording.files, recording.parts, strict=True):
        index = np.arange(part.file_samples * part.file_channels)
        table = index.reshape(part.file_samples, part.file_channels)
        table = index.reshape(part.file_channels, part.file_samples).T if part.time_axis else table
        # Of a file that is sample after sample, every channel is read: the bytes lie together.
        chosen = columns if part.time_axis else range(part.file_channels)
        entries = table[part.start : part.start + part.num_samples, list(chosen)].ravel()
        places_ = {part.offset + part.itemsize * int(entry) + byte for entry in entries for byte in (0, 1)}
        found.setdefault(file.stat().st_ino, set()).update(places_)
    return found


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_view_reads_its_part_and_nothing_else(wholes, reads, kind):
    view = wholes[kind].view(start="50samples", end="180samples", channels=["b-1", "7"])
    assert hash_samples(view, Silent()) == canonical(TRACES[50:180, [1, 4]])
    assert bytes_read(reads) == bytes_of(view, [1, 4])


def test_the_groups_of_a_join_are_hashed_in_one_pass(wholes, reads):
    cuts = [0, 90, 130, 131, NUM]
    joined = concatenate(
        [
            whole.view(start=f"{start}samples", end=f"{stop}samples")
            for whole, (start, stop) in zip(wholes, pairwise(cuts), strict=True)
        ]
    )
    groups = {name: view for name, view in joined.by_group().items() if name != "0"}
    found = hash_together(list(groups.values()), Silent())
    expected = [canonical(TRACES[:, [group == name for group in GROUPS]]) for name in groups]
    assert found == expected
    assert bytes_read(reads) == bytes_of(joined, [index for index, name in enumerate(GROUPS) if name != "0"])


@pytest.mark.parametrize("time_axis", [0, 1])
def test_no_number_is_no_matter_outside_a_view_and_named_by_its_channel_inside(tmp_path, time_axis):
    traces = samples(dtype="float32")
    traces[100:, 1] = traces[300, 3] = np.nan
    whole = open_recording(write_flat(tmp_path / "rec", traces, time_axis=time_axis))
    without = whole.view(exclude_channels=["2"], end="300samples")
    assert hash_samples(without, Silent()) == canonical(traces[:300, [0, 2, 3]])
    early = whole.view(end="100samples")
    assert hash_samples(early, Silent()) == canonical(traces[:100])
    joined = concatenate([early, early])
    assert hash_samples(joined, Silent()) == canonical(np.concatenate([traces[:100]] * 2))
    for view, sample, channel in (
        (whole.view(start="50samples"), 100, "2"),
        (whole.view(start="250samples", channels=["3-4"]), 300, "4"),
        (concatenate([early, whole.view(start="90samples")]), 100, "2"),
    ):
        with pytest.raises(
            RecordingValueError, match=f"nan in sample {sample} of channel {channel}"
        ) as caught:
            hash_samples(view, Silent())
        assert caught.value.details == {"file": str(whole.files[0]), "sample": sample, "channel": channel}


@pytest.mark.parametrize("time_axis", [0, 1])
def test_a_view_of_ten_gigabytes_takes_the_memory_of_its_pieces(tmp_path, time_axis):
    folder = write_flat(tmp_path / "rec", samples(1, 4), time_axis=time_axis)
    num_samples = 10 * 2**30 // 8
    os.truncate(folder / "data.raw", num_samples * 8)
    recording = open_recording(folder)
    start, stop = num_samples - 10**6, num_samples - 10
    view = recording.view(start=f"{start}samples", end=f"{stop}samples", channels=["2-3"])
    joined = concatenate([view, view])
    zeros = canonical(np.zeros((2 * (stop - start), 2), dtype="<i2"))
    hash_samples(view.view(end="10samples"), Silent())
    tracemalloc.start()
    try:
        assert not joined.traces(stop - start - 500, stop - start + 500).any()
        assert tracemalloc.get_traced_memory()[1] < 2**20
        assert hash_samples(joined, Silent()) == zeros
        assert tracemalloc.get_traced_memory()[1] < 6 * content.PIECE_BYTES
    finally:
        tracemalloc.stop()


# What a job sees ----------------------------------------------------------------------------------

TELLS = """
import hashlib
def sort(recording, parameters, resources):
    print("samples", hashlib.sha256(recording.traces().tobytes()).hexdigest())
    return [10.0, 20.0], [1, 2]
"""


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("links", [(), (0,), (1,), (0, 1), (0, 1, 2)])
def test_a_job_sees_the_folders_of_a_join_or_the_files_that_its_links_lead_to(tmp_path, sorter, links):
    """Two parts share a folder; none is mounted below another, where an engine would follow the link."""
    archive = tmp_path / "archive"
    archive.mkdir()
    parts = []
    for place, (folder, name) in enumerate([("a", "0.raw"), ("a", "1.raw"), ("b", "1.raw")]):
        path = write_flat(tmp_path / folder, TRACES[100 * place : 100 * (place + 1)], file=name)
        file = (path / "data.raw").rename(path / name)
        if place in links:
            file.symlink_to(file.rename(archive / f"{place}"))
        parts.append(open_recording(path))
    name = sorter(TELLS)
    result = spikecrate.sort(concatenate(parts), sorter=name, runtime="host")
    digest = hashlib.sha256(TRACES.tobytes()).hexdigest()
    assert f"samples {digest}" in (result.folder / "log.txt").read_text()
    opened = result.record["inside"]["opened"]["recording"]
    assert [facts["inode"] for facts in opened] == [part.files[0].stat().st_ino for part in parts]
    targets = [PurePosixPath(mount["target"]) for mount in result.record["mounts"]]
    assert not any(one in other.parents for one in targets for other in targets)
    expected = {
        file if place in links else file.parent for place, part in enumerate(parts) for file in part.files
    }
    sources = {
        Path(mount["source"]) for mount in result.record["mounts"] if mount["target"].startswith("/inputs")
    }
    assert sources == {path.resolve() for path in expected}
