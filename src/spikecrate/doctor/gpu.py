"""GPU: the driver, and whether each engine can pass it to a container."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Final

from spikecrate._util.process import capture
from spikecrate.catalogue.tools import catalogue
from spikecrate.doctor.check import Checks, Facts, Verdict, fail, ok, warn
from spikecrate.engines.docker import gpu_words
from spikecrate.runtimes import gpu

TOOLKIT: Final = "install nvidia-container-toolkit, then sudo nvidia-ctk runtime configure and restart Docker"
LIBRARIES: Final = ("libcuda.so.1", "libnvidia-ml.so.1")
"""Libraries that Apptainer's --nv looks up."""
CHECKS: Final = Checks()


@dataclass(frozen=True, kw_only=True)
class Driver:
    """The machine's GPUs, and the sorters that use one.

    Attributes
    ----------
    present : bool
        Whether the driver's devices exist.
    devices : tuple of str
        The GPUs that nvidia-smi lists.
    visible : str or None
        The value of CUDA_VISIBLE_DEVICES.
    required, optional : tuple of str
        Sorters that need a GPU, and that can use one.
    """

    present: bool
    devices: tuple[str, ...]
    visible: str | None
    required: tuple[str, ...]
    optional: tuple[str, ...]


def look_driver(_: Facts) -> Driver:
    """Return the GPUs, and the sorters that use one."""
    sorters = catalogue().values()
    present = gpu.is_present()
    return Driver(
        present=present,
        devices=tuple(gpu.devices()) if present else (),
        visible=os.environ.get(gpu.VISIBLE),
        required=tuple(sorter.name for sorter in sorters if sorter.gpu == "required"),
        optional=tuple(sorter.name for sorter in sorters if sorter.gpu == "optional"),
    )


@CHECKS.add("gpu.driver", "NVIDIA's driver, where a sorter uses a GPU", look_driver)
def judge_driver(driver: Driver) -> Verdict:
    """Judge whether the sorters that use a GPU have one.

    Parameters
    ----------
    driver : Driver
        As `look_driver` returns it.
    """
    if not driver.present:
        if driver.required:
            fix = "sort on a machine with an NVIDIA GPU and its driver"
            return warn(f"none, and {', '.join(driver.required)} needs one", fix, ends=True)
        if driver.optional:
            return ok(f"none; {', '.join(driver.optional)} runs on the processor", ends=True)
        return ok("none, and no sorter uses one", ends=True)
    if not driver.devices:
        return fail("the driver is loaded but nvidia-smi does not answer", "reboot after a driver upgrade")
    if driver.visible == "":
        return warn(f"{gpu.VISIBLE} is empty, which hides the GPUs from jobs", f"unset {gpu.VISIBLE}")
    return ok("; ".join(driver.devices))


@CHECKS.add(
    "gpu.docker",
    "Docker can pass the GPU to a container",
    lambda facts: gpu_words(facts["docker.daemon"].info),
    needs=("gpu.driver", "docker.daemon"),
)
def judge_docker(words: tuple[str, ...]) -> Verdict:
    """Judge whether the daemon can pass a GPU to a container.

    Parameters
    ----------
    words : tuple
        Options of `docker run` that pass the GPUs.
    """
    if not words:
        return warn("the daemon has neither NVIDIA's runtime nor CDI devices", TOOLKIT)
    return ok(" ".join(words))


def look_apptainer(_: Facts) -> list[str]:
    """Return the driver's libraries that the loader does not find."""
    program = shutil.which("ldconfig", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    known = "" if program is None else capture([program, "-p"], timeout=10)
    return [name for name in LIBRARIES if name not in known]


@CHECKS.add(
    "gpu.apptainer",
    "Apptainer finds the driver's libraries",
    look_apptainer,
    needs=("gpu.driver", "apptainer.installed"),
)
def judge_apptainer(missing: list[str]) -> Verdict:
    """Judge whether `apptainer --nv` finds the driver's libraries.

    Parameters
    ----------
    missing : list
        As `look_apptainer` returns it.
    """
    if missing:
        return warn(f"--nv does not find {', '.join(missing)}", "sudo ldconfig, after installing the driver")
    return ok("--nv finds the driver's libraries")
