"""Find Apptainer or SingularityCE, and turn its error messages into errors with a next step.

An installed command can still fail: the machine may forbid user namespaces, or FUSE, to this user.

spython runs `--version` and `inspect` and parses their output. Its client is not used: it always calls
`singularity`, drops the environment while it streams, and has neither a time limit nor `--containall`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import capture
from spikecrate.errors import (
    EngineError,
    EngineMissingError,
    EnginePermissionError,
    ImageInvalidError,
    SpikecrateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES: Final = ("apptainer", "singularity")
VERSION: Final = re.compile(r"^(apptainer|singularity(?:-ce|-pro)?) version (\S+)")
OWN_LINE: Final = re.compile(r"^(?:\x1b\[\d+m)?(?:FATAL|ERROR)\s*:\s*(?:\x1b\[0m)?\s*")
FAILED: Final = 255
"""Exit code of Apptainer when it fails itself, before or after the command that it runs."""

FUSE: Final = Path("/dev/fuse")
NAMESPACE_SETTINGS: Final = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "15000"),
)
"""Kernel settings: the name, the value that forbids user namespaces, and a value that allows them."""


@dataclass(frozen=True)
class Program:
    """The installed program.

    Attributes
    ----------
    path : str
        Absolute path.
    engine : str
        Name from `--version`: `apptainer`, `singularity-ce`, …
    version : str
        Version from `--version`.
    """

    path: str
    engine: str
    version: str


def find_program() -> Program:
    """Find Apptainer or SingularityCE on PATH, under either name.

    Raises
    ------
    EngineMissingError
        No such program is on PATH. A name may belong to another program: Debian has a game called singularity.
    EnginePermissionError
        The program does not start for this user.
    """
    from spython.utils import run_command  # type: ignore[import-untyped]

    for name in NAMES:
        path = shutil.which(name)
        if path is None:
            continue
        answer = run_command([path, "--version"], quiet=True)
        text = "".join(answer["message"])
        if failed_itself(answer["return_code"], text):
            raise refusal(text)
        if (output := VERSION.match(text)) is not None:
            return Program(path, output[1], output[2])
    message = "neither apptainer nor singularity is installed here"
    raise EngineMissingError(
        message,
        next_step="install Apptainer (on a cluster: module load apptainer), or run with --runtime host",
        doctor="apptainer.installed",
    )


def read_labels(program: Program, image: Path) -> dict[str, str]:
    """Read the labels of a SIF.

    Parameters
    ----------
    program : Program
        The installed program.
    image : Path
        The SIF.

    Returns
    -------
    dict
        Name to value.

    Raises
    ------
    ImageInvalidError
        The program cannot read the file.
    """
    from spython.main.inspect import parse_labels  # type: ignore[import-untyped]
    from spython.utils import run_command

    answer = run_command([program.path, "inspect", "--json", os.fspath(image)], quiet=True)
    try:
        if answer["return_code"] != 0:
            raise ValueError  # noqa: TRY301
        found = parse_labels(json.loads(answer["message"][0])["data"])["attributes"]["labels"]
    except (ValueError, KeyError, IndexError, TypeError):
        output = "".join(answer["message"]).strip()
        message = f"{program.engine} cannot read {image}: {output}"
        raise ImageInvalidError(message, next_step="make it again: spikecrate convert") from None
    return {str(name): str(value) for name, value in found.items()}


def lacks_capabilities() -> bool:
    """Return whether this process is root without all capabilities: it can mount only in a user namespace."""
    if os.geteuid() != 0:
        return False
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff"))
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="utf-8"))
    return effective != (1 << last + 1) - 1


def require_fuse(program: Program, device: Path = FUSE) -> None:
    """Check that this user can mount a SIF: through FUSE, or because the program is installed setuid.

    Parameters
    ----------
    program : Program
        The installed program.
    device : Path, optional
        Device file of FUSE.

    Raises
    ------
    EnginePermissionError
        This user cannot open the device, and the program is not installed setuid.
    """
    if os.access(device, os.R_OK | os.W_OK) or "_SUID_INSTALL=1" in capture([program.path, "buildcfg"]):
        return
    reason = "Permission denied" if device.exists() else "No such file or directory"
    raise refusal(f"FATAL: {FUSE}: {reason}")  # noqa: EM102


def read_setting(name: str) -> str | None:
    """Return a kernel setting under /proc/sys.

    Parameters
    ----------
    name : str
        Path below /proc/sys.

    Returns
    -------
    str or None
        None where this kernel lacks the setting.
    """
    try:
        return Path("/proc/sys", name).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def failed_itself(code: int, head: str) -> bool:
    """Return whether Apptainer failed, rather than the command that it ran.

    Parameters
    ----------
    code : int
        Exit code.
    head : str
        The first output of the program.

    Returns
    -------
    bool
    """
    return code == FAILED and any(OWN_LINE.match(line) for line in head.splitlines())


def refusal(output: str, setting: Callable[[str], str | None] = read_setting) -> SpikecrateError:
    """Return the error, with its next step, for the output of a program that failed itself.

    Parameters
    ----------
    output : str
        Output of the program.
    setting : callable
        Returns a kernel setting by its name.

    Returns
    -------
    EnginePermissionError, EngineError or ImageInvalidError
    """
    lines = [line for line in output.splitlines() if OWN_LINE.match(line)] or output.splitlines()
    last = OWN_LINE.sub("", lines[-1]) if lines else "it printed nothing"
    text = output.lower()
    if any(sign in text for sign in ("user namespace", "setgroups", "uid_map")):
        wrong = [(name, value) for name, bad, value in NAMESPACE_SETTINGS if setting(name) == bad]
        name, value = wrong[0] if wrong else ("", "")
        return EnginePermissionError(
            f"user namespaces are forbidden on this machine, and Apptainer needs them ({last})",
            next_step=f"sudo sysctl -w {name.replace('/', '.')}={value}"
            + (", or install the official package, which AppArmor permits" if "apparmor" in name else "")
            if wrong
            else "ask the administrator to allow them or to install apptainer-suid; or run with --runtime host",
            doctor="apptainer.runs",
        )
    if str(FUSE) in text:
        return EnginePermissionError(
            f"Apptainer cannot mount a SIF: this user cannot open /dev/fuse ({last})",
            next_step="sudo chmod 666 /dev/fuse (in a container: start it with --device /dev/fuse)",
            doctor="apptainer.fuse",
        )
    if "unknown userid" in text or "user account information" in text:
        return EnginePermissionError(
            f"Apptainer needs a user with an account; uid {os.geteuid()} has none on this machine ({last})",
            next_step=f"sudo useradd --uid {os.geteuid()} NAME",
            doctor="apptainer.runs",
        )
    if "squashfuse" in text and "not found" in text:
        return EngineError(
            f"Apptainer cannot mount a SIF without squashfuse ({last})",
            next_step="sudo apt-get install squashfuse",
            doctor="apptainer.tools",
        )
    if "architecture" in text:
        return ImageInvalidError(
            f"the SIF was built for another processor architecture ({last})",
            next_step="convert the image on this machine",
        )
    return EngineError(
        f"apptainer: {last}",
        next_step="run the command again with apptainer --debug for details",
        doctor="apptainer.runs",
    )
