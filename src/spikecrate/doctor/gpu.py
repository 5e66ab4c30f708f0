"""GPU: driver, and whether each engine can hand it to a container."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.process import capture
from spikecrate.catalogue.tools import catalogue
from spikecrate.doctor.check import Check, fail, ok, warn
from spikecrate.runtimes import gpu
from spikecrate_dev.machine import gpu_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict

TOOLKIT: Final = "install nvidia-container-toolkit, then sudo nvidia-ctk runtime configure and restart Docker"
LIBRARIES: Final = ("libcuda.so.1", "libnvidia-ml.so.1")
"""What Apptainer's --nv has to find."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What the machine shows, and who wants it.

    Attributes
    ----------
    present : bool
        Whether the driver made its devices.
    devices : tuple of str
        What nvidia-smi says, one a GPU.
    visible : str or None
        Value of CUDA_VISIBLE_DEVICES.
    required, optional : tuple of str
        Sorters that need one, and that can use one.
    """

    present: bool
    devices: tuple[str, ...]
    visible: str | None
    required: tuple[str, ...]
    optional: tuple[str, ...]


def look_driver(_: Mapping[str, Any]) -> Driver:
    """See the GPUs, and which sorters want one."""
    sorters = catalogue().values()
    present = gpu.is_present()
    return Driver(
        present=present,
        devices=tuple(gpu.devices()) if present else (),
        visible=os.environ.get(gpu.VISIBLE),
        required=tuple(sorter.name for sorter in sorters if sorter.gpu == "required"),
        optional=tuple(sorter.name for sorter in sorters if sorter.gpu == "optional"),
    )


def judge_driver(seen: Driver) -> Verdict:
    """Judge whether the sorters that want a GPU have one."""
    if not seen.present:
        if seen.required:
            return warn(
                f"none, and {', '.join(seen.required)} cannot do without",
                "sort on a machine with an NVIDIA GPU and its driver",
                ends=True,
            )
        if seen.optional:
            return ok(f"none; {', '.join(seen.optional)} runs on the processor", ends=True)
        return ok("none, and no sorter uses one", ends=True)
    if not seen.devices:
        return fail(
            "the driver is loaded, and nvidia-smi does not answer",
            "nvidia-smi; reboot after a driver's upgrade",
        )
    if seen.visible == "":
        return warn(f"{gpu.VISIBLE} is empty: no job is shown one", f"unset {gpu.VISIBLE}")
    return ok("; ".join(seen.devices))


def look_docker(seen: Mapping[str, Any]) -> tuple[str, ...]:
    """See how the daemon would hand over a GPU."""
    return gpu_words(seen["docker.daemon"].info)


def judge_docker(words: tuple[str, ...]) -> Verdict:
    """Judge whether the daemon can hand over a GPU."""
    if not words:
        return warn("the daemon has neither NVIDIA's runtime nor its devices by CDI", TOOLKIT)
    return ok(" ".join(words))


def look_apptainer(_: Mapping[str, Any]) -> list[str]:
    """See which of the driver's libraries the loader does not know."""
    program = shutil.which("ldconfig", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    known = "" if program is None else capture([program, "-p"], timeout=10)
    return [name for name in LIBRARIES if name not in known]


def judge_apptainer(missing: list[str]) -> Verdict:
    """Judge whether `apptainer --nv` finds the driver's libraries."""
    if missing:
        return warn(f"--nv does not find {', '.join(missing)}", "sudo ldconfig, after installing the driver")
    return ok("--nv finds the driver's libraries")


CHECKS: Final = (
    Check(
        name="gpu.driver",
        about="NVIDIA's driver, where a sorter uses a GPU",
        look=look_driver,
        judge=judge_driver,
    ),
    Check(
        name="gpu.docker",
        about="Docker can hand over the GPU",
        look=look_docker,
        judge=judge_docker,
        needs=("gpu.driver", "docker.daemon"),
    ),
    Check(
        name="gpu.apptainer",
        about="Apptainer finds the driver's libraries",
        look=look_apptainer,
        judge=judge_apptainer,
        needs=("gpu.driver", "apptainer.installed"),
    ),
)
