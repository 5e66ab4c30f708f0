"""Groups sorted one by one become one sorting; a joined recording's sorting becomes one of each recording."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import ANSWER

import spikecrate
from spikecrate.cli.main import run as command_line
from spikecrate.errors import JobFailedError, JobNotFoundError, OutputError
from spikecrate.recordings import open_recording
from spikecrate.sortings import Sorting, read_firings
from spikecrate.sortings.join import join_groups, split
from spikecrate.sortings.units import count_units
from spikecrate.steps.joined import folder_name
from spikecrate.store import results
from spikecrate_harness.layout import Layout, Part

pytestmark = pytest.mark.usefixtures("here")

HIGHEST = (
    ANSWER
    + """    traces = recording.traces().astype(int)
    count = recording.num_channels
    return traces.argmax(axis=0).astype(float), np.arange(1, count + 1), np.arange(1, count + 1)
"""
)
"""An event at the largest sample of each channel; the unit is the number of the channel."""
TETRODES = "0,0\n0,20\n0,2000\n0,2020\n"
"""Two groups of two channels."""


@pytest.fixture
def grouped(recording):
    (recording / "geom.csv").write_text(TETRODES)
    return open_recording(recording)


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_each_group_is_a_job_and_one_sorting_names_the_group_of_every_unit(grouped, sorter, tmp_path):
    name = sorter(HIGHEST)
    request = spikecrate.SortRequest(recording=grouped, sorter=name)
    done = spikecrate.sort_by_group(request, output=tmp_path / "out")
    traces = grouped.traces().astype(int)
    highest = traces.argmax(axis=0)
    events = {(1, highest[0], 0), (2, highest[1], 1), (1001, highest[2], 2), (1002, highest[3], 3)}
    found = done.sorting
    assert set(zip(found.labels, found.times, found.channels, strict=True)) == events
    written = read_firings(tmp_path / "out" / "firings.mda", 30000)
    assert np.array_equal(written.labels, found.labels)
    assert np.array_equal(written.channels, found.channels)
    rows = table(tmp_path / "out" / "units.csv")
    named = [(row["unit"], row["group"], row["unit_in_group"]) for row in rows]
    assert named == [("1", "0", "1"), ("2", "0", "2"), ("1001", "1", "1"), ("1002", "1", "2")]
    for row, unit in zip(rows, done.units, strict=True):
        (alone,) = [one for one in done.results[unit.group].units if one.unit == unit.unit_in_group]
        assert row["snr"] == repr(alone.snr)
        assert (unit.events, unit.rate, unit.amplitude) == (alone.events, alone.rate, alone.amplitude)
        assert unit.channel == alone.channel + 2 * int(unit.group)
        assert done.channel_id(unit) == done.results[unit.group].channel_id(alone)
    for group, result in done.results.items():
        alone = spikecrate.sort(grouped.view(group=group), sorter=name)
        assert (alone.status, alone.key) == ("cached", result.key)
        assert spikecrate.load(tmp_path / "out" / "results" / group).key == result.key
    told = json.loads((tmp_path / "out" / "joined.json").read_text())
    assert told["groups"] == {group: result.key for group, result in done.results.items()}
    with pytest.raises(JobNotFoundError, match="joined sorting of 2 groups") as refused:
        spikecrate.load(tmp_path / "out")
    assert str(tmp_path / "out" / "results" / "0") in refused.value.next_step
    again = spikecrate.sort_by_group(request, output=tmp_path / "out")
    assert {result.status for result in again.results.values()} == {"cached"}


def test_a_group_that_fails_is_named_and_the_others_are_sorted(grouped, sorter, store, tmp_path):
    body = HIGHEST.replace(
        "    count", "    assert recording.locations[0, 1] > 0, 'no group of mine'\n    count"
    )
    request = spikecrate.SortRequest(recording=grouped, sorter=sorter(body))
    with pytest.raises(JobFailedError, match="group 0: "):
        spikecrate.sort_by_group(request, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(list(results.keys(store))) == 1


def test_a_joined_recording_has_the_events_of_each_and_units_are_named_once(recording, sorter, tmp_path):
    whole = open_recording(recording)
    half = whole.layout.num_samples // 2
    parts = [whole.view(end=f"{half}samples"), whole.view(start=f"{half}samples")]
    name = sorter(HIGHEST)
    of_the_whole = spikecrate.sort(whole, sorter=name)
    # A cache hit of the whole: what is written is of the recording that was asked for.
    done = spikecrate.sort(spikecrate.concatenate(parts), sorter=name, output=tmp_path / "out")
    assert (done.status, done.key) == ("cached", of_the_whole.key)
    for number, (one, begin) in enumerate(zip(done.sortings, (0, half), strict=True), start=1):
        inside = (of_the_whole.sorting.times >= begin) & (of_the_whole.sorting.times < begin + half)
        # Both parts are of one file, in whose samples the times count.
        assert np.array_equal(one.times, of_the_whole.sorting.times[inside])
        written = read_firings(tmp_path / "out" / "recordings" / str(number) / "firings.mda", 30000)
        assert np.array_equal(written.times, one.times)
        assert np.array_equal(written.labels, one.labels)
    rows = table(tmp_path / "out" / "recordings.csv")
    assert [(row["recording"], row["start"], row["begins_at"]) for row in rows] == [
        ("1", "0", "0"),
        ("2", str(half), str(half)),
    ]
    # One job: the folder stands for its result.
    for folder in (tmp_path / "out", tmp_path / "out" / "results" / "all"):
        assert spikecrate.load(folder).key == done.key


def test_a_folder_with_files_of_others_is_refused_before_anything_runs(grouped, sorter, store, tmp_path):
    name = sorter(HIGHEST)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match=r"mine\.txt"):
        spikecrate.sort_by_group(
            spikecrate.SortRequest(recording=grouped, sorter=name), output=tmp_path / "out"
        )
    joined = spikecrate.concatenate([grouped, grouped])
    with pytest.raises(OutputError, match=r"mine\.txt"):
        spikecrate.sort(joined, sorter=name, output=tmp_path / "out")
    with pytest.raises(OutputError, match="is inside the recording"):
        spikecrate.sort(joined, sorter=name, output=grouped.path / "out")
    assert list(results.keys(store)) == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_the_command_line_sorts_by_group_and_joins(recording, grouped, sorter, tmp_path, monkeypatch, capsys):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    name = sorter(HIGHEST)
    assert command_line(["sort", str(recording), "--sorter", name, "--by-group", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (list(done["groups"]), done["units"]) == (["0", "1"], 4)
    assert (tmp_path / done["output"] / "units.csv").exists()
    words = ["sort", str(recording), str(recording), "--sorter", name, "--concatenate", "--json"]
    assert command_line([*words, "--output", "day"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "ran"
    assert (tmp_path / "day" / "recordings" / "2" / "firings.mda").exists()
    assert command_line(["sort", str(recording), "--sorter", name, "--by-group"]) == 0
    assert "4 units, 4 events in 2 groups" in capsys.readouterr().out


EVENTS = st.lists(st.tuples(st.integers(0, 999), st.integers(1, 2500), st.integers(-1, 1)), max_size=20)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["0", "1", "7", "12", "a", "00"]), EVENTS, min_size=1))
def test_no_event_is_lost_and_no_two_units_share_a_label(groups):
    sortings = {
        name: Sorting.from_events(
            [time for time, _label, _channel in events],
            [label for _time, label, _channel in events],
            channels=[channel for _time, _label, channel in events],
            sampling_frequency=30000,
            num_samples=1000,
        )
        for name, events in groups.items()
    }
    tables = {name: count_units(sorting) for name, sorting in sortings.items()}
    channels = {name: [10 * place, 10 * place + 1] for place, name in enumerate(groups)}
    joined, units = join_groups(sortings, tables, channels)
    home = {entry.unit: (entry.group, entry.unit_in_group) for entry in units}
    assert len(home) == sum(len(sorting.unit_ids) for sorting in sortings.values()) == len(joined.unit_ids)
    got = sorted(
        (*home[label], time, channel)
        for time, label, channel in zip(joined.times, joined.labels, joined.channels, strict=True)
    )
    assert got == sorted(
        (name, label, time, channel if channel < 0 else channels[name][channel])
        for name, events in groups.items()
        for time, label, channel in events
    )


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50)), min_size=1, max_size=5),
    st.data(),
)
def test_times_map_back_to_the_file_and_sample_that_they_are_of(stretches, data):
    parts = [
        Part(
            file=f"{number}.raw",
            dtype="<i2",
            offset=0,
            time_axis=0,
            file_channels=1,
            file_samples=start + length + rest,
            channels=(0,),
            start=start,
            num_samples=length,
        )
        for number, (start, length, rest) in enumerate(stretches)
    ]
    layout = Layout(
        parts=tuple(parts), sampling_frequency=100.0, gains=(1.0,), offsets=(0.0,), locations=((0.0, 0.0),)
    )
    places = [
        (number, part.start + at) for number, part in enumerate(parts) for at in range(part.num_samples)
    ]
    times = data.draw(st.lists(st.integers(0, len(places) - 1), max_size=20))
    sorting = Sorting.from_events(times, [1 + time % 3 for time in times], sampling_frequency=100.0)
    found = [
        (number, time, label)
        for number, one in enumerate(split(sorting, layout))
        for time, label in zip(one.times, one.labels, strict=True)
    ]
    assert sorted(found) == sorted((*places[time], 1 + time % 3) for time in times)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\nb", "-x", "é" * 200, " "])
def test_a_name_of_a_group_cannot_lead_out_of_its_folder(name):
    folder = folder_name(3, name)
    assert folder.startswith("3-")
    assert "/" not in folder
    assert len(folder.encode()) < 255


def test_channels_of_one_name_keep_their_own_places(grouped, sorter):
    """Users of Open Ephys rename channels, and may give two of them one name."""
    twins = replace(grouped, channel_ids=("a", "b", "a", "b"))
    done = spikecrate.sort_by_group(spikecrate.SortRequest(recording=twins, sorter=sorter(HIGHEST)))
    assert dict(zip(done.sorting.labels.tolist(), done.sorting.channels.tolist(), strict=True)) == {
        1: 0,
        2: 1,
        1001: 2,
        1002: 3,
    }
