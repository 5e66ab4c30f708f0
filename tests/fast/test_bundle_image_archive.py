"""An image archive in a bundle can set the tag of the bundle's own image and no other."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from spikecrate.bundles.image_archive import NAME, SHORT_NAME, require_own_tag
from spikecrate.errors import BundleError

OWN = "spikecrate/lab:1-abababababab"
OTHER = "docker.io/library/debian:bookworm-slim"
BLOB = f"blobs/sha256/{'ab' * 32}"


def descriptor(**annotations):
    """Return an index's entry of an image."""
    return {"digest": f"sha256:{'ab' * 32}", "annotations": annotations}


def files_of(name=f"docker.io/{OWN}", tags=(OWN,)):
    """Return the members of an archive as Docker saves it, by path."""
    return {
        BLOB: b"{}",
        "index.json": {"manifests": [descriptor(**{NAME: name, SHORT_NAME: "1-abababababab"})]},
        "manifest.json": [{"Config": BLOB, "RepoTags": list(tags), "Layers": []}],
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
    }


def write(path, files, *entries):
    """Write an archive of files, and of further entries with their bytes."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for entry, data in entries:
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def link(name, target):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry, b""


def test_an_archive_that_docker_saved_is_accepted(tmp_path):
    require_own_tag(write(tmp_path / "image.tar", files_of()), OWN)


def test_an_archive_of_an_older_docker_is_accepted(tmp_path):
    old = {
        "manifest.json": [{"Config": "ab.json", "RepoTags": [OWN], "Layers": ["ab/layer.tar"]}],
        "repositories": {"spikecrate/lab": {"1-abababababab": "ab" * 32}},
        "ab/layer.tar": b"x",
    }
    require_own_tag(write(tmp_path / "image.tar", old, link("cd/layer.tar", "../ab/layer.tar")), OWN)


@pytest.mark.parametrize(
    "changed",
    [
        files_of(name=OTHER),
        files_of(tags=("debian:bookworm-slim",)),
        files_of(tags=(OWN, "debian:bookworm-slim")),
        files_of(tags=("spikecrate/lab:1-cdcdcdcdcdcd",)),
        files_of() | {"repositories": {"debian": {"bookworm-slim": "ab" * 32}}},
        # The short name counts where the long one is missing or empty.
        files_of() | {"index.json": {"manifests": [descriptor(**{SHORT_NAME: OTHER})]}},
        files_of() | {"index.json": {"manifests": [descriptor(**{NAME: "", SHORT_NAME: OTHER})]}},
        # Docker's JSON reader ignores the case of keys.
        files_of() | {"manifest.json": [{"REPOTAGS": ["debian:bookworm-slim"]}]},
        files_of() | {"index.json": {"manife\u017fts": [descriptor(**{NAME: OTHER})]}},
    ],
)
def test_a_tag_of_another_image_is_refused_by_name(tmp_path, changed):
    with pytest.raises(BundleError, match=r"sets the tag .*; only spikecrate/lab:1-abababababab is allowed"):
        require_own_tag(write(tmp_path / "image.tar", changed), OWN)


@pytest.mark.parametrize(
    ("changed", "entries"),
    [
        ({"index.json": {"manifests": [descriptor(**{NAME: OWN}), descriptor(**{NAME: OTHER})]}}, ()),
        ({"index.json": {"manifests": []}}, ()),
        ({"manifest.json": [{"RepoTags": [OWN]}, {"RepoTags": ["debian:bookworm-slim"]}]}, ()),
        ({"index.json": b'{"manifests": [{}], "Manifests": [{}]}'}, ()),
        ({"index.json": b"[]"}, ()),
        ({"index.json": b"{"}, ()),
        ({"index.json": b"[" * 100_000}, ()),
        ({"index.json": b" " * (1 << 21)}, ()),
        ({}, [(tarfile.TarInfo("index.json"), b'{"manifests": []}')]),
        ({}, [(tarfile.TarInfo("./manifest.json"), b"[]")]),
        ({}, [(tarfile.TarInfo("blobs/../manifest.json"), b"[]")]),
        ({}, [(tarfile.TarInfo("/manifest.json"), b"[]")]),
        ({}, [link("repositories", "blobs/sha256/x")]),
        ({}, [link("more", ".")]),
        ({}, [link("ab/layer.tar", "../repositories")]),
    ],
)
def test_an_archive_that_can_be_read_in_two_ways_is_refused(tmp_path, changed, entries):
    with pytest.raises(BundleError, match="cannot be checked"):
        require_own_tag(write(tmp_path / "image.tar", files_of() | changed, *entries), OWN)


def test_an_archive_with_another_behind_it_is_refused(tmp_path):
    own = write(tmp_path / "image.tar", files_of())
    other = write(tmp_path / "other.tar", files_of(name=OTHER))
    own.write_bytes(own.read_bytes() + other.read_bytes())
    with pytest.raises(BundleError, match="data after its end"):
        require_own_tag(own, OWN)


def test_an_archive_without_an_index_or_compressed_is_refused(tmp_path):
    with pytest.raises(BundleError, match="names no image"):
        require_own_tag(write(tmp_path / "empty.tar", {BLOB: b"{}"}), OWN)
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("index.json"))
    with pytest.raises(BundleError, match="cannot be checked"):
        require_own_tag(tmp_path / "packed.tar", OWN)
