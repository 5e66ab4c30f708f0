"""Which Python a sorter's environment is made with: the interpreter itself, whatever leads to it."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from spikecrate.environments import toolchain
from spikecrate.errors import EnvironmentBuildError

BASE = Path(getattr(sys, "_base_executable", sys.executable))
VERSION = platform.python_version()


class Request:
    """A sorter that takes this very Python; the answer for each is remembered."""

    name, python = "ms4", f"=={VERSION}"


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Put scripts on a PATH of their own; spikecrate's own Python does not fit."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain.platform, "python_version", lambda: "3.8.0")

    def write(name, script):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return write


def test_a_shim_on_path_is_followed_to_the_interpreter(on_path):
    for minor in range(9, 21):
        on_path(f"python3.{minor}", "echo 'pyenv: command not found' >&2; exit 127")
    on_path(
        "python3.10",
        f'echo "a line of the shim"; exec "{sys.executable}" "$@"',
    )
    assert toolchain.find_interpreter(Request()) == (BASE, VERSION)


def test_shims_that_start_nothing_are_no_interpreters(on_path):
    for minor in range(9, 21):
        on_path(f"python3.{minor}", "echo 'pyenv: command not found' >&2; exit 127")
    with pytest.raises(EnvironmentBuildError, match="PATH has no other that fits"):
        toolchain.find_interpreter(Request())
