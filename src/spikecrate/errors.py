"""Every error that spikecrate raises, with its exit code and the next step.

A message says what is wrong and where (the file, the field, the value); `next_step` is the one thing to do
about it. The command line prints both and exits with `exit_code`; a traceback appears only with `--debug`.
Each class has a code of its own, so that a script can tell a full disk from a wrong parameter.

The codes: 1 a fault of spikecrate itself, 2 usage, 10–19 the recording, 20–29 the sorter and its parameters,
30–39 engines and images, 40–49 the job, 50–59 the store, 60–69 this machine, 128+n stopped by signal n.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SpikecrateError(Exception):
    """Base of all errors below.

    Parameters
    ----------
    message : str
        What is wrong, and where.
    next_step : str
        What the user can do about it; a command where there is one.
    details : dict, optional
        Facts for `--json` (a file, a field, a value), JSON types only.
    doctor : str, optional
        The check of `spikecrate doctor` that explains it, where it is the machine's fault; by default the class's.
    """

    exit_code: ClassVar[int] = 1
    next_step: str = ""
    doctor: str = ""

    def __init__(
        self,
        message: str,
        *,
        next_step: str = "",
        details: dict[str, Any] | None = None,
        doctor: str | None = None,
    ) -> None:
        super().__init__(message)
        self.next_step = next_step or type(self).next_step
        self.doctor = type(self).doctor if doctor is None else doctor
        self.details: dict[str, Any] = details or {}

    def as_dict(self) -> dict[str, Any]:
        """Give the error as `--json` prints it."""
        return {
            "error": type(self).__name__,
            "message": str(self),
            "next_step": self.next_step,
            "exit_code": self.exit_code,
            **({"doctor": f"spikecrate doctor --check {self.doctor}"} if self.doctor else {}),
            **({"details": self.details} if self.details else {}),
        }


class UsageError(SpikecrateError):
    """The command line or the call does not make sense."""

    exit_code = 2


# The recording ------------------------------------------------------------------------------------


class RecordingNotFoundError(SpikecrateError):
    """There is nothing at that path, or nothing that is a recording."""

    exit_code = 10


class RecordingFormatError(SpikecrateError):
    """A file of the recording has a field that is missing, malformed or not supported."""

    exit_code = 11


class RecordingTruncatedError(SpikecrateError):
    """The sample file is shorter than its header promises."""

    exit_code = 12


class ProbeError(SpikecrateError):
    """The channel locations do not fit the recording."""

    exit_code = 13


class RecordingValueError(SpikecrateError):
    """The samples hold NaN or infinity."""

    exit_code = 14


class RecordingEmptyError(SpikecrateError):
    """The recording has no samples or no channels."""

    exit_code = 15


class RecordingAmbiguousError(SpikecrateError):
    """The folder holds several recordings and the path names none of them."""

    exit_code = 16


class RecordingLinkError(SpikecrateError):
    """A symbolic link inside the recording leads nowhere or to something that is not a file."""

    exit_code = 17


class RecordingChangedError(SpikecrateError):
    """The recording changed while it was being read or sorted, or since it was sorted."""

    exit_code = 18


class RecordingPermissionError(SpikecrateError):
    """The recording, or a file of it, cannot be read by this user."""

    exit_code = 19


# The sorter and its parameters --------------------------------------------------------------------


class SorterNotFoundError(SpikecrateError):
    """No sorter of that name is in the catalogue."""

    exit_code = 20
    next_step = "spikecrate sorters lists the catalogue"


class SorterInvalidError(SpikecrateError):
    """A sorter's folder is incomplete, or its sorter.json is not valid."""

    exit_code = 21


class ParameterUnknownError(SpikecrateError):
    """The sorter has no parameter of that name."""

    exit_code = 22


class ParameterValueError(SpikecrateError):
    """A parameter's value has the wrong type or is out of its range."""

    exit_code = 23


class RecordingTooSmallError(SpikecrateError):
    """The recording has fewer channels, or is shorter, than the sorter can sort."""

    exit_code = 24


# Engines and images -------------------------------------------------------------------------------


class EngineMissingError(SpikecrateError):
    """The container engine asked for is not installed."""

    exit_code = 30
    doctor = "docker.installed"


class EngineDownError(SpikecrateError):
    """The container engine is installed but does not answer."""

    exit_code = 31
    doctor = "docker.daemon"


class EnginePermissionError(SpikecrateError):
    """The container engine is there but not for this user."""

    exit_code = 32
    doctor = "docker.permission"


class EngineError(SpikecrateError):
    """The container engine refused or failed a request."""

    exit_code = 33
    doctor = "docker.daemon"


