"""Odd modes in /out: the runner reads what the tool left, and nothing outside of it changes."""

from __future__ import annotations

import os
import stat
import subprocess

from spikecrate.runtimes.permissions import make_readable


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_and_folders_that_nobody_can_read_become_readable(tmp_path):
    out = tmp_path / "out"
    (out / "a" / "b").mkdir(parents=True)
    (out / "a" / "b" / "file").write_text("x")
    (out / "firings.mda").write_text("x")
    (out / "a" / "b" / "file").chmod(0)
    (out / "firings.mda").chmod(0o044)
    for folder in (out / "a" / "b", out / "a", out):
        folder.chmod(0)
    make_readable(out)
    assert [mode(path) for path in (out, out / "a", out / "a" / "b")] == [0o700] * 3
    assert mode(out / "a" / "b" / "file") == 0o600
    assert mode(out / "firings.mda") == 0o644


def test_links_are_not_followed_and_special_files_are_left(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "users").mkdir(mode=0o500)
    (tmp_path / "mine").write_text("x")
    (tmp_path / "mine").chmod(0o400)
    (out / "folder").symlink_to(tmp_path / "users")
    (out / "file").symlink_to(tmp_path / "mine")
    (out / "gone").symlink_to("nowhere")
    os.mkfifo(out / "pipe", 0)
    make_readable(out)
    assert mode(tmp_path / "users") == 0o500
    assert mode(tmp_path / "mine") == 0o400
    assert mode(out / "pipe") == 0
    (tmp_path / "link").symlink_to(tmp_path / "users")
    make_readable(tmp_path / "link")
    assert mode(tmp_path / "users") == 0o500


def test_folders_of_any_depth_do_not_stop_it(tmp_path):
    """Deeper ones are left as they are: no tool of use has so many."""
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=handle)
        deeper = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    make_readable(tmp_path)
    assert make_readable(tmp_path / "missing") is None
    # pytest's own removal recurses.
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
