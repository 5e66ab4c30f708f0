"""`image.lock` against what the image itself says, and the lock that is committed against the image of today."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from conftest import last_json

from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import find
from spikecrate.images import lockfile
from spikecrate.images.build import build
from spikecrate.steps.job import build_request, recipe

PACKAGES = """
import importlib.metadata, json
print(json.dumps({found.metadata["Name"].lower().replace("_", "-"): found.version
                  for found in importlib.metadata.distributions()}))
"""
DPKG = ["-W", "-f", "${binary:Package} ${Version}\n"]


def asked(name):
    found = find(name)
    return build_request(found, recipe(found))


def say(docker, image, program, *words):
    said = docker.containers.run(
        image, list(words), entrypoint=[program], network_mode="none", user="0:0", remove=True
    )
    return said.decode()


@pytest.fixture
def locked(lab_sorter, command):
    """A sorter with its lock."""
    name = lab_sorter("def sort(): ...", "locked1")
    done = command("image.lock", "--sorter", name, "--json")
    assert done.returncode == 0, done.stderr
    return name, find(name).folder / "image.lock", last_json(done)


def test_a_lock_has_the_packages_that_the_image_itself_names(locked, docker):
    name, path, said = locked
    image = docker.images.get(asked(name).reference)
    entry = json.loads(path.read_text())
    assert entry["digest"] == said["digest"] == image.id
    assert entry["recipe"] == asked(name).recipe
    assert entry["base"]["digest"] == docker.images.get(entry["base"]["reference"]).id
    debian = dict(line.split() for line in say(docker, image.id, "dpkg-query", *DPKG).splitlines())
    assert {package: about["version"] for package, about in entry["debian"].items()} == debian
    bash = say(docker, image.id, "sha256sum", "/var/lib/dpkg/info/bash.md5sums").split()[0]
    assert entry["debian"]["bash"]["record"] == f"sha256:{bash}"
    assert len(debian) == said["debian"] > 50
    python = json.loads(say(docker, image.id, "/opt/sorter/bin/python", "-c", PACKAGES))
    (packages,) = entry["python"].values()
    assert {package: about["version"] for package, about in packages.items()} == python
    (folder,) = entry["python"]
    record = f"{folder}/numpy-{python['numpy']}.dist-info/RECORD"
    assert packages["numpy"]["record"] == f"sha256:{say(docker, image.id, 'sha256sum', record).split()[0]}"


def test_an_image_does_not_differ_from_its_lock_and_writing_that_changes_no_recipe(locked, command):
    name, path, _ = locked
    before, first = recipe(find(name)), path.read_bytes()
    done = command("image.diff", path, json.loads(first)["reference"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "nothing differs"
    assert command("image.lock", "--sorter", name).returncode == 0
    assert path.read_bytes() == first
    path.unlink()
    assert recipe(find(name)) == before


def test_two_images_differ_by_the_file_that_was_edited(lab_sorter, command):
    name = lab_sorter("def sort(): ...", "locked1")
    first = build(asked(name), Silent())
    run = find(name).folder / "run.py"
    run.write_text("def sort(): return None\n")
    second = build(asked(name), Silent())
    found = last_json(command("image.diff", first.reference, second.reference, "--json"))
    assert (found["debian"], found["python"]) == ([], [])
    assert [row["name"] for row in found["settings"]] == ["label spikecrate.recipe"]
    assert [
        row["name"] for row in found["files"] if "run" in row["name"] and "pycache" not in row["name"]
    ] == ["/opt/spikecrate/run.py"]
    assert all("/opt/spikecrate" in row["name"] for row in found["files"])


def test_the_committed_lock_is_that_of_the_image(tmp_path):
    """To the digest on the base that it names; on a base of another day, when Debian had other packages, by version."""
    renew = "write it anew and commit it: spikecrate image.lock --sorter ms4"
    request = asked("ms4")
    committed = request.folder / lockfile.LOCK
    assert committed.exists(), renew
    theirs = json.loads(committed.read_text())
    copy = tmp_path / "ms4"
    shutil.copytree(request.folder, copy)
    ours = json.loads(lockfile.lock(dataclasses.replace(request, folder=copy), Silent()).read_text())
    assert theirs["recipe"] == ours["recipe"], f"{committed} is of another recipe: {renew}"
    if theirs["base"] == ours["base"]:
        assert theirs == ours, renew
    else:
        assert versions(theirs) == versions(ours), renew


def versions(entry):
    return {
        folder: {name: about["version"] for name, about in packages.items()}
        for folder, packages in entry["python"].items()
    }
