"""What is told of the processor, and of what the libraries compute with on it."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from spikecrate_harness import pinning, processor

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86_64")
CPUINFO = """processor\t: 0
model name\t: Some Processor: 9 GHz
flags\t\t: fpu sse4_1 avx2

processor\t: 1
model name\t: another
"""
TELL = """
import json
import numpy as np
from spikecrate_harness import processor
np.ones((9, 9)) @ np.ones((9, 9))
print(json.dumps({"in_use": processor.in_use(), "around": processor.around()}))
"""


def told(environ):
    done = subprocess.run(
        [sys.executable, "-c", TELL], env=environ, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@X86
def test_the_instructions_are_those_that_the_kernel_shows():
    """Where no processor is emulated the two agree."""
    line = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    assert processor.instructions() == set(processor.INSTRUCTIONS) & set(line.split())


@X86
def test_the_instructions_are_told_where_the_harness_forbids_their_use(tmp_path):
    found = told(pinning.environment(os.environ, tmp_path))["around"]["instructions"]
    assert found == sorted(processor.instructions())


def test_where_the_c_library_does_not_tell_the_kernel_does(tmp_path, monkeypatch):
    class Older:
        pass

    (tmp_path / "cpuinfo").write_text(CPUINFO)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Older())
    assert processor.instructions() == {"fpu", "sse4_1", "avx2"}
    assert processor.around()["processor"] == "Some Processor: 9 GHz"


def test_where_nobody_tells_nothing_is_claimed_and_nothing_refused(tmp_path, monkeypatch):
    class Older:
        pass

    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "nothing")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Older())
    assert processor.instructions() == frozenset()
    assert processor.around()["processor"] is None
    pinning.require_processor()


@X86
@pytest.mark.parametrize("kernel", ["Nehalem", "Haswell"])
def test_the_kernel_that_is_told_is_the_one_in_effect(kernel):
    found = told({**os.environ, "OPENBLAS_CORETYPE": kernel})["in_use"]["blas"]
    assert set(found.values()) == {kernel}


@X86
def test_in_the_pinned_environment_nothing_else_is_in_use(tmp_path):
    found = told(pinning.environment(os.environ, tmp_path))["in_use"]
    assert set(found["blas"].values()) == {"Haswell"}
    assert found["numpy"] == []


def test_what_surrounds_a_job_is_named():
    found = processor.around()
    assert found["processors"] == len(os.sched_getaffinity(0))
    assert found["kernel"] == os.uname().release
    assert found["page_bytes"] == os.sysconf("SC_PAGE_SIZE")
    assert found["libc"] == " ".join(platform.libc_ver())
