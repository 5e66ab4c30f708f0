"""Whatever byte of the store is harmed: it is noticed before use, named, set aside, and made again."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import time

import pytest
import shelf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab import ANSWER, TWO_EVENTS

from spikecrate import api
from spikecrate._util.progress import Silent
from spikecrate.errors import RecordingChangedError, StoreError
from spikecrate.recordings import open_recording
from spikecrate.steps.recording_input import samples_hashes
from spikecrate.store import file_hashes as memo
from spikecrate.store import result_manifest as seal
from spikecrate.store import results, verify
from spikecrate.store.file_hashes import FileHashCache, FileState
from spikecrate.store.lock import Lock

HARMED = HealthCheck.function_scoped_fixture


def is_noticed(store, key, path, whole):
    """Say whether the result is refused and set aside; then put it back as it was."""
    told = []
    found = results.find(store, key, told.append)
    if found is not None:
        return False
    (aside,) = store.quarantine.iterdir()
    assert str(aside) in told[0]
    assert not store.result(key).exists()
    aside.rename(store.result(key))
    put(path, whole)
    return True


def put(path, data):
    """Write a new file: where one is emptied and written anew, some file systems go to the disk at once."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    from spikecrate.store import open_store

    store = open_store(tmp_path_factory.mktemp("names"))
    folder = store.result(shelf.put(store))
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


FILES = ["firings.mda", "job.json", "log.txt", "ro-crate-metadata.json", "run.json", "sorter/templates.npy"]


def test_these_are_all_the_files_of_a_result(names):
    assert names == {*FILES, seal.NAME}


@pytest.mark.parametrize("name", FILES)
def test_every_byte_of_every_file_flipped_or_cut_off_is_noticed_before_use(store, name):
    key = shelf.put(store)
    path = store.result(key) / name
    whole = path.read_bytes()
    for at in range(len(whole)):
        for harmed in (whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :], whole[:at]):
            put(path, harmed)
            assert is_noticed(store, key, path, whole), (name, at)
    path.write_bytes(whole + b"\0")
    assert is_noticed(store, key, path, whole)
    path.unlink()
    assert is_noticed(store, key, path, whole)
    assert results.find(store, key, pytest.fail) is not None


def test_every_byte_of_the_seal_flipped_is_noticed_or_carries_nothing(store):
    key = shelf.put(store)
    path = store.result(key) / seal.NAME
    whole = path.read_bytes()
    entry = json.loads(whole)
    for at in range(len(whole)):
        put(path, whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        if not is_noticed(store, key, path, whole):
            # White space between the fields.
            assert json.loads(path.read_bytes()) == entry
        put(path, whole[:at])
        assert is_noticed(store, key, path, whole), at


@settings(max_examples=60, suppress_health_check=[HARMED])
@given(data=st.data(), name=st.sampled_from([*FILES, seal.NAME]))
def test_any_harm_to_a_result_is_noticed_although_it_was_checked_before(store, monkeypatch, data, name):
    """Every file is settled, so that the memo has its say."""
    monkeypatch.setattr(memo, "SETTLED_S", 0.02)
    key = shelf.parts(0).key
    if not store.result(key).exists():
        shelf.put(store)
    time.sleep(0.03)
    path = store.result(key) / name
    whole = path.read_bytes()
    assert results.find(store, key, pytest.fail) is not None
    assert list(FileHashCache(store.memo).entries()) != []
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 40)))
    harmed = whole[:start] + data.draw(st.binary(max_size=40)) + whole[stop:]
    path.write_bytes(harmed)
    try:
        same = harmed == whole or (name == seal.NAME and json.loads(harmed) == json.loads(whole))
    except ValueError:
        same = False
    assert is_noticed(store, key, path, whole) != same
    path.write_bytes(whole)


def test_a_file_replaced_by_a_link_to_the_same_bytes_is_noticed(store, tmp_path):
    key = shelf.put(store)
    path = store.result(key) / "firings.mda"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert results.find(store, key, lambda _: None) is None


def test_a_corrupt_result_is_made_again(recording, sorter, here, store):  # noqa: ARG001
    from lab import ANSWER, TWO_EVENTS

    name = sorter(ANSWER + TWO_EVENTS)
    first = api.sort(recording, sorter=name, runtime="host")
    with (first.folder / "log.txt").open("ab") as log:
        log.write(b"!")
    again = api.sort(recording, sorter=name, runtime="host")
    assert again.status == "ran"
    assert api.sort(recording, sorter=name, runtime="host").status == "cached"
    assert len(list(store.quarantine.iterdir())) == 1


# A result that goes or comes while it is read -----------------------------------------------------


def test_a_result_that_is_collected_while_it_is_read_is_a_miss(store, monkeypatch):
    key = shelf.put(store)
    read = seal.read

    def late(folder):
        found = read(folder)
        shutil.rmtree(store.result(key))
        return found

    monkeypatch.setattr(seal, "read", late)
    assert results.find(store, key, pytest.fail) is None
    assert not store.quarantine.exists()


def test_a_result_that_is_replaced_while_it_is_read_is_read_as_the_new_one(store, monkeypatch):
    key = shelf.put(store, wall_s=1.0)
    read = seal.read

    def late(folder):
        found = read(folder)
        monkeypatch.undo()
        shelf.put(store, wall_s=2.0)
        return found

    monkeypatch.setattr(seal, "read", late)
    assert results.find(store, key, pytest.fail).record["wall_s"] == 2.0


