"""A sorter whose image is not made here: named by its digest, pulled from a registry that is asked for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import last_json

from spikecrate._util.progress import Silent
from spikecrate.images.base import ensure_bases

REGISTRY = "127.0.0.1:5000"
PROGRAM = """
import json, struct, sys
job = json.load(open("/job/job.json"))
height = job["parameters"]["height"]
print("settings:", json.dumps({"height": height}), flush=True)
firings = [1.0, 10.0, 1.0, 1.0, 20.0, 2.0]
with open("/out/firings.mda", "wb") as file:
    file.write(struct.pack("<5i6d", -7, 8, 2, 3, 2, *firings))
json.dump({"packages": {"lab": "1"}}, open("/out/run.json", "w"))
"""
"""Keeps the container contract, with two events whatever the recording."""
GONE = "sha256:" + "0a" * 32


def docker_said(*words):
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="session")
def pushed(tmp_path_factory):
    """Push a small image to the registry; give its name and digest there, the engine having forgotten it."""
    folder = tmp_path_factory.mktemp("image")
    base = ensure_bases(Silent()).runtime
    (folder / "program.py").write_text(PROGRAM)
    (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY --chmod=644 program.py /program.py\n")
    name = f"{REGISTRY}/lab/tiny"
    build = ["docker", "buildx", "build", "--quiet", "--provenance=false", "--tag", f"{name}:1", folder]
    subprocess.run(build, check=True, capture_output=True)
    said = docker_said("push", f"{name}:1")
    docker_said("image", "rm", f"{name}:1")
    return f"{name}@{re.search(r'sha256:[0-9a-f]{64}', said)[0]}"


@pytest.fixture
def tiny(pushed, tmp_path, monkeypatch):
    """Make a sorter of that image; give its reference. The engine does not have it."""
    forget(pushed)
    write(tmp_path, pushed)
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(tmp_path / "sorters"))
    yield pushed
    forget(pushed)


def write(tmp_path, reference):
    folder = tmp_path / "sorters" / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    height = {"type": "number", "default": 5, "description": "Anything."}
    described = {
        "name": "tiny",
        "title": "Tiny",
        "version": "1",
        "license": "MIT",
        "description": "It answers two events.",
        "gpu": "none",
        "deterministic": True,
        "cores_change_result": False,
        "python": ">=3.11",
        "entrypoint": ["python3.11", "/program.py"],
        "image": {"reference": reference},
        "parameters": {"type": "object", "additionalProperties": False, "properties": {"height": height}},
    }
    (folder / "sorter.json").write_text(json.dumps(described))
    return folder


def forget(reference):
    """Remove an image by all of its names, as if it had never been here."""
    names = docker_said("image", "ls", "spikecrate/tiny", "--format", "{{.Repository}}:{{.Tag}}").split()
    for name in [*names, reference, reference.rpartition("@")[2]]:
        subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)


def hashes(done):
    return (Path(last_json(done)["folder"]) / "firings.mda").read_bytes()


@pytest.mark.parametrize("runtime", ["docker", "apptainer"])
def test_an_image_that_is_not_here_is_an_error_and_never_pulled_unasked(command, tiny, toy, runtime):
    done = command("sort", toy, "--sorter", "tiny", "--runtime", runtime, "--output", "-")
    assert done.returncode == 49
    assert tiny in done.stderr
    assert "spikecrate image.pull --sorter tiny" in done.stderr
    assert command("build", "--sorter", "tiny").returncode == 49


def test_a_pulled_image_sorts_the_same_in_both_engines_and_its_record_names_it(command, tiny, toy):
    pulled = last_json(command("image.pull", "--sorter", "tiny", "--json"))
    assert pulled["reference"] == tiny
    assert last_json(command("image.pull", "--sorter", "tiny", "--json"))["digest"] == pulled["digest"]
    found = last_json(command("build", "--sorter", "tiny", "--json"))
    assert (found["digest"], found["built"]) == (pulled["digest"], False)
    words = ("sort", toy, "--sorter", "tiny", "--output", "-", "--force", "--json")
    done = {runtime: command(*words, "--runtime", runtime) for runtime in ("docker", "apptainer")}
    assert [one.returncode for one in done.values()] == [0, 0]
    assert hashes(done["docker"]) == hashes(done["apptainer"])
    assert len({last_json(one)["key"] for one in done.values()}) == 1
    assert all(last_json(one)["image"]["reference"] == tiny for one in done.values())


def test_a_digest_that_the_registry_does_not_have_is_refused(command, tiny, tmp_path):
    write(tmp_path, f"{tiny.partition('@')[0]}@{GONE}")
    done = command("image.pull", "--sorter", "tiny")
    assert done.returncode == 49
    assert GONE in done.stderr


def test_a_registry_that_is_not_in_reach_is_an_error(command, tiny, tmp_path):
    write(tmp_path, f"127.0.0.1:1/lab/tiny@{tiny.partition('@')[2]}")
    done = command("image.pull", "--sorter", "tiny")
    assert done.returncode == 49
    assert "could not be pulled" in done.stderr


def test_the_name_of_ours_on_another_image_does_not_pass_for_it(command, tiny, toy):
    assert command("image.pull", "--sorter", "tiny").returncode == 0
    (name,) = docker_said("image", "ls", "spikecrate/tiny", "--format", "{{.Repository}}:{{.Tag}}").split()
    forget(tiny)
    docker_said("tag", ensure_bases(Silent()).runtime, name)
    assert command("sort", toy, "--sorter", "tiny", "--runtime", "docker").returncode == 49


def test_a_new_digest_is_another_job_and_a_new_registry_is_not(command, tiny, toy, tmp_path):
    command("image.pull", "--sorter", "tiny")
    plan = ("sort", toy, "--sorter", "tiny", "--runtime", "docker", "--dry-run", "--json")
    first = last_json(command(*plan))["key"]
    write(tmp_path, f"elsewhere.example.org/tiny@{tiny.partition('@')[2]}")
    assert last_json(command(*plan))["key"] == first
    write(tmp_path, f"{tiny.partition('@')[0]}@{GONE}")
    assert last_json(command(*plan))["key"] != first


@pytest.mark.parametrize("words", [["--verify"], ["--no-cache"]])
def test_there_is_nothing_to_build(command, tiny, words):  # noqa: ARG001
    done = command("build", "--sorter", "tiny", *words)
    assert done.returncode == 2
    assert "prebuilt" in done.stderr


def test_a_sorter_that_is_built_is_not_pulled(command):
    assert command("image.pull", "--sorter", "ms4").returncode == 2


def test_the_host_refuses_what_runs_only_in_its_image(command, tiny, toy):  # noqa: ARG001
    done = command("sort", toy, "--sorter", "tiny", "--runtime", "host")
    assert done.returncode == 37
    assert "only in its image" in done.stderr


def test_the_list_shows_it_and_prune_removes_it_once_its_digest_is_old(command, tiny, tmp_path):
    command("image.pull", "--sorter", "tiny")

    def states():
        return [
            row["state"] for row in last_json_array(command("image.list", "--json")) if row["name"] == "tiny"
        ]

    assert states() == ["current"]
    write(tmp_path, f"{tiny.partition('@')[0]}@{GONE}")
    assert states() == ["stale"]
    assert command("image.prune", "--sorter", "tiny").returncode == 0
    assert states() == []


def last_json_array(done):
    return json.loads(done.stdout)


def test_a_bundle_brings_it_to_where_there_is_no_registry(command, tiny, toy, tmp_path, monkeypatch):
    command("image.pull", "--sorter", "tiny")
    made = command(
        "image.bundle", "--sorter", "tiny", "--parts", "sif,docker", "--output", tmp_path / "tiny.tar"
    )
    assert made.returncode == 0, made.stderr
    forget(tiny)
    shutil.rmtree(tmp_path / "sorters" / "tiny")
    monkeypatch.setenv("SPIKECRATE_STORE", str(tmp_path / "there"))
    (tmp_path / "there").mkdir(mode=0o700)
    brought = command("image.unbundle", tmp_path / "tiny.tar", "--docker", "--json")
    assert brought.returncode == 0, brought.stderr
    monkeypatch.setenv("SPIKECRATE_SORTERS", last_json(brought)["sorters"])
    words = ("sort", toy, "--sorter", "tiny", "--output", "-", "--force", "--json")
    done = {runtime: command(*words, "--runtime", runtime) for runtime in ("docker", "apptainer")}
    assert [(one.returncode, one.stderr) for one in done.values() if one.returncode] == []
    assert hashes(done["docker"]) == hashes(done["apptainer"])


def test_an_archive_of_another_image_is_refused(command, tiny, tmp_path):  # noqa: ARG001
    base = ensure_bases(Silent()).runtime
    docker_said("save", base, "--output", str(tmp_path / "other.tar"))
    done = command("convert", "--sorter", "tiny", "--archive", tmp_path / "other.tar")
    assert done.returncode == 38
