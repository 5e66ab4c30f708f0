"""Images and environments are made from verified copies of the files that the recipe hashes."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from lab import ANSWER, TWO_EVENTS, write_sorter

from spikecrate._util.progress import Silent
from spikecrate.bundles import bundle as bundles
from spikecrate.catalogue.tools import read
from spikecrate.environments import environment
from spikecrate.errors import SorterInvalidError
from spikecrate.images import build as builds
from spikecrate.images.base import Bases
from spikecrate.images.staging import SOURCE_DATE_EPOCH, staged, staged_folder
from spikecrate.steps.job import build_request, recipe
from spikecrate.store import open_store

NOT_HASHED = [
    ".secret",
    ".dockerignore",
    ".git/config",
    "README.md",
    "measured.json",
    "image.lock",
    "requirements.in",
    "__pycache__/run.pyc",
]


class FakeImage:
    id = "sha256:1"

    def history(self):
        return []


class FakeEngine:
    """An engine without images, until one is built."""

    @property
    def images(self):
        return self

    def get(self, _reference):
        return FakeImage()


@pytest.fixture
def request_(tmp_path):
    write_sorter(tmp_path / "sorters", ANSWER + TWO_EVENTS)
    sorter = read(tmp_path / "sorters" / "lab")
    return build_request(sorter, recipe(sorter))


@pytest.fixture
def contexts(monkeypatch):
    """Replace the engine by one that lists the files that a build sees, with their bytes."""
    seen = []

    def build_logged(argv, *_words):
        named = [
            word.partition("=")[2].partition("=")[2] for word in argv if "--build-context=harness" in word
        ]
        seen.append([files_in(folder) for folder in (argv[-1], *named)])

    monkeypatch.setattr(builds, "docker_client", FakeEngine)
    monkeypatch.setattr(builds, "find", lambda *_words: None)
    monkeypatch.setattr(
        builds, "ensure_bases", lambda *_words: Bases(runtime="", builder="", runtime_digest="")
    )
    monkeypatch.setattr(builds, "build_logged", build_logged)
    return seen


def files_in(folder):
    """Return the bytes of all files below a folder by their path in it, hidden ones included."""
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_a_build_sees_only_the_files_that_the_recipe_hashes(request_, contexts):
    for name in NOT_HASHED:
        path = request_.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("nobody hashes this")
    builds.build(request_, Silent())
    (files, harness), *_ = contexts
    assert sorted(files) == ["Dockerfile", "requirements.lock", "run.py"]
    assert "main.py" in harness
    assert all(name.endswith(".py") for name in harness)


def test_a_folder_that_was_edited_after_its_recipe_was_hashed_is_not_built(request_, contexts):
    (request_.folder / "run.py").write_text("edited")
    with pytest.raises(SorterInvalidError, match="changed after its recipe was hashed"):
        builds.build(request_, Silent())
    assert contexts == []


def test_an_edit_during_a_build_does_not_reach_the_image(request_, contexts, monkeypatch):
    original = (request_.folder / "run.py").read_bytes()

    def edit_meanwhile(*_words):
        (request_.folder / "run.py").write_text("edited")
        return Bases(runtime="", builder="", runtime_digest="")

    monkeypatch.setattr(builds, "ensure_bases", edit_meanwhile)
    builds.build(request_, Silent())
    assert contexts[0][0]["run.py"] == original


def test_an_edit_while_an_environment_is_made_does_not_reach_it(request_, tmp_path, monkeypatch):
    store = open_store(tmp_path / "store")
    original = (request_.folder / "run.py").read_bytes()
    installed = []

    def install(request, _store, _progress, folder):
        (request_.folder / "run.py").write_text("edited")
        (request_.folder / "requirements.lock").write_text("edited==1")
        installed.append(request.lock.read_text())
        folder.mkdir()

    monkeypatch.setattr(environment, "_install", install)
    made = environment.make(request_, store, Silent())
    assert (made.code / "run.py").read_bytes() == original
    assert installed == [""]


def test_an_edit_while_a_bundle_is_written_does_not_reach_its_wheels_or_its_sorter(
    request_, tmp_path, monkeypatch
):
    original = files_in(request_.folder)
    (request_.folder / ".secret").write_text("hidden")
    seen = []

    def of_sorter(request, *_words):
        seen.append(files_in(request.folder))
        return []

    def edit_meanwhile(*_words):
        for name in ("run.py", "requirements.lock", "README.md"):
            (request_.folder / name).write_text("edited")
        return tmp_path / "spikecrate-1-py3-none-any.whl"

    (tmp_path / "spikecrate-1-py3-none-any.whl").write_text("")
    monkeypatch.setattr(bundles.wheels, "own_wheel", edit_meanwhile)
    monkeypatch.setattr(bundles.wheels, "needed_lock", lambda _wheel: "")
    monkeypatch.setattr(bundles.wheels, "download", lambda *_words: [])
    monkeypatch.setattr(bundles.wheels, "of_sorter", of_sorter)
    store = open_store(tmp_path / "store")
    bundles.bundle(request_, store, Silent(), target=tmp_path / "lab.tar", parts=("host",))
    assert seen == [original]
    with tarfile.open(tmp_path / "lab.tar") as opened:
        opened.extractall(tmp_path / "files", filter="data")
    assert files_in(tmp_path / "files" / "sorter" / "lab") == original


def test_a_folder_that_was_edited_is_not_bundled(request_, tmp_path):
    (request_.folder / "run.py").write_text("edited")
    store, target = open_store(tmp_path / "store"), tmp_path / "lab.tar"
    with pytest.raises(SorterInvalidError, match="changed after its recipe was hashed"):
        bundles.bundle(request_, store, Silent(), target=target, parts=("host",))
    assert not target.exists()


def test_an_environment_is_not_made_from_a_folder_that_was_edited(request_, tmp_path):
    (request_.folder / "run.py").write_text("edited")
    with pytest.raises(SorterInvalidError, match="changed after its recipe was hashed"):
        environment.make(request_, open_store(tmp_path / "store"), Silent())


def test_modes_dates_and_links_of_the_copy_do_not_depend_on_the_folder(tmp_path):
    folder = tmp_path / "base"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "tool").write_text("#!/bin/sh")
    (folder / "inner" / "tool").chmod(0o700)
    (folder / "inner").chmod(0o2770)
    (folder / "link").symlink_to("inner/tool")
    with staged_folder(folder) as copy:
        paths = [copy / "inner", copy / "inner" / "tool", copy / "link"]
        assert [oct(path.lstat().st_mode & 0o7777) for path in paths] == ["0o755"] * 3
        assert paths[0].stat().st_mtime == SOURCE_DATE_EPOCH
        assert paths[1].stat().st_mtime_ns == paths[2].stat().st_mtime_ns
        assert SOURCE_DATE_EPOCH - 4 * 86400 < paths[1].stat().st_mtime <= SOURCE_DATE_EPOCH
        assert not (copy / "link").is_symlink()
    assert not copy.exists()


def test_an_edit_that_leaves_the_size_changes_the_date_that_the_engine_goes_by(tmp_path):
    folder, dates = tmp_path / "base", []
    folder.mkdir()
    for text in ("threshold = 5", "threshold = 6", "threshold = 5"):
        (folder / "tool").write_text(text)
        with staged_folder(folder) as copy:
            dates.append((copy / "tool").stat().st_mtime_ns)
    assert dates[0] == dates[2] != dates[1]


def test_the_copy_is_removed_where_a_build_fails(request_):
    with pytest.raises(RuntimeError), staged(request_) as copy:  # noqa: PT012
        assert copy.recipe == request_.recipe
        assert copy.folder != request_.folder
        raise RuntimeError
    assert not copy.folder.exists()
