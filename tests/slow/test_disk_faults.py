"""A store whose disk is full, out of inodes or quota, read-only, or another's: said clearly, and the store stays sound.

Each is real: a small file system is mounted, and given room one block or one inode at a time, so that every write of
a run is once the one that fails.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import OTHER_UID, SPIKECRATE, last_json
from small_sorter import write_small_sorter
from test_killed_engine import Run, until

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.cli.store import collect_garbage, verify
from spikecrate.errors import DiskFullError, JobFailedError, OutputError, StoreError
from spikecrate.store import open_store, results
from spikecrate_harness import mda

SEED = 22
PAGE = 4096
ROOMY = 1 << 28
BODY = """
import time
from collections import Counter
from pathlib import Path
import numpy as np

def sort(recording, parameters, resources):
    print("sorting", flush=True)
    for at in range(3):
        (resources.scratch / f"{at}.npy").write_bytes(bytes(5000))
    time.sleep(float(parameters["value"] or 0))
    return np.array([10.0, 20.0 + resources.seed]), np.array([1, 2])
"""
SAMPLED = [4, pytest.param(None, marks=pytest.mark.faults)]
"""How many of the places where room ends are tried: some in every run of CI, all in `nox -s faults`."""


@pytest.fixture
def sorter(tmp_path, monkeypatch, docker):
    """A sorter that leaves some files in its scratch folder."""
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(tmp_path / "sorters"))
    yield write_small_sorter(tmp_path / "sorters" / "writes", BODY)
    for image in docker.images.list("spikecrate/writes"):
        docker.images.remove(image.id, force=True)


class Disk:
    """A small file system, mounted."""

    def __init__(self, point):
        self.point = point
        point.mkdir()

    def mount(self, *words):
        subprocess.run(["mount", *map(str, words), self.point], check=True)

    def unmount(self):
        subprocess.run(["umount", self.point], check=True)

    def remount(self, options):
        self.mount("-o", f"remount,{options}")

    def used(self):
        """Give how many blocks and how many inodes are in use."""
        seen = os.statvfs(self.point)
        return {"blocks": seen.f_blocks - seen.f_bfree, "inodes": seen.f_files - seen.f_ffree}

    def leave(self, kind, count):
        """Leave so many blocks or inodes of a tmpfs free, and no more."""
        room = self.used()[kind] + count
        self.remount(f"size={room * PAGE}" if kind == "blocks" else f"nr_inodes={room}")

    def widen(self):
        self.remount(f"size={ROOMY},nr_inodes={ROOMY // PAGE}")


@pytest.fixture
def disk(tmp_path):
    """A mount point, unmounted at the end."""
    made = Disk(tmp_path / "disk")
    yield made
    while made.point.is_mount():
        made.unmount()


@pytest.fixture
def memory(disk):
    """A file system in memory, roomy for now."""
    disk.mount("-t", "tmpfs", "-o", f"size={ROOMY}", "tmpfs")
    return disk


@pytest.fixture
def new_store(tmp_path, environments, monkeypatch):
    """Make the store on the disk, with the session's environments."""

    def make(name="store"):
        root = tmp_path / "disk" / name
        root.mkdir(mode=0o700)
        (root / "environments").symlink_to(environments)
        monkeypatch.setenv("SPIKECRATE_STORE", str(root))
        return root

    return make


@pytest.fixture
def sort(toy, sorter):
    """Sort; give the times of the two events that the sorter answers."""

    def run(seed, runtime="host", value="", **options):
        found = spikecrate.sort(
            toy, sorter=sorter, runtime=runtime, seed=seed, params={"value": value}, **options
        )
        return mda.read((found.output or found.folder) / "firings.mda")[1].tolist()

    return run


def right(seed):
    return [10.0, 20.0 + seed]


def require_sound(root):
    """Hold the store to it that nothing in it is corrupt, and no attempt is left."""
    verify(dry_run=True, progress=Silent())
    assert list((root / "work").iterdir()) == []


def require_clear(error, *words):
    """Hold an error to it that it names all that it should, and what to do."""
    assert error.next_step
    for word in words:
        assert str(word) in str(error)


def in_turn(need, count, draw):
    """Give how much room is left, in turn: all amounts below what is needed, or some of them."""
    return range(need) if count is None else sorted(draw.sample(range(need), min(count, need)))


