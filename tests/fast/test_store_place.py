"""Where the store is by default, who may use it, and what is said of it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spikecrate._util.file_systems import is_memory_backed
from spikecrate.errors import StoreError
from spikecrate.store import open_store, pins
from spikecrate.store import place as module
from spikecrate.store.lock import Lock
from spikecrate.store.place import Store, concerns, place_of

KEY = "ab" * 32
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two users")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# Where --------------------------------------------------------------------------------------------


def test_the_default_store_outlives_a_reboot(monkeypatch, tmp_path):
    monkeypatch.delenv("SPIKECRATE_STORE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert place_of(None) == tmp_path / ".cache" / "spikecrate"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert open_store().root == tmp_path / "caches" / "spikecrate"
    assert mode(tmp_path / "caches" / "spikecrate") == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert place_of(None) == tmp_path / ".cache" / "spikecrate"


def test_a_store_has_one_path_however_it_is_spelled(monkeypatch, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path)
    spellings = (tmp_path / "disk", tmp_path / "link", "link", tmp_path / "disk" / ".." / "link", "./disk/")
    assert {open_store(spelling).root for spelling in spellings} == {tmp_path / "disk"}
    with Lock(open_store("link").lock(KEY)):
        assert not Lock(open_store("disk").lock(KEY)).try_acquire()


def test_a_store_path_without_a_meaning_is_refused_in_plain_words(monkeypatch, tmp_path):
    monkeypatch.setenv("SPIKECRATE_STORE", "~nobody9/store")
    with pytest.raises(StoreError, match="nobody9"):
        open_store()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StoreError, match="loop"):
        open_store(tmp_path / "loop")
    monkeypatch.delenv("SPIKECRATE_STORE")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(StoreError, match="Not a directory"):
        open_store()


# Who ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "results", "locks"])
def test_a_store_that_everybody_can_write_is_refused(store, inside):
    (store.root / inside).chmod(0o777)
    with pytest.raises(StoreError, match="every user") as raised:
        open_store(store.root)
    assert raised.value.next_step.endswith(f"chmod -R o-w {store.root / inside}; else remove it")


AS_A_MEMBER = """
import ctypes, json, os, sys
from pathlib import Path
uid, gid, root, step = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
from spikecrate._util.files import remove_tree
from spikecrate._util.progress import Silent
from spikecrate.errors import StoreError
from spikecrate.store import gc, open_store, pins, results, summary
from spikecrate.store.lock import Lock
os.setgroups([]); os.setgid(gid); os.setuid(uid); os.umask(0o022)
try:
    store = open_store(root)
except StoreError as error:
    sys.exit(str(error))
with Lock(store.lock("cd" * 32)):
    folder = store.work / ("ab" * 32 + "-" + os.urandom(4).hex()) / "result"
    folder.mkdir(parents=True)
    for name in ("firings.mda", "log.txt"):
        (folder / name).write_text(step)
    (folder / "run.json").write_text(json.dumps({"key": "ab" * 32}))
    results.publish(store, "ab" * 32, folder)
found = results.find(store, "ab" * 32, sys.exit)
list(summary.results(store))
pins.pin(store, "ab" * 32, step)
pins.unpin(store, "ab" * 32)
print((found.folder / "firings.mda").read_text())
"""


def as_member(uid, gid, root, step):
    argv = [sys.executable, "-c", AS_A_MEMBER, str(uid), str(gid), str(root), step]
    return subprocess.run(argv, check=False, capture_output=True, text=True)


@pytest.fixture
def shared():
    """A folder that group 61234 shares, reachable by every user; pytest closes its own folders to others."""
    root = Path(tempfile.mkdtemp(prefix="spikecrate-shared-"))
    os.chown(root, 61001, 61234)
    root.chmod(0o2770)
    yield root
    shutil.rmtree(root)


@needs_root
def test_members_of_a_group_share_a_store_and_others_are_refused(shared):
    for uid, text in ((61001, "first"), (61002, "second"), (61001, "third")):
        done = as_member(uid, 61234, shared, text)
        assert (done.returncode, done.stdout) == (0, f"{text}\n"), done.stderr
    for path in shared.rglob("*"):
        assert path.stat().st_gid == 61234
        if "work" not in path.parts:
            assert mode(path) & 0o060 == 0o060, path
    assert mode(shared / "results") == 0o2775
    done = as_member(61003, 61999, shared, "forged")
    assert done.returncode == 1
    assert "belongs to user 61001" in done.stderr or "Permission denied" in done.stderr


def test_what_is_made_in_a_shared_store_is_shared(tmp_path):
    (tmp_path / "shared").mkdir(mode=0o700)
    (tmp_path / "shared").chmod(0o770)
    store = open_store(tmp_path / "shared")
    assert mode(store.root) == 0o2770
    pins.pin(store, KEY, "kept")
    with Lock(store.lock(KEY)):
        for path in store.root.rglob("*"):
            assert mode(path) & 0o070 == (mode(path) & 0o700) >> 3
    for folder in (store.results, store.environments, store.sifs, store.recipes):
        assert mode(folder) & 0o2070 == 0o2070


# What is said -------------------------------------------------------------------------------------


def test_a_store_that_a_reboot_empties_or_that_is_nearly_full_is_named(store, monkeypatch):
    monkeypatch.setattr(module, "TEMPORARY", ())
    monkeypatch.setattr(module, "LITTLE_BYTES", 0)
    assert concerns(store) == []
    monkeypatch.setattr(module, "TEMPORARY", (str(store.root.parent),))
    assert "may not outlive a reboot" in concerns(store)[0]
    monkeypatch.setattr(module, "LITTLE_BYTES", 2**60)
    assert "GiB free" in concerns(store)[1]
    memory = Path("/dev/shm")
    assert is_memory_backed(memory)
    monkeypatch.setattr(module, "LITTLE_BYTES", 0)
    assert "may not outlive a reboot" in concerns(Store(memory))[0]


def test_a_file_system_that_cannot_be_told_counts_as_memory(tmp_path):
    assert is_memory_backed(Path("/proc/self/gone"))
    assert not is_memory_backed(tmp_path)
