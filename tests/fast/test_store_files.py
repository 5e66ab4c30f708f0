"""Files and folders of the store: exchanged, published and removed whole, whatever a sorter left."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys

import pytest

from spikecrate._util.files import copy_file, entries, exchange, remove_tree, write_atomically
from spikecrate._util.progress import Silent
from spikecrate.steps import output
from spikecrate.steps.sweep import sweep
from spikecrate.store import gc, pins, results
from spikecrate.store import result_manifest as seal

KEY = "ab" * 32


def built(store, text="events"):
    folder = store.work / f"{KEY}-{os.urandom(4).hex()}" / "result"
    folder.mkdir(parents=True)
    (folder / "firings.mda").write_text(text)
    (folder / "log.txt").write_text("sorted")
    (folder / "run.json").write_text(json.dumps({"key": KEY, "units": 2}))
    return folder


def make_deep(folder, depth):
    """Make folders inside folders, deeper than a path can name."""
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deep", dir_fd=descriptor)
        inner = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


class Idle:
    """A runtime in which nothing is left."""

    name = "host"

    def sweep(self, _store, _is_orphan):
        return []


# Removal ------------------------------------------------------------------------------------------


def test_a_removal_follows_no_link(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    (tmp_path / "out" / "a" / "b").mkdir(parents=True)
    for place in ("out", "out/a", "out/a/b"):
        (tmp_path / place / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "kept" / "file").read_text() == "kept"
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    with pytest.raises(OSError, match="link"):
        remove_tree(tmp_path / "link")


def test_a_deep_folder_of_a_stopped_run_is_refused_by_name_and_blocks_no_later_job_and_no_collection(store):
    left = store.work / f"{KEY}-00000000"
    # More than Python's recursion limit, and more than a path can name.
    make_deep(left / "out", 1100)
    with pytest.raises(OSError, match="too long") as raised:
        list(entries(left))
    assert raised.value.errno == errno.ENAMETOOLONG
    gc.collect(store, Silent(), keep_s=0, max_bytes=1, dry_run=False)
    assert sweep(store, Idle(), own_key=KEY) == [str(left)]
    assert list(store.work.iterdir()) == []


# Replacement --------------------------------------------------------------------------------------

KILLED = """
import os, sys
from pathlib import Path
from spikecrate._util.progress import Silent
from spikecrate._util import files
from spikecrate.store import open_store, results

store, built, call, can_exchange = open_store(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "True"
calls = 0

def counted(step):
    def wrapped(*args):
        global calls
        calls += 1
        done = step(*args)
        if calls == call:
            os.kill(os.getpid(), 9)
        return done
    return wrapped

Path.rename = counted(Path.rename)
results.exchange = counted(files.exchange) if can_exchange else lambda *_: False
results.remove_tree = counted(results.remove_tree)
results.publish(store, built.parent.name.split("-")[0], built)
"""


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_forced_run_killed_while_it_replaces_a_pinned_result_loses_none(store, call, can_exchange):
    results.publish(store, KEY, built(store, "earlier"))
    pins.pin(store, KEY, "kept")
    fresh = built(store, "new")
    argv = [sys.executable, "-c", KILLED, store.root, fresh, str(call), str(can_exchange)]
    child = subprocess.run(argv, check=False)
    assert child.returncode == -9
    sweep(store, Idle())
    found = results.find(store, KEY, pytest.fail)
    assert (found.folder / "firings.mda").read_text() in {"earlier", "new"}
    assert list(store.work.iterdir()) == []


def test_two_folders_are_exchanged_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    assert exchange(tmp_path / "a", tmp_path / "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "gone")


# Modes --------------------------------------------------------------------------------------------


def test_no_set_uid_bit_survives_into_a_result_or_its_copy(store, tmp_path):
    folder = built(store)
    (folder / "sorter").mkdir()
    (folder / "sorter" / "program").write_text("#!/bin/sh\n")
    (folder / "sorter" / "program").chmod(0o6755)
    (folder / "sorter").chmod(0o3777)
    stored = results.publish(store, KEY, folder)
    assert stat.S_IMODE((stored.folder / "sorter" / "program").stat().st_mode) == 0o755
    assert not stat.S_IMODE((stored.folder / "sorter").stat().st_mode) & 0o7000
    # A result of an earlier version may still have them.
    (stored.folder / "sorter" / "program").chmod(0o6755)
    output.put(stored, tmp_path / "copy", store)
    assert stat.S_IMODE((tmp_path / "copy" / "sorter" / "program").stat().st_mode) == 0o755


def test_whatever_modes_a_sorter_left_a_result_can_be_read_and_removed(store):
    folder = built(store)
    (folder / "closed").mkdir()
    (folder / "closed" / "file").write_text("")
    (folder / "closed" / "file").chmod(0)
    (folder / "closed").chmod(0o100)
    stored = results.publish(store, KEY, folder)
    assert stat.S_IMODE((stored.folder / "closed").stat().st_mode) == 0o700
    assert stat.S_IMODE((stored.folder / "closed" / "file").stat().st_mode) == 0o600


def test_every_file_of_a_copy_can_be_read_by_the_same_people(store, tmp_path):
    stored = results.publish(store, KEY, built(store))
    output.put(stored, tmp_path / "copy", store)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "copy").iterdir()}
    assert modes[seal.NAME] == modes["run.json"]
    assert len(modes) == 4


def test_a_written_file_obeys_the_umask_and_a_secret_is_private(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"")
        write_atomically(tmp_path / "secret", b"", mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_copied_file_keeps_its_permissions(tmp_path):
    (tmp_path / "source").write_text("")
    (tmp_path / "source").chmod(0o4711)
    copy_file(tmp_path / "source", tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o711
