"""Many ask for the same job at the same moment, on one machine or on two: it runs once, and all get its result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SPIKECRATE

MANY = 32
COUNTED = """
import os
import time
import numpy as np

def sort(recording, parameters, resources):
    line = f"{os.getpid()}\\n".encode()
    if parameters["value"]:
        handle = os.open(parameters["value"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, line)
    print("sorting", flush=True)
    time.sleep(%s)
    return np.array([10.0, 20.0]), np.array([1, 2])
"""


def asked(toy, name, runtime, *words, host=None):
    """Ask for a job, as another host asks if one is named: of another name, with process ids of its own."""
    line = [
        SPIKECRATE,
        "sort",
        toy,
        "--sorter",
        name,
        "--runtime",
        runtime,
        "--output",
        "-",
        "--json",
        *words,
    ]
    if host is not None:
        apart = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
        line = [*apart, "sh", "-c", 'hostname "$0"; exec "$@"', host, *line]
    return subprocess.Popen(
        list(map(str, line)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def answer(process):
    said, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    return json.loads(said.splitlines()[-1])


def until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("shared_environments")
@pytest.mark.parametrize("runtime", ["host", "docker"])
@pytest.mark.parametrize("hosts", [(None,), ("north", "south")], ids=["one-host", "two-hosts"])
def test_thirty_two_processes_make_one_execution_and_get_equal_results(
    runtime, hosts, toy, lab_sorter, tmp_path, command
):
    name = lab_sorter(COUNTED % 2)
    # The environment or the image is made first, by another job.
    assert command("sort", toy, "--sorter", name, "--runtime", runtime, "--seed", 1).returncode == 0
    executions = tmp_path / "executions.txt"
    words = ["--param", f"value={executions}"] if runtime == "host" else []
    processes = [asked(toy, name, runtime, *words, host=hosts[at % len(hosts)]) for at in range(MANY)]
    answers = [answer(process) for process in processes]
    assert sorted(found["status"] for found in answers) == ["cached"] * (MANY - 1) + ["ran"]
    assert len({(found["key"], found["folder"], found["events"]) for found in answers}) == 1
    if runtime == "host":
        assert len(executions.read_text().splitlines()) == 1


@pytest.mark.usefixtures("shared_environments")
@pytest.mark.parametrize("hosts", [(None, None), ("north", "south")], ids=["one-host", "two-hosts"])
def test_when_the_owner_is_killed_one_of_those_who_wait_takes_over(hosts, toy, lab_sorter, tmp_path, command):
    name = lab_sorter(COUNTED % 4)
    assert command("sort", toy, "--sorter", name, "--runtime", "host", "--seed", 1).returncode == 0
    executions = tmp_path / "executions.txt"
    words = ["--param", f"value={executions}"]
    owner = asked(toy, name, "host", *words, host=hosts[0])
    until(executions.exists)
    waiting = [asked(toy, name, "host", *words, host=hosts[1]) for _ in range(4)]
    time.sleep(1)
    killed = time.monotonic()
    os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate()
    until(lambda: len(executions.read_text().splitlines()) == 2)
    print(f"taken over after {time.monotonic() - killed:.2f} s")  # noqa: T201
    answers = [answer(process) for process in waiting]
    assert sorted(found["status"] for found in answers) == ["cached"] * 3 + ["ran"]
    assert len(executions.read_text().splitlines()) == 2


@pytest.mark.usefixtures("shared_environments")
def test_a_sorter_ends_with_the_process_that_started_it(toy, lab_sorter, tmp_path, command, own_store):
    """On a machine of its own, where nobody else can see it, nothing else would end it."""
    name = lab_sorter(COUNTED % 600)
    executions = tmp_path / "executions.txt"
    owner = asked(toy, name, "host", "--param", f"value={executions}")
    until(executions.exists)
    (sorter,) = map(int, executions.read_text().split())
    owner.kill()
    owner.communicate()
    until(lambda: not Path(f"/proc/{sorter}").exists())
    assert command("store.gc").returncode == 0
    assert list((own_store / "work").iterdir()) == []
