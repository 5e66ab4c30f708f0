"""The machine of a measurement."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from spikecrate.engines.apptainer import find_program
from spikecrate.engines.docker import docker_client


def facts() -> dict[str, str]:
    """Return the processor, the cores, the kernel, Python and the engine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": model or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "apptainer": find_program().version,
        "docker": str(docker_client().version()["Version"]),
    }
