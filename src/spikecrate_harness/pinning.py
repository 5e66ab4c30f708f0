"""Pin what differs between machines: floating point, threads, hash seed, locale, time zone, folders.

Libraries read these settings from the environment when they are loaded, so the variables must be set before the
interpreter starts: the harness restarts itself once. Standard library only.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate_harness.processor import instructions

if TYPE_CHECKING:
    from collections.abc import Mapping

PINNED: Final = {
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    # One thread a process: the order of a sum must not depend on the number of processors.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    # glibc's exp, log, sin, … differ in their last bits with fused multiply-add. Up to 2.32 the names end in _Usable.
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-FMA_Usable,-FMA4_Usable",
}

BLAS_KERNEL: Final = {"x86_64": "Haswell", "aarch64": "ARMV8"}
"""OpenBLAS kernel by machine; each package has its own copy of OpenBLAS, and all obey one variable."""
BY_MACHINE: Final = {
    "x86_64": {
        # numba compiles at run time, by default for the current processor; sums under fastmath depend on its vectors.
        # No list of features: numba then takes those of the named processor, not of the current one.
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",
        # PyTorch's own kernels, and those of oneDNN, MKL and faiss.
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2,STRICT",
        "FAISS_OPT_LEVEL": "avx2",
    }
}
KERNEL_NEEDS: Final = {"x86_64": frozenset({"avx2", "fma"})}

NUMPY_FEATURES: Final = {
    # Up to numpy 2.3 (read from 1.26, 2.0, 2.1, 2.2, 2.3); the baseline is SSE3.
    "single": (
        "SSSE3 SSE41 POPCNT SSE42 AVX F16C FMA3 AVX2 AVX512F AVX512CD AVX512_KNL AVX512_KNM AVX512_SKX "
        "AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
    ),
    # From numpy 2.4 on; the baseline is X86_V2.
    "levels": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
}
"""What numpy dispatches above its baseline on x86_64. It ignores names that the processor lacks, warns
(ImportWarning, hidden) of those that it does not dispatch, and refuses to start on those of its baseline."""

DROPPED: Final = (
    *("PYTHON", "OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "BLIS_", "NUMEXPR_", "NPY_", "NUMBA_"),
    *("ATEN_", "ONEDNN_", "DNNL_", "FAISS_", "TORCH_", "PYTORCH_", "CUBLAS_", "OMPI_", "PMIX_"),
    *("VECLIB_", "GLIBC_", "MALLOC_", "LC_", "LD_PRELOAD", "LD_AUDIT", "DASK_", "HDF5_", "XDG_"),
)
"""Prefixes of variables that are removed: no value from outside may override a pinned one."""
DROPPED_NAMES: Final = frozenset({"LANG", "LANGUAGE", "TMP", "TEMP"})

FOLDERS: Final = {
    "HOME": "home",
    "TMPDIR": "",
    "TEMPDIR": "",
    "XDG_CACHE_HOME": "home/.cache",
    "XDG_CONFIG_HOME": "home/.config",
    "NUMBA_CACHE_DIR": "home/.cache/numba",
    "MPLCONFIGDIR": "home/.config/matplotlib",
}
"""Caches and other folders that libraries write to, inside the scratch folder."""


class ProcessorError(RuntimeError):
    """The processor lacks instructions that the pinned arithmetic needs."""


def environment(outside: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return the environment in which a sorter runs.

    Parameters
    ----------
    outside : mapping
        The current environment.
    scratch : Path
        The scratch folder, absolute.

    Returns
    -------
    dict
        `pinned(scratch)`, and the variables of `outside` that cannot change a result (PATH, the libraries' path, GPU choice, …).
    """
    kept = {
        name: value
        for name, value in outside.items()
        if not name.startswith(DROPPED) and name not in DROPPED_NAMES
    }
    return kept | pinned(scratch)


def pinned(scratch: Path) -> dict[str, str]:
    """Return the variables that are pinned, with their values on this machine."""
    values = dict(PINNED)
    machine = platform.machine()
    if machine in BLAS_KERNEL:
        values["OPENBLAS_CORETYPE"] = BLAS_KERNEL[machine]
    values |= BY_MACHINE.get(machine, {})
    if machine == "x86_64" and (features := _numpy_features()):
        values["NPY_DISABLE_CPU_FEATURES"] = features
    return values | {name: str(scratch / folder) for name, folder in FOLDERS.items()}


def pin(scratch: Path) -> dict[str, str]:
    """Restart this command in the pinned environment, unless it already runs in it.

    Returns
    -------
    dict
        The pinned variables, for the record. Does not return where it restarts the interpreter.

    Raises
    ------
    ProcessorError
        The processor lacks instructions that the pinned arithmetic needs.
    """
    values = pinned(scratch)
    wanted = environment(os.environ, scratch)
    # Isolated mode (-I) ignores PYTHONHASHSEED; in an environment freed of PYTHON* this is as isolated.
    if dict(os.environ) != wanted or sys.flags.hash_randomization or sys.flags.ignore_environment:
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, "-s", "-P", *sys.argv], wanted)
    # Only now: the C library, which reports the instructions, obeys GLIBC_TUNABLES.
    require_processor()
    for name in FOLDERS:
        Path(values[name]).mkdir(parents=True, exist_ok=True)
    return values


def require_processor() -> None:
    """Check that the processor has the instructions of the pinned BLAS kernel.

    Raises
    ------
    ProcessorError
        It lacks some; the message names them. A processor that does not report its instructions passes.
    """
    needed, found = KERNEL_NEEDS.get(platform.machine(), frozenset()), instructions()
    if found and (missing := needed - found):
        message = f"this processor lacks {' and '.join(sorted(missing))}, which equal results everywhere need"
        raise ProcessorError(message)


def _numpy_features() -> str:
    """Return the features that numpy must not use, without importing it, which takes 0.1 s; empty without numpy."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        major, minor = version("numpy").split(".")[:2]
    except PackageNotFoundError:
        return ""
    return NUMPY_FEATURES["single" if (int(major), int(minor)) < (2, 4) else "levels"]
