"""An image's recipe: what changes it, and what does not."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikecrate.errors import SorterInvalidError
from spikecrate.images.recipe import base_hash, image_reference, recipe_hash

if TYPE_CHECKING:
    from pathlib import Path

SORTER = {
    "Dockerfile": b"FROM x",
    "run.py": b"def sort(): ...",
    "requirements.lock": b"numpy==1",
    "build.lock": b"wheel==1",
    "patches/one.diff": b"- a\n+ b",
    "notes/README.md": b"copied into the image, for all that is known",
}
HARNESS = {"main.py": b"print()", "layout.py": b"x = 1"}
BASE = {"Dockerfile": b"FROM debian", "seal": b"#!/bin/sh"}
IGNORED = [
    "README.md",
    "sorter.json",
    "requirements.in",
    "compiler.lock",
    "image.lock",
    ".cache/x",
    "__pycache__/run.pyc",
]


@dataclass
class Parts:
    root: Path
    version: str = "1.0"
    entrypoint: tuple[str, ...] = ("/bin/sort",)
    python: str = ">=3.11"
    folders: dict[str, dict[str, bytes]] = field(
        default_factory=lambda: {"sorter": dict(SORTER), "harness": dict(HARNESS), "base": dict(BASE)}
    )

    def write(self):
        shutil.rmtree(self.root, ignore_errors=True)
        for folder, files in self.folders.items():
            for name, data in files.items():
                path = self.root / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        return self

    def hash(self):
        return recipe_hash(
            self.root / "sorter",
            version=self.version,
            entrypoint=self.entrypoint,
            python=self.python,
            harness=self.root / "harness",
            base=self.root / "base",
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recipe")


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path / "parts").write()


COUNTED = [
    (folder, name, index)
    for folder, files in (("sorter", SORTER), ("harness", HARNESS), ("base", BASE))
    for name, data in files.items()
    for index in range(len(data))
]


@settings(max_examples=60, deadline=None)
@given(place=st.sampled_from(COUNTED), flip=st.integers(1, 255))
def test_any_changed_byte_of_any_file_that_counts_changes_it(folder, place, flip):
    which, name, index = place
    parts = Parts(folder / "parts").write()
    before = parts.hash()
    data = bytearray(parts.folders[which][name])
    data[index] ^= flip
    (parts.root / which / name).write_bytes(data)
    assert parts.hash() != before


@pytest.mark.parametrize("name", IGNORED)
def test_files_that_no_image_is_made_from_do_not_change_it(parts, name):
    before = parts.hash()
    path = parts.root / "sorter" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("anything")
    assert parts.hash() == before


def test_of_the_harness_only_modules_count(parts):
    before = parts.hash()
    (parts.root / "harness" / "py.typed").touch()
    assert parts.hash() == before
    (parts.root / "harness" / "new.py").touch()
    assert parts.hash() != before


def test_dates_and_the_order_of_writing_do_not_change_it(parts, tmp_path):
    backwards = Parts(tmp_path / "other")
    backwards.folders = {
        which: dict(reversed(files.items())) for which, files in reversed(backwards.folders.items())
    }
    backwards.write()
    for path in backwards.root.rglob("*"):
        os.utime(path, (1, 1))
    assert backwards.hash() == parts.hash()


@pytest.mark.parametrize(
    "change", [{"version": "1.1"}, {"entrypoint": ("/bin", "sort")}, {"python": ">=3.12"}]
)
def test_what_sorter_json_says_of_the_image_changes_it(parts, change):
    before = parts.hash()
    vars(parts).update(change)
    assert parts.hash() != before


def test_a_renamed_a_removed_and_an_executable_file_change_it(parts):
    seen = {parts.hash()}
    run = parts.root / "sorter" / "run.py"
    run.chmod(0o755)
    seen.add(parts.hash())
    run.rename(run.with_name("sort.py"))
    seen.add(parts.hash())
    run.with_name("sort.py").unlink()
    seen.add(parts.hash())
    assert len(seen) == 4


def test_bytes_moved_from_one_file_to_the_next_change_it(parts):
    before = parts.hash()
    (parts.root / "base" / "Dockerfile").write_bytes(b"FROM debia")
    (parts.root / "base" / "seal").write_bytes(b"n#!/bin/sh")
    assert parts.hash() != before


def test_a_link_inside_the_folder_counts_as_what_it_leads_to(parts):
    link = parts.root / "sorter" / "more.lock"
    link.symlink_to("build.lock")
    linked = parts.hash()
    link.unlink()
    shutil.copyfile(parts.root / "sorter" / "build.lock", link)
    assert parts.hash() == linked


@pytest.mark.parametrize("target", ["/etc/hostname", "../harness/main.py", "../base", ".", "nowhere"])
def test_a_link_that_leads_out_or_nowhere_is_refused(parts, target):
    link = parts.root / "sorter" / "link"
    link.symlink_to(target)
    with pytest.raises(SorterInvalidError, match="link"):
        parts.hash()


def test_a_pipe_is_refused_and_not_waited_for(parts):
    os.mkfifo(parts.root / "sorter" / "pipe")
    with pytest.raises(SorterInvalidError, match="pipe is not a regular file"):
        parts.hash()


def test_a_missing_folder_is_named(parts):
    shutil.rmtree(parts.root / "sorter")
    with pytest.raises(SorterInvalidError, match=str(parts.root / "sorter")):
        parts.hash()


def test_the_base_images_have_a_hash_of_their_own(parts):
    before = base_hash(parts.root / "base")
    (parts.root / "sorter" / "run.py").write_text("other")
    assert base_hash(parts.root / "base") == before
    (parts.root / "base" / "seal").write_text("other")
    assert base_hash(parts.root / "base") != before


def test_the_reference_names_sorter_version_and_recipe():
    assert image_reference("ms4", "1.0.7", "0123456789abcdef") == "spikecrate/ms4:1.0.7-0123456789ab"
    assert image_reference("ks", "4.1+cpu", "0" * 64) == "spikecrate/ks:4.1_cpu-000000000000"


def test_it_is_fast_enough_for_every_cache_hit(parts):
    def seconds():
        started = time.perf_counter()
        parts.hash()
        return time.perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.002
