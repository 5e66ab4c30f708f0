"""Whether a job runs on a GPU, and what a sorter is shown of it.

A sorter says whether it needs one (`none`, `optional`, `required`), the user whether to use one (`auto`, `on`, `off`).
For a sorter that can do without, the answer is part of the job key: a GPU sums in another order than a processor.
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
"""What the driver makes: of Linux, and of Windows' Linux."""
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
"""Which of the GPUs: set by whoever hands them out, a batch system or the user."""
QUESTION: Final = ("nvidia-smi", "--query-gpu=name,uuid,driver_version,memory.total", "--format=csv,noheader")


def is_present() -> bool:
    """Say whether this machine has an NVIDIA GPU with its driver."""
    return any(device.exists() for device in DEVICES)


def decide(sorter: str, need: str, asked: str, *, present: bool) -> bool:
    """Decide whether a job runs on a GPU.

    Parameters
    ----------
    sorter : str
        Its name, for messages.
    need : str
        The sorter's: `none`, `optional` or `required`.
    asked : str
        The user's: `auto`, `on` or `off`.
    present : bool
        Whether the machine has one.

    Raises
    ------
    UsageError
        Where the user asks for what the sorter cannot do.
    GpuMissingError
        Where one is needed and the machine has none.
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
    """Give the variable that says which GPUs a job may use, where the caller has it."""
    outside = os.environ if environ is None else environ
    return {VISIBLE: outside[VISIBLE]} if VISIBLE in outside else {}


def devices() -> list[str]:
    """Name the GPUs for the record: model, UUID, driver's version, memory; empty where nothing tells."""
    try:
        return capture(list(QUESTION), timeout=10).splitlines()
    except CommandError:
        return []
