"""What a job has used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from spikecrate_harness import usage


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A control group of version 2 with this process alone in it; version 1 is not mounted."""
    files = usage.Group(tmp_path / "cgroup.procs", tmp_path / "memory.peak", tmp_path / "memory.events")
    files.members.write_text(f"{os.getpid()}\n")
    files.peak.write_text("123456789\n")
    files.events.write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 0\n")
    nothing = usage.Group(tmp_path / "no", tmp_path / "no", tmp_path / "no")
    monkeypatch.setattr(usage, "V2", files)
    monkeypatch.setattr(usage, "V1", nothing)
    return files


def test_the_control_group_of_the_job_alone_tells_peak_and_kills(group):
    assert usage.own_group() == group
    assert usage.peak_memory(group) == (123456789, "cgroup")
    assert usage.oom_kills(group) == 2


def test_ancestors_and_children_belong_to_the_job(group):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        group.members.write_text(f"{os.getppid()}\n{os.getpid()}\n{child.pid}\n")
        assert usage.own_group() == group


def test_a_control_group_with_strangers_tells_nothing_of_the_job(group):
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger,
    ):
        group.members.write_text(f"{parent.pid}\n{stranger.pid}\n")
        assert usage.own_group() is None


def test_a_process_outside_the_view_is_a_stranger(group):
    group.members.write_text(f"{os.getpid()}\n0\n")
    assert usage.own_group() is None


def test_without_a_control_group_the_largest_process_counts():
    peak, counted_by = usage.peak_memory(None)
    assert counted_by == "process"
    assert peak > 2**20
    assert usage.oom_kills(None) is None


def test_files_that_cannot_be_read_fall_back(group):
    group.peak.write_text("max\n")
    group.events.unlink()
    assert usage.peak_memory(group)[1] == "process"
    assert usage.oom_kills(group) is None


def test_processor_time_is_counted():
    before = usage.cpu_seconds()
    sum(number * number for number in range(10**6))
    assert usage.cpu_seconds() > before
