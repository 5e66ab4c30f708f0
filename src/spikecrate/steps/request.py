"""A request for a step: a tool, its inputs, its parameters and its limits, in one value."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spikecrate.catalogue.parameters import complete
from spikecrate.catalogue.tools import SORTER, find
from spikecrate.errors import UsageError
from spikecrate.runtimes.contract import Limits
from spikecrate.runtimes.gpu import decide, is_present
from spikecrate.steps.inputs import open_inputs
from spikecrate.steps.job import Job, recipe
from spikecrate.steps.key import KeyParts
from spikecrate.steps.kinds import RECORDING
from spikecrate.steps.sources import current

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Tool
    from spikecrate.recordings import Recording
    from spikecrate.steps.inputs import Word
    from spikecrate.steps.recording_input import RecordingInput
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class Request:
    """Fields of every request for a step; `spikecrate.sort` documents each."""

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
        """Limits of cores, memory and time, checked; by default all cores of this process.

        Raises
        ------
        UsageError
            A limit is too small, or the process has fewer cores.
        """
        available = len(os.sched_getaffinity(0))
        if self.cores is not None and not 1 <= self.cores <= available:
            message = f"--cores {self.cores}: this process may use {available}"
            raise UsageError(message, next_step=f"choose --cores from 1 to {available}")
        if self.memory_bytes is not None and self.memory_bytes < 64 * 2**20:
            message = f"--memory: {self.memory_bytes} bytes are too few to start Python"
            raise UsageError(message, next_step="give it more: --memory 4G")
        if self.timeout_s is not None and self.timeout_s <= 0:
            message = f"--timeout: {self.timeout_s} s is not a positive time"
            raise UsageError(message, next_step="give it time: --timeout 2h")
        return Limits(cores=self.cores or available, memory_bytes=self.memory_bytes, timeout_s=self.timeout_s)

    def job(self, store: Store, progress: Progress) -> Job:
        """Return the requested job; hash its inputs, or take their hashes from the cache.

        Parameters
        ----------
        store : Store
            The store with earlier steps and the cache of hashes.
        progress : Progress
            Shows the progress of hashing.

        Returns
        -------
        Job

        Raises
        ------
        SorterNotFoundError, SorterInvalidError, ParameterUnknownError, UsageError
            The catalogue has no such tool or parameter, an option is out of range, or an input is missing.
        GpuMissingError
            The tool needs a GPU and the machine has none.
        RecordingError
            An input cannot be read.
        """
        tool, words = self._step()
        cores = self.limits.cores
        if isinstance(self.seed, bool) or not 0 <= self.seed < 2**32:
            message = f"the seed {self.seed} is not from 0 to 4294967295"
            raise UsageError(message, next_step="choose another seed")
        parameters = complete(tool, self.params)
        on_gpu = decide(tool.name, tool.gpu, self.gpu, present=is_present())
        inputs = open_inputs(tool.inputs, words, store, progress)
        parts = KeyParts(
            tool=tool.name,
            recipe=recipe(tool),
            parameters=parameters,
            seed=self.seed,
            inputs={name: found.identity for name, found in inputs.items()},
            cores=cores if tool.cores_change_result else None,
            gpu=on_gpu if tool.gpu == "optional" else None,
        )
        return Job(tool=tool, inputs=inputs, parts=parts, sources=current(tool), gpu=on_gpu)

    def _step(self) -> tuple[Tool, Mapping[str, Word]]:
        """Return the tool, and its inputs by their names."""
        raise TypeError(type(self))


@dataclass(frozen=True, kw_only=True)
class StepRequest(Request):
    """A request for any tool: each input as `spikecrate.steps.inputs.open_inputs` takes it."""

    tool: str
    inputs: Mapping[str, Word]

    def _step(self) -> tuple[Tool, Mapping[str, Word]]:
        return find(self.tool), self.inputs


@dataclass(frozen=True, kw_only=True)
class SortRequest(Request):
    """A request for a sorting: the arguments of `spikecrate.sort` in one value."""

    recording: Path | str | Recording | RecordingInput
    sorter: str = "ms4"

    def _step(self) -> tuple[Tool, Mapping[str, Word]]:
        return find(self.sorter, kind=SORTER), {RECORDING: self.recording}
