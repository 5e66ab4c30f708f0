"""A study on real sorters in containers: killed anywhere, it goes on, and no job that has a result runs again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter

import pytest
from conftest import SPIKECRATE, last_json

from spikecrate.recordings.toy import write_toy
from spikecrate.studies.attempts import Attempts
from spikecrate.studies.outcome import OutcomeDocument

SLEEPS = """
import time
import numpy as np
def sort(recording, parameters, resources):
    print("sorting", flush=True)
    time.sleep(float(parameters["value"]))
    return np.array([10.0, 20.0]), np.array([1, 2])
"""
DEADLINE_S = 240


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def starts(docker, store, since):
    """Count by job key how often the engine started a container for it: the engine's own journal."""
    filters = {"label": f"spikecrate.store={store}", "event": "start", "type": "container"}
    events = docker.events(since=since, until=time.time(), filters=filters, decode=True)
    return Counter(event["Actor"]["Attributes"]["spikecrate.key"] for event in events)


@pytest.fixture
def study(tmp_path, lab_sorter):
    """Two recordings, two sorters, two variants of each."""
    for number in range(2):
        write_toy(tmp_path / "data" / f"rec{number}", duration_s=5, num_units=2, seed=number)
    name = lab_sorter(SLEEPS)
    path = tmp_path / "study.yaml"
    path.write_text(
        "recordings: ['data/rec*']\n"
        "sorters:\n"
        "  - ms4\n"
        "  - {sorter: ms4, name: strict, params: {detect_threshold: 4}}\n"
        f"  - {{sorter: {name}, name: slow, params: {{value: '4'}}}}\n"
        f"  - {{sorter: {name}, name: slower, params: {{value: '5'}}}}\n"
        "resources: {runtime: docker, time_factor: 100}\n"
    )
    return path


def submit(study):
    return subprocess.Popen(
        [SPIKECRATE, "study.run", study, "--jobs", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def running(study):
    """Return the attempts whose container is at work."""
    attempts = Attempts(study.parent / "study-run")
    logs = study.parent / "study-run" / "logs"
    sorting = any("sorting" in log.read_text() for log in logs.glob("*.log"))
    found = {key: one for key, one in attempts.read_all().items() if one.state == "running"}
    return found if sorting and len(found) == 2 else None


def test_a_study_goes_on_after_kills_of_worker_and_submitter_and_runs_nothing_twice(
    study, docker, own_store, command
):
    since = time.time()
    first = submit(study)
    attempts = until(lambda: running(study))
    killed = next(iter(attempts))
    os.kill(attempts[killed].pid, signal.SIGKILL)
    first.kill()
    first.wait()
    done = command("study.run", study, "--json")
    assert done.returncode == 0, done.stderr
    found = last_json(done)
    assert found["counts"] == {"finished": 8}
    counted = starts(docker, own_store, since)
    keys = {job["key"] for job in found["jobs"]}
    assert counted == dict.fromkeys(keys, 1) | {killed: 2}
    assert [job["attempts"] for job in found["jobs"] if job["key"] == killed] == [2]
    again = time.time()
    assert last_json(command("study.run", study, "--json"))["counts"] == {"finished": 8}
    assert starts(docker, own_store, again) == {}
    outcome = OutcomeDocument.from_dict(json.loads(command("study.outcome", study, "--json").stdout))
    assert [job.runtime for job in outcome.jobs] == ["docker"] * 8
    for job in outcome.jobs:
        assert len(job.scores) == 2
        # What takes the toys' own spikes for units finds one of them well; the other sorter finds no true unit.
        assert (max(score.accuracy for score in job.scores) > 0.8) == (job.variant in ("ms4", "strict"))


@pytest.mark.parametrize("how", ["Ctrl-C", "study.cancel"])
def test_a_stop_removes_every_container_and_the_same_run_goes_on(
    how, study, containers_of, own_store, command
):
    first = submit(study)
    until(lambda: running(study))
    assert len(containers_of(own_store)) == 2
    if how == "Ctrl-C":
        first.send_signal(signal.SIGINT)
    else:
        assert last_json(command("study.cancel", study, "--json")) == {"stopped": 2}
    assert first.wait(DEADLINE_S) == 128 + (signal.SIGINT if how == "Ctrl-C" else signal.SIGTERM)
    assert containers_of(own_store) == []
    states = Counter(job["status"] for job in last_json(command("study.status", study, "--json"))["jobs"])
    assert states["cancelled"] == 2
    assert states["running"] == states["failed"] == 0
    assert last_json(command("study.run", study, "--json"))["counts"] == {"finished": 8}


def test_a_sorter_whose_image_cannot_be_built_fails_alone(study, tmp_path, lab_sorter, command):
    broken = lab_sorter("def sort(): pass\n", name=f"broken{os.getpid()}")
    dockerfile = tmp_path / "sorters" / broken / "Dockerfile"
    dockerfile.write_text(f"{dockerfile.read_text()}\nRUN exit 7\n")
    study.write_text(f"recordings: ['data/rec0']\nsorters: [ms4, {broken}]\nresources: {{runtime: docker}}\n")
    done = command("study.run", study, "--json")
    assert done.returncode == 40
    found = last_json(done)
    assert [(job["status"], (job["error"] or {}).get("kind")) for job in found["jobs"]] == [
        ("finished", None),
        ("failed", "ImageBuildError"),
    ]