# The memo -----------------------------------------------------------------------------------------


def edits(path):
    """Edits in place that leave the size, and put the modification time back."""
    before = path.stat()

    def by_write(byte):
        with path.open("r+b") as file:
            file.write(byte)

    def by_mmap(byte):
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[0:1] = byte

    for edit in (by_write, by_mmap):
        for restored in (False, True):

            def change(byte, edit=edit, restored=restored):
                edit(byte)
                if restored:
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

            yield change


def test_an_edit_in_place_within_the_clock_s_tick_is_noticed(store, tmp_path):
    """A thousand edits as fast as this file system takes them, each right after the file was asked about."""
    path = tmp_path / "raw.bin"
    path.write_bytes(bytes(4096))
    answers = FileHashCache(store.memo)
    for number in range(250):
        for edit in edits(path):
            state = FileState.of(path)
            remembered = answers.get(state, "bytes")
            held = path.read_bytes()[:1].hex()
            assert remembered in (None, held)
            answers.put(state, "bytes", held)
            edit(bytes([number % 251 + 1]))


def test_an_edit_in_place_of_a_settled_file_is_noticed(store, tmp_path, monkeypatch):
    monkeypatch.setattr(memo, "SETTLED_S", 0.05)
    path = tmp_path / "raw.bin"
    path.write_bytes(bytes(4096))
    answers = FileHashCache(store.memo)
    for byte, edit in enumerate(edits(path), start=1):
        time.sleep(0.1)
        state = FileState.of(path)
        assert answers.put(state, "bytes", "as it was")
        edit(bytes([byte]))
        assert answers.get(FileState.of(path), "bytes") is None


@pytest.mark.usefixtures("flushed")
def test_a_program_that_keeps_a_recording_mapped_cannot_change_it_unseen(recording, store, monkeypatch):
    """A page that is dirty already is written without a word to the file's times, until it is flushed."""
    monkeypatch.setattr(memo, "SETTLED_S", 0.05)
    opened = open_recording(recording)
    (path,) = opened.files
    answers = FileHashCache(store.memo)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        hashes = set()
        for value in (1, 2, 3):
            mapped[-1] = value
            time.sleep(0.1)
            hashes.update(samples_hashes([opened], (FileState.of(path),), answers, Silent()))
        assert len(hashes) == 3


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="the system has no /dev/shm")
def test_a_recording_in_memory_is_hashed_every_time(recording, store, monkeypatch):
    monkeypatch.setattr(memo, "SETTLED_S", 0.0)
    place = shutil.copytree(recording, f"/dev/shm/spikecrate-test-{os.getpid()}")
    try:
        opened = open_recording(place)
        states = tuple(map(FileState.of, opened.files))
        samples_hashes([opened], states, FileHashCache(store.memo), Silent())
        assert list(FileHashCache(store.memo).entries()) == []
    finally:
        shutil.rmtree(place)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="the system has no /dev/shm")
def test_a_recording_in_memory_that_a_map_changes_while_it_is_sorted_gives_no_result(
    recording,
    sorter,
    here,  # noqa: ARG001
    store,
):
    place = shutil.copytree(recording, f"/dev/shm/spikecrate-test-{os.getpid()}")
    (path,) = open_recording(place).files
    name = sorter(ANSWER + "    print('sorting', flush=True)\n" + TWO_EVENTS)

    class Changing(Silent):
        def line(self, _text):
            mapped[-1] = 7

    try:
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[-1] = 1
            before = FileState.of(path)
            with pytest.raises(RecordingChangedError, match="changed during the run"):
                api.sort(place, sorter=name, runtime="host", output="-", progress=Changing())
        assert FileState.of(path) == before
        assert list(results.keys(store)) == []
    finally:
        shutil.rmtree(place)


def test_every_harmed_byte_of_a_memo_is_noticed(store, tmp_path, monkeypatch):
    monkeypatch.setattr(memo, "SETTLED_S", -1.0)
    path = tmp_path / "raw.bin"
    path.write_bytes(b"samples")
    answers, state = FileHashCache(store.memo), FileState.of(path)
    answers.put(state, "hash", "1234")
    (entry,) = answers.entries()
    whole = entry.read_bytes()
    for at in range(len(whole)):
        for harmed in (whole[:at], whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]):
            put(entry, harmed)
            right = answers.get(state, "hash")
            assert right in (None, "1234")
            assert (answers.problem_of(entry) is None) == (right is not None)


# The lock -----------------------------------------------------------------------------------------


@settings(max_examples=100, suppress_health_check=[HARMED])
@given(data=st.one_of(st.binary(max_size=200), st.just(b"[" * 100_000), st.just(b'{"pid": {}}')))
def test_whatever_stands_in_a_lock_s_file_it_locks(store, data):
    path = store.lock("ab" * 32)
    path.write_bytes(data)
    lock = Lock(path)
    assert isinstance(lock.owner(), dict)
    assert lock.try_acquire()
    assert not Lock(path).try_acquire()
    lock.release()


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_lock_is_named_and_set_aside(store, tmp_path, kind):
    path = store.lock("ab" * 32)
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=path.name) as caught:
        Lock(path).try_acquire()
    assert "store.verify" in caught.value.next_step
    (found,) = verify.verify(verify.checks(store), Silent(), dry_run=False).found
    assert (found.kind, found.what) == ("lock", str(path))
    assert not (tmp_path / "elsewhere").exists()
    with Lock(path):
        pass
