"""What a bundle brings is put where a sort looks, whole and checked, or nothing is."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from spikecrate._util.progress import Silent
from spikecrate.bundles import pack
from spikecrate.bundles.manifest import Manifest, Member
from spikecrate.bundles.unbundle import unbundle
from spikecrate.catalogue.tools import find, read
from spikecrate.environments import environment
from spikecrate.errors import BundleError, DiskFullError, UsageError
from spikecrate.images import sif
from spikecrate.images.oci import machine_architecture
from spikecrate.steps.job import build_request, recipe
from spikecrate.store import open_store

DIGEST = f"sha256:{'cd' * 32}"


def describe(folder):
    sorter = read(folder)
    return build_request(sorter, recipe(sorter))


@pytest.fixture
def lab(tmp_path):
    """A lab's own sorter."""
    folder = tmp_path / "lab-sorters" / "lab"
    folder.mkdir(parents=True)
    described = json.loads((find("ms4").folder / "sorter.json").read_text()) | {"name": "lab", "aliases": []}
    (folder / "sorter.json").write_text(json.dumps(described))
    (folder / "requirements.lock").write_text("x==1\n")
    (folder / "run.py").write_text("def sort(): ...\n")
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o755)
    return folder


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv("SPIKECRATE_SORTERS", raising=False)
    # No engine is asked for here, whatever this machine has.
    monkeypatch.setenv("PATH", "/nowhere")
    return open_store(tmp_path / "store")


