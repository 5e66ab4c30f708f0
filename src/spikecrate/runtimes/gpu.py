"""Decide whether a job runs on a GPU, and which GPUs a tool sees.

A sorter declares whether it needs one (`none`, `optional`, `required`), the user chooses whether to use one (`auto`,
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
"""Which GPUs to use; set by a batch system or by the user."""
QUESTION: Final = ("nvidia-smi", "--query-gpu=name,uuid,driver_version,memory.total", "--format=csv,noheader")


def is_present() -> bool:
    """Whether this machine has an NVIDIA GPU with its driver."""
    return any(device.exists() for device in DEVICES)


def decide(sorter: str, need: str, asked: str, *, present: bool) -> bool:
    """Decide whether a job runs on a GPU.

    Parameters
    ----------
    sorter : str
        Name of the sorter, for messages.
    need : str
        What the sorter declares: `none`, `optional` or `required`.
    asked : str
        What the user chose: `auto`, `on` or `off`.
    present : bool
        Whether the machine has one.

    Returns
    -------
    bool

    Raises
    ------
    UsageError
        When the user asks for what the sorter cannot do.
    GpuMissingError
        When one is needed and the machine has none.
    """
    if asked not in CHOICES:
        message = f"--gpu {asked!r} is unknown"
        raise UsageError(message, next_step=f"one of: {', '.join(CHOICES)}")
    if asked == "on" and need == "none":
        message = f"{sorter} does not use a GPU"
        raise UsageError(message, next_step="leave --gpu out")
    if asked == "off" and need == "required":
        message = f"{sorter} needs a GPU"
        raise UsageError(message, next_step="leave --gpu out, on a machine with an NVIDIA GPU")
    wanted = need == "required" or asked == "on"
    if wanted and not present:
        what = f"{sorter} needs a GPU" if need == "required" else f"{sorter} was asked to run on a GPU"
        message = f"{what}, and this machine has none that NVIDIA's driver shows"
        raise GpuMissingError(
            message,
            next_step="sort on a machine with one" if need == "required" else "spikecrate sort … --gpu off",
        )
    return wanted or (need == "optional" and asked == "auto" and present)


def visible(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variable that names the GPUs of this job, if the caller has it."""
    outside = os.environ if environ is None else environ
    return {VISIBLE: outside[VISIBLE]} if VISIBLE in outside else {}


def devices() -> list[str]:
    """Return the GPUs for the record: model, UUID, driver version, memory; empty without nvidia-smi."""
    try:
        return capture(list(QUESTION), timeout=10).splitlines()
    except CommandError:
        return []
