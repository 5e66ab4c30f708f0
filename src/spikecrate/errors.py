"""Every error that spikecrate raises, with its exit code and the next step.

A message describes what is wrong and where: the file, the field, the value. `next_step` is one action that resolves it.
The command line prints both and exits with `exit_code`; it shows a traceback only with `--debug`. Each class has its own
code, so that a script can tell a full disk from a wrong parameter.

The codes: 1 a bug, 2 usage, 3 the file of a study, 10–19 the recording, 20–29 the sorter and its parameters, 30–39
engines and images, 40–49 the job, 50–59 the store, 60–69 this machine, 128+n a stop by signal n. The first line of each
docstring is its description in docs/troubleshoot.md; `python ci/docs_tables.py` writes them there.
"""

from __future__ import annotations

import shlex
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
        Facts for `--json` (a file, a field, a value), in JSON types.
    doctor : str, optional
        The check of `spikecrate doctor` that explains a fault of the machine; by default that of the class.
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
        """Return the error as `--json` prints it."""
        return {
            "error": type(self).__name__,
            "message": str(self),
            "next_step": self.next_step,
            "exit_code": self.exit_code,
            **({"doctor": f"spikecrate doctor --check {self.doctor}"} if self.doctor else {}),
            **({"details": self.details} if self.details else {}),
        }


class UsageError(SpikecrateError):
    """A command line or call is not valid."""

    exit_code = 2


class StudyInvalidError(SpikecrateError):
    """The file of a study is not valid; each error has its line."""

    exit_code = 3


# The recording ------------------------------------------------------------------------------------


class RecordingError(SpikecrateError):
    """Base of the errors of a recording."""


class RecordingNotFoundError(RecordingError):
    """The path does not exist or is not a recording."""

    exit_code = 10


class RecordingFormatError(RecordingError):
    """A file of the recording has a missing, malformed or unsupported field."""

    exit_code = 11


class RecordingTruncatedError(RecordingError):
    """The sample file is shorter than its header states."""

    exit_code = 12


class ProbeError(RecordingError):
    """The channel locations do not fit the recording."""

    exit_code = 13


class RecordingValueError(RecordingError):
    """The samples contain NaN or infinity."""

    exit_code = 14


class RecordingEmptyError(RecordingError):
    """The recording has no samples or no channels."""

    exit_code = 15


class RecordingAmbiguousError(RecordingError):
    """The folder contains several recordings, and the path names none of them."""

    exit_code = 16


class RecordingLinkError(RecordingError):
    """A symbolic link in the recording is broken or does not lead to a file."""

    exit_code = 17


class RecordingChangedError(RecordingError):
    """The recording changed while it was read or sorted, or after it was sorted."""

    exit_code = 18


class RecordingPermissionError(RecordingError):
    """The current user cannot read the recording or one of its files."""

    exit_code = 19


# The sorter and its parameters --------------------------------------------------------------------


class SorterNotFoundError(SpikecrateError):
    """The catalogue has no sorter of that name."""

    exit_code = 20
    next_step = "run spikecrate sorters for the catalogue"


class SorterInvalidError(SpikecrateError):
    """A sorter's folder is incomplete, or its sorter.json is not valid."""

    exit_code = 21


class ParameterUnknownError(SpikecrateError):
    """The sorter has no parameter of that name."""

    exit_code = 22


class ParameterValueError(SpikecrateError):
    """The value of a parameter has the wrong type or is out of range."""

    exit_code = 23


class RecordingTooSmallError(SpikecrateError):
    """The recording has too few channels or is too short for the sorter."""

    exit_code = 24


class CurationError(SpikecrateError):
    """A curation or a rule is not valid, or does not fit the sorting."""

    exit_code = 25


# Engines and images -------------------------------------------------------------------------------


class EngineMissingError(SpikecrateError):
    """The requested container engine is not installed."""

    exit_code = 30
    doctor = "docker.installed"


class EngineDownError(SpikecrateError):
    """The container engine is installed but does not answer."""

    exit_code = 31
    doctor = "docker.daemon"


class EnginePermissionError(SpikecrateError):
    """The current user has no permission to use the container engine."""

    exit_code = 32
    doctor = "docker.permission"


class EngineError(SpikecrateError):
    """The container engine refused a request or failed."""

    exit_code = 33
    doctor = "docker.daemon"


class ImageBuildError(SpikecrateError):
    """An image could not be built; the message ends with the last lines of the build log."""

    exit_code = 34


