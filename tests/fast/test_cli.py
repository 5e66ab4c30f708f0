"""The console program: what it prints, where, and its exit codes. Whole processes, as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikecrate import errors
from spikecrate.recordings.toy import write_toy

PROGRAM = [sys.executable, "-m", "spikecrate"]
ROOT = Path(__file__).parents[2]


def run(*words, cwd=None, **environ):
    return subprocess.run(
        [*PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **environ},
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy") / "recording", duration_s=1, num_units=2)


def test_every_error_has_an_exit_code_of_its_own():
    classes = [found for found in vars(errors).values() if isinstance(found, type)]
    codes = [
        found.exit_code
        for found in classes
        if issubclass(found, errors.SpikecrateError) and found is not errors.RecordingError
    ]
    assert len(codes) == len(set(codes))
    assert all(0 < code < 256 for code in codes)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["/no/such/recording"], 10, "/no/such/recording does not exist"),
        (["TOY", "--sorter", "ms44"], 20, "did you mean 'ms4'"),
        (["TOY", "--param", "detect_treshold=4"], 22, "did you mean 'detect_threshold'"),
        (["TOY", "--param", "detect_threshold=-1", "--runtime", "host"], 23, "detect_threshold"),
        (["TOY", "--param", "detect_threshold"], 23, "name=value"),
        (["TOY", "--params", "/no/file.json"], 23, "/no/file.json"),
        (["TOY", "--runtime", "podman"], 2, "podman"),
        (["TOY", "--memory", "lots"], 2, "'lots' is not an amount of memory"),
        (["TOY", "--cores", "two"], 2, "--cores 'two'"),
        # As a script writes them whose variable is not set: not the whole recording.
        (["TOY", "--end", ""], 2, "--end needs a value"),
        (["TOY", "--start="], 2, "--start needs a value"),
        (["TOY", "--channels", ","], 2, "--channels ',' names no channel"),
    ],
)
def test_a_mistake_is_answered_with_its_place_the_next_step_and_its_own_code(toy, words, code, said):
    done = run("sort", *(str(toy) if word == "TOY" else word for word in words))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "next: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_json_on_standard_output_when_json_is_asked_for():
    done = run("sort", "/no/such/recording", "--json")
    error = json.loads(done.stdout.splitlines()[-1])
    assert error["error"] == "RecordingNotFoundError"
    assert error["exit_code"] == done.returncode == 10


def test_a_traceback_appears_only_with_debug():
    assert "Traceback" in run("--debug", "sort", "/no/such/recording").stderr


@pytest.mark.parametrize("words", [["sort", "--help"], ["--help", "sort"], ["sort", "rec", "-h"]])
def test_help_is_printed_wherever_it_is_asked_for(words):
    done = run(*words)
    assert done.returncode == 0
    assert "--dry-run" in done.stdout


def test_a_recording_is_described_with_its_hash(toy):
    described = json.loads(run("recording.info", toy, "--json").stdout)
    assert described["format"] == "mountainsort"
    assert described["num_channels"] == 4
    assert len(described["samples_hash"]) == 64


def test_the_catalogue_is_json_for_other_tools():
    (ms4,) = (sorter for sorter in json.loads(run("sorters", "--json").stdout) if sorter["name"] == "ms4")
    assert ms4["parameters"]["properties"]["detect_threshold"]["default"] == 3


def test_parameters_are_shown_with_default_range_and_meaning():
    line = next(
        line for line in run("sorters.show", "ms4").stdout.splitlines() if line.startswith("freq_min")
    )
    assert "300" in line
    assert "Hz" in line


def test_an_empty_store_lists_no_jobs():
    assert json.loads(run("job.list", "--json").stdout) == []


def test_a_reader_that_goes_away_is_no_fault():
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" sorters | true', "bash", *PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def names_in(collection, noun=""):
    for task in collection["tasks"]:
        yield f"{noun}{task['name']}"
    for inner in collection["collections"]:
        yield from names_in(inner, f"{inner['name']}.")


def test_invoke_has_the_same_tasks_as_the_console_program():
    invoke = [Path(sys.executable).with_name("invoke"), "--list", "--list-format=json"]
    listed = subprocess.run(invoke, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    tasks = set(names_in(json.loads(listed)))
    assert tasks == set(run("--list").stdout.split()) >= {"sort", "build", "demo"}


def test_invoke_reads_options_and_ends_as_the_console_program_does(toy):
    invoke = Path(sys.executable).with_name("invoke")
    done = subprocess.run(
        [invoke, "sort", "--cores", "two", toy], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (2, run("sort", "--cores", "two", toy).stderr)


def test_importing_the_package_and_listing_tasks_load_nothing_heavy():
    code = (
        "import sys, spikecrate, spikecrate.cli; spikecrate.cli.load();"
        "print(sorted({'invoke', 'numpy', 'docker', 'jsonschema', 'rich', 'scipy', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
