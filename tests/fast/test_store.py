"""The store: complete or absent, checked before it is believed, no one else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spikecrate._util.files import copy_file, remove_tree, write_atomically
from spikecrate.errors import DiskFullError, StoreError
from spikecrate.store import open_store, results
from spikecrate.store import result_manifest as seal
from spikecrate.store.file_hashes import FileHashCache, FileState
from spikecrate.store.lock import Lock
from spikecrate.store.place import system_errors_named

KEY = "ab" * 32


def built(store, key=KEY, text="events"):
    folder = store.work / f"{key}-00000000" / "result"
    folder.mkdir(parents=True)
    (folder / "firings.mda").write_text(text)
    (folder / "log.txt").write_text("sorted")
    (folder / "run.json").write_text(json.dumps({"key": key, "units": 2}))
    return folder


def age(path):
    """Make a file old enough for the memo."""
    old = time.time() - 3600
    os.utime(path, (old, old))


# The place ----------------------------------------------------------------------------------------


def test_the_store_is_for_its_owner_alone(store):
    assert store.root.stat().st_mode & 0o777 == 0o700


def test_a_store_of_another_user_is_refused(tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(StoreError, match="belongs to user"):
        open_store(tmp_path / "theirs")


def test_a_store_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        open_store(tmp_path / "file")


def test_a_store_of_a_newer_version_is_refused(store):
    (store.root / "store.json").write_text('{"schema": 99}')
    with pytest.raises(StoreError, match="newer"):
        open_store(store.root)


# Results ------------------------------------------------------------------------------------------


def test_a_published_result_is_found(store):
    published = results.publish(store, KEY, built(store))
    found = results.find(store, KEY, pytest.fail)
    assert found == published
    assert found.record["units"] == 2


def test_what_is_not_there_is_not_found(store):
    assert results.find(store, KEY, pytest.fail) is None


@pytest.mark.parametrize("name", ["firings.mda", "run.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "link"])
def test_a_harmed_result_is_noticed_and_set_aside(store, name, harm):
    path = results.publish(store, KEY, built(store)).folder / name
    data = path.read_bytes()
    if harm == "flip":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif harm == "truncate":
        path.write_bytes(data[:-1])
    else:
        path.unlink()
    if harm == "link":
        path.symlink_to("/etc/passwd")
    told = []
    assert results.find(store, KEY, told.append) is None
    assert "corrupt" in told[0]
    assert not store.result(KEY).exists()
    assert len(list(store.quarantine.iterdir())) == 1


def test_every_flipped_byte_of_the_seal_is_noticed(store):
    folder = results.publish(store, KEY, built(store)).folder
    path = folder / "manifest.json"
    data = path.read_bytes()
    for at in range(len(data)):
        path.unlink()
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        try:
            found = seal.read(folder)
            seal.check(folder, found)
        except seal.BrokenSealError:
            continue
        # White space between the fields carries nothing.
        assert (found.files, found.hash) == _fields(data)
    path.write_bytes(data)
    seal.check(folder, seal.read(folder))


def _fields(data):
    entry = json.loads(data)
    return entry["files"], entry["seal"]


def test_a_result_moved_to_another_key_is_not_believed(store):
    folder = results.publish(store, KEY, built(store)).folder
    other = "cd" * 32
    store.result(other).parent.mkdir(parents=True)
    folder.rename(store.result(other))
    assert results.find(store, other, lambda _: None) is None


def test_an_edit_that_puts_size_and_time_back_is_noticed(store):
    """The memo of checked files goes by the change time too, which a user cannot set."""
    path = results.publish(store, KEY, built(store)).folder / "firings.mda"
    age(path)
    assert results.find(store, KEY, pytest.fail) is not None
    before = path.stat()
    path.write_text("EVENTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert results.find(store, KEY, lambda _: None) is None


def test_a_forced_result_replaces_the_earlier_one(store):
    results.publish(store, KEY, built(store))
    remove_tree(store.work / f"{KEY}-00000000")
    published = results.publish(store, KEY, built(store, text="events anew"))
    assert (published.folder / "firings.mda").read_text() == "events anew"
    assert [path.name for path in store.work.iterdir() if "replaced" in path.name] == []


def test_a_link_among_the_results_files_is_not_published(store):
    folder = built(store)
    (folder / "extra").symlink_to("/etc/passwd")
    with pytest.raises(seal.BrokenSealError, match="extra"):
        results.publish(store, KEY, folder)
    assert not store.result(KEY).exists()


# The memo -----------------------------------------------------------------------------------------


@pytest.fixture
def memo(store):
    return FileHashCache(store.memo)


@pytest.fixture
def settled(tmp_path, monkeypatch):
    """A file that changed an hour ago, as the memo's clock sees it."""
    path = tmp_path / "raw.bin"
    path.write_bytes(b"samples")
    later = time.time_ns() + 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    return path