def contents(folder):
    """Everything below a folder that is a file, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(tmp_path, folder, *, name="made.tar", **changed):
    """Write a bundle of a sorter with a SIF and wheels that are none."""
    request = describe(folder)
    made = tmp_path / f"parts-{name}"
    made.mkdir()
    (made / "image.sif").write_bytes(b"a SIF that is none" * 100)
    (made / "wheel").write_bytes(b"a wheel that is none")
    (made / "lock").write_text("x==1 --hash=sha256:00\n")
    files = {f"sorter/{folder.name}/{path.name}": path for path in folder.iterdir() if path.is_file()}
    files |= {
        "sif/image.sif": made / "image.sif",
        "wheels/x-1-py3-none-any.whl": made / "wheel",
        "wheels/requirements.lock": made / "lock",
        "library/y-1-py3-none-any.whl": made / "wheel",
    }
    (member,) = pack.describe({"sif/image.sif": made / "image.sif"}, Silent())
    known = sif.Sif(
        path=Path("somewhere.sif"),
        blake3=sif.hash_file(made / "image.sif"),
        sha256=member.sha256,
        size_bytes=member.size,
        reference=request.reference,
        image_digest=DIGEST,
        recipe=request.recipe,
        sorter=request.name,
        architecture=machine_architecture(),
        compression="zstd",
        engine="apptainer",
        engine_version="1",
        created="2026-01-01T00:00:00.000+00:00",
        seconds=1.0,
    )
    (made / "image.json").write_text(
        json.dumps({"schema": 1, "sif": known.as_dict() | changed.pop("sif", {}), "labels": {}})
    )
    files["sif/image.json"] = made / "image.json"
    files |= changed.pop("files", {})
    said = {
        "spikecrate": "0.1.0",
        "sorter": request.name,
        "version": request.version,
        "recipe": request.recipe,
        "reference": request.reference,
        "image_digest": DIGEST,
        "architecture": machine_architecture(),
        "python": "3.11",
        "parts": ("sif", "host"),
        "members": pack.describe(files, Silent()),
    }
    pack.write(tmp_path / name, Manifest(**{**said, **changed}), files, Silent())
    return tmp_path / name


def test_a_tool_that_the_catalogue_has_is_not_installed_beside_it(tmp_path, lab, store, monkeypatch):
    fields = json.loads((lab / "sorter.json").read_text()) | {
        "kind": "command",
        "inputs": {"source": "folder"},
    }
    (lab / "tool.json").write_text(json.dumps(fields))
    (lab / "sorter.json").unlink()
    bundle = write(tmp_path, lab)
    assert unbundle(bundle, store, Silent(), describe=describe).sorters == store.sorters
    monkeypatch.setenv("SPIKECRATE_TOOLS", str(lab.parent))
    assert unbundle(bundle, store, Silent(), describe=describe).sorters is None


def test_everything_lies_where_a_sort_looks(tmp_path, lab, store, monkeypatch):
    done = unbundle(write(tmp_path, lab), store, Silent(), describe=describe)
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(done.sorters))
    request = describe(find("lab").folder)
    assert request.recipe == describe(lab).recipe
    assert contents(find("lab").folder) == contents(lab)
    (found,) = sif.stored(request, store, DIGEST)
    assert found.path == done.sif
    assert found.path.read_bytes() == b"a SIF that is none" * 100
    assert sif._checked(request, store, Silent(), DIGEST) == found
    wheels = environment.wheels_folder(request, store, "3.11.7")
    assert sorted(contents(wheels)) == ["requirements.lock", "x-1-py3-none-any.whl"]
    assert done.wheels == wheels


def test_a_second_time_changes_nothing(tmp_path, lab, store):
    bundle = write(tmp_path, lab)
    first = unbundle(bundle, store, Silent(), describe=describe)
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    assert unbundle(bundle, store, Silent(), describe=describe) == first
    after = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    memo = {path for path in after if store.memo in path.parents}
    assert {path: after[path] for path in set(after) - memo} == before


def test_what_was_spoilt_since_is_put_right(tmp_path, lab, store):
    bundle = write(tmp_path, lab)
    done = unbundle(bundle, store, Silent(), describe=describe)
    before = contents(store.root)
    done.sif.write_bytes(b"spoilt")
    (done.wheels / "x-1-py3-none-any.whl").unlink()
    (done.sorters / "lab" / "run.py").write_text("spoilt")
    unbundle(bundle, store, Silent(), describe=describe)
    after = contents(store.root)
    assert {name: after.get(name) for name in before} == before


def test_a_sorter_that_the_catalogue_has_is_not_put_beside_it(tmp_path, store):
    done = unbundle(write(tmp_path, find("ms4").folder), store, Silent(), describe=describe)
    assert done.sorters is None
    assert not store.sorters.exists()
    assert done.sif is not None


def test_one_with_other_defaults_is_another_sorter(tmp_path, lab, store, monkeypatch):
    """Its recipe is the same, its jobs' keys are not."""
    bundle = write(tmp_path, lab)
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(lab.parent))
    assert unbundle(bundle, store, Silent(), describe=describe).sorters is None
    described = json.loads((lab / "sorter.json").read_text())
    described["parameters"]["properties"]["detect_threshold"]["default"] = 7
    (lab / "sorter.json").write_text(json.dumps(described))
    brought = unbundle(bundle, store, Silent(), describe=describe).sorters / "lab"
    assert describe(lab).recipe == describe(brought).recipe
    assert (lab / "sorter.json").read_bytes() != (brought / "sorter.json").read_bytes()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"architecture": "riscv64"}, "for riscv64, this machine is"),
        ({"recipe": "ef" * 32}, "builds lab from recipe"),
        ({"sif": {"recipe": "ef" * 32}}, "does not match its SIF file"),
        ({"sif": {"sha256": "ef" * 32}}, "does not match its SIF file"),
        ({"sif": {"image_digest": "sha256:../../x"}}, "does not match its SIF file"),
        ({"image_digest": ""}, "does not match its SIF file"),
        ({"sorter": "other"}, "cannot be used"),
    ],
)
def test_a_bundle_of_another_machine_or_recipe_installs_nothing(tmp_path, lab, store, changed, said):
    bundle = write(tmp_path, lab, **changed)
    before = contents(store.root)
    with pytest.raises(BundleError, match=said):
        unbundle(bundle, store, Silent(), describe=describe)
    assert contents(store.root) == before
    assert list(store.sifs.glob(".*")) == []


def image_archive(path, *, name, digest=DIGEST, recipe="ab" * 32):
    """Write an image archive as Docker saves one."""
    annotations = {"io.containerd.image.name": name}
    config = {"architecture": machine_architecture(), "config": {"Labels": {"spikecrate.recipe": recipe}}}
    members = {
        "blobs/sha256/config": config,
        "index.json": {"manifests": [{"digest": digest, "annotations": annotations}]},
        "manifest.json": [{"Config": "blobs/sha256/config", "RepoTags": [name], "Layers": []}],
    }
    with tarfile.open(path, "w") as archive:
        for member, content in members.items():
            data = json.dumps(content).encode()
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_the_image_archive_of_the_bundle_s_own_image_is_accepted(tmp_path, lab, store):
    request = describe(lab)
    own = image_archive(tmp_path / "image.tar", name=request.reference, recipe=request.recipe)
    bundle = write(tmp_path, lab, files={"docker/image.tar": own})
    assert unbundle(bundle, store, Silent(), describe=describe).sif.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "debian:12"}, "sets the tag 'debian:12'"),
        ({"digest": f"sha256:{'ef' * 32}"}, "does not match its manifest"),
        ({"recipe": "ef" * 32}, "does not match its manifest"),
    ],
)
def test_an_image_archive_of_another_tag_or_image_installs_nothing(tmp_path, lab, store, changed, message):
    request = describe(lab)
    archive = image_archive(
        tmp_path / "image.tar", **{"name": request.reference, "recipe": request.recipe, **changed}
    )
    bundle = write(tmp_path, lab, files={"docker/image.tar": archive})
    before = contents(store.root)
    with pytest.raises(BundleError, match=message):
        unbundle(bundle, store, Silent(), describe=describe)
    assert contents(store.root) == before
    assert list(store.sifs.iterdir()) == []


