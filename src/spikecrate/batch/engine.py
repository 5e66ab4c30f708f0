"""What a batch asks of the engine that runs its jobs.

A task is one job of a frozen batch, by its number; the engine starts `spikecrate study.work … --index N` for each, and
nothing but the command's exit comes back: results are in the store, errors in the batch's folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

State = Literal["waiting", "running", "ended"]
"""`ended`: the task's process is gone, with whatever outcome."""


@dataclass(frozen=True, kw_only=True)
class ResourceClass:
    """What each task of a class occupies while it runs.

    Attributes
    ----------
    cores : int
        Processors.
    memory_bytes : int or None
        Memory; None where it is not known.
    timeout_s : float or None
        Time limit, s.
    gpu : bool
        Whether it needs a GPU.
    """

    cores: int
    memory_bytes: int | None
    timeout_s: float | None
    gpu: bool


class Engine(Protocol):
    """Runs tasks somewhere."""

    def submit(self, resources: ResourceClass, indices: Sequence[int]) -> None:
        """Queue tasks of one class.

        Parameters
        ----------
        resources : ResourceClass
            What each occupies.
        indices : sequence of int
            Numbers of the tasks.
        """

    def states(self) -> dict[int, State]:
        """Return the state of every task that was submitted."""

    def cancel(self) -> None:
        """Stop all tasks; when it returns, none runs."""

    def logs(self, index: int) -> Path:
        """Return the file with what a task printed.

        Parameters
        ----------
        index : int
            Number of the task.
        """
