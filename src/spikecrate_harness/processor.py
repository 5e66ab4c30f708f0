"""The processor: its model, its instructions, and those that the loaded libraries use.

Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CPUINFO: Final = Path("/proc/cpuinfo")
MAPS: Final = Path("/proc/self/maps")


class Bit(NamedTuple):
    """Position of an instruction set in the output of CPUID.

    Attributes
    ----------
    leaf : int
        Index in glibc: 0 for leaf 1, 1 for leaf 7.
    register : int
        0 to 3 for EAX, EBX, ECX, EDX.
    bit : int
        From 0.
    """

    leaf: int
    register: int
    bit: int


INSTRUCTIONS: Final = {
    "sse4_1": Bit(0, 2, 19),
    "sse4_2": Bit(0, 2, 20),
    "avx": Bit(0, 2, 28),
    "f16c": Bit(0, 2, 29),
    "fma": Bit(0, 2, 12),
    "avx2": Bit(1, 1, 5),
    "avx512f": Bit(1, 1, 16),
    "avx512dq": Bit(1, 1, 17),
    "avx512cd": Bit(1, 1, 28),
    "avx512bw": Bit(1, 1, 30),
    "avx512vl": Bit(1, 1, 31),
    "avx512_vnni": Bit(1, 2, 11),
}
"""Instruction sets by which libraries choose their code on x86_64, named as in /proc/cpuinfo."""
MASKED: Final = "fma"
"""The set that the harness disables in glibc: read from the processor's registers, not from those in use."""
NUMBERS: Final = 8
"""Numbers per leaf in glibc: four registers of the processor, and four with the features that may be used."""

BLAS_NAMES: Final = tuple(
    f"{prefix}openblas_get_corename{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
)
"""Functions that return OpenBLAS's kernel: packages rename those of their own copy."""


def instructions() -> frozenset[str]:
    """Return the instruction sets that may be used; empty where they are unknown.

    Ask the C library, which has asked the processor. /proc/cpuinfo is the second choice: under the emulation of another
    processor it describes the machine's own.
    """
    try:
        features = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    except (OSError, AttributeError):  # not x86, not glibc, or glibc before 2.33
        return frozenset(_cpuinfo("flags", "Features").split())
    features.argtypes = [ctypes.c_uint]
    features.restype = ctypes.POINTER(ctypes.c_uint32 * NUMBERS)
    found = set()
    for name, place in INSTRUCTIONS.items():
        register = place.register if name == MASKED else 4 + place.register
        if features(place.leaf).contents[register] >> place.bit & 1:
            found.add(name)
    return frozenset(found)


def in_use() -> dict[str, Any]:
    """Return what the loaded libraries compute with: pinned, so the same on every processor.

    Returns
    -------
    dict
        `blas`: the kernel of each loaded OpenBLAS, by file name. `numpy`: the instruction sets above its baseline
        that numpy dispatches to.
    """
    return {"blas": dict(_blas_kernels()), "numpy": _numpy_dispatched()}


def around() -> dict[str, Any]:
    """Return what is not pinned: it may differ between two runs with equal bytes.

    Returns
    -------
    dict
        `processor` (model), `processors` (available), `instructions`, `libc`, `kernel`, `page_bytes`; None
        where it is unknown.
    """
    return {
        "processor": _cpuinfo("model name") or None,
        "processors": len(os.sched_getaffinity(0)),
        "instructions": sorted(instructions()),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "kernel": os.uname().release,
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
    }


def _cpuinfo(*names: str) -> str:
    """Return the first value in /proc/cpuinfo under one of the names, or an empty text."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def _blas_kernels() -> Iterator[tuple[str, str]]:
    """Yield the file name and kernel of every OpenBLAS that this process has loaded."""
    words = (line.split(maxsplit=5) for line in MAPS.read_text(errors="replace").splitlines())
    paths = {row[5] for row in words if len(row) == 6}
    for path in sorted(path for path in paths if "openblas" in Path(path).name):
        try:
            library = ctypes.CDLL(path)
        except OSError:  # no longer there
            continue
        function = next((name for name in BLAS_NAMES if hasattr(library, name)), None)
        if function is not None:
            kernel = library[function]
            kernel.restype = ctypes.c_char_p
            yield Path(path).name, kernel().decode()


def _numpy_dispatched() -> list[str]:
    # Its names since numpy 2 and before. Only if it is loaded: importing it here would change the answer.
    for name in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        if (loaded := sys.modules.get(name)) is not None:
            return [name for name in loaded.__cpu_dispatch__ if loaded.__cpu_features__[name]]
    return []
