"""Apptainer or SingularityCE: found, or the reason why not.

That the command exists says little: the machine may forbid user namespaces, or FUSE, to this user. What the
program says then is turned into one of our errors here, each with the next step.

spython runs and reads `--version` and `inspect`. Its client is not used: it calls `singularity` whatever the
program's name, drops the environment while it streams, knows no time limit and no `--containall`.
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
OWN_WORDS: Final = re.compile(r"^(?:\x1b\[\d+m)?(?:FATAL|ERROR)\s*:\s*(?:\x1b\[0m)?\s*")
FAILED: Final = 255
"""Exit code of the program where it fails itself, before or after what it runs."""

FUSE: Final = Path("/dev/fuse")
MENDS: Final = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "15000"),
)
"""Settings of the kernel, the value that forbids user namespaces, and one that does not."""


@dataclass(frozen=True)
class Program:
    """The program that is installed here.

    Attributes
    ----------
    path : str
        Absolute path.
    engine : str
        What it says it is: `apptainer`, `singularity-ce`, …
    version : str
        As it says.
    """

    path: str
    engine: str
    version: str


def find_program() -> Program:
    """Find Apptainer or SingularityCE on PATH, under either name.

    Raises
    ------
    EngineMissingError
        Also where the name belongs to another program: Debian has a game called singularity.
    EnginePermissionError
        Where it does not even start for this user.
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
        if (said := VERSION.match(text)) is not None:
            return Program(path, said[1], said[2])
    message = "neither apptainer nor singularity is installed here"
    raise EngineMissingError(
        message,
        next_step="install Apptainer (on a cluster: module load apptainer), or run with --runtime host",
        doctor="apptainer.installed",
    )


def read_labels(program: Program, image: Path) -> dict[str, str]:
    """Read the labels of a SIF.

    Raises
    ------
    ImageInvalidError
        Where the program cannot read the file.
    """
    from spython.main.inspect import parse_labels  # type: ignore[import-untyped]
    from spython.utils import run_command

    answer = run_command([program.path, "inspect", "--json", os.fspath(image)], quiet=True)
    try:
        if answer["return_code"] != 0:
            raise ValueError  # noqa: TRY301
        found = parse_labels(json.loads(answer["message"][0])["data"])["attributes"]["labels"]
    except (ValueError, KeyError, IndexError, TypeError):
        said = "".join(answer["message"]).strip()
        message = f"{program.engine} cannot read {image}: {said}"
        raise ImageInvalidError(message, next_step="make it again: spikecrate convert") from None
    return {str(name): str(value) for name, value in found.items()}


def lacks_capabilities() -> bool:
    """Say whether this is root without all of root's capabilities, who can mount only in a user namespace."""
    if os.geteuid() != 0:
        return False
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff"))
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="utf-8"))
    return effective != (1 << last + 1) - 1


def require_fuse(program: Program, device: Path = FUSE) -> None:
    """Make sure that a user can mount a SIF: through FUSE, or by a program that is installed setuid.

    Raises
    ------
    EnginePermissionError, EngineError
    """
    if os.access(device, os.R_OK | os.W_OK) or "_SUID_INSTALL=1" in capture([program.path, "buildcfg"]):
        return
    reason = "Permission denied" if device.exists() else "No such file or directory"
    raise refusal(f"FATAL: {FUSE}: {reason}")  # noqa: EM102


def read_setting(name: str) -> str | None:
    """Read a setting of the kernel under /proc/sys; None where this kernel does not have it."""
    try:
        return Path("/proc/sys", name).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def failed_itself(code: int, head: str) -> bool:
    """Tell a failure of the program from one of what it ran, by the exit code and the first of what was printed."""
    return code == FAILED and any(OWN_WORDS.match(line) for line in head.splitlines())


def refusal(said: str, setting: Callable[[str], str | None] = read_setting) -> SpikecrateError:
    """Turn what the program said when it failed into an error with the next step.

    Parameters
    ----------
    said : str
        Its output.
    setting : callable
        Gives a setting of the kernel.

    Returns
    -------
    EnginePermissionError, EngineError or ImageInvalidError
    """
    lines = [line for line in said.splitlines() if OWN_WORDS.match(line)] or said.splitlines()
    last = OWN_WORDS.sub("", lines[-1]) if lines else "it said nothing"
    text = said.lower()
    if any(sign in text for sign in ("user namespace", "setgroups", "uid_map")):
        wrong = [(name, value) for name, bad, value in MENDS if setting(name) == bad]
        name, value = wrong[0] if wrong else ("", "")
        return EnginePermissionError(
            f"user namespaces are forbidden on this machine, and Apptainer needs them ({last})",
            next_step=f"sudo sysctl -w {name.replace('/', '.')}={value}"
            + (", or install Apptainer's own package, which AppArmor lets pass" if "apparmor" in name else "")
            if wrong
            else "ask the administrator to allow them or to install apptainer-suid; or run with --runtime host",
            doctor="apptainer.runs",
        )
    if str(FUSE) in text:
        return EnginePermissionError(
            f"Apptainer may not mount a SIF: this user cannot open /dev/fuse ({last})",
            next_step="sudo chmod 666 /dev/fuse (in a container: start it with --device /dev/fuse)",
            doctor="apptainer.fuse",
        )
    if "unknown userid" in text or "user account information" in text:
        return EnginePermissionError(
            f"Apptainer runs only as a user that the machine knows; {os.geteuid()} has no name here ({last})",
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
            f"the SIF is of another kind of processor ({last})", next_step="convert the image on this machine"
        )
    return EngineError(
        f"apptainer: {last}",
        next_step="its own words say what it wants; apptainer --debug more",
        doctor="apptainer.runs",
    )