class ImageBuildError(SpikecrateError):
    """Building an image failed; the message ends with the last lines of the build's log."""

    exit_code = 34


class BaseImageMissingError(SpikecrateError):
    """The Debian image that every image starts from is not here and cannot be pulled."""

    exit_code = 35
    doctor = "images.base"


class ImageNotReproducibleError(SpikecrateError):
    """Two builds of the same recipe differ."""

    exit_code = 36


class EnvironmentBuildError(SpikecrateError):
    """The sorter's virtual environment (the host runtime) could not be made."""

    exit_code = 37
    doctor = "runtime.host"


class ImageInvalidError(SpikecrateError):
    """An image's archive or SIF is damaged, of another recipe, or for another kind of processor."""

    exit_code = 38


class BundleError(SpikecrateError):
    """A bundle is damaged or incomplete, or was made for another machine or another spikecrate."""

    exit_code = 39


# The job ------------------------------------------------------------------------------------------


class JobFailedError(SpikecrateError):
    """The sorter ended with an exit code other than 0; its last lines and its log are named."""

    exit_code = 40


class JobMemoryError(SpikecrateError):
    """The sorter needed more memory than it was given."""

    exit_code = 41


class JobTimeoutError(SpikecrateError):
    """The sorter ran into the time limit."""

    exit_code = 42


class ResultInvalidError(SpikecrateError):
    """The sorter ended well but what it left is not a valid sorting."""

    exit_code = 43


class JobNotFoundError(SpikecrateError):
    """The store knows no job whose key starts like that."""

    exit_code = 44
    next_step = "spikecrate job.list shows what the store holds"


class GpuMissingError(SpikecrateError):
    """The sorter needs a GPU, or was asked to use one, and the machine shows none."""

    exit_code = 45
    doctor = "gpu.driver"


class ResultDiffersError(SpikecrateError):
    """The job was run again and did not give the same bytes."""

    exit_code = 46


class RecipeGoneError(SpikecrateError):
    """The sorter is another than when the job ran, and what it was then is nowhere at hand."""

    exit_code = 47


class ResultCorruptError(SpikecrateError):
    """A result folder is not what was sealed: a file of it is missing, changed or unreadable."""

    exit_code = 48


class ImageMissingError(SpikecrateError):
    """The sorter's prebuilt image is not on this machine, or cannot be pulled from its registry."""

    exit_code = 49
    doctor = "images.sorters"


# The store ----------------------------------------------------------------------------------------


class StoreError(SpikecrateError):
    """The store cannot be used: another user's, read-only, or of a newer spikecrate."""

    exit_code = 50
    doctor = "store.place"


class DiskFullError(SpikecrateError):
    """No space is left where spikecrate or the sorter writes."""

    exit_code = 51
    doctor = "store.space"


class OutputError(SpikecrateError):
    """The result could not be copied to the folder asked for."""

    exit_code = 52


class StoreCorruptError(SpikecrateError):
    """Something in the store is not what was written; it was named and set aside."""

    exit_code = 53


# This machine -------------------------------------------------------------------------------------


class CommandError(SpikecrateError):
    """A command that spikecrate ran ended with an exit code other than 0.

    Parameters
    ----------
    argv : list of str
        The command.
    code : int
        Its exit code; negative for a signal.
    tail : str
        The end of what it printed.
    """

    exit_code = 60

    def __init__(self, argv: list[str], code: int, tail: str, *, next_step: str = "") -> None:
        import shlex

        super().__init__(
            f"command ended with {code}: {shlex.join(argv)}" + (f"\n{tail.rstrip()}" if tail.strip() else ""),
            next_step=next_step,
            # A shell's code for a program that is not there.
            doctor="machine.programs" if code == 127 else "",
        )
        self.argv = argv
        self.code = code
        self.tail = tail


class ExtraMissingError(SpikecrateError):
    """An optional dependency is needed for this."""

    exit_code = 61


class DevContainerError(SpikecrateError):
    """The development container cannot be made, started or entered."""

    exit_code = 62
    doctor = "dev.container"


class HostPathError(SpikecrateError):
    """A container is to see a folder that the machine of the Docker daemon does not have under that path."""

    exit_code = 63
    next_step = (
        "put it below the project or the store, or make the container anew: invoke dev --rebuild --mount DIR"
    )
    doctor = "store.sibling"


class StoppedError(SpikecrateError):
    """Stopped by a signal: 130 for Ctrl-C (SIGINT), 143 for SIGTERM."""

    exit_code = 130

    def __init__(self, message: str = "stopped", *, signal: int = 2) -> None:
        super().__init__(message)
        self.signal = signal

    @property
    def code(self) -> int:
        """Exit code by the shell's convention, 128 + signal number."""
        return 128 + self.signal