def test_an_answer_about_an_unchanged_file_is_remembered(memo, settled):
    assert memo.put(FileState.of(settled), "hash", "1234")
    assert memo.get(FileState.of(settled), "hash") == "1234"
    assert memo.get(FileState.of(settled), "another question") is None


def test_a_changed_file_is_asked_about_anew(memo, settled):
    memo.put(FileState.of(settled), "hash", "1234")
    stat = settled.stat()
    settled.write_bytes(b"SAMPLES")
    os.utime(settled, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert memo.get(FileState.of(settled), "hash") is None


def test_a_file_changed_just_now_is_not_remembered(memo, tmp_path):
    path = tmp_path / "raw.bin"
    path.write_bytes(b"samples")
    assert not memo.put(FileState.of(path), "hash", "1234")
    assert memo.get(FileState.of(path), "hash") is None


def test_a_harmed_memo_is_no_answer(memo, settled):
    state = FileState.of(settled)
    memo.put(state, "hash", "1234")
    (path,) = memo.folder.rglob("*.json")
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.unlink()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert memo.get(state, "hash") in (None, "1234")
    path.write_bytes(whole[:10])
    assert memo.get(state, "hash") is None


# The lock -----------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from spikecrate.store.lock import Lock
lock = Lock(Path(sys.argv[1]))
assert lock.try_acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(store):
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.lock(KEY)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def test_a_held_lock_is_not_given_twice(store, holder):
    lock = Lock(store.lock(KEY))
    assert not lock.try_acquire()
    assert lock.owner()["pid"] == holder.pid


def test_the_lock_of_a_killed_owner_is_free(store, holder):
    holder.kill()
    holder.wait()
    lock = Lock(store.lock(KEY))
    assert lock.try_acquire()
    lock.release()


def test_two_locks_in_one_process_exclude_each_other(store):
    with Lock(store.lock(KEY)):
        assert not Lock(store.lock(KEY)).try_acquire()
    assert not store.lock(KEY).exists()


def test_a_lock_whose_file_was_removed_meanwhile_locks_the_new_file(store):
    first = Lock(store.lock(KEY))
    assert first.try_acquire()
    store.lock(KEY).unlink()
    second = Lock(store.lock(KEY))
    assert second.try_acquire()
    assert not Lock(store.lock(KEY)).try_acquire()
    second.release()


# Files --------------------------------------------------------------------------------------------


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="kept"):
        write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".new")] == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(13, "Permission denied", "/lab/store/results/ab"), StoreError),
        (OSError(30, "Read-only file system", "/lab/store/locks/a.lock"), StoreError),
        (OSError(122, "Disk quota exceeded"), DiskFullError),
        (PermissionError(13, "Permission denied", "/lab/recording/raw.mda"), PermissionError),
        (BrokenPipeError(32, "Broken pipe"), BrokenPipeError),
    ],
)
def test_what_the_system_says_of_a_path_in_the_store_is_an_error_of_ours(error, kind):
    with pytest.raises(kind) as raised, system_errors_named(Path("/lab/store")):
        raise error
    if kind is StoreError:
        assert error.filename in str(raised.value)
        assert raised.value.next_step


def test_a_copy_has_the_bytes_and_is_no_hard_link(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20))
    copy_file(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert source.stat().st_nlink == 1


def test_a_folder_that_cannot_be_entered_is_removed_too(tmp_path):
    inner = tmp_path / "out" / "closed"
    inner.mkdir(parents=True)
    (inner / "file").write_text("")
    inner.chmod(0)
    remove_tree(tmp_path / "out")
    assert not (tmp_path / "out").exists()
