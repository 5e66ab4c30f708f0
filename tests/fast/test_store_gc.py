"""What is collected is old, unpinned and unused; what is removed is gone in one step, and never torn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import pytest
import shelf
from hypothesis import given
from hypothesis import strategies as st

from spikecrate._util.files import write_atomically
from spikecrate._util.progress import Silent
from spikecrate.cli import store as request
from spikecrate.cli.parse import parse
from spikecrate.errors import JobNotFoundError, UsageError
from spikecrate.runtimes.host import Host
from spikecrate.steps.listing import list_jobs
from spikecrate.steps.paths import WorkPaths
from spikecrate.steps.sweep import sweep
from spikecrate.store import file_hashes as memo
from spikecrate.store import gc, pins, results, usage
from spikecrate.store.file_hashes import FileHashCache, FileState
from spikecrate.store.gc import Item
from spikecrate.store.lock import Lock

DAY = 86400.0


def collect(store, *, keep_s=None, max_bytes=None, dry_run=False):
    return asdict(gc.collect(store, Silent(), keep_s=keep_s, max_bytes=max_bytes, dry_run=dry_run))


def old(store, seed, days=40):
    key = shelf.put(store, seed)
    shelf.unused_for(store, key, days * DAY)
    return key


# The decision -------------------------------------------------------------------------------------

ITEMS = st.lists(
    st.builds(
        lambda number, size, age: Item(kind="result", path=f"/{number}", size_bytes=size, used=1e9 - age),
        st.integers(0, 10**9),
        st.integers(0, 1000),
        st.floats(-1e4, 1e7),
    ),
    unique_by=lambda item: item.path,
)


@given(ITEMS, st.none() | st.floats(0, 1e7), st.none() | st.integers(0, 20_000), st.data())
def test_what_goes_is_what_was_asked_for_and_the_longest_unused_first(items, keep_s, max_bytes, data):
    pinned = frozenset(item.name for item in items if data.draw(st.booleans()))
    total = sum(item.size_bytes for item in items)
    gone = gc.choose(items, now=1e9, keep_s=keep_s, max_bytes=max_bytes, total_bytes=total, pinned=pinned)
    stay = [item for item in items if item not in gone]
    movable = [item for item in stay if item.name not in pinned and 1e9 - item.used >= gc.GRACE_S]
    assert not {item.name for item in gone} & pinned
    assert all(1e9 - item.used >= gc.GRACE_S for item in gone)
    assert max((item.used for item in gone), default=0) <= min((item.used for item in movable), default=2e9)
    if keep_s is not None:
        assert all(1e9 - item.used <= keep_s for item in movable)
    if max_bytes is not None and movable:
        assert sum(item.size_bytes for item in stay) <= max_bytes
    if keep_s is None and max_bytes is None:
        assert gone == []
    if keep_s is None and max_bytes is not None and gone:
        # Not one more than needed.
        assert sum(item.size_bytes for item in stay) + gone[-1].size_bytes > max_bytes


# Results ------------------------------------------------------------------------------------------


def test_old_results_go_and_recent_and_pinned_ones_stay(store):
    recent, gone, kept = old(store, 0, days=20), old(store, 1), old(store, 2)
    pins.pin(store, kept, "")
    done = collect(store, keep_s=30 * DAY)
    assert [row["what"] for row in done["collected"]] == [str(store.result(gone))]
    assert set(results.keys(store)) == {recent, kept}
    assert {row["key"] for row in list_jobs(store)} == {recent, kept}
    assert done["freed_bytes"] > 0
    assert list(store.work.glob("*-removed-*")) == []
    assert list(store.locks.iterdir()) == []


def test_a_dry_run_names_the_same_and_removes_nothing(store):
    keys = {old(store, seed) for seed in range(5)}
    shelf.fail(store, 7)
    before = {path: path.lstat() for path in store.root.rglob("*") if store.index not in path.parents}
    dry = collect(store, keep_s=30 * DAY, dry_run=True)
    assert len(dry["collected"]) == 5
    after = {path: path.lstat() for path in store.root.rglob("*") if store.index not in path.parents}
    assert {path: stat.st_ctime_ns for path, stat in after.items() if path != store.index} == {
        path: stat.st_ctime_ns for path, stat in before.items() if path != store.index
    }
    assert set(results.keys(store)) == keys
    assert collect(store, keep_s=30 * DAY)["collected"] == dry["collected"]


def test_a_use_is_noted_and_keeps_a_result(store):
    used, unused = old(store, 0), old(store, 1)
    results.find(store, used, pytest.fail)
    collect(store, keep_s=30 * DAY)
    assert set(results.keys(store)) == {used}
    assert unused != used


def test_noting_a_use_is_no_change_to_the_result_and_is_not_done_at_every_hit(store):
    key = old(store, 0)
    results.find(store, key, pytest.fail)
    noted = (store.result(key) / "manifest.json").stat().st_ctime_ns
    for _ in range(5):
        results.find(store, key, pytest.fail)
    assert (store.result(key) / "manifest.json").stat().st_ctime_ns == noted


def test_the_store_is_brought_below_its_maximum_the_longest_unused_first(store):
    keys = [old(store, seed, days=10 - seed) for seed in range(6)]
    whole = usage.usage(store, Silent()).bytes
    size = gc.collect(store, Silent(), keep_s=1e9, max_bytes=None, dry_run=True).freed_bytes
    assert size == 0
    of_two = 2 * (usage.usage(store, Silent()).kinds[0].bytes // 6)
    done = collect(store, max_bytes=whole - of_two + 10)
    assert set(results.keys(store)) == {*keys[2:]}
    assert done["left_bytes"] <= whole - of_two + 10


def test_without_an_age_or_a_size_no_result_goes(store):
    key = old(store, 0, days=4000)
    shelf.fail(store, 1)
    assert collect(store)["collected"] == []
    assert set(results.keys(store)) == {key}


def test_what_was_used_within_the_hour_stays_whatever_is_asked(store):
    key = shelf.put(store)
    assert collect(store, keep_s=0.0, max_bytes=0)["collected"] == []
    assert set(results.keys(store)) == {key}


def test_a_job_that_runs_keeps_its_result(store):
    key = old(store, 0)
    with Lock(store.lock(key)):
        done = collect(store, keep_s=DAY)
    assert (done["collected"], done["busy"]) == ([], 1)
    assert results.find(store, key, pytest.fail) is not None


def test_a_result_used_at_the_moment_of_its_removal_is_put_back(store, monkeypatch):
    key = old(store, 0)
    choose = gc.choose

    def late(*arguments, **named):
        chosen = choose(*arguments, **named)
        results.find(store, key, pytest.fail)
        return chosen

    monkeypatch.setattr(gc, "choose", late)
    done = collect(store, keep_s=DAY)
    assert (done["collected"], done["busy"]) == ([], 1)
    assert results.find(store, key, pytest.fail) is not None


def test_hits_that_race_with_collections_are_right_or_misses(store):
    """Four readers, one that puts results back, one that collects; nothing is ever found corrupt."""
    keys, stop, wrong = [shelf.parts(seed).key for seed in range(6)], threading.Event(), []

    def read(number):
        while not stop.is_set():
            key = keys[number % len(keys)]
            found = results.find(store, key, wrong.append)
            if found is not None and found.record["key"] != key:
                wrong.append(key)
            number += 1

    def make():
        while not stop.is_set():
            for seed, key in enumerate(keys):
                lock = Lock(store.lock(key))
                if lock.try_acquire():
                    if not store.result(key).exists():
                        shelf.put(store, seed)
                    os.utime(store.result(key) / "manifest.json", (0, 0))
                    lock.release()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    threads.append(threading.Thread(target=make))
    for thread in threads:
        thread.start()
    collected = 0
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            collected += len(collect(store, keep_s=DAY)["collected"])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert collected > 0
    assert not store.quarantine.exists()


KILLED = """
import os, sys
from spikecrate._util.progress import Silent
from spikecrate.store import gc, open_store
gc.remove_tree = lambda folder: os.kill(os.getpid(), 9)
gc.collect(open_store(sys.argv[1]), Silent(), keep_s=86400.0, max_bytes=None, dry_run=False)
"""


def test_what_a_killed_collection_leaves_the_next_sweep_removes(store):
    key = old(store, 0)
    subprocess.run([sys.executable, "-c", KILLED, store.root], check=False)
    assert results.find(store, key, pytest.fail) is None
    (left,) = store.work.glob(f"{key}-removed-*")
    assert store.lock(key).exists()
    assert sweep(store, Host(store)) == [str(left)]
    assert list(store.locks.iterdir()) == []


# Everything else ----------------------------------------------------------------------------------


def test_old_failures_quarantine_and_logs_go_too(store):
    failed = shelf.fail(store, 1)
    store.quarantine.mkdir()
    (store.quarantine / "ab-1").mkdir()
    (store.quarantine / "ab-1" / "firings.mda").write_bytes(bytes(100))
    (store.quarantine / "ms4-2.sif").write_bytes(bytes(100))
    (store.logs / "build-ms4.txt").write_text("log")
    items = list(gc._items(store, Silent()))
    assert sorted(item.kind for item in items) == ["failure", "log", "quarantine", "quarantine"]
    for item in items:
        assert gc._remove(store, item)
    assert not store.failure(failed).exists()
    assert list(store.quarantine.iterdir()) == list(store.logs.iterdir()) == []


def test_lock_files_of_killed_owners_go_and_held_ones_stay(store):
    store.lock("dead").write_text("{}")
    with Lock(store.lock("alive")):
        assert collect(store, dry_run=True)["locks"] == 1
        assert store.lock("dead").exists()
        assert collect(store)["locks"] == 1
        assert [path.name for path in store.locks.iterdir()] == ["alive.lock"]
        assert not Lock(store.lock("alive")).try_acquire()


def test_old_memos_of_files_that_are_gone_or_changed_go(store, tmp_path, monkeypatch):
    monkeypatch.setattr(memo, "SETTLED_S", -1.0)
    answers = FileHashCache(store.memo)
    for name in ("stays", "goes", "changes", "young"):
        (tmp_path / name).write_text(name)
        answers.put(FileState.of(tmp_path / name), "hash", "1")
    for path in answers.entries():
        if not path.read_text().count("young"):
            os.utime(path, (0, 0))
    (tmp_path / "goes").unlink()
    (tmp_path / "young").unlink()
    (tmp_path / "changes").write_text("another")
    assert collect(store, keep_s=DAY)["memos"] == 2
    left = {json.loads(path.read_text())["path"] for path in answers.entries()}
    assert left == {str(tmp_path / "stays"), str(tmp_path / "young")}


def test_halves_of_files_and_the_index_of_shards_that_are_gone_go(store, monkeypatch):
    key = old(store, 0)
    list_jobs(store)
    (store.memo / "ab").mkdir()
    half, young = store.memo / "ab" / ".new-1", store.root / ".new-2"
    half.write_text("")
    of_a_doctor = store.root / ".new-doctor-1"
    of_a_doctor.mkdir()
    assert collect(store)["partial_files"] == 0
    store.result(key).rename(store.work / "elsewhere")
    store.result(key).parent.rmdir()
    monkeypatch.setattr(gc, "DAY_S", -1.0)
    assert collect(store)["partial_files"] == 3
    write_atomically(young, b"")
    assert not half.exists()
    assert not of_a_doctor.exists()
    assert list((store.index / "results").iterdir()) == []


# The tasks ----------------------------------------------------------------------------------------


def test_a_pin_is_a_file_and_is_shown(store):
    key = shelf.put(store)
    assert request.pin(key[:8]) == {"key": key, "pinned": True, "changed": True}
    assert request.pin(key)["changed"] is False
    assert [path.name for path in store.pins.iterdir()] == [key]
    assert list_jobs(store)[0]["pinned"] is True
    assert request.usage(progress=Silent())["pinned"] == 1
    assert request.unpin(key[:8]) == {"key": key, "pinned": False, "changed": True}
    assert request.unpin(key)["changed"] is False
    assert list_jobs(store)[0]["pinned"] is False


def test_only_a_result_can_be_pinned(store):
    failed = shelf.fail(store)
    with pytest.raises(JobNotFoundError, match="no result"):
        request.pin(failed)
    with pytest.raises(JobNotFoundError):
        request.pin("0123")


def test_the_pin_of_a_result_that_is_gone_can_be_taken_away(store):
    key = shelf.put(store)
    request.pin(key)
    store.result(key).rename(store.root / "gone")
    assert request.unpin(key[:6])["changed"] is True


def test_usage_adds_up(store):
    for seed in range(3):
        shelf.put(store, seed)
    shelf.put(store, 9, sorter="lab")
    shelf.fail(store, 11)
    found = request.usage(progress=Silent())
    of_kind = {row["kind"]: row for row in found["kinds"]}
    assert of_kind["results"]["count"] == 4
    assert of_kind["results"]["bytes"] == usage.measured(store.results)[1]
    assert of_kind["failures"]["bytes"] == usage.measured(store.failures)[1]
    assert [(row["sorter"], row["results"]) for row in found["sorters"]] == [("lab", 1), ("ms4", 3)]
    assert sum(row["bytes"] for row in found["sorters"]) == of_kind["results"]["bytes"]
    folders = {path.name for path in store.root.iterdir() if path.is_dir()}
    assert folders <= set(of_kind)


@pytest.mark.parametrize("words", [["--keep", "soon"], ["--max", "much"]])
def test_an_age_or_a_size_that_cannot_be_read_is_refused(words):
    with pytest.raises(UsageError):
        parse(request.collect_garbage, ["--dry-run", *words])


def test_a_dry_run_names_what_stopped_runs_left_and_leaves_it(store):
    paths = WorkPaths.fresh(store.work, "ab" * 32)
    paths.make()
    assert request.collect_garbage(dry_run=True, progress=Silent())["removed"] == [str(paths.root)]
    with Lock(store.lock("ab" * 32)):
        assert request.collect_garbage(dry_run=True, progress=Silent())["removed"] == []
    assert paths.scratch.is_dir()
