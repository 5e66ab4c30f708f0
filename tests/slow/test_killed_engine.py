"""A sorter's container is killed by another, or the engine beneath it: an error of ours or the right result, nothing left.

What is killed, when, and how long the sorter sorts is drawn with a fixed seed. The moment is a fraction of a whole
run from where the engine is first asked, so that create, start, wait and collect all have their share.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from docker import DockerClient
from docker.errors import APIError
from private_engine import PrivateEngine
from small_sorter import write_small_sorter
from test_killed_anywhere import left_in

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.cli.store import collect_garbage, verify
from spikecrate.engines.docker import docker_client
from spikecrate.errors import EngineDownError, EngineError, JobFailedError
from spikecrate.runtimes import process_tree as session
from spikecrate.store import open_store, results
from spikecrate_harness import mda

SEED = 21
BOUND_S = 90
"""Within which a run has ended, whatever happened to its engine."""
BODY = """
import time
import numpy as np

def sort(recording, parameters, resources):
    print("sorting", flush=True)
    time.sleep(float(parameters["value"] or 0.2))
    return np.array([10.0, 20.0 + resources.seed]), np.array([1, 2])
"""
LONG = "2"
"""Seconds: longer than a killed daemon needs to be up again."""
STRIKES = {
    "docker": ("first process", "sorter", "docker kill", "docker rm -f"),
    "apptainer": ("first process", "sorter", "any"),
    "host": ("first process",),
}
PYTHON = b"/opt/sorter/bin/python"
CLEAR = (EngineDownError, EngineError, JobFailedError)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A sorter of NumPy alone, its image in the machine's engine."""
    root = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKECRATE_SORTERS", str(root))
        yield root, write_small_sorter(root / "killed", BODY)
    for image in docker_client().images.list("spikecrate/killed"):
        docker_client().images.remove(image.id, force=True)


@pytest.fixture
def killed(small, monkeypatch):
    """Name the sorter."""
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(small[0]))
    return small[1]


@pytest.fixture(scope="session")
def engine(small, toy, tmp_path_factory):
    """A daemon of the test's own, with the sorter's image."""
    private = PrivateEngine()
    try:
        private.start()
        # Built by the machine's own daemon, which has what the image starts from.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SPIKECRATE_SORTERS", str(small[0]))
            store = tmp_path_factory.mktemp("made") / "store"
            made = spikecrate.sort(toy, sorter=small[1], runtime="docker", store=store)
        private.load(made.record["image"]["reference"])
        yield private
    finally:
        private.remove()


class Run(threading.Thread):
    """A run in a thread: what it gave, or the error it ended with."""

    def __init__(self, sort):
        super().__init__(daemon=True)
        self.sort, self.result, self.error = sort, None, None
        self.start()

    def run(self):
        try:
            self.result = self.sort()
        except BaseException as error:  # noqa: BLE001  (whatever it is, the test names it)
            self.error = error


def until(condition, run):
    while not condition() and run.is_alive():
        time.sleep(0.005)


def drawn(kinds, count):
    """Draw what is killed, at what fraction of a run, and of a short one or a long one."""
    draw = random.Random(SEED)
    return [(kinds[at % len(kinds)], draw.random(), draw.choice(["", "", "", LONG])) for at in range(count)]


class Trial:
    """Runs that are disturbed, each followed by one that is not; what was seen is kept for the table."""

    def __init__(self, toy, sorter, runtime, store, docker):
        self.asked = {"recording": toy, "sorter": sorter, "runtime": runtime}
        self.store, self.docker = open_store(store), docker
        self.kills: Counter[str] = Counter()
        self.ends: Counter[tuple[str, str]] = Counter()
        self.wrong, self.lost, self.left = [], [], []

    def sort(self, seed, value):
        """Run the sorter; give the times of the two events that it answers."""
        found = spikecrate.sort(**self.asked, seed=seed, params={"value": value})
        return mda.read(found.folder / "firings.mda")[1].tolist()

    def begun(self):
        """Say whether a run has come to where its engine is asked."""
        return any(self.store.work.glob("*/owner.json"))

    def length(self, seed, value):
        """Measure how long a run is from there."""
        run = Run(lambda: self.sort(seed, value))
        until(self.begun, run)
        started = time.monotonic()
        run.join()
        assert run.error is None, repr(run.error)
        return time.monotonic() - started

    def disturb(self, what, kind, seed, value, delay, strike):
        """Run, strike at the moment, and judge how the run ends."""
        before = set(results.keys(self.store))
        run = Run(lambda: self.sort(seed, value))
        until(self.begun, run)
        moment = time.monotonic() + delay
        until(lambda: time.monotonic() > moment, run)
        self.kills[kind] += run.is_alive() and strike(kind)
        run.join(BOUND_S)
        if run.is_alive():
            self.wrong.append((*what, f"no end within {BOUND_S} s"))
        elif run.error is None and run.result != [10.0, 20.0 + seed]:
            self.wrong.append((*what, run.result))
        elif run.error is not None and not (isinstance(run.error, CLEAR) and run.error.next_step):
            self.wrong.append((*what, repr(run.error)))
        elif run.error is not None and set(results.keys(self.store)) != before:
            self.wrong.append((*what, "it failed, and its result was stored"))
        self.ends[
            kind, "right" if run.error is None else f"{type(run.error).__name__}: {run.error}"[:110]
        ] += 1

    def judge(self, what, seed, value):
        """Hold the next run to the right result, and the machine to nothing left."""
        try:
            again = self.sort(seed, value)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is named below)
            self.lost.append((*what, repr(error)))
        else:
            if again != [10.0, 20.0 + seed]:
                self.wrong.append((*what, again))
        collect_garbage(progress=Silent())
        self.left += [(*what, found) for found in left_in(self.store.root, self.docker)]

    def end(self, title):
        """Show the table, and hold it to its promise."""
        verify(dry_run=True, progress=Silent())
        found = {"wrong": self.wrong, "lost": self.lost, "left": self.left}
        counts = ", ".join(f"{len(cases)} {name}" for name, cases in found.items())
        lines = [f"{title}: {self.kills.total()} kills {dict(self.kills)}; {counts}"]
        lines += [f"    {kind}: {count} x {end}" for (kind, end), count in sorted(self.ends.items())]
        print("\n".join(lines))  # noqa: T201
        assert found == {"wrong": [], "lost": [], "left": []}
        # Some moments are before there is anything to kill, or after.
        assert self.kills.total() > self.ends.total() / 3