@pytest.mark.parametrize("kind", ["blocks", "inodes"])
@pytest.mark.parametrize(
    ("runtime", "count"),
    [
        ("host", 4),
        pytest.param("host", None, marks=pytest.mark.faults),
        pytest.param("docker", 8, marks=pytest.mark.faults),
    ],
)
def test_room_that_ends_at_any_write_is_said_and_with_room_the_same_run_is_right(
    runtime, kind, count, memory, new_store, sort
):
    root = new_store()
    assert sort(0, runtime) == right(0)
    before = memory.used()[kind]
    assert sort(1, runtime) == right(1)
    # A run needs more than what it leaves: its scratch folder is gone by now.
    need = memory.used()[kind] - before
    tried, ends = 0, []
    for room in in_turn(2 * need, count, random.Random(SEED)):
        memory.leave(kind, room)
        try:
            ended = sort(100 + room, runtime)
        except DiskFullError as error:
            tried += 1
            ends.append(str(error).splitlines()[0])
            require_clear(error, memory.point)
            require_sound(root)
        else:
            assert ended == right(100 + room)
        memory.widen()
        assert sort(100 + room, runtime) == right(100 + room)
        require_sound(root)
    print(f"{runtime}, {kind}: {tried} times full, {len(set(ends))} places; a run keeps {need}")  # noqa: T201
    assert tried


@pytest.mark.parametrize("count", SAMPLED)
@pytest.mark.parametrize("kind", ["blocks", "inodes"])
def test_room_that_ends_in_a_new_store_is_said(kind, count, memory, new_store, sort):
    """Where the first folders of the store, and what the recipe is made from, find no room."""
    root = new_store("first")
    before = memory.used()[kind]
    assert sort(0) == right(0)
    need = memory.used()[kind] - before
    tried = 0
    for room in in_turn(need, count or 24, random.Random(SEED)):
        root = new_store(f"store{room}")
        memory.leave(kind, room)
        try:
            assert sort(0) == right(0)
        except DiskFullError as error:
            tried += 1
            require_clear(error, memory.point)
        memory.widen()
        assert sort(0) == right(0)
        require_sound(root)
    assert tried


@pytest.mark.usefixtures("shared_environments")
@pytest.mark.parametrize("kind", ["blocks", "inodes"])
def test_a_copy_that_finds_no_room_is_said_and_leaves_nothing(kind, memory, own_store, sort):
    assert sort(0) == right(0)
    output = memory.point / "copy"
    before = memory.used()[kind]
    assert sort(0, output=memory.point / "first") == right(0)
    for room in range(memory.used()[kind] - before):
        memory.leave(kind, room)
        with pytest.raises(DiskFullError, match=str(memory.point)):
            sort(0, output=output)
        assert [path.name for path in memory.point.iterdir()] == ["first"]
        require_sound(own_store)
    memory.widen()
    assert sort(0, output=output) == right(0)


