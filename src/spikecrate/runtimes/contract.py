"""The container contract as data: what a runtime runs, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest

JOB: Final = PurePosixPath("/job")
INPUTS: Final = PurePosixPath("/inputs")
"""Every input is mounted below, at its name."""
OUT: Final = PurePosixPath("/out")
SCRATCH: Final = PurePosixPath("/tmp")

PIDS_LIMIT: Final = 4096
"""Processes and threads together: far more than a tool needs, far fewer than would slow down a machine."""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One folder or file of the host that the step sees.

    Attributes
    ----------
    source : Path
        Absolute path on the host, links resolved.
    target : PurePosixPath
        Path inside the container.
    read_only : bool
        Whether writing is refused, in all that is mounted below it too.
    """

    source: Path
    target: PurePosixPath
    read_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a step may use.

    Attributes
    ----------
    cores : int
        Number of processors.
    memory_bytes : int or None
        Bytes of memory and swap together; None for no limit.
    timeout_s : float or None
        Seconds of wall time; None for no limit.
    """

    cores: int
    memory_bytes: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a step runs in: an image, or an environment of the host.

    Attributes
    ----------
    reference : str
        Name for people: `spikecrate/ms4:1.0.7-3f2a…`, or the folder of an environment.
    digest : str
        Identity of the content: an image digest, or the hash of an environment's lock.
    entrypoint : tuple of str
        Command that it runs.
    facts : dict
        Further entries of the run record: versions of the engine and the kernel.
    """

    reference: str
    digest: str
    entrypoint: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """One command in a container, ready to run.

    Attributes
    ----------
    name : str
        Name of the container; unique.
    labels : dict
        Store and job key, by which `sweep` finds leftovers.
    image : Image
        What to run.
    mounts : tuple of Mount
        All that the step sees of the host.
    limits : Limits
        What the step may use.
    user : tuple of int
        uid and gid.
    gpu : bool
        Whether the step sees the machine's GPUs.
    """

    name: str
    labels: dict[str, str]
    image: Image
    mounts: tuple[Mount, ...]
    limits: Limits
    user: tuple[int, int]
    gpu: bool = False

    def source(self, target: PurePosixPath) -> Path:
        """Return the host path of a mounted folder, or of the folder that holds a mounted file.

        Parameters
        ----------
        target : PurePosixPath
            Path inside the container.

        Returns
        -------
        Path
        """
        return next(
            mount.source if mount.target == target else mount.source.parent
            for mount in self.mounts
            if target in (mount.target, mount.target.parent)
        )


@dataclass(frozen=True, kw_only=True)
class ExitStatus:
    """How a step ended.

    Attributes
    ----------
    code : int
        Exit code of the first process; 128 + n for signal n.
    out_of_memory : bool
        Whether the kernel or the runtime ended a process that reached the memory limit.
    timed_out : bool
        Whether the time limit ended the step.
    too_many_processes : bool
        Whether the runtime ended the step for the number of its processes; Docker refuses further ones instead.
    peak_memory_bytes : int or None
        Peak of the memory in use; None where the runtime does not measure it.
    """

    code: int
    out_of_memory: bool = False
    timed_out: bool = False
    too_many_processes: bool = False
    peak_memory_bytes: int | None = None


class Runtime(Protocol):
    """Where steps run. Each engine is a module with one class of this protocol."""

    @property
    def name(self) -> str:
        """`docker`, `apptainer` or `host`."""

    def prepare(self, request: BuildRequest, progress: Progress) -> Image:
        """Find the image or environment of a sorter, or make it.

        Parameters
        ----------
        request : BuildRequest
            What it is made from.
        progress : Progress
            Receives the lines of a build.

        Returns
        -------
        Image

        Raises
        ------
        ImageBuildError, BaseImageMissingError, EnvironmentBuildError
            When it cannot be made.
        """

    def preview(self, request: BuildRequest) -> Image:
        """Return what `prepare` would return, without making it."""

    def command(self, spec: ContainerSpec) -> list[str]:
        """Return the command line that does what `run` does."""

    def run(self, spec: ContainerSpec, on_output: Callable[[bytes], None]) -> ExitStatus:
        """Run a step to its end and pass on its output as it comes.

        However this call ends, by an exception or Ctrl-C too, no process of the step is left running, and /out is
        readable for its owner.

        Parameters
        ----------
        spec : ContainerSpec
            What to run.
        on_output : callable
            Receives standard output and standard error, in pieces. What it raises ends the step and is raised again,
            unchanged: a closed pipe is no failure of the engine.

        Returns
        -------
        ExitStatus

        Raises
        ------
        EngineError
            When the engine fails, rather than the tool.
        """

    def sweep(self, store_label: str, is_orphan: Callable[[str], bool]) -> list[str]:
        """Remove what killed runs left running.

        Parameters
        ----------
        store_label : str
            The store whose steps are looked at.
        is_orphan : callable
            Returns whether the owner of a job key is gone.

        Returns
        -------
        list of str
            Names of what was removed.
        """
