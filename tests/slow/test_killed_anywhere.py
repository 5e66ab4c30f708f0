"""Killed at any instant: the next run gives the right result, and nothing is left.

The kernel's own tracing kills the program at the entry of its n-th call that changes something: a write, a rename, a
new process, a message to the engine. No line of the program knows of it. Every such call of a whole run is counted
first; which of them are tried is drawn with a fixed seed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from conftest import SPIKECRATE

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.cli.store import collect_garbage
from spikecrate_harness import mda

CALLS = (
    *(
        "rename",
        "renameat",
        "renameat2",
        "mkdir",
        "mkdirat",
        "rmdir",
        "unlink",
        "unlinkat",
        "symlink",
        "link",
    ),
    *("write", "pwrite64", "ftruncate", "fsync", "fdatasync", "copy_file_range", "sendfile", "utimensat"),
    *("chmod", "fchmod", "fchmodat", "flock", "close_range", "clone", "clone3", "vfork", "wait4", "kill"),
    *("connect", "sendto", "shutdown", "exit_group"),
)
KILLS = {"host": 110, "docker": 60, "apptainer": 60}
SEED = 20

SLOW_SORTER = """
import os
import time
import numpy as np

def sort(recording, parameters, resources):
    print("sorting", flush=True)
    parent = os.getppid()
    for _ in range(10):
        time.sleep(0.05)
        if os.getppid() != parent:
            # Whoever started this is dead: only someone else can end it now.
            time.sleep(600)
    return np.array([10.0, 20.0 + resources.seed]), np.array([1, 2])
"""


def traced(words, folder, *options):
    """Run the console program under strace, the first thread alone; give how it ended."""
    line = ["strace", "-qq", *options, str(SPIKECRATE), *map(str, words)]
    with (folder / "traced.log").open("wb") as log:
        return subprocess.run(line, stdout=log, stderr=log, check=False, start_new_session=True)


def calls_of(words, folder):
    """Name the calls that change something, in order, of one whole run."""
    written = folder / "calls.txt"
    done = traced(words, folder, "-o", written, "-e", f"trace={','.join(CALLS)}")
    assert done.returncode == 0, (folder / "traced.log").read_text()
    lines = [line.partition("(")[0] for line in written.read_text().splitlines()]
    return [name for name in lines if name in CALLS]


def steps_of(calls):
    """Say of each call which one of its name it is, from 1: so the tracing program counts."""
    seen: Counter[str] = Counter()
    steps = []
    for name in calls:
        seen[name] += 1
        steps.append((name, seen[name]))
    return steps


def left_in(store, docker):
    """Name whatever a stopped run left: folders, locks, half-written files, containers, processes, mounts."""
    found = [str(path) for path in (*(store / "work").glob("*"), *(store / "locks").glob("*"))]
    found += [
        str(path) for path in store.rglob("*") if path.name.startswith(".new-") or path.suffix == ".tmp"
    ]
    found += [
        str(container.name)
        for container in docker.containers.list(
            all=True, filters={"label": f"spikecrate.store={store}"}, ignore_removed=True
        )
    ]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:
            continue
        if f"{store}/work/".encode() in line:
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if str(store) in line]
    return found


@pytest.mark.faults
@pytest.mark.usefixtures("shared_environments")
@pytest.mark.parametrize("runtime", list(KILLS))
def test_a_run_killed_at_any_step_is_followed_by_the_right_result_and_leaves_nothing(
    runtime, toy, lab_sorter, tmp_path, own_store, docker, command
):
    name = lab_sorter(SLOW_SORTER)

    def words(seed):
        return (
            *("sort", toy, "--sorter", name, "--runtime", runtime, "--seed", seed),
            *("--output", tmp_path / "outputs" / str(seed), "--json"),
        )

    # The image, the SIF or the environment is made first: building is not what is tried here.
    assert command(*words(0)).returncode == 0
    steps = steps_of(calls_of(words(1), tmp_path))
    drawn = sorted(random.Random(SEED).sample(range(len(steps)), min(KILLS[runtime], len(steps))))
    faults: Counter[str] = Counter()
    wrong, left = [], []
    for at in drawn:
        (call, occurrence), seed = steps[at], 1000 + at
        killed = traced(
            words(seed),
            tmp_path,
            *(
                "-o",
                os.devnull,
                "-e",
                f"trace={call}",
                "-e",
                f"inject={call}:signal=SIGKILL:when={occurrence}",
            ),
        )
        # A run may need one call less than the one that was counted; then nothing was tried.
        faults[call] += killed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        output = tmp_path / "outputs" / str(seed)
        try:
            result = spikecrate.sort(toy, sorter=name, runtime=runtime, seed=seed, output=output)
            times = [mda.read(folder / "firings.mda")[1].tolist() for folder in (result.folder, output)]
        except Exception as error:  # noqa: BLE001  (whatever it is, it is named below)
            wrong.append((at, call, occurrence, repr(error)))
            continue
        if times != [[10.0, 20.0 + seed]] * 2:
            wrong.append((at, call, occurrence, times))
        collect_garbage(progress=Silent())
        beside = [path.name for path in output.parent.iterdir() if not path.name.isdigit()]
        left += [(at, call, occurrence, what) for what in (*left_in(own_store, docker), *beside)]
    print(f"{runtime}: {len(steps)} steps, {faults.total()} kills: {dict(faults)}")  # noqa: T201
    assert {"wrong": wrong, "left": left} == {"wrong": [], "left": []}
    assert faults.total() > 0.9 * len(drawn)