class BaseImageMissingError(SpikecrateError):
    """The Debian base image is not on this machine and cannot be pulled."""

    exit_code = 35
    doctor = "images.base"


class ImageNotReproducibleError(SpikecrateError):
    """Two builds of the same recipe differ."""

    exit_code = 36


class EnvironmentBuildError(SpikecrateError):
    """The virtual environment of the sorter could not be built for the host runtime."""

    exit_code = 37
    doctor = "runtime.host"


class ImageInvalidError(SpikecrateError):
    """The archive or SIF of an image is damaged, has another recipe, or is for another processor architecture."""

    exit_code = 38


class BundleError(SpikecrateError):
    """A bundle is damaged, incomplete, or made for another machine or version of spikecrate."""

    exit_code = 39


# The job ------------------------------------------------------------------------------------------


class JobFailedError(SpikecrateError):
    """The sorter exited with a code other than 0; the message has its last lines and the path of its log."""

    exit_code = 40


class JobMemoryError(SpikecrateError):
    """The sorter exceeded its memory limit."""

    exit_code = 41


class JobTimeoutError(SpikecrateError):
    """The sorter exceeded its time limit."""

    exit_code = 42


class ResultInvalidError(SpikecrateError):
    """The sorter exited with 0, but its output is not a valid sorting."""

    exit_code = 43


class JobNotFoundError(SpikecrateError):
    """The store has no job whose key starts with these digits."""

    exit_code = 44
    next_step = "run spikecrate job.list for the jobs in the store"


class GpuMissingError(SpikecrateError):
    """A GPU is required or requested, and this machine has none that can be used."""

    exit_code = 45
    doctor = "gpu.driver"


class ResultDiffersError(SpikecrateError):
    """The job ran again and its result has other bytes."""

    exit_code = 46


class RecipeGoneError(SpikecrateError):
    """The sorter has changed since this job ran, and the old version is not available."""

    exit_code = 47


class ResultCorruptError(SpikecrateError):
    """A result folder does not match its seal: a file is missing, changed or unreadable."""

    exit_code = 48


class ImageMissingError(SpikecrateError):
    """The prebuilt image of the sorter is not on this machine and cannot be pulled."""

    exit_code = 49
    doctor = "images.sorters"


# The store ----------------------------------------------------------------------------------------


class StoreError(SpikecrateError):
    """The store cannot be used: it belongs to another user, is read-only, or is of a newer spikecrate."""

    exit_code = 50
    doctor = "store.place"


class DiskFullError(SpikecrateError):
    """The disk that spikecrate or the sorter writes to is full."""

    exit_code = 51
    doctor = "store.space"


class OutputError(SpikecrateError):
    """The output could not be written to the requested path."""

    exit_code = 52


class StoreCorruptError(SpikecrateError):
    """Something in the store is corrupt; it was set aside, and the message names it."""

    exit_code = 53


# This machine -------------------------------------------------------------------------------------


class CommandError(SpikecrateError):
    """A command that spikecrate ran exited with a code other than 0.

    Parameters
    ----------
    argv : list of str
        The command.
    code : int
        Its exit code; negative for a signal.
    tail : str
        The last lines of its output.
    """

    exit_code = 60

    def __init__(self, argv: list[str], code: int, tail: str, *, next_step: str = "") -> None:
        super().__init__(
            f"command ended with {code}: {shlex.join(argv)}" + (f"\n{tail.rstrip()}" if tail.strip() else ""),
            next_step=next_step,
            # 127 is the shell's exit code for a program that was not found.
            doctor="machine.programs" if code == 127 else "",
        )
        self.argv, self.code, self.tail = argv, code, tail


class DevContainerError(SpikecrateError):
    """The development container cannot be built, started or entered."""

    exit_code = 62
    doctor = "dev.container"


class HostPathError(SpikecrateError):
    """The Docker host has no such path, so it cannot be mounted."""

    exit_code = 63
    next_step = "move it below the project or the store, or mount it: invoke dev --rebuild --mount DIR"
    doctor = "store.sibling"


class StoppedError(SpikecrateError):
    """A signal stopped it: 130 for Ctrl-C (SIGINT), 143 for SIGTERM."""

    exit_code = 130

    def __init__(self, message: str = "stopped", *, signal: int = 2) -> None:
        super().__init__(message)
        self.signal = signal

    @property
    def code(self) -> int:
        """The exit code, 128 + signal number as shells have it."""
        return 128 + self.signal
