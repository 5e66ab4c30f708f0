"""Bundling takes the file of an index that the lock allows and that most machines can use."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
from email.message import Message
from urllib.error import HTTPError, URLError

import pytest
from lab import Notes
from packaging.tags import parse_tag

from spikecrate._util.data import data_path
from spikecrate._util.progress import Silent
from spikecrate.bundles import wheels
from spikecrate.bundles.wheels import File, choose, fetch, lock_of, tags_of
from spikecrate.environments.library import BLOCK
from spikecrate.errors import BundleError

ONE, TWO, THREE = "11" * 32, "22" * 32, "33" * 32
TAGS = [
    tag
    for name in ("cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_17_x86_64", "py3-none-any")
    for tag in parse_tag(name)
]


def package(*files, sdist=None):
    def listed(name, digest):
        return {"name": name, "url": f"https://index/{name}", "hashes": {"sha256": digest}}

    wheels = [listed(*file) for file in files]
    source = {"sdist": listed(*sdist)} if sdist else {}
    return {"name": "x", "version": "1", "wheels": wheels, **source}


def test_the_wheel_that_fits_best_is_taken():
    (file,) = choose(
        [
            package(
                ("x-1-py3-none-any.whl", ONE),
                ("x-1-cp311-cp311-manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl", TWO),
                ("x-1-cp312-cp312-manylinux_2_28_x86_64.whl", THREE),
            )
        ],
        {ONE, TWO, THREE},
        TAGS,
    )
    assert file.sha256 == TWO
    assert file.url == "https://index/x-1-cp311-cp311-manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl"


def test_a_file_that_the_lock_does_not_name_is_not_taken():
    (file,) = choose(
        [package(("x-1-cp311-cp311-manylinux_2_28_x86_64.whl", TWO), ("x-1-py3-none-any.whl", ONE))],
        {ONE},
        TAGS,
    )
    assert file.sha256 == ONE


def test_a_source_is_taken_only_where_no_wheel_fits():
    files = (("x-1-py3-none-any.whl", ONE),)
    assert choose([package(*files, sdist=("x-1.tar.gz", TWO))], {ONE, TWO}, TAGS)[0].sha256 == ONE
    (file,) = choose(
        [package(("x-1-cp27-cp27m-win32.whl", ONE), sdist=("x-1.tar.gz", TWO))], {ONE, TWO}, TAGS
    )
    assert file.filename == "x-1.tar.gz"


def test_a_package_without_a_file_that_will_do_is_named():
    with pytest.raises(BundleError, match="no file of x 1"):
        choose([package(("x-1-py3-none-any.whl", ONE))], {TWO}, TAGS)


def test_wheels_for_an_old_c_library_come_before_those_for_a_new_one():
    tags = list(map(str, tags_of("3.11")))
    old = [at for at, tag in enumerate(tags) if tag.startswith("cp311-cp311-manylinux_2_28_")]
    new = [at for at, tag in enumerate(tags) if tag.startswith("cp311-cp311-manylinux_2_36_")]
    assert not new or old[0] < new[0]
    assert not any(tag.startswith("cp312-cp312") for tag in tags)


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


WHEEL = b"a wheel"


@pytest.fixture
def index(monkeypatch):
    """A file of an index, and the answers that this will give to who fetches it."""
    answers = []

    def answer(url):
        given = answers.pop(0)
        if given is None:
            raise URLError(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))
        if given >= 400:
            raise HTTPError(url, given, "no", Message(), io.BytesIO())
        return io.BytesIO(WHEEL)

    monkeypatch.setattr(wheels, "WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(wheels, "_open", answer)
    name = "x-1-py3-none-any.whl"
    return answers, File(name, f"https://index/{name}", hashlib.sha256(WHEEL).hexdigest())


def test_an_index_that_stumbles_is_asked_again_and_this_is_told(index, tmp_path):
    answers, file = index
    answers += [None, 502, 200]
    notes = Notes()
    assert fetch(file, tmp_path, threading.Event(), notes).read_bytes() == WHEEL
    assert [text.partition(":")[0] for text in notes.notes] == [f"{file.filename} could not be fetched"] * 2


def test_what_is_there_is_not_fetched_again(index, tmp_path):
    answers, file = index
    answers += [200]
    assert {fetch(file, tmp_path, threading.Event(), Silent()) for _ in range(2)} == {
        tmp_path / file.sha256 / file.filename
    }


@pytest.mark.parametrize(("given", "left"), [([404, 200], [200]), ([503, None] * 3, [503, None])])
def test_a_file_that_is_not_to_be_had_is_named_at_the_end(index, tmp_path, given, left):
    answers, file = index
    answers += given
    with pytest.raises(BundleError, match=f"{file.filename} could not be fetched: "):
        fetch(file, tmp_path, threading.Event(), Silent())
    assert answers == left
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_nothing_is_tried_again_once_all_is_to_stop(index, tmp_path):
    answers, file = index
    answers += [503, 200]
    stop = threading.Event()
    stop.set()
    with pytest.raises(BundleError, match="could not be fetched"):
        fetch(file, tmp_path, stop, Silent())
    assert answers == [200]
