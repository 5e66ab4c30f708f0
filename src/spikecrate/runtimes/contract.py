"""What a runtime is asked to do, and what it answers: the container contract as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest

JOB: Final = PurePosixPath("/job")
RECORDING: Final = PurePosixPath("/recording")
OUT: Final = PurePosixPath("/out")
SCRATCH: Final = PurePosixPath("/tmp")

PIDS_LIMIT: Final = 4096
"""Processes and threads together: far above what a sorter needs, far below what harms a machine."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One folder or file of the host, seen inside.

    Attributes
    ----------
    source : Path
        Absolute path on the host, links resolved.
    target : PurePosixPath
        Where it is seen inside.
    read_only : bool
        Whether writing is refused.
    """

    source: Path
    target: PurePosixPath
    read_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a job may use.

    Attributes
    ----------
    cores : int
        Processors.
    memory_bytes : int or None
        Memory and swap together; None for no limit.
    timeout_s : float or None
        Wall time; None for no limit.
    """

    cores: int
    memory_bytes: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a job runs in.

    Attributes
    ----------
    reference : str
        Its name for people: `spikecrate/ms4:1.0.7-3f2a…`, or the folder of an environment.
    digest : str
        Its content: an image digest, or the hash of an environment's lock.
    entrypoint : tuple of str
        What it runs.
    facts : dict
        What else belongs in the record: the engine's and the kernel's versions.
    """

    reference: str
    digest: str
    entrypoint: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One job, ready to run.

    Attributes
    ----------
    name : str
        Of the container; unique.
    labels : dict
        By which leftovers are found: the store and the key.
    image : Image
        What to run.
    mounts : tuple of Mount
        All that is visible of the host.
    limits : Limits
        What it may use.
    user : tuple of int
        uid and gid.
    gpu : bool
        Whether it sees the machine's GPUs.
    """

    name: str
    labels: dict[str, str]
    image: Image
    mounts: tuple[Mount, ...]
    limits: Limits
    user: tuple[int, int]
    gpu: bool = False

    def source(self, target: PurePosixPath) -> Path:
        """Give the host path of the folder that is seen at `target`, or that holds the file seen in it."""
        return next(
            mount.source if mount.target == target else mount.source.parent
            for mount in self.mounts
            if target in (mount.target, mount.target.parent)
        )


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How a job ended.

    Attributes
    ----------
    code : int
        Exit code of its one process; 128 + n for signal n.
    out_of_memory : bool
        Whether the kernel, or the watch over the limit, ended a process for want of memory.
    timed_out : bool
        Whether the time limit ended it.
    too_many_processes : bool
        Whether the watch over their number ended it; an engine that refuses more of them ends nothing.
    peak_memory_bytes : int or None
        Where the runtime can tell.
    """

    code: int
    out_of_memory: bool = False
    timed_out: bool = False
    too_many_processes: bool = False
    peak_memory_bytes: int | None = None


class Runtime(Protocol):
    """Where jobs run. Each engine is a module with one class that keeps this."""

    @property
    def name(self) -> str:
        """`docker`, `apptainer` or `host`."""

    def prepare(self, request: BuildRequest, progress: Progress) -> Image:
        """Find what the sorter runs in, or make it.

        Raises
        ------
        ImageBuildError, BaseImageMissingError, EnvironmentBuildError
        """

    def preview(self, request: BuildRequest) -> Image:
        """Name what `prepare` would give, making nothing."""

    def command(self, task: Task) -> list[str]:
        """Give the command line that does what `run` does."""

    def run(self, task: Task, on_output: Callable[[bytes], None]) -> Exit:
        """Run a task to its end, passing its output on as it comes.

        Whatever ends this call, an exception or Ctrl-C included, nothing of the task is left running.

        Raises
        ------
        EngineError
            Where the engine fails, rather than the sorter.
        """

    def sweep(self, store_label: str, is_orphan: Callable[[str], bool]) -> list[str]:
        """Remove what dead owners left running; give the names of what was removed.

        Parameters
        ----------
        store_label : str
            Only what belongs to this store is looked at.
        is_orphan : callable
            Says of a job key whether its owner is gone.
        """
