"""The machine itself: processor, kernel, clock, programs, temporary folder."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.doctor import space
from spikecrate.doctor.check import Check, fail, ok, warn
from spikecrate.images.buildx import SOURCE_DATE_EPOCH
from spikecrate_harness.pinning import KERNEL_NEEDS
from spikecrate_harness.processor import instructions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict
    from spikecrate.doctor.space import FileSystem, Space

DAY_S: Final = 86_400
PROGRAMS: Final = {"git": "git", "setpriv": "util-linux"}
"""Programs that spikecrate calls on every machine, and Debian's packages of them."""
ENFORCING: Final = Path("/sys/fs/selinux/enforce")


def look_processor(_: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """See the kind of processor and its instruction sets."""
    return platform.machine(), instructions()


def judge_processor(seen: tuple[str, frozenset[str]]) -> Verdict:
    """Judge whether arithmetic can be pinned on this processor."""
    kind, there = seen
    if kind not in KERNEL_NEEDS and kind != "aarch64":
        return warn(f"{kind}: arithmetic is not pinned on it", "sort on a machine with x86_64 or aarch64")
    missing = sorted(KERNEL_NEEDS.get(kind, frozenset()) - there)
    if missing:
        return warn(
            f"{kind} without {', '.join(missing)}: results may have other bytes than elsewhere",
            "sort on a processor made since 2015 (in a virtual machine: give it the host's processor)",
        )
    needed = ", ".join(sorted(KERNEL_NEEDS.get(kind, ())))
    return ok(f"{kind}" + (f" with {needed}" if needed else ""))


def look_kernel(_: Mapping[str, Any]) -> str:
    """See the kernel's name and release."""
    return f"{os.uname().sysname} {os.uname().release}"


def judge_kernel(seen: str) -> Verdict:
    """Judge whether the kernel has containers; Windows' Linux has them since its second version."""
    text = seen.lower()
    if not seen.startswith("Linux "):
        return fail(f"{seen}: spikecrate runs on Linux", "run it in a Linux virtual machine")
    if "microsoft" in text and "wsl2" not in text and "microsoft-standard" not in text:
        return fail(f"{seen}: the first WSL has no containers", "in Windows: wsl --set-version NAME 2")
    if "microsoft" in text:
        return ok(f"{seen}: WSL 2; recordings under /mnt are read slowly, copy them to Linux's file system")
    return ok(seen)


def look_clock(_: Mapping[str, Any]) -> tuple[float, float]:
    """See the time, and when this file was written."""
    return time.time(), Path(__file__).stat().st_mtime


def judge_clock(seen: tuple[float, float]) -> Verdict:
    """Judge whether the time can be right: it is later than what is known to be past."""
    now, written = seen
    said = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    mend = "sudo timedatectl set-ntp true"
    if now < SOURCE_DATE_EPOCH:
        return fail(f"the clock says {said}, before spikecrate was written", mend)
    if now < written - DAY_S:
        return warn(f"the clock says {said}, before this spikecrate was installed", mend)
    return ok(said)


def look_programs(_: Mapping[str, Any]) -> list[str]:
    """See which programs are missing."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def judge_programs(missing: list[str]) -> Verdict:
    """Judge whether the programs are there that every machine should have."""
    if missing:
        packages = " ".join(sorted({PROGRAMS[name] for name in missing}))
        return warn(f"not on PATH: {', '.join(missing)}", f"sudo apt-get install {packages}")
    return ok(", ".join(PROGRAMS))


def look_selinux(_: Mapping[str, Any]) -> bool:
    """See whether SELinux enforces its rules."""
    try:
        return ENFORCING.read_text(encoding="utf-8").strip() == "1"
    except OSError:
        return False


def judge_selinux(enforcing: bool) -> Verdict:
    """Judge whether SELinux may keep containers from folders that are mounted into them."""
    if enforcing:
        return warn(
            "SELinux is enforcing: a container may not read a folder that is not labelled for it",
            "sudo chcon -R -t container_file_t FOLDER, for the store and the recordings",
        )
    return ok("not enforcing")


def look_temporary(_: Mapping[str, Any]) -> tuple[Space, FileSystem]:
    """See the temporary folder."""
    folder = Path(tempfile.gettempdir())
    return space.look(folder), space.file_system(folder)


def judge_temporary(seen: tuple[Space, FileSystem]) -> Verdict:
    """Judge the temporary folder: room, and whether a program can be run from it."""
    room, system = seen
    mend = "export TMPDIR=FOLDER, on a larger disk"
    if "noexec" in system.options:
        return warn(
            f"{room.folder} is mounted noexec: packages cannot be built there",
            "export TMPDIR=FOLDER, on a disk without noexec",
        )
    verdict = space.judge(room, mend)
    if verdict.state == "fail" and room.free_bytes > space.LEAST_BYTES // 10:
        # Logs and sockets lie there; what is large lies in the store.
        return warn(verdict.seen, mend)
    return verdict


CHECKS: Final = (
    Check(
        name="machine.processor",
        about="the instructions that arithmetic is pinned to",
        look=look_processor,
        judge=judge_processor,
    ),
    Check(name="machine.kernel", about="Linux; WSL 2, not WSL 1", look=look_kernel, judge=judge_kernel),
    Check(name="machine.clock", about="the time can be right", look=look_clock, judge=judge_clock),
    Check(
        name="machine.programs",
        about="git and setpriv are there",
        look=look_programs,
        judge=judge_programs,
    ),
    Check(
        name="machine.selinux",
        about="SELinux keeps containers from no folder",
        look=look_selinux,
        judge=judge_selinux,
    ),
    Check(
        name="machine.temp",
        about="the temporary folder: space, files, not noexec",
        look=look_temporary,
        judge=judge_temporary,
    ),
)
