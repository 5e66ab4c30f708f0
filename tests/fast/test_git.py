"""A tool's repository is read without running what it configures."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest

from spikecrate.steps.record import catalogue_state


@pytest.fixture
def folder(tmp_path):
    """Make a tool's folder, committed, in a repository with another folder beside it."""
    folder = tmp_path / "lab" / "tool"
    folder.mkdir(parents=True)
    (folder / "run.py").write_text("def sort(): ...\n")
    (folder / "collect").write_text("#!/bin/sh\n")
    (folder / "collect").chmod(0o755)
    (folder / "link").symlink_to("run.py")
    (folder / "été.m").write_text("1;\n")
    (folder.parent / "other").write_text("beside\n")
    (folder.parent / ".gitignore").write_text("*.pyc\n")
    git(folder, "init", "--quiet", "..")
    commit(folder)
    return folder


def git(folder, *words):
    named = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    return subprocess.run(
        ["git", *named, "-C", folder, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder):
    git(folder, "add", "..")
    git(folder, "commit", "--quiet", "--message", "all")


def test_a_folder_as_committed_is_not_edited(folder):
    (folder / "run.pyc").write_text("ignored")
    (folder.parent / "other").write_text("edited, but not in this folder")
    assert catalogue_state(folder) == {"commit": git(folder, "rev-parse", "HEAD"), "dirty": False}


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: (folder / "run.py").write_text("edited"),
        lambda folder: (folder / "run.py").unlink(),
        lambda folder: (folder / "run.py").chmod(0o755),
        lambda folder: (folder / "new.py").touch(),
        lambda folder: ((folder / "new.py").touch(), git(folder, "add", "new.py")),
        lambda folder: ((folder / "link").unlink(), (folder / "link").symlink_to("collect")),
        lambda folder: ((folder / "collect").unlink(), (folder / "collect").mkdir()),
    ],
    ids=["content", "removed", "executable", "new", "added", "link", "folder"],
)
def test_an_edit_is_seen(folder, edit):
    edit(folder)
    assert catalogue_state(folder)["dirty"] is True


def test_a_folder_in_no_repository_has_no_commit(tmp_path):
    assert catalogue_state(tmp_path) == {"commit": None, "dirty": None}


def test_programs_that_a_repository_configures_are_not_run(folder, tmp_path):
    """A monitor of the file system, a filter and a hook each write a file if they run."""
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $0 >>{shlex.quote(str(ran))}\ncat\n")
    program.chmod(0o755)
    (folder.parent / ".gitattributes").write_text("* filter=lab\n")
    commit(folder)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-index-change").symlink_to(program)
    git(folder, "config", "core.hooksPath", str(hooks))
    git(folder, "config", "core.fsmonitor", str(program))
    git(folder, "config", "filter.lab.clean", str(program))
    # Dates that the index does not know: `git status` would hash the files again.
    for path in folder.iterdir():
        os.utime(path, (1, 1), follow_symlinks=False)
    assert catalogue_state(folder)["dirty"] is False
    assert not ran.exists()
    git(folder, "status")
    assert ran.exists()
