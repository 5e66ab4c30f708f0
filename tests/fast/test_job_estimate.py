"""What a job will take is judged by runs that were measured."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import ANSWER, TWO_EVENTS, Notes

import spikecrate
from spikecrate import api
from spikecrate.catalogue.tools import find
from spikecrate.steps.estimate import (
    MEASURED,
    Run,
    available_memory,
    judge,
    runs_of,
    shipped_runs,
    write_measured,
)
from spikecrate.steps.request import SortRequest

pytestmark = pytest.mark.usefixtures("here")

RUNS = st.builds(
    Run,
    values=st.integers(1, 10**12),
    cores=st.integers(1, 64),
    memory_bytes=st.integers(1, 10**12),
    wall_s=st.floats(0, 1e6),
)


def test_without_a_run_nothing_is_said():
    assert judge(10**6, []) is None


def test_time_grows_with_the_recording_and_memory_does_not_shrink():
    known = Run(values=10**6, cores=1, memory_bytes=100, wall_s=10)
    larger, smaller = judge(2 * 10**6, [known]), judge(10**5, [known])
    assert (larger.memory_bytes, larger.wall_s) == (200, 20)
    assert (smaller.memory_bytes, smaller.wall_s) == (100, 1)


def test_of_recordings_of_one_size_the_one_that_took_most_is_believed():
    runs = [
        Run(values=10**6 + more, cores=1, memory_bytes=memory, wall_s=1) for more, memory in ((0, 5), (9, 7))
    ]
    assert judge(10**6, runs).memory_bytes == 7
    assert judge(10**6, runs).runs == 2


@given(st.integers(1, 10**12), st.lists(RUNS, min_size=1, max_size=5))
def test_a_run_on_a_recording_of_this_size_is_never_judged_lower_than_it_was(values, runs):
    here = Run(values=values, cores=1, memory_bytes=10**6, wall_s=3.0)
    judged = judge(values, [*runs, here])
    assert judged.memory_bytes >= here.memory_bytes
    assert judged.wall_s >= here.wall_s
    assert judged.nearest_values == values


def test_the_next_forecast_is_judged_by_the_run_before(recording, sorter, store):
    name = sorter(ANSWER + TWO_EVENTS)
    record = spikecrate.sort(recording, sorter=name).record
    (run,) = runs_of(name, store)
    assert run.memory_bytes == record["peak_memory_bytes"] > 0
    (part,) = record["inputs"]["recording"]["layout"]["parts"]
    assert run.values == 4 * part["num_samples"]


def test_a_job_that_will_need_more_than_its_limit_is_said_before_it_starts(recording, sorter, store):
    name = sorter(ANSWER + TWO_EVENTS)
    spikecrate.sort(recording, sorter=name)
    (find(name).folder / MEASURED).write_text(
        json.dumps([{"values": 1, "cores": 1, "memory_bytes": 2**40, "wall_s": 1.0}])
    )
    assert shipped_runs(find(name))[0].memory_bytes == 2**40
    (store.results).rename(store.root / "elsewhere")
    store.results.mkdir()
    heard = Notes()
    asked = SortRequest(recording=recording, sorter=name, memory_bytes=2**30)
    api.find_or_run(asked, store, heard)
    assert any("will need about" in note and "the limit is 1.0 GiB" in note for note in heard.notes)


def test_what_runs_took_goes_with_the_sorter_and_judges_where_there_is_no_run_yet(recording, sorter, store):
    found = find(sorter(ANSWER + TWO_EVENTS))
    spikecrate.sort(recording, sorter=found.name)
    write_measured(found, store)
    assert shipped_runs(found) == runs_of(found.name, store)
    assert len(shipped_runs(found)) == 1


@pytest.mark.parametrize("text", ["", "not json", "[1]", '[{"values": 1}]', "{}"])
def test_measurements_that_cannot_be_read_say_nothing(text, sorter):
    found = find(sorter(ANSWER + TWO_EVENTS))
    (found.folder / MEASURED).write_text(text)
    assert shipped_runs(found) == []


def test_the_machine_s_free_memory_is_read_where_the_kernel_tells_it(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:       2048 kB\nMemAvailable:   1024 kB\n")
    assert available_memory(tmp_path / "meminfo") == 2**20
    assert available_memory(tmp_path / "nothing") is None
