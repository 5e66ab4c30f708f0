"""Lists are made from an index that is never the truth: whatever becomes of it, a list shows what is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shelf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikecrate._util.files import remove_tree
from spikecrate.errors import JobNotFoundError, UsageError
from spikecrate.steps.listing import find_key, list_jobs
from spikecrate.steps.plan import nearest
from spikecrate.store import index, open_store, results, summary


@pytest.fixture
def settled(monkeypatch):
    """Take every shard for settled, as if it had changed long ago."""
    monkeypatch.setattr(index, "SETTLED_S", -1.0)


@pytest.fixture
def reads(monkeypatch):
    """Count the run records that are read."""
    seen = []
    read = summary._read_result
    monkeypatch.setattr(summary, "_read_result", lambda folder: seen.append(folder.name) or read(folder))
    return seen


def listed(store):
    return {row["key"] for row in list_jobs(store)}


@pytest.mark.usefixtures("settled")
def test_a_second_list_reads_no_record(store, reads):
    keys = {shelf.put(store, seed) for seed in range(20)}
    assert listed(store) == keys
    reads.clear()
    assert listed(store) == keys
    assert reads == []


@pytest.mark.usefixtures("settled")
def test_only_what_is_new_in_a_shard_is_read(store, reads):
    keys = {shelf.put(store, seed) for seed in range(10)}
    shard = min(keys)[:2]
    listed(store)
    reads.clear()
    new = shelf.put(store, next(seed for seed in range(10, 9999) if shelf.parts(seed).key[:2] == shard))
    assert listed(store) == keys | {new}
    assert reads == [new]


def test_a_result_that_came_within_the_clock_s_tick_is_not_missed(store):
    """However fast they come, before, between and after the lists."""
    keys = set()
    for seed in range(100):
        keys.add(shelf.put(store, seed))
        assert listed(store) == keys


def test_an_index_younger_than_the_clock_s_tick_is_not_trusted(store):
    first = shelf.put(store, 0)
    listed(store)
    assert index.read_page(store.index / "results" / f"{first[:2]}.rows").state is None
    second = next(seed for seed in range(1, 5000) if shelf.parts(seed).key[:2] == first[:2])
    assert listed(store) | {shelf.put(store, second)} == listed(store)


@pytest.mark.usefixtures("settled")
def test_a_result_made_anew_is_listed_as_it_is_now(store):
    key = shelf.put(store, wall_s=1.0)
    assert list_jobs(store)[0]["wall_s"] == 1.0
    remove_tree(store.result(key))
    shelf.put(store, wall_s=2.0)
    assert list_jobs(store)[0]["wall_s"] == 2.0


@pytest.mark.usefixtures("settled")
def test_a_result_that_was_removed_by_hand_is_no_longer_listed(store):
    keys = {shelf.put(store, seed) for seed in range(3)}
    listed(store)
    gone = keys.pop()
    shutil.rmtree(store.result(gone))
    assert listed(store) == keys
    shutil.rmtree(store.result(keys.pop()).parent)
    assert listed(store) == keys


@pytest.mark.usefixtures("settled")
def test_every_harmed_byte_of_the_index_is_noticed_and_it_is_made_again(store):
    key = shelf.put(store)
    listed(store)
    path = store.index / "results" / f"{key[:2]}.rows"
    whole, page = path.read_bytes(), index.read_page(path)
    for at in range(len(whole)):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            path.unlink()
            path.write_bytes(data)
            assert index.read_page(path) is None
    assert listed(store) == {key}
    assert index.read_page(path) == page


@pytest.mark.usefixtures("settled")
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_any_bytes_in_place_of_the_index_do_no_harm(store, data):
    key = shelf.parts(0).key
    if not store.result(key).exists():
        shelf.put(store)
    (store.index / "results").mkdir(parents=True, exist_ok=True)
    (store.index / "results" / f"{key[:2]}.rows").write_bytes(data)
    assert listed(store) == {key}


@pytest.mark.parametrize("harm", ["removed", "a file", "read-only"])
def test_a_list_needs_no_index(store, harm):
    key = shelf.put(store)
    listed(store)
    shutil.rmtree(store.index)
    if harm == "a file":
        store.index.write_text("")
    elif harm == "read-only":
        store.index.mkdir(mode=0o500)
    assert listed(store) == {key}


@pytest.mark.usefixtures("settled")
def test_a_folder_that_holds_no_result_is_passed_over(store):
    key = shelf.put(store)
    (store.result(key).parent / ("0" * 64)).mkdir()
    (store.results / "stray").write_text("")
    broken = store.result("f" * 64)
    broken.mkdir(parents=True)
    (broken / "run.json").write_text('{"sorter": []}')
    for _ in range(2):
        assert listed(store) == {key}


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
import shelf
from spikecrate.steps.listing import list_jobs
from spikecrate.store import open_store
store, first = open_store(sys.argv[2]), int(sys.argv[3])
for seed in range(first, first + 25):
    key = shelf.put(store, seed)
    assert key in {row["key"] for row in list_jobs(store)}
"""


