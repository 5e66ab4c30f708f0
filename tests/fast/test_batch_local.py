"""This machine as an engine: tasks are admitted by cores, memory, GPUs and number, and stopped together."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from spikecrate.batch import local
from spikecrate.batch.engine import Engine, ResourceClass
from spikecrate.batch.local import Capacity, Local

GIB = 2**30
DEADLINE_S = 60


def task(folder):
    """Return the command of a task that waits for a file of its number, and says which GPU it sees."""
    code = (
        "import os, sys, time, pathlib\n"
        "print('gpu', os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True)\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\n"
    )
    return lambda index: [sys.executable, "-c", code, str(folder / f"go{index}")]


@pytest.fixture
def engine(tmp_path):
    made = []

    def make(**capacity):
        most = {"cores": 4, "jobs": 10, "memory_bytes": 8 * GIB, **capacity}
        reserved = most.pop("reserved", lambda: (0, 0))
        made.append(
            Local(
                task(tmp_path), lambda index: tmp_path / "logs" / f"{index}.log", Capacity(**most), reserved
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.cancel()


def resources(cores=1, memory=GIB, *, gpu=False):
    return ResourceClass(cores=cores, memory_bytes=memory, timeout_s=None, gpu=gpu)


def running(engine):
    return sorted(index for index, state in engine.states().items() if state == "running")


def finish(engine, tmp_path, index):
    (tmp_path / f"go{index}").touch()
    deadline = time.monotonic() + DEADLINE_S
    while engine.states()[index] != "ended":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_keeps_the_protocol(engine):
    found: Engine = engine()
    assert found.states() == {}


def test_cores_memory_and_number_bound_what_runs(engine, tmp_path):
    by_cores = engine()
    by_cores.submit(resources(cores=2), [0, 1, 2])
    assert running(by_cores) == [0, 1]
    finish(by_cores, tmp_path, 0)
    assert running(by_cores) == [1, 2]
    by_memory = engine()
    by_memory.submit(resources(memory=3 * GIB), [3, 4, 5])
    assert running(by_memory) == [3, 4]
    by_number = engine(jobs=1)
    by_number.submit(resources(), [6, 7])
    assert running(by_number) == [6]
    assert by_number.states() == {6: "running", 7: "waiting"}


def test_one_that_fits_overtakes_one_that_does_not_and_the_largest_runs_alone(engine, tmp_path):
    found = engine()
    found.submit(resources(memory=6 * GIB), [0])
    found.submit(resources(memory=100 * GIB), [1])
    found.submit(resources(memory=GIB), [2])
    assert running(found) == [0, 2]
    finish(found, tmp_path, 0)
    assert running(found) == [2]
    finish(found, tmp_path, 2)
    assert running(found) == [1]


def test_unknown_memory_counts_as_the_share_of_the_cores(engine):
    found = engine(jobs=10)
    found.submit(resources(memory=None), [0, 1])
    found.submit(resources(memory=5 * GIB), [2])
    assert running(found) == [0, 1]


def test_a_gpu_belongs_to_one_task_at_a_time(engine, tmp_path):
    found = engine(gpus=("GPU-a", "GPU-b"))
    found.submit(resources(gpu=True), [0, 1, 2])
    assert running(found) == [0, 1]
    for index in (0, 1, 2):
        finish(found, tmp_path, index)
    seen = [found.logs(index).read_text().split()[1] for index in (0, 1, 2)]
    assert seen == ["GPU-a", "GPU-b", "GPU-a"]


def test_a_gpu_task_on_a_machine_without_a_name_for_its_gpu_runs_alone(engine):
    found = engine(gpus=())
    found.submit(resources(gpu=True), [0, 1])
    assert running(found) == [0]


def test_what_others_occupy_is_left_to_them(engine):
    taken = [(3, GIB)]
    found = engine(reserved=lambda: taken[0])
    found.submit(resources(cores=2), [0])
    assert running(found) == []
    taken[0] = (0, 0)
    assert running(found) == [0]


def test_cancel_ends_what_runs_and_drops_what_waits(engine):
    found = engine(jobs=1)
    found.submit(resources(), [0, 1])
    assert running(found) == [0]
    (process,) = [one.process for one in found._running]
    found.cancel()
    assert found.states() == {0: "ended", 1: "ended"}
    assert process.returncode == -signal.SIGTERM
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_task_that_ignores_the_signal_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "GRACE_S", 0.2)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    found = Local(
        lambda _: [sys.executable, "-c", code],
        lambda _: tmp_path / "log",
        Capacity(cores=1, jobs=1, memory_bytes=None),
    )
    found.submit(resources(), [0])
    found.states()
    deadline = time.monotonic() + DEADLINE_S
    while "up" not in found.logs(0).read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (process,) = [one.process for one in found._running]
    found.cancel()
    assert process.returncode == -signal.SIGKILL


def test_ctrl_c_of_the_terminal_does_not_reach_a_task(engine):
    found = engine()
    found.submit(resources(), [0])
    assert running(found) == [0]
    (process,) = [one.process for one in found._running]
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
