"""The processor: what it is, which instructions it has, and which the loaded libraries compute with.

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
    """Where CPUID tells of an instruction set.

    Attributes
    ----------
    leaf : int
        As glibc counts them: 0 for leaf 1, 1 for leaf 7.
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
"""What libraries choose their arithmetic by on x86_64, under the names of /proc/cpuinfo."""
MASKED: Final = "fma"
"""What the harness itself forbids glibc: it is there where the processor says so, used or not."""
NUMBERS: Final = 8
"""That glibc gives for a leaf: four registers as the processor has them, and four of what may be used."""

BLAS_NAMES: Final = tuple(
    f"{prefix}openblas_get_corename{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
)
"""Under which OpenBLAS tells its kernel: a package renames its own copy's functions."""


def instructions() -> frozenset[str]:
    """Name the instruction sets that may be used; empty where nobody tells.

    The C library is asked, for it has asked the processor; /proc/cpuinfo is the next best: where another processor
    is emulated for one program, it shows the machine's own.
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
    """Name what the loaded libraries compute with: the same on every processor, because it is pinned.

    Returns
    -------
    dict
        `blas`: the kernel of each loaded OpenBLAS, by file name. `numpy`: the instruction sets above its baseline
        that numpy dispatches to.
    """
    return {"blas": dict(_blas_kernels()), "numpy": _numpy_dispatched()}


def around() -> dict[str, Any]:
    """Name what nobody pins: it may differ between two runs of equal bytes.

    Returns
    -------
    dict
        `processor` (model), `processors` (that may be used), `instructions`, `libc`, `kernel`, `page_bytes`; None
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
    """Return the first value that /proc/cpuinfo has under one of the names; nothing where it has none."""
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
    """Ask every OpenBLAS that this process has loaded."""
    words = (line.split(maxsplit=5) for line in MAPS.read_text(errors="replace").splitlines())
    paths = {row[5] for row in words if len(row) == 6}
    for path in sorted(path for path in paths if "openblas" in Path(path).name):
        try:
            library = ctypes.CDLL(path)
        except OSError:  # no longer there
            continue
        asked = next((name for name in BLAS_NAMES if hasattr(library, name)), None)
        if asked is not None:
            tell = library[asked]
            tell.restype = ctypes.c_char_p
            yield Path(path).name, tell().decode()


def _numpy_dispatched() -> list[str]:
    # Its name before numpy 2 and since. Only where it is loaded: importing it to ask would change what is asked about.
    for name in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        if (loaded := sys.modules.get(name)) is not None:
            return [name for name in loaded.__cpu_dispatch__ if loaded.__cpu_features__[name]]
    return []
