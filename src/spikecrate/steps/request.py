"""What is asked for when something is to be sorted: the words of `spikecrate.sort`, held once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spikecrate.errors import UsageError
from spikecrate.runtimes.contract import Limits
from spikecrate.steps.job import describe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.steps.job import Job
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class SortRequest:
    """What is to be sorted, how, and within which limits; `spikecrate.sort` says what each means."""

    recording: Path | str
    sorter: str = "ms4"
    params: Mapping[str, Any] = field(default_factory=dict)
    runtime: str = "auto"
    cores: int | None = None
    gpu: str = "auto"
    memory_bytes: int | None = None
    timeout_s: float | None = None
    seed: int = 0
    force: bool = False

    @property
    def limits(self) -> Limits:
        """What the sorter may use.

        Raises
        ------
        UsageError
            For limits that leave nothing to run with.
        """
        return limits(self.cores, self.memory_bytes, self.timeout_s)

    def job(self, store: Store, progress: Progress) -> Job:
        """Describe the job that is asked for.

        Raises
        ------
        spikecrate.errors.SpikecrateError
            As `spikecrate.steps.job.describe`.
        """
        return describe(
            self.recording,
            sorter=self.sorter,
            parameters=self.params,
            seed=self.seed,
            cores=self.limits.cores,
            gpu=self.gpu,
            store=store,
            progress=progress,
        )


def limits(cores: int | None, memory_bytes: int | None, timeout_s: float | None) -> Limits:
    """Make limits of what was asked for; by default all processors, and no limit of memory or time.

    Raises
    ------
    UsageError
        For limits that leave nothing to run with.
    """
    available = len(os.sched_getaffinity(0))
    if cores is not None and not 1 <= cores <= available:
        message = f"{cores} cores were asked for, this process may use {available}"
        raise UsageError(message, next_step=f"--cores 1 to {available}")
    if memory_bytes is not None and memory_bytes < 64 * 2**20:
        message = f"a memory limit of {memory_bytes} bytes is too small to start Python in"
        raise UsageError(message, next_step="--memory 4G")
    if timeout_s is not None and timeout_s <= 0:
        message = f"a time limit of {timeout_s} s leaves no time"
        raise UsageError(message, next_step="--timeout 2h")
    return Limits(cores=cores or available, memory_bytes=memory_bytes, timeout_s=timeout_s)