def test_a_quota_that_is_used_up_is_said_and_with_more_the_same_run_is_right(disk, new_store, sort, tmp_path):
    """Of btrfs: it counts for itself, where the kernel has no quotas for ext4."""
    image = tmp_path / "btrfs.img"
    with image.open("wb") as file:
        file.truncate(120 << 20)
    subprocess.run(["mkfs.btrfs", "--quiet", "--mixed", image], check=True)
    disk.mount("-o", "loop", image)

    def btrfs(*words):
        done = subprocess.run(["btrfs", *map(str, words)], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    btrfs("subvolume", "create", disk.point / "mine")
    root = new_store("mine/store")
    assert sort(0) == right(0)
    tried = 0
    for seed in range(1, 40):
        # Made anew each time: once used up, a quota cannot be widened.
        btrfs("quota", "enable", disk.point)
        btrfs("quota", "rescan", "-w", disk.point)
        lines = btrfs("qgroup", "show", "--raw", "-f", disk.point / "mine").splitlines()
        btrfs("qgroup", "limit", int(lines[-1].split()[1]) + (seed - 1) * 2 * PAGE, disk.point / "mine")
        try:
            ended = sort(seed)
        except DiskFullError as error:
            tried += 1
            require_clear(error, root, "quota")
            btrfs("quota", "disable", disk.point)
            assert sort(seed) == right(seed)
            require_sound(root)
        else:
            assert ended == right(seed)
            break
    print(f"quota: {tried} times used up")  # noqa: T201
    assert tried


# Read-only ----------------------------------------------------------------------------------------


class Failing(Disk):
    """An ext4 that goes read-only at its first error."""

    def attach(self, image):
        """Mount an image."""
        words = ["losetup", "--find", "--show", image]
        self.image = image
        self.device = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        self.mount("-o", "errors=remount-ro", self.device)
        # Now, for when nobody uses it any more.
        subprocess.run(["losetup", "--detach", self.device], check=True)

    def fail(self):
        """Have the kernel meet an error, as of the device."""
        Path("/sys/fs/ext4", Path(self.device).name, "trigger_fs_error").write_text("a test")

    def repair(self):
        """Repair what is on the disk, and mount that.

        A copy of it: the mount itself may live on for a while in a container that was started meanwhile.
        """
        subprocess.run(["sync", "--file-system", self.point], check=False)
        self.unmount()
        repaired = self.image.with_suffix(f"{self.image.suffix}x")
        shutil.copyfile(self.image, repaired)
        done = subprocess.run(["fsck.ext4", "-fy", repaired], capture_output=True, text=True, check=False)
        assert done.returncode in {0, 1}, done.stdout
        self.image.unlink()
        self.attach(repaired)


@pytest.fixture
def ext4(tmp_path):
    """A file system that goes read-only at its first error."""
    image = tmp_path / "ext4.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    made = Failing(tmp_path / "disk")
    made.attach(image)
    yield made
    if made.point.is_mount():
        made.unmount()


def test_a_read_only_store_gives_its_results_and_refuses_new_ones(ext4, new_store, sort, tmp_path, command):
    root = new_store()
    assert sort(0) == right(0)
    ext4.remount("ro")
    assert sort(0) == right(0)
    assert sort(0, output=tmp_path / "copies" / "one") == right(0)
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["one"]
    verify(dry_run=True, progress=Silent())
    with pytest.raises(StoreError, match="Read-only file system") as raised:
        sort(1)
    assert str(root) in str(raised.value)
    assert "mount" in raised.value.next_step
    with pytest.raises(OutputError, match="Read-only file system"):
        sort(0, output=ext4.point / "copy")
    for words in ("store.du", "store.verify", "job.list"):
        assert command(words).returncode == 0
    for words in (("store.gc", "--keep", "0s"), ("store.pin", next(results.keys(open_store())))):
        done = command(*words, "--json")
        assert done.returncode in {0, StoreError.exit_code}, done.stderr
        assert "a fault in spikecrate" not in done.stderr
    ext4.remount("rw")
    assert sort(1) == right(1)
    require_sound(root)


@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.faults)])
def test_a_disk_that_fails_during_a_run_is_said_and_repaired_gives_the_right_result(
    count, ext4, new_store, sort
):
    """The kernel puts it read-only at once, as at an error of the device."""
    root = new_store()
    assert sort(0) == right(0)
    draw = random.Random(SEED)
    ends: Counter[str] = Counter()
    for seed in range(1, count + 1):
        delay = draw.random()
        run = Run(lambda seed=seed: sort(seed, value="0.3"))
        until(lambda: any((root / "work").glob("*/job")), run)
        time.sleep(delay)
        ext4.fail()
        run.join(60)
        if run.error is None:
            assert run.result == right(seed)
        else:
            assert isinstance(run.error, (StoreError, JobFailedError)), repr(run.error)
            ends[type(run.error).__name__] += 1
        ext4.repair()
        assert sort(seed, value="0.3") == right(seed)
        # Files of the index are not flushed, as they are made again: the failure may have torn one.
        collect_garbage(progress=Silent())
        for folder in (root / "index").glob("*"):
            shutil.rmtree(folder)
        require_sound(root)
    print(f"read-only during a run: {dict(ends)}")  # noqa: T201


# Another's ----------------------------------------------------------------------------------------

WEAK = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown", "--inh-caps=-all")
"""Root to whom another's files are closed, as to any user."""


@pytest.mark.usefixtures("shared_environments")
@pytest.mark.parametrize(
    "part",
    [
        "results",
        "shard",
        "result",
        "failures",
        "work",
        "locks",
        "memo",
        "recipes",
        "logs",
        "index",
        "store.json",
    ],
)
def test_a_part_of_the_store_that_is_anothers_is_named_or_not_needed(part, toy, sorter, own_store, sort):
    assert sort(0) == right(0)
    collect_garbage(progress=Silent())
    (key,) = results.keys(open_store())
    place = {"shard": f"results/{key[:2]}", "result": f"results/{key[:2]}/{key}"}.get(part, part)
    there = own_store / place
    if part == "index":
        there.mkdir(exist_ok=True)
    mode = there.stat().st_mode & 0o777
    os.chown(there, OTHER_UID, OTHER_UID)
    there.chmod(0o700 if there.is_dir() else 0o600)
    line = [
        *WEAK,
        SPIKECRATE,
        "sort",
        toy,
        "--sorter",
        sorter,
        "--runtime",
        "host",
        "--output",
        "-",
        "--json",
    ]
    for seed in ("0", "1"):
        done = subprocess.run([*line, "--seed", seed], capture_output=True, text=True, check=False)
        said = last_json(done)
        print(part, seed, done.returncode, said.get("message", ""))  # noqa: T201
        if done.returncode == 0:
            assert said["status"] == ("cached" if seed == "0" else "ran")
        else:
            assert done.returncode == StoreError.exit_code, done.stderr
            assert str(there) in said["message"]
            assert "chown" in said["next_step"]
    os.chown(there, 0, 0)
    there.chmod(mode)
    for seed in (0, 1):
        assert sort(seed) == right(seed)
    collect_garbage(progress=Silent())
    require_sound(own_store)
