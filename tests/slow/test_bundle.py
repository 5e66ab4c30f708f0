"""A bundle installs a sorter on a machine without a network, and the sorter gives the same bytes there."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

import pytest
from conftest import OTHER_UID, ROOT, SPIKECRATE, last_json

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.bundles import bundle as bundles
from spikecrate.bundles import pack
from spikecrate.bundles.unbundle import unbundle
from spikecrate.catalogue.tools import find, read
from spikecrate.errors import BundleError, UsageError
from spikecrate.steps.job import build_request, recipe
from spikecrate.store import open_store


def describe(folder):
    sorter = read(folder)
    return build_request(sorter, recipe(sorter))


@pytest.fixture(scope="module")
def made(tmp_path_factory, environments):
    """A store, and the bundle of ms4 that was written from it with everything that a bundle can hold."""
    root = tmp_path_factory.mktemp("bundle")
    store = open_store(root / "store")
    store.environments.symlink_to(environments)
    request = describe(find("ms4").folder)
    written = bundles.bundle(
        request, store, Silent(), target=root / "ms4.crate.tar", parts=("sif", "docker", "host")
    )
    return store, written


@pytest.fixture
def bundle(made):
    return made[1].path


@pytest.fixture
def cut_off():
    """Run commands as a user without privileges, where there is no network and nothing was installed.

    Gives the user's home, empty, and a function that runs.
    """
    home = Path(tempfile.mkdtemp(prefix="spikecrate-cut-off-"))
    home.chmod(0o755)

    def run(*words, code=0):
        subprocess.run(["chown", "-R", f"{OTHER_UID}:{OTHER_UID}", home], check=True)
        become = [
            "setpriv",
            f"--reuid={OTHER_UID}",
            f"--regid={OTHER_UID}",
            "--clear-groups",
            "--inh-caps=-all",
        ]
        place = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": home,
            "SPIKECRATE_STORE": home / "spikecrate-store",
        }
        done = subprocess.run(
            [
                *("unshare", "--net", *become, "env", "-i"),
                *(f"{name}={value}" for name, value in place.items()),
                *map(str, words),
            ],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done

    yield home, run
    shutil.rmtree(home)


def page_commands(heading):
    """Return the first commands that a section of the page shows, as a script."""
    section = (ROOT / "docs" / "cluster.md").read_text().split(f"{heading}\n")[1]
    block = section.split("```console\n")[1].split("```")[0]
    return "".join(line.removeprefix("$ ") for line in block.splitlines(keepends=True))


# There and back -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("known_user")
def test_a_bare_machine_without_a_network_installs_it_and_sorts_to_the_same_bytes(toy, bundle, cut_off):
    home, run = cut_off
    shutil.copy(bundle, home / "ms4.crate.tar")
    shutil.copytree(toy, home / "rec")

    devices = run("cat", "/proc/net/dev").stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    assert "Network is unreachable" in run("python3", "-c", code, code=1).stderr
    assert run("id", "-u").stdout.strip() == str(OTHER_UID)

    run("bash", "-euc", page_commands("## On the cluster"))
    program = home / "spikecrate" / "bin" / "spikecrate"
    brought = last_json(run(program, "image.unbundle", "ms4.crate.tar", "--json"))
    in_docker = spikecrate.sort(toy, runtime="docker")
    assert brought["recipe"] == in_docker.record["recipe"]
    for runtime in ("apptainer", "host"):
        done = run(program, "sort", "rec", "--runtime", runtime, "--force", "--json", "--output", runtime)
        ran = last_json(done)
        assert (ran["runtime"], ran["status"], ran["key"]) == (runtime, "ran", in_docker.key)
        firings = (home / runtime / "firings.mda").read_bytes()
        assert firings == (in_docker.folder / "firings.mda").read_bytes()
        record = json.loads((home / runtime / "run.json").read_text())
        assert record["user"]["uid"] == OTHER_UID
        if runtime == "apptainer":
            assert record["image"]["digest"] == in_docker.record["image"]["digest"]
        else:
            assert "installing the wheels of a bundle" in done.stderr
    assert in_docker.record["events"] > 50
    assert {path.lstat().st_uid for path in home.rglob("*")} == {OTHER_UID}

    # Once more: nothing is done, nothing is lost.
    again = run("python3", "install.py", "ms4.crate.tar", "--", "--json")
    assert last_json(again) == brought
    assert last_json(run(program, "sort", "rec", "--json", "--output", "-"))["status"] == "cached"

    # What is installed gives the wheel that it was installed from.
    code = "import pathlib, sys; from spikecrate.bundles.wheels import own_wheel; own_wheel(pathlib.Path(sys.argv[1]))"
    (home / "again").mkdir()
    run(home / "spikecrate" / "bin" / "python", "-c", code, home / "again")
    (wheel,) = (home / "again").iterdir()
    with tarfile.open(bundle) as opened:
        carried = opened.extractfile(f"library/{wheel.name}").read()
    (home / "carried.whl").write_bytes(carried)
    code = (
        "import sys, zipfile; files = zipfile.ZipFile(sys.argv[1]).infolist();"
        "print(sorted((one.filename, one.CRC) for one in files if not one.filename.endswith('RECORD')))"
    )
    listing = ("python3", "-c", code)
    assert run(*listing, wheel).stdout == run(*listing, home / "carried.whl").stdout


def test_two_bundles_of_one_image_are_equal(made, tmp_path):
    """The wheels that are compiled for it too."""
    store, first = made
    request = describe(find("ms4").folder)
    second = bundles.bundle(
        request, store, Silent(), target=tmp_path / "other.tar", parts=first.manifest.parts
    )
    subprocess.run(["cmp", first.path, second.path], check=True)
    assert list(tmp_path.glob(".*")) == []


def test_a_bundle_of_docker_s_image_serves_docker_and_apptainer(tmp_path, lab_sorter, toy, docker):
    name = lab_sorter("import numpy as np\ndef sort(*_): return np.array([10.0]), np.array([1])\n")
    request = describe(find(name).folder)
    there, here = open_store(tmp_path / "there"), open_store(tmp_path / "here")
    target = tmp_path / "lab.tar"
    written = bundles.bundle(request, there, Silent(), target=target, parts=("docker",))
    digest = docker.images.get(request.reference).id
    docker.images.remove(request.reference)
    done = unbundle(target, here, Silent(), describe=describe, docker=True)
    assert done.image == request.reference
    assert docker.images.get(request.reference).id == digest == written.manifest.image_digest
    assert json.loads(done.sif.with_suffix(".json").read_text())["sif"]["image_digest"] == digest
    sort = {"sorter": name, "store": here.root}
    assert spikecrate.sort(toy, runtime="apptainer", **sort).record["events"] == 1
    assert spikecrate.sort(toy, runtime="docker", force=True, **sort).record["image"]["digest"] == digest


# Refused ------------------------------------------------------------------------------------------


KINDS = (
    "manifest.json",
    "SHA256SUMS",
    "README",
    "install.py",
    "library/",
    "sif/",
    "docker/",
    "sorter/",
    "wheels/",
)


def test_one_flipped_byte_in_any_kind_of_file_is_refused_and_nothing_installed(
    bundle, tmp_path, own_store, command
):
    broken = tmp_path / "broken.tar"
    shutil.copyfile(bundle, broken)
    with tarfile.open(bundle) as opened:
        members = opened.getmembers()
    for kind in KINDS:
        member = max((one for one in members if one.name.startswith(kind)), key=lambda one: one.size)
        at = member.offset_data + member.size // 2
        with broken.open("r+b") as file:
            file.seek(at)
            was = file.read(1)
            file.seek(at)
            file.write(bytes([was[0] ^ 1]))
            file.flush()
            done = command("image.unbundle", broken, "--json")
            file.seek(at)
            file.write(was)
        assert done.returncode == BundleError.exit_code, done.stderr
        assert last_json(done)["error"] == "BundleError"
        for name in ("sif", "wheels", "sorters"):
            assert list((own_store / name).glob("**/*")) == [], kind
    done = command("image.unbundle", broken)
    assert done.returncode == 0, done.stderr


def test_the_other_side_may_have_another_python(tmp_path, lab_sorter, made):
    request = describe(find(lab_sorter("")).folder)
    target = tmp_path / "lab.tar"
    written = bundles.bundle(request, made[0], Silent(), target=target, parts=("sif",), python="3.12")
    assert written.manifest.python == "3.12"
    names = [member.path for member in written.manifest.members]
    assert [name for name in names if name.startswith("library/numpy-") and "-cp312-cp312-" in name]
    with pytest.raises(UsageError, match="no image for Docker"):
        unbundle(target, open_store(), Silent(), describe=describe, docker=True)
    with pytest.raises(UsageError, match=r"--python '3\.10'"):
        bundles.bundle(request, made[0], Silent(), target=target, python="3.10")
    with pytest.raises(UsageError, match="not a part of a bundle"):
        bundles.bundle(request, made[0], Silent(), target=target, parts=("sif", "nope"))


def test_an_image_archive_cannot_set_the_tag_of_another_image(tmp_path, lab_sorter, docker):
    request = describe(find(lab_sorter("")).folder)
    target = tmp_path / "lab.tar"
    written = bundles.bundle(
        request, open_store(tmp_path / "there"), Silent(), target=target, parts=("docker",)
    )
    with tarfile.open(target) as opened:
        opened.extractall(tmp_path / "files", filter="data")
    other = "spikecrate/bundle-test-other:1"
    docker.images.get(request.reference).tag(*other.split(":"))
    try:
        subprocess.run(
            ["docker", "save", "--output", tmp_path / "files" / "docker" / "image.tar", other], check=True
        )
    finally:
        docker.images.remove(other)
    files = {member.path: tmp_path / "files" / member.path for member in written.manifest.members}
    forged = dataclasses.replace(written.manifest, members=pack.describe(files, Silent()))
    pack.write(tmp_path / "forged.tar", forged, files, Silent())
    with pytest.raises(BundleError, match=r"sets the tag .*bundle-test-other:1"):
        unbundle(
            tmp_path / "forged.tar",
            open_store(tmp_path / "here"),
            Silent(),
            describe=describe,
            docker=True,
        )
    assert docker.images.list("spikecrate/bundle-test-other") == []


# Stopped ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_bundling_leaves_nothing(made, tmp_path, number):
    (tmp_path / "out").mkdir()
    child = subprocess.Popen(
        [SPIKECRATE, "image.bundle", "--sorter", "ms4", "--output", tmp_path / "out" / "ms4.tar"],
        env={**os.environ, "SPIKECRATE_STORE": str(made[0].root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with child:
        while not list((tmp_path / "out").glob(".*/host/*")):
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.05)
        child.send_signal(number)
        assert child.wait(60) == 128 + number
    assert list((tmp_path / "out").iterdir()) == []
