"""Bundling takes the file of an index that the lock allows and that most machines can use."""

from __future__ import annotations

import hashlib
import os
import platform
import zipfile

import pytest
from lab import Notes

from spikecrate._util.data import data_path
from spikecrate._util.progress import Silent
from spikecrate.bundles import wheels
from spikecrate.bundles.wheels import BLOCK, download, lock_of, platforms
from spikecrate.errors import BundleError, CommandError, DiskFullError
from spikecrate.store import open_store

CPU = platform.machine()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A page of links that pip takes wheels from; return what adds a wheel and returns its hash."""
    folder = tmp_path / "index"
    folder.mkdir()
    page = folder / "links.html"
    page.write_text("<!DOCTYPE html>\n")
    for name, value in {"FIND_LINKS": page, "NO_INDEX": "1", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", str(value))

    def add(name):
        info = "-".join(name.split("-")[:2]) + ".dist-info"
        with zipfile.ZipFile(folder / name, "w") as wheel:
            wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 1\n")
            wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {name[4:-4]}\n")
            wheel.writestr(f"{info}/RECORD", "")
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        with page.open("a") as links:
            links.write(f'<a href="{name}#sha256={digest}">{name}</a>\n')
        return digest

    return add


@pytest.fixture
def downloaded(tmp_path):
    """Download what a lock with these hashes allows; return the names of the files."""

    def run(*hashes, python="3.11"):
        work = tmp_path / "work"
        work.mkdir()
        lock = " ".join(["x==1", *(f"--hash=sha256:{digest}" for digest in hashes)])
        found = download(lock, python, work, open_store(tmp_path / "store"), Silent())
        return [path.name for path in found]

    return run


def test_the_wheel_that_fits_best_is_taken(index, downloaded):
    names = [
        "x-1-py3-none-any.whl",
        f"x-1-cp311-cp311-manylinux_2_17_{CPU}.manylinux_2_28_{CPU}.whl",
        f"x-1-cp311-cp311-manylinux_2_34_{CPU}.whl",
        f"x-1-cp312-cp312-manylinux_2_28_{CPU}.whl",
    ]
    hashes = [index(name) for name in names]
    assert downloaded(*hashes) == [names[1]]


def test_what_was_downloaded_once_needs_no_index_again(index, downloaded, tmp_path):
    allowed = index("x-1-py3-none-any.whl")
    assert downloaded(allowed) == ["x-1-py3-none-any.whl"]
    (tmp_path / "work").rename(tmp_path / "earlier")
    (tmp_path / "index").rename(tmp_path / "out of reach")
    assert downloaded(allowed) == ["x-1-py3-none-any.whl"]
    (tmp_path / "work").rename(tmp_path / "second")
    with pytest.raises(BundleError, match="cannot be downloaded"):
        downloaded(allowed, python="3.13")


def test_the_other_machine_may_have_another_python(index, downloaded):
    names = [f"x-1-cp311-cp311-manylinux_2_28_{CPU}.whl", f"x-1-cp313-cp313-manylinux_2_28_{CPU}.whl"]
    hashes = [index(name) for name in names]
    assert downloaded(*hashes, python="3.13") == [names[1]]


def test_a_file_that_the_lock_does_not_name_is_not_taken(index, downloaded):
    index(f"x-1-cp311-cp311-manylinux_2_28_{CPU}.whl")
    allowed = index("x-1-py3-none-any.whl")
    assert downloaded(allowed) == ["x-1-py3-none-any.whl"]


def test_a_package_without_a_file_that_will_do_is_named(index, downloaded):
    index(f"x-1-cp27-cp27m-manylinux_2_28_{CPU}.whl")
    with pytest.raises(BundleError, match="No matching distribution found for x==1"):
        downloaded("11" * 32)


def test_a_file_with_another_hash_is_refused(index, downloaded):
    index("x-1-py3-none-any.whl")
    with pytest.raises(BundleError, match="HASHES"):
        downloaded("11" * 32)


def test_attempts_are_noted_and_a_full_disk_has_its_own_error(tmp_path, monkeypatch):
    def run(argv, *, on_line):
        on_line("WARNING: Retrying (Retry(total=6, …)) after connection broken by …")
        raise CommandError(argv, 1, "OSError: [Errno 28] No space left on device")

    monkeypatch.setattr(wheels, "run", run)
    notes = Notes()
    with pytest.raises(DiskFullError, match="the disk is full"):
        download("x==1", "3.11", tmp_path, open_store(tmp_path / "store"), notes)
    assert notes.notes == ["the package index does not answer; pip tries again"]


def test_wheels_for_an_old_c_library_come_before_those_for_a_new_one():
    found = platforms()
    old = [at for at, name in enumerate(found) if name.startswith("manylinux_2_28_")]
    new = [at for at, name in enumerate(found) if name.startswith("manylinux_2_36_")]
    assert not new or old[0] < new[0]


def test_the_lock_of_a_bundle_allows_its_wheels_alone(tmp_path):
    names = ["Zed_pkg-2.0-py3-none-any.whl", "a-1-py3-none-any.whl"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    lines = lock_of([tmp_path / name for name in names]).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["zed-pkg==2.0", "a==1"]
    assert all(" --hash=sha256:" in line for line in lines)


def test_the_project_s_lock_travels_with_the_library():
    names = {found[1] for found in BLOCK.finditer(data_path("requirements.lock").read_text())}
    assert {"blake3", "docker", "invoke", "uv", "numpy"} <= names