def test_a_flipped_byte_in_any_file_installs_nothing(tmp_path, lab, store):
    data = bytearray(write(tmp_path, lab).read_bytes())
    before = contents(store.root)
    with tarfile.open(tmp_path / "made.tar") as opened:
        starts = [member.offset for member in opened]
    assert len(starts) == 11
    for at in [start + place for start in starts for place in (0, 512)]:
        data[at] ^= 4
        (tmp_path / "broken.tar").write_bytes(data)
        data[at] ^= 4
        with pytest.raises(BundleError):
            unbundle(tmp_path / "broken.tar", store, Silent(), describe=describe)
    assert contents(store.root) == before
    assert list(store.sifs.iterdir()) == []


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path, store):
    with pytest.raises(UsageError, match="No such file"):
        unbundle(tmp_path / "nothing.tar", store, Silent(), describe=describe)


def test_too_little_space_is_said_before_anything_is_unpacked(tmp_path, lab, store):
    huge = (Member(path="sif/image.sif", size=1 << 60, sha256="00" * 32),)
    bundle = tmp_path / "huge.tar"
    with write(tmp_path, lab).open("rb") as stream:
        _, manifest = pack.open_bundle(stream)
    data = dataclasses.replace(manifest, members=huge).as_bytes()
    first = tarfile.TarInfo("manifest.json")
    first.size = len(data)
    with tarfile.open(bundle, "w") as archive:
        archive.addfile(first, io.BytesIO(data))
    with pytest.raises(DiskFullError):
        unbundle(bundle, store, Silent(), describe=describe)


PROGRAM = Path(sys.executable).with_name("spikecrate")


def start_half(bundle, store):
    """Unbundle from a pipe that has given half of the bundle so far."""
    data = bundle.read_bytes()
    child = subprocess.Popen(
        [PROGRAM, "image.unbundle", "/dev/stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SPIKECRATE_STORE": str(store.root)},
    )
    child.stdin.write(data[: len(data) // 2])
    child.stdin.flush()
    while not list(store.sifs.glob(".new-*/*")):
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.02)
    return child, data[len(data) // 2 :]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_one_leaves_nothing(tmp_path, lab, store, number):
    child, _ = start_half(write(tmp_path, lab), store)
    with child:
        child.send_signal(number)
        assert child.wait(30) == 128 + number
    assert list(store.sifs.iterdir()) == []
    assert not store.wheels.exists()
    assert not store.sorters.exists()


def test_what_a_killed_one_leaves_is_removed_by_the_next(tmp_path, lab, store):
    bundle = write(tmp_path, lab)
    child, _ = start_half(bundle, store)
    with child:
        child.kill()
    assert list(store.sifs.glob(".new-*"))
    assert unbundle(bundle, store, Silent(), describe=describe).sif.exists()
    assert list(store.sifs.glob(".new-*")) == []


def test_a_bundle_comes_through_a_pipe_too(tmp_path, lab, store):
    child, rest = start_half(write(tmp_path, lab), store)
    said, errors = child.communicate(rest)
    assert child.returncode == 0, errors
    assert b"export SPIKECRATE_SORTERS=" in said
    assert b"--runtime apptainer | host" in said


def test_the_console_says_39_and_what_to_do(tmp_path, lab, store):
    data = bytearray(write(tmp_path, lab).read_bytes())
    data[-12000] ^= 1
    (tmp_path / "broken.tar").write_bytes(data)
    done = subprocess.run(
        [PROGRAM, "image.unbundle", tmp_path / "broken.tar", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SPIKECRATE_STORE": str(store.root)},
    )
    assert done.returncode == 39
    assert json.loads(done.stdout)["error"] == "BundleError"
    assert "next: copy the bundle again" in done.stderr
