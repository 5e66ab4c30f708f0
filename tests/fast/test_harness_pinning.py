"""The environment in which a sorter runs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate_harness import pinning

SCRATCH = Path("/scratch")
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="pins what x86_64 processors differ in")

names = st.one_of(
    st.sampled_from(
        [*pinning.pinned(SCRATCH), "LANG", "PYTHONPATH", "LD_PRELOAD", "OPENBLAS_VERBOSE", "PATH"]
    ),
    st.text("ABC_", min_size=1, max_size=8),
)


@given(st.dictionaries(names, st.text("abc01", max_size=5)))
def test_nothing_that_is_pinned_can_be_forced_from_outside(outside):
    wanted = pinning.environment(outside, SCRATCH)
    assert wanted.items() >= pinning.pinned(SCRATCH).items()


@given(st.dictionaries(names, st.text("abc01", max_size=5)))
def test_a_pinned_environment_needs_no_second_start(outside):
    once = pinning.environment(outside, SCRATCH)
    assert pinning.environment(once, SCRATCH) == once


def test_what_finds_programs_libraries_and_gpus_is_kept():
    outside = {"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/lib", "CUDA_VISIBLE_DEVICES": "1"}
    assert pinning.environment(outside, SCRATCH).items() >= outside.items()


@pytest.mark.parametrize("name", ["PYTHONPATH", "LD_PRELOAD", "OPENBLAS_MAIN_FREE", "DASK_SCHEDULER", "LANG"])
def test_what_could_change_a_result_is_dropped(name):
    assert name not in pinning.environment({name: "x"}, SCRATCH)


def test_every_folder_that_libraries_write_to_lies_in_scratch():
    pinned = pinning.pinned(SCRATCH)
    assert all(Path(pinned[name]).is_relative_to(SCRATCH) for name in pinning.FOLDERS)


@X86
def test_numpy_accepts_the_pinned_features_and_uses_none_above_its_baseline():
    script = (
        "import json\n"
        "try: from numpy._core import _multiarray_umath as umath\n"
        "except ImportError: from numpy.core import _multiarray_umath as umath\n"
        "print(json.dumps([name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]))"
    )
    environ = pinning.environment(os.environ, SCRATCH)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=environ, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


@X86
def test_glibc_computes_as_on_a_processor_without_fused_multiply_add():
    script = "import math; print([f(0.013 * n).hex() for n in range(1, 2000) for f in (math.exp, math.log, math.sin)])"
    old_processor = "glibc.cpu.hwcaps=" + ",".join(
        f"-{name},-{name}_Usable" for name in ("FMA", "FMA4", "AVX2", "AVX")
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", script], env={"GLIBC_TUNABLES": tunables}, capture_output=True, check=True
        ).stdout
        for tunables in (pinning.PINNED["GLIBC_TUNABLES"], old_processor)
    ]
    assert answers[0] == answers[1]


@X86
def test_a_processor_without_the_instructions_is_named(monkeypatch):
    monkeypatch.setattr(pinning, "KERNEL_NEEDS", {"x86_64": frozenset({"avx2", "avx4096"})})
    with pytest.raises(pinning.ProcessorError, match="lacks avx4096,"):
        pinning.require_processor()
