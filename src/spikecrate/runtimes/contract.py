"""The container contract as data: the container that a runtime runs, and its exit status."""

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
"""Limit of processes and threads together: far more than a tool needs, too few to slow down a machine."""


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
        Whether writing is refused, also in every mount below it.
    """

    source: Path
    target: PurePosixPath
    read_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a step.

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
    """An image, or an environment of the host, in which a step runs.

    Attributes
    ----------
    reference : str
        Readable name: `spikecrate/ms4:1.0.7-3f2a…`, or the folder of an environment.
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
        Image to run.
    mounts : tuple of Mount
        Every folder and file of the host that the step sees.
    limits : Limits
        Limits of the step.
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
        """Return the host path of a mounted folder.

        Parameters
        ----------
        target : PurePosixPath
            Path inside the container.

        Returns
        -------
        Path
        """
        return next(mount.source for mount in self.mounts if mount.target == target)


@dataclass(frozen=True, kw_only=True)
class ExitStatus:
    """The exit status of a step.

    Attributes
    ----------
    code : int
        Exit code of the first process; 128 + n for signal n.
    out_of_memory : bool
        Whether the kernel or the runtime ended a process that reached the memory limit.
    timed_out : bool
        Whether the time limit ended the step.
    too_many_processes : bool
        Whether the runtime ended the step because it had too many processes; Docker refuses further ones instead.
    peak_memory_bytes : int or None
        Peak of the memory in use; None where the runtime does not measure it.
    """

    code: int
    out_of_memory: bool = False
    timed_out: bool = False
    too_many_processes: bool = False
    peak_memory_bytes: int | None = None


class Runtime(Protocol):
    """Runs steps. Each engine is a module with one class of this protocol."""

    @property
    def name(self) -> str:
        """`docker`, `apptainer` or `host`."""

    def prepare(self, request: BuildRequest, progress: Progress) -> Image:
        """Find the image or environment of a tool, or make it.

        Parameters
        ----------
        request : BuildRequest
            Sources of the image.
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
        """Return the image that `prepare` would return, without making it.

        Parameters
        ----------
        request : BuildRequest
            Sources of the image.

        Returns
        -------
        Image
        """

    def command(self, spec: ContainerSpec) -> list[str]:
        """Return the command line that is equivalent to `run`.

        Parameters
        ----------
        spec : ContainerSpec
            Container to run.

        Returns
        -------
        list of str
        """

    def run(self, spec: ContainerSpec, on_output: Callable[[bytes], None]) -> ExitStatus:
        """Run a step to its end and pass on its output as it comes.

        However this call ends, also by an exception or Ctrl-C, no process of the step stays running, and the owner can
        read /out.

        Parameters
        ----------
        spec : ContainerSpec
            Container to run.
        on_output : callable
            Receives standard output and standard error, in pieces. An exception that it raises ends the step and is
            raised unchanged: a closed pipe is not a failure of the engine.

        Returns
        -------
        ExitStatus

        Raises
        ------
        EngineError
            When the engine fails, rather than the tool.
        """

    def sweep(self, store_label: str, is_orphan: Callable[[str], bool]) -> list[str]:
        """End the containers and processes that killed runs left.

        Parameters
        ----------
        store_label : str
            The store whose steps are swept.
        is_orphan : callable
            Returns whether the owner of a job key is gone.

        Returns
        -------
        list of str
            Names of the containers and processes that were ended.
        """
