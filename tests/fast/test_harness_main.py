"""The harness as a runtime starts it: `python -I CODE`, with a sorter that does what its parameters say."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from layouts import layout_of

import spikecrate_harness
from spikecrate_harness import mda

HARNESS = Path(spikecrate_harness.__file__).parent

SORTER = """
import errno, json, multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor

import numpy as np


def kernel():
    return os.environ.get("OPENBLAS_CORETYPE", "")


def sort(recording, parameters, resources):
    match parameters["do"]:
        case "sort":
            return [30, 10, 10], [1, 2, 1], [2, 1, 1]
        case "empty":
            return [], []
        case "warn":
            resources.warn("one\\nwarning")
            resources.warn("and another")
            return [30], [2]
        case "nothing":
            from spikecrate_harness.answer import NothingFoundError

            resources.warn("channel 2 is silent")
            raise NothingFoundError("too few spikes to make a unit: 3 events")
        case "tell":
            facts = {
                "environ": dict(os.environ), "hash": hash("spikecrate"), "random": np.random.rand(),
                "traces": recording.traces().tolist(), "scratch": str(resources.scratch), "cores": resources.cores,
                "memory_bytes": resources.memory_bytes, "seed": resources.seed,
            }
            print("TOLD " + json.dumps(facts, sort_keys=True))
            return [], []
        case "spawn":
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                print("TOLD " + json.dumps(pool.submit(kernel).result()))
            return [], []
        case "raise":
            raise KeyError("a sorter's own trouble")
        case "exit":
            sys.exit(0)
        case "memory":
            raise MemoryError
        case "disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "hdf5":
            raise RuntimeError("Can't write data (file write failed: error message = 'No space left on device')")
        case "late":
            return [10**6], [1]
        case "wait":
            print("WAITING")
            time.sleep(60)
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    shutil.copytree(HARNESS, folder / "spikecrate_harness", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HARNESS / "__main__.py", folder)
    (folder / "run.py").write_text(SORTER)
    return folder


@pytest.fixture
def job(code, tmp_path):
    """Gives a function that starts a job: what the sorter is to do, and fields of job.json to change."""
    for name in ("recording", "out", "scratch"):
        (tmp_path / name).mkdir()
    samples = np.arange(100, dtype="<i2").reshape(50, 2)
    (tmp_path / "recording" / "raw.dat").write_bytes(samples.tobytes())

    def command(do, **changes):
        layout = layout_of(**{"num_samples": 50, **changes.pop("layout", {})})
        fields = {
            "contract": 3,
            "key": "ab" * 32,
            "tool": "fake",
            "kind": "sorter",
            "parameters": {"do": do},
            "inputs": {"recording": {"kind": "recording", "layout": layout}},
            "seed": 7,
            "cores": 3,
            "memory_bytes": 10**9,
            "gpu": False,
            **changes,
        }
        (tmp_path / "job.json").write_text(json.dumps(fields))
        folders = (word for name in ("out", "scratch") for word in (f"--{name}", tmp_path / name))
        recording = f"recording={tmp_path / 'recording'}"
        return [sys.executable, "-I", code, "--job", tmp_path / "job.json", "--input", recording, *folders]

    return command


def run(command, environ=None):
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **(environ or {})},
        check=False,
    )


def told(done):
    assert done.returncode == 0, done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("TOLD "))[5:])


def test_a_sorting_is_written_in_order_with_a_report(job, tmp_path):
    done = run(job("sort"))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "firings.mda",
        "run.json",
        "units.csv",
    ]
    # The recording is shorter than a waveform.
    assert (tmp_path / "out" / "units.csv").read_text().splitlines() == [
        "unit,events,rate,channel,snr,isi_violations,amplitude",
        "1,2,1200.0,,,0.13888888888888887,",
        "2,1,600.0,,,0.0,",
    ]
    assert mda.read(tmp_path / "out" / "firings.mda").tolist() == [[1, 1, 2], [10, 10, 30], [1, 2, 1]]
    report = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (report["units"], report["events"], report["key"]) == (2, 3, "ab" * 32)
    assert report["packages"]["numpy"] == np.__version__
    assert report["python"] == platform.python_version()
    assert report["peak_memory_bytes"] > 2**20
    assert report["environment"]["PYTHONHASHSEED"] == "0"
    assert report["wall_s"] > report["unit_table_s"] >= 0
    assert report["cpu_s"] > 0


