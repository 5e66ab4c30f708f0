"""A sorter from nothing: its folder written, its packages locked, its image built, a recording sorted in it."""

from __future__ import annotations

import re
import shlex

import pytest
from conftest import ROOT, last_json
from test_docs_run import commands

from spikecrate.catalogue.lock import packages


@pytest.fixture
def threshold(command, tmp_path, monkeypatch):
    """A new sorter, locked."""
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(tmp_path))
    assert command("sorters.new", "threshold").returncode == 0
    done = command("sorters.lock", "threshold")
    assert done.returncode == 0, done.stderr
    assert "+ numpy" in done.stdout
    return tmp_path / "threshold"


def test_the_page_on_adding_a_sorter_is_true(command, tmp_path, monkeypatch, docker):
    page = (ROOT / "docs" / "add-a-sorter.md").read_text()
    (tmp_path / "sorters").mkdir()
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(tmp_path / "sorters"))
    folder, firings = tmp_path / "sorters" / "threshold", []
    try:
        for line in commands("docs/add-a-sorter.md"):
            if line.startswith(("export ", "nox ")):
                continue
            done = command(*shlex.split(line.replace("$HOME", str(tmp_path)))[1:])
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            if " sorters.new " in line:
                for kind, name in (("json", "sorter.json"), ("python", "run.py")):
                    (folder / name).write_text(
                        re.search(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1]
                    )
            if " sort " in line:
                (made,) = (tmp_path / "sortings").glob("toy/*")
                firings.append((made / "firings.mda").read_bytes())
    finally:
        for image in docker.images.list("spikecrate/threshold"):
            docker.images.remove(image.id, force=True)
    assert len(firings) == 2
    assert firings[0] == firings[1]


def test_locking_again_changes_nothing_and_a_new_package_is_said(threshold, command):
    lock = threshold / "requirements.lock"
    before = lock.read_bytes()
    assert "no package changed" in command("sorters.lock", "threshold").stdout
    assert lock.read_bytes() == before
    with (threshold / "requirements.in").open("a") as file:
        file.write("colorama==0.4.6\n")
    change = last_json(command("sorters.lock", "threshold", "--json"))
    assert change[0]["added"] == {"colorama": "0.4.6"}
    assert packages(lock.read_text()).keys() == {"numpy", "colorama"}


def test_packages_that_do_not_go_together_are_told_and_the_lock_stays(threshold, command):
    before = (threshold / "requirements.lock").read_bytes()
    with (threshold / "requirements.in").open("a") as file:
        file.write("numpy==1.26.4\nnumpy==1.26.3\n")
    done = command("sorters.lock", "threshold")
    assert done.returncode == 37
    assert "threshold/requirements.in cannot be locked" in done.stderr
    assert (threshold / "requirements.lock").read_bytes() == before
