"""What is compiled on the host is for the processor's baseline, whatever a package asks for."""

from __future__ import annotations

import os
import subprocess

import pytest

from spikecrate.environments.toolchain import WRAPPER, baseline_compiler
from spikecrate.store import open_store


@pytest.fixture
def compiled(tmp_path):
    """Run the compiler as build tools do, by its words; a program that prints its own words stands behind it."""
    behind = tmp_path / "a compiler"
    behind.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    behind.chmod(0o755)
    store = open_store(tmp_path / "a store")
    store.environments.mkdir()
    variables = baseline_compiler(str(behind), store)

    def run(*words):
        argv = [*variables["CXX"].split(), *words]
        done = subprocess.run(
            argv, env={**os.environ, **variables}, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize("word", ["-march=native", "-mtune=native", "-march=skylake-avx512"])
def test_a_package_that_compiles_for_the_processor_at_hand_does_not(compiled, word):
    assert compiled("-O3", word, "-c", "a b.cpp") == ["-O3", "-c", "a b.cpp"]


def test_all_other_words_are_handed_on_as_they_are(compiled):
    words = ["-DNAME=\"a 'b' $c\"", "-mavx2", "*", "", "-o", "x.o"]
    assert compiled(*words) == words


def test_the_compiler_is_named_without_its_folder_which_may_have_blanks(tmp_path):
    open_store(tmp_path / "a store").environments.mkdir()
    assert baseline_compiler("g++", open_store(tmp_path / "a store"))["LDSHARED"] == f"{WRAPPER} -shared"