def strike_container(kind, docker, store):
    """Kill a container of the store, or a process in it; say whether there was one."""
    for container in docker.containers.list(
        all=True, filters={"label": f"spikecrate.store={store}"}, ignore_removed=True
    ):
        first = container.attrs["State"]["Pid"]
        with suppress(APIError, ProcessLookupError):
            if kind == "docker kill":
                container.kill()
            elif kind == "docker rm -f":
                container.remove(force=True)
            elif first == 0:
                return False
            else:
                inside = Path(f"/proc/{first}/task/{first}/children")
                os.kill(
                    first if kind == "first process" else int(inside.read_text().split()[0]), signal.SIGKILL
                )
            return True
    return False


def strike_session(kind, store, draw):
    """Kill a process of the session that an attempt has written down; say whether there was one."""
    for entry in (store / "work").glob("*/process.json"):
        with suppress(OSError, ValueError, ProcessLookupError):
            leader = json.loads(entry.read_text())["session"]
            pids = sorted(session.members(leader))
            inside = [pid for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(PYTHON)]
            chosen = {"first process": [leader], "sorter": inside, "any": [draw.choice(pids)]}[kind]
            for pid in chosen:
                os.kill(pid, signal.SIGKILL)
            return bool(chosen)
    return False


@pytest.mark.usefixtures("shared_environments")
@pytest.mark.parametrize("count", [4, pytest.param(24, marks=pytest.mark.faults)])
@pytest.mark.parametrize("runtime", list(STRIKES))
def test_a_sorter_killed_by_another_fails_clearly_and_the_next_run_is_right(
    runtime, count, killed, toy, own_store, docker
):
    trial = Trial(toy, killed, runtime, own_store, docker)
    # The image, the SIF or the environment is made first: building is not what is tried here.
    trial.sort(0, "")
    lengths = {value: trial.length(at, value) for at, value in enumerate(("", LONG), 1)}
    draw = random.Random(SEED)

    def strike(kind):
        if runtime == "docker":
            return strike_container(kind, docker, own_store)
        return strike_session(kind, own_store, draw)

    for at, (kind, fraction, value) in enumerate(drawn(STRIKES[runtime], count)):
        what, seed = (at, kind, round(fraction, 3), value), 1000 + at
        trial.disturb(what, kind, seed, value, 0.9 * fraction * lengths[value], strike)
        trial.judge(what, seed, value)
    trial.end(runtime)


# The Docker library leaves the socket of a client that it could not connect to the interpreter.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.faults
@pytest.mark.parametrize("live_restore", [False, True], ids=["ends-containers", "live-restore"])
def test_an_engine_killed_during_a_run_is_said_to_be_down_and_the_next_run_is_right(
    live_restore, killed, toy, own_store, engine, monkeypatch
):
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    engine.restart(live_restore=live_restore)
    client = DockerClient(base_url=engine.url)
    trial = Trial(toy, killed, "docker", own_store, client)
    trial.sort(0, "")
    lengths = {value: trial.length(at, value) for at, value in enumerate(("", LONG), 1)}
    draw = random.Random(SEED)

    def strike(kind):
        hit = engine.kill(kind)
        # As what watches over a service does; a run may end before, or find the new one.
        time.sleep(draw.random())
        engine.start(live_restore=live_restore)
        return hit

    for at, (kind, fraction, value) in enumerate(drawn(("dockerd", "containerd", "both", "shim"), 12)):
        what, seed = (at, kind, round(fraction, 3), value), 1000 + at
        trial.disturb(what, kind, seed, value, 0.9 * fraction * lengths[value], strike)
        trial.judge(what, seed, value)
    trial.end("the engine, live-restore" if live_restore else "the engine")
    client.close()
    gc.collect()


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_an_engine_that_never_says_how_a_container_ended_is_given_up_in_bounded_time(
    killed, toy, own_store, engine, monkeypatch
):
    """Its containerd is gone, so that the daemon answers and waits for ever."""
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    for name in ("PULSE_S", "ENDED_S"):
        monkeypatch.setattr(f"spikecrate.runtimes.docker.{name}", 3)
    engine.restart()
    client = DockerClient(base_url=engine.url)
    trial = Trial(toy, killed, "docker", own_store, client)
    trial.sort(0, "")
    run = Run(lambda: trial.sort(1, LONG))
    until(lambda: any(found.status == "running" for found in client.containers.list()), run)
    assert engine.kill("containerd")
    run.join(BOUND_S)
    assert isinstance(run.error, EngineDownError | EngineError), repr(run.error)
    assert list((own_store / "work").iterdir()) == []
    # The engine missed the container's end, and removes it only once it was itself started again.
    engine.start()
    assert trial.sort(1, LONG) == [10.0, 21.0]
    engine.restart()
    trial.judge(("containerd",), 2, "")
    assert (trial.wrong, trial.lost, trial.left) == ([], [], [])
    client.close()
    gc.collect()
