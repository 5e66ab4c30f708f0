"""SIFs in the store: found by recipe and digest, believed only while their bytes are those that were written."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from lab import Notes

from spikecrate._util.progress import Silent
from spikecrate.engines.apptainer import Program
from spikecrate.errors import DiskFullError, EngineMissingError, ImageInvalidError, UsageError
from spikecrate.images import provenance, sif, sif_build
from spikecrate.images.build import BuildRequest
from spikecrate.images.oci import machine_architecture, read_archive
from spikecrate.images.provenance import Sif
from spikecrate.images.sif_build import Source
from spikecrate.runtimes import choice
from spikecrate.runtimes.host import Host
from spikecrate.store import open_store
from spikecrate.store.lock import Lock
from spikecrate.store.result_manifest import hash_file

RECIPE = "ab" * 32
DIGEST = "sha256:" + "cd" * 32
REQUEST = BuildRequest(
    name="ms4",
    folder=Path("/sorters/ms4"),
    version="1",
    title="",
    description="",
    license="",
    url="",
    entrypoint=("/bin/true",),
    python=">=3.11",
    recipe=RECIPE,
)


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "store")
    opened.sifs.mkdir()
    return opened


def put(store, name="ms4-abababababababab-cdcdcdcdcdcdcdcd", **changes):
    path = store.sifs / f"{name}.sif"
    path.write_bytes(b"SIF " + name.encode() * 1000)
    made = Sif(
        path=path,
        blake3=hash_file(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size_bytes=path.stat().st_size,
        reference=REQUEST.reference,
        image_digest=DIGEST,
        recipe=RECIPE,
        sorter="ms4",
        architecture=machine_architecture(),
        compression="zstd",
        engine="apptainer",
        engine_version="1.4.5",
        created="2026-01-01T00:00:00+00:00",
        seconds=1.0,
    )
    made = dataclasses.replace(made, **changes)
    path.with_suffix(".json").write_text(json.dumps(provenance.sealed(made.as_dict(), {})))
    return made


@pytest.fixture
def no_docker(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")


def test_a_sif_is_found_by_its_recipe_and_the_digest_of_its_image(store):
    made = put(store)
    assert sif.stored(REQUEST, store) == [made]
    assert sif.stored(REQUEST, store, DIGEST) == [made]
    assert sif.stored(REQUEST, store, "sha256:other") == []
    assert sif.stored(dataclasses.replace(REQUEST, recipe="ef" * 32), store) == []


@pytest.mark.parametrize(
    "changes",
    [{"recipe": "abababababababab" + "0" * 48}, {"architecture": "riscv64"}],
    ids=["recipe", "machine"],
)
def test_a_sif_of_another_recipe_or_machine_is_never_run(store, changes):
    put(store, **changes)
    assert sif.stored(REQUEST, store) == []


def test_the_latest_of_several_is_taken(store):
    put(store)
    later = put(
        store, "ms4-abababababababab-eeee", image_digest="sha256:ee", created="2026-02-01T00:00:00+00:00"
    )
    assert sif.stored(REQUEST, store)[0] == later


def test_a_sif_without_its_provenance_or_the_other_way_round_does_not_count(store):
    put(store).path.unlink()
    other = put(store, "ms4-abababababababab-ffff")
    other.path.with_suffix(".json").write_text("{")
    assert sif.stored(REQUEST, store) == []


@pytest.mark.usefixtures("no_docker")
def test_a_whole_sif_is_given_without_docker_and_without_apptainer(store):
    made = put(store)
    notes = Notes()
    assert sif.ensure(REQUEST, store, notes) == made
    assert notes.notes == []


@pytest.mark.usefixtures("no_docker")
@pytest.mark.parametrize("damage", ["flipped", "short", "long"])
def test_a_damaged_sif_is_set_aside_with_a_note(store, damage):
    made = put(store)
    data = made.path.read_bytes()
    changed = {"flipped": bytes([data[0] ^ 1]) + data[1:], "short": data[:-1], "long": data + b"x"}[damage]
    made.path.write_bytes(changed)
    notes = Notes()
    # It is to be made again, which takes Apptainer.
    with pytest.raises(EngineMissingError):
        sif.ensure(REQUEST, store, notes)
    assert "is corrupt; moved to" in notes.notes[0]
    (aside,) = store.quarantine.glob("*.sif")
    assert aside.read_bytes() == changed
    assert list(store.sifs.iterdir()) == []


@pytest.mark.usefixtures("no_docker")
def test_a_checked_sif_is_not_read_again_until_it_is_touched(store, monkeypatch):
    made = put(store)
    old = made.path.stat().st_mtime - 100
    reads = []
    monkeypatch.setattr(sif, "hash_file", lambda path: reads.append(path) or hash_file(path))
    monkeypatch.setattr("spikecrate.store.file_hashes.SETTLED_S", 0.0)
    sif.ensure(REQUEST, store, Silent())
    sif.ensure(REQUEST, store, Silent())
    assert len(reads) == 1
    os.utime(made.path, (old, old))
    sif.ensure(REQUEST, store, Silent())
    assert len(reads) == 2


def test_an_unknown_compression_is_refused_with_those_that_are_known(store):
    with pytest.raises(UsageError, match="brotli") as caught:
        sif.convert(REQUEST, store, Silent(), compression="brotli")
    assert "zstd" in caught.value.next_step


def test_a_conversion_names_no_path_in_which_a_colon_would_be_misread():
    argv = sif_build.build_argv(Program("/usr/bin/apptainer", "apptainer", "1.4.5"), "docker-archive", "zstd")
    assert argv == [
        *("/usr/bin/apptainer", "build", "--disable-cache"),
        *("--mksquashfs-args", "-comp zstd -Xcompression-level 3"),
        *("image.sif", "docker-archive:image.tar"),
    ]
    assert "--mksquashfs-args" not in sif_build.build_argv(
        Program("s", "singularity", "3"), "oci-archive", None
    )


@pytest.mark.parametrize("name", ["a:b", "quote'", 'double"', "dollar$", "with space"])
def test_the_scratch_folder_lies_elsewhere_where_the_program_would_misread_its_path(tmp_path, name):
    odd = tmp_path / name
    odd.mkdir()
    assert sif_build.scratch_place(odd) != odd
    assert sif_build.scratch_place(tmp_path) == tmp_path
    work = odd / ".new-f00-1"
    sif_build.make_folders(odd, work)
    scratch = (work / sif_build.SCRATCH).resolve()
    assert scratch.is_dir()
    assert not scratch.is_relative_to(odd)
    sif_build.remove(work)
    assert not scratch.exists()
    assert not work.exists()


def test_too_little_space_is_said_with_how_much_it_takes(tmp_path):
    source = Source(digest=DIGEST, unpacked_bytes=2**60)
    with pytest.raises(DiskFullError, match=r"takes about .* TiB in .* are free"):
        sif_build.require_space("ms4", source, tmp_path)
    sif_build.require_space("ms4", Source(digest=DIGEST, unpacked_bytes=1), tmp_path)


def test_what_a_killed_conversion_left_is_removed_unless_another_is_at_it(store):
    for name in (".new-0123456789abcdef-11111111", ".new-fedcba9876543210-22222222"):
        (store.sifs / name / "scratch").mkdir(parents=True)
    with Lock(store.lock("sif-fedcba9876543210")):
        assert [Path(path).name for path in sif.sweep(store)] == [".new-0123456789abcdef-11111111"]
    assert [path.name for path in store.sifs.iterdir()] == [".new-fedcba9876543210-22222222"]


# docker-py leaves the socket that it could not connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("no_docker")
def test_auto_without_engines_takes_the_host_and_says_why_not_the_others(store):
    notes = Notes()
    assert isinstance(choice.choose("auto", store, notes, request=REQUEST), Host)
    assert "Docker is not installed" in notes.notes[0]
    assert "neither apptainer nor singularity" in notes.notes[0]
    assert "isolates nothing" in notes.notes[0]


# Archives -----------------------------------------------------------------------------------------


def blob(files, content):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    digest = hashlib.sha256(data).hexdigest()
    files[f"blobs/sha256/{digest}"] = data
    return {"digest": f"sha256:{digest}", "size": len(data)}


def image(files, architecture, recipe=RECIPE):
    config = blob(files, {"architecture": architecture, "config": {"Labels": {"spikecrate.recipe": recipe}}})
    layer = blob(files, b"\x1f\x8b" + b"0" * 98)
    return blob(files, {"config": config, "layers": [layer]}), config, layer


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def oci(path, *architectures):
    files = {}
    manifests = [
        {**image(files, architecture)[0], "platform": {"architecture": architecture}}
        for architecture in architectures
    ]
    index = blob(files, {"manifests": manifests})
    files["index.json"] = json.dumps({"manifests": [index]}).encode()
    return write_tar(path, files), manifests


def docker(path, architecture, count=1):
    files = {}
    _, config, layer = image(files, architecture)
    entry = {
        "Config": f"blobs/sha256/{config['digest'].removeprefix('sha256:')}",
        "Layers": [f"blobs/sha256/{layer['digest'].removeprefix('sha256:')}"],
    }
    files["manifest.json"] = json.dumps([entry] * count).encode()
    return write_tar(path, files), config


def test_an_oci_archive_of_several_machines_gives_that_of_this_one(tmp_path):
    path, manifests = oci(tmp_path / "image.tar", "riscv64", machine_architecture())
    found = read_archive(path)
    assert found.transport == "oci-archive"
    assert found.digest == manifests[1]["digest"]
    assert found.labels == {"spikecrate.recipe": RECIPE}
    assert found.unpacked_bytes == 400


def test_a_docker_archive_without_an_index_is_known_by_its_configuration(tmp_path):
    path, config = docker(tmp_path / "image.tar", "amd64")
    found = read_archive(path)
    assert found.transport == "docker-archive"
    assert found.digest == config["digest"]


def test_what_is_no_archive_of_one_image_is_refused_with_the_reason(tmp_path):
    text = tmp_path / "text.tar"
    text.write_text("hello")
    for path, reason in (
        (tmp_path / "missing.tar", "No such file"),
        (text, "ReadError"),
        (write_tar(tmp_path / "empty.tar", {}), "neither a manifest.json nor an index.json"),
        (docker(tmp_path / "two.tar", "amd64", count=2)[0], "holds 2 images"),
        (write_tar(tmp_path / "odd.tar", {"manifest.json": b"{}"}), "not an archive"),
        (write_tar(tmp_path / "cut.tar", {"index.json": b'{"manifests": []}'}), "not an archive"),
    ):
        with pytest.raises(ImageInvalidError, match=reason):
            read_archive(path)


def test_an_archive_of_another_recipe_or_machine_is_not_converted(tmp_path, store, monkeypatch):
    program = tmp_path / "apptainer"
    program.write_text("#!/bin/sh\necho apptainer version 1.4.5\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    other = dataclasses.replace(REQUEST, recipe="ef" * 32)
    path, _ = oci(tmp_path / "image.tar", machine_architecture())
    with pytest.raises(ImageInvalidError, match="has recipe abababababab; ms4 has recipe efefefefefef"):
        sif.convert(other, store, Silent(), archive=path)
    path, _ = docker(tmp_path / "foreign.tar", "riscv64")
    with pytest.raises(ImageInvalidError, match=f"is for riscv64, this machine is {machine_architecture()}"):
        sif.convert(REQUEST, store, Silent(), archive=path)
    assert list(store.sifs.iterdir()) == []