@pytest.mark.parametrize(
    ("do", "events", "warnings"),
    [
        ("sort", 3, []),
        ("warn", 1, ["one warning", "and another"]),
        ("nothing", 0, ["channel 2 is silent", "no units found: too few spikes to make a unit: 3 events"]),
    ],
)
def test_warnings_are_the_last_lines_of_the_log_and_stand_in_the_report(job, tmp_path, do, events, warnings):
    done = run(job(do))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (report["events"], report["warnings"]) == (events, warnings)
    assert mda.read(tmp_path / "out" / "firings.mda").shape == (3, events)
    lines = done.stdout.splitlines()
    assert f"{events} events" in lines[-1 - len(warnings)]
    assert lines[len(lines) - len(warnings) :] == [f"warning: {warning}" for warning in warnings]


def test_no_events_are_a_result(job, tmp_path):
    assert run(job("empty")).returncode == 0
    assert mda.read_header(tmp_path / "out" / "firings.mda").shape == (3, 0)


def test_the_sorter_gets_the_recording_and_its_resources(job, tmp_path):
    facts = told(run(job("tell")))
    assert facts["traces"] == np.arange(100).reshape(50, 2).tolist()
    assert (facts["cores"], facts["memory_bytes"], facts["seed"]) == (3, 10**9, 7)
    assert facts["scratch"] == str(tmp_path / "scratch")


def test_a_value_forced_from_outside_does_not_win(job):
    forced = {
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENBLAS_NUM_THREADS": "9",
        "NPY_DISABLE_CPU_FEATURES": "AVX512_ICL",
        "PYTHONHASHSEED": "42",
        "PYTHONPATH": "/nowhere",
        "LC_ALL": "POSIX",
        "TZ": "Asia/Tokyo",
        "HOME": "/nowhere",
    }
    assert told(run(job("tell"), forced)) == told(run(job("tell")))


def test_worker_processes_run_in_the_same_environment(job):
    expected = {"x86_64": "Haswell", "aarch64": "ARMV8"}.get(platform.machine(), "")
    assert told(run(job("spawn"), {"OPENBLAS_CORETYPE": "Nehalem"})) == expected


@pytest.mark.parametrize(
    ("do", "exit_code", "words"),
    [
        ("raise", 1, "a sorter's own trouble"),
        ("exit", 1, "SystemExit"),
        ("late", 4, "times: 1e+06"),
        ("memory", 5, "MemoryError"),
        ("disk", 28, "No space left"),
        ("hdf5", 28, "No space left"),
    ],
)
def test_a_failure_has_its_exit_code_and_leaves_no_result(job, tmp_path, do, exit_code, words):
    done = run(job(do))
    assert (done.returncode, words in done.stderr) == (exit_code, True), done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_job_that_breaks_the_contract_is_refused(job):
    done = run(job("sort", cores=0))
    assert (done.returncode, "cores: 0" in done.stderr) == (3, True)


def test_a_recording_shorter_than_the_job_says_is_refused(job):
    done = run(job("sort", layout={"num_samples": 51}))
    assert (done.returncode, "raw.dat" in done.stderr) == (3, True)


def test_a_missing_recording_is_refused(job):
    done = run(job("sort", layout={"file": "other.dat"}))
    assert (done.returncode, "other.dat" in done.stderr) == (3, True)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_job_at_once(job, tmp_path, number, exit_code):
    with subprocess.Popen(job("wait"), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "WAITING\n"
        child.send_signal(number)
        assert child.wait(10) == exit_code
    assert list((tmp_path / "out").iterdir()) == []
