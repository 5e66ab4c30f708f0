"""Decide whether a job runs on a GPU, and which GPUs a tool sees.

A tool declares whether it needs one (`none`, `optional`, `required`); the user chooses whether to use one (`auto`,
`on`, `off`). For an optional GPU the decision is part of the job key: a GPU sums in another order than a processor.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import capture
from spikecrate.errors import CommandError, GpuMissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHOICES: Final = ("auto", "on", "off")
DEVICES: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""Device files of the driver on Linux, and on WSL."""
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
"""Variable that names the GPUs to use; a batch system or the user sets it."""
QUESTION: Final = ("nvidia-smi", "--query-gpu=name,uuid,driver_version,memory.total", "--format=csv,noheader")


def is_present() -> bool:
    """Return whether this machine has an NVIDIA GPU with its driver."""
    return any(device.exists() for device in DEVICES)


def decide(tool: str, need: str, requested: str, *, present: bool) -> bool:
    """Decide whether a job runs on a GPU.

    Parameters
    ----------
    tool : str
        Name of the tool, for messages.
    need : str
        The tool's declaration: `none`, `optional` or `required`.
    requested : str
        The user's choice: `auto`, `on` or `off`.
    present : bool
        Whether the machine has a GPU.

    Returns
    -------
    bool

    Raises
    ------
    UsageError
        When the tool does not support the choice.
    GpuMissingError
        When the job needs a GPU and the machine has none.
    """
    if requested not in CHOICES:
        message = f"--gpu {requested!r} is unknown"
        raise UsageError(message, next_step=f"one of: {', '.join(CHOICES)}")
    if requested == "on" and need == "none":
        message = f"{tool} does not use a GPU"
        raise UsageError(message, next_step="leave --gpu out")
    if requested == "off" and need == "required":
        message = f"{tool} needs a GPU"
        raise UsageError(message, next_step="leave --gpu out, on a machine with an NVIDIA GPU")
    wanted = need == "required" or requested == "on"
    if wanted and not present:
        what = f"{tool} needs a GPU" if need == "required" else f"{tool} was asked to run on a GPU"
        message = f"{what}, and NVIDIA's driver shows none on this machine"
        raise GpuMissingError(
            message,
            next_step="run it on a machine with one" if need == "required" else "spikecrate sort … --gpu off",
        )
    return wanted or (need == "optional" and requested == "auto" and present)


def visible(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variable that names the GPUs of this job, if it is set.

    Parameters
    ----------
    environ : mapping, optional
        The environment; by default that of this process.

    Returns
    -------
    dict
        Empty, or the variable and its value.
    """
    outside = os.environ if environ is None else environ
    return {VISIBLE: outside[VISIBLE]} if VISIBLE in outside else {}


def devices() -> list[str]:
    """Return the GPUs for the record: model, UUID, driver version, memory; empty without nvidia-smi."""
    try:
        return capture(list(QUESTION), timeout=10).splitlines()
    except CommandError:
        return []
