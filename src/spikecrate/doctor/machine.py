"""The machine itself: processor, kernel, clock, programs, SELinux, temporary folder, Python."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from spikecrate._util.file_systems import FileSystem, file_system
from spikecrate.doctor import space
from spikecrate.doctor.check import Checks, Facts, Verdict, fail, ok, warn
from spikecrate.images.staging import SOURCE_DATE_EPOCH
from spikecrate_harness.pinning import KERNEL_NEEDS
from spikecrate_harness.processor import instructions

DAY_S: Final = 86_400
PROGRAMS: Final = {"git": "git", "setpriv": "util-linux"}
"""Programs that spikecrate calls on every machine, and their Debian packages."""
ENFORCING: Final = Path("/sys/fs/selinux/enforce")
TOOLS: Final = ("invoke", "uv", "nox")
CHECKS: Final = Checks()


@CHECKS.add(
    "machine.processor",
    "the instructions that arithmetic is pinned to",
    lambda _: (platform.machine(), instructions()),
)
def judge_processor(facts: tuple[str, frozenset[str]]) -> Verdict:
    """Judge whether arithmetic can be pinned on this processor.

    Parameters
    ----------
    facts : tuple
        The architecture, and the instructions it has.
    """
    kind, available = facts
    if kind not in KERNEL_NEEDS and kind != "aarch64":
        return warn(f"arithmetic is not pinned on {kind}", "sort on a machine with x86_64 or aarch64")
    needed = KERNEL_NEEDS.get(kind, frozenset())
    missing = sorted(needed - available)
    if missing:
        message = f"{kind} lacks {', '.join(missing)}: results may differ in their bytes from other machines"
        fix = "sort on a processor made since 2015 (in a virtual machine, pass the host's processor through)"
        return warn(message, fix)
    return ok(f"{kind} with {', '.join(sorted(needed))}" if needed else kind)


@CHECKS.add(
    "machine.kernel", "Linux; WSL 2, not WSL 1", lambda _: f"{os.uname().sysname} {os.uname().release}"
)
def judge_kernel(kernel: str) -> Verdict:
    """Judge whether the kernel supports containers; Windows' does since WSL 2.

    Parameters
    ----------
    kernel : str
        Name and release of the kernel.
    """
    text = kernel.lower()
    if not kernel.startswith("Linux "):
        return fail(f"{kernel}: spikecrate needs Linux", "run spikecrate in a Linux virtual machine")
    if "microsoft" in text and "wsl2" not in text and "microsoft-standard" not in text:
        return fail(f"{kernel}: WSL 1 has no containers", "in Windows: wsl --set-version NAME 2")
    if "microsoft" in text:
        return ok(f"{kernel}: WSL 2; copy recordings from /mnt to the Linux file system, which is faster")
    return ok(kernel)


@CHECKS.add(
    "machine.clock", "the clock is not in the past", lambda _: (time.time(), Path(__file__).stat().st_mtime)
)
def judge_clock(facts: tuple[float, float]) -> Verdict:
    """Judge the clock: it must be later than the release and the installation of spikecrate.

    Parameters
    ----------
    facts : tuple
        The time, and that of spikecrate's installation, in seconds since 1970.
    """
    now, installed = facts
    time_text = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    fix = "sudo timedatectl set-ntp true"
    if now < SOURCE_DATE_EPOCH:
        return fail(f"the clock shows {time_text}, before spikecrate was written", fix)
    if now < installed - DAY_S:
        return warn(f"the clock shows {time_text}, before this spikecrate was installed", fix)
    return ok(time_text)


@CHECKS.add(
    "machine.programs",
    "git and setpriv are installed",
    lambda _: [name for name in PROGRAMS if shutil.which(name) is None],
)
def judge_programs(missing: list[str]) -> Verdict:
    """Judge whether the programs that spikecrate calls are installed.

    Parameters
    ----------
    missing : list
        The programs that are not on PATH.
    """
    if missing:
        packages = " ".join(sorted({PROGRAMS[name] for name in missing}))
        return warn(f"not on PATH: {', '.join(missing)}", f"sudo apt-get install {packages}")
    return ok(", ".join(PROGRAMS))


def look_selinux(_: Facts) -> bool:
    """Whether SELinux enforces its rules."""
    try:
        return ENFORCING.read_text(encoding="utf-8").strip() == "1"
    except OSError:
        return False


@CHECKS.add("machine.selinux", "SELinux does not block mounted folders", look_selinux)
def judge_selinux(enforcing: bool) -> Verdict:
    """Judge whether SELinux may block folders that are mounted into containers.

    Parameters
    ----------
    enforcing : bool
        As `look_selinux` returns it.
    """
    if enforcing:
        message = "SELinux is enforcing: containers cannot read folders that are not labelled for them"
        fix = "sudo chcon -R -t container_file_t FOLDER, for the store and the recordings"
        return warn(message, fix)
    return ok("not enforcing")


def look_temporary(_: Facts) -> tuple[space.Space, FileSystem]:
    """Return the space and the file system of the temporary folder."""
    folder = Path(tempfile.gettempdir())
    return space.look(folder), file_system(folder.resolve())


@CHECKS.add("machine.temp", "the temporary folder: space, inodes, not noexec", look_temporary)
def judge_temporary(facts: tuple[space.Space, FileSystem]) -> Verdict:
    """Judge the temporary folder: its space, and whether programs run from it.

    Parameters
    ----------
    facts : tuple
        As `look_temporary` returns it.
    """
    free, system = facts
    if "noexec" in system.options:
        fix = "export TMPDIR=FOLDER, on a disk without noexec"
        return warn(f"{free.folder} is mounted noexec: packages cannot be built there", fix)
    verdict = space.judge(free, "export TMPDIR=FOLDER, on a larger disk")
    if verdict.state == "fail" and free.free_bytes > space.LEAST_BYTES // 10:
        # It holds logs and sockets only; large files are in the store.
        return warn(verdict.message, verdict.fix)
    return verdict


def look_tools(_: Facts) -> dict[str, str]:
    """Return the versions of the installed tools."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@CHECKS.add("python.tools", "versions of Python, invoke, uv and nox", look_tools)
def judge_tools(versions: dict[str, str]) -> Verdict:
    """Judge whether the tools are installed; only spikecrate's developers need nox.

    Parameters
    ----------
    versions : dict
        As `look_tools` returns it.
    """
    tools = [f"{name} {number}" for name, number in versions.items()]
    message = ", ".join([f"Python {platform.python_version()} ({sys.executable})", *tools])
    if "uv" not in versions:
        return fail(f"{message}; uv is missing, which makes the environments of sorters", "pip install uv")
    return ok(message)