def test_processes_that_write_and_list_at_once_miss_nothing(store):
    here = Path(__file__).parent
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, here, store.root, str(100 * number)])
        for number in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    expected = {shelf.parts(100 * number + at).key for number in range(4) for at in range(25)}
    assert listed(store) == expected == set(results.keys(store))


# What is listed -----------------------------------------------------------------------------------


def test_jobs_are_listed_the_latest_first_and_filtered(store):
    ours = [shelf.put(store, seed, path=f"/data/mouse{seed}") for seed in range(3)]
    other = shelf.put(store, 9, sorter="lab", path="/data/rat")
    failed = shelf.fail(store, 5)
    assert [row["key"] for row in list_jobs(store)] == [failed, other, *ours[::-1]]
    assert [row["key"] for row in list_jobs(store, limit=2)] == [failed, other]
    assert [row["key"] for row in list_jobs(store, sorters={"lab"})] == [other]
    assert [row["key"] for row in list_jobs(store, recording="mouse1")] == [ours[1]]
    assert [row["key"] for row in list_jobs(store, status="failed")] == [failed]
    assert [row["key"] for row in list_jobs(store, recording="fly")] == [failed]
    assert list_jobs(store, status="running") == []
    with pytest.raises(UsageError, match="done"):
        list_jobs(store, status="done")


def test_a_result_and_a_failure_of_an_earlier_record_are_listed(store):
    """Until schema 2 a record had `sorter` and `recording` in place of `tool` and `inputs`."""
    for key, name, recording in (
        (shelf.put(store, 1), "run.json", {"path": "/data/rat"}),
        (shelf.fail(store, 2), "failure.json", "/data/rat"),
    ):
        path = (store.result(key) if name == "run.json" else store.failure(key)) / name
        record = json.loads(path.read_bytes())
        record.pop("inputs")
        tool = record.pop("tool", None)
        earlier = {"recording": recording, **({"sorter": tool} if tool else {})}
        path.write_text(json.dumps(record | earlier))
    assert {row["recording"] for row in list_jobs(store)} == {"/data/rat"}
    assert {row["sorter"] for row in list_jobs(store)} == {"ms4"}


def test_a_key_is_completed_from_its_first_digits(store):
    keys = [shelf.put(store, seed) for seed in range(30)]
    assert all(find_key(store, key[:length]) == key for key in keys for length in (12, 64))
    failed = shelf.fail(store, 99)
    assert find_key(store, failed[:12].upper()) == failed
    for word in ("", "0/../", "zz", keys[0][:2] + "/"):
        with pytest.raises(JobNotFoundError):
            find_key(store, word)


def test_the_nearest_earlier_result_is_found_without_reading_records(store, reads):
    shelf.put(store, 1, samples="bb" * 32, threshold=3)
    near = shelf.put(store, 0, threshold=4, radius=50)
    shelf.put(store, 0, threshold=9, radius=90)
    asked = shelf.parts(0, threshold=5, radius=50).as_dict()
    found = nearest(asked, summary.history(store))
    assert found["key"] == near
    assert len(reads) == 3
    strange = shelf.parts(0, sorter="other", samples="cc" * 32).as_dict()
    assert nearest(strange, summary.history(store)) is None


def test_an_index_of_another_host_serves_here(store, tmp_path, monkeypatch, reads):
    """A file system has another device number on every host that mounts it."""
    monkeypatch.setattr(index, "SETTLED_S", -1.0)
    key = shelf.put(store)
    listed(store)
    reads.clear()
    (tmp_path / "elsewhere").symlink_to(store.root)
    assert listed(open_store(tmp_path / "elsewhere")) == {key}
    assert reads == []
