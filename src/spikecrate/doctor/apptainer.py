"""Apptainer or SingularityCE: installed, allowed by the kernel, able to mount and make a SIF; it really runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.process import capture, run
from spikecrate.doctor import space
from spikecrate.doctor.check import Check, fail, ok, warn
from spikecrate.doctor.docker import numbers
from spikecrate.engines import apptainer
from spikecrate.errors import CommandError, EngineMissingError, SpikecrateError
from spikecrate.images.sif_build import scratch_place
from spikecrate.runtimes.apptainer import environment, probe_argv
from spikecrate.store.place import Store, place_of
from spikecrate_dev.session import is_inside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict
    from spikecrate.doctor.space import Space
    from spikecrate.engines.apptainer import Program

PROBE_S: Final = 20
REPRODUCIBLE: Final = (1, 5)
SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, kw_only=True)
class Namespaces:
    """What the kernel says of user namespaces, and who asks.

    Attributes
    ----------
    settings : dict
        The settings that can forbid them; None for one that this kernel does not have.
    setuid : bool
        Whether the program is installed setuid, and needs none.
    """

    settings: dict[str, str | None]
    setuid: bool


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of trying something.

    Attributes
    ----------
    error : SpikecrateError or None
        Why it failed.
    inside : bool
        Whether that was in the development container.
    """

    error: SpikecrateError | None = None
    inside: bool = False


def look_installed(_: Mapping[str, Any]) -> Program | SpikecrateError:
    """See which program there is."""
    try:
        return apptainer.find_program()
    except SpikecrateError as error:
        return error


def judge_installed(seen: Program | SpikecrateError) -> Verdict:
    """Judge whether there is one that starts."""
    if isinstance(seen, EngineMissingError):
        return warn(f"{seen}: --runtime docker or host needs none", seen.next_step, ends=True)
    if isinstance(seen, SpikecrateError):
        return fail(str(seen), seen.next_step)
    said = f"{seen.engine} {seen.version}, {seen.path}"
    if seen.engine == "apptainer" and numbers(seen.version) >= REPRODUCIBLE:
        return ok(f"{said}; makes the same SIF twice")
    return ok(said)


def look_namespaces(seen: Mapping[str, Any]) -> Namespaces:
    """See the kernel's settings, and how the program is installed."""
    return Namespaces(
        settings={name: apptainer.read_setting(name) for name, _, _ in apptainer.MENDS},
        setuid="_SUID_INSTALL=1" in _configuration(seen["apptainer.installed"]),
    )


def judge_namespaces(seen: Namespaces) -> Verdict:
    """Judge whether a user may have a namespace; root may, whatever these say."""
    if seen.setuid:
        return ok("installed setuid: no user namespace is needed")
    for name, bad, good in apptainer.MENDS:
        if seen.settings[name] == bad:
            mend = f"sudo sysctl -w {name.replace('/', '.')}={good}"
            # With AppArmor's, a program with a profile of its own is let pass: what counts is whether it runs.
            judge = warn if "apparmor" in name else fail
            return judge(f"{name} is {bad}: it forbids user namespaces", mend)
    said = [f"{name.partition('/')[2]}={value}" for name, value in seen.settings.items() if value is not None]
    return ok(f"allowed ({', '.join(said)})" if said else "allowed")


def look_fuse(seen: Mapping[str, Any]) -> Trial:
    """See whether a user can mount a SIF."""
    if os.geteuid() == 0 and not apptainer.lacks_capabilities():
        return Trial()
    try:
        apptainer.require_fuse(seen["apptainer.installed"])
    except SpikecrateError as error:
        return Trial(error=error, inside=is_inside(os.environ))
    return Trial()


def judge_fuse(seen: Trial) -> Verdict:
    """Judge whether a SIF can be mounted."""
    return _judged(seen, "this user can mount a SIF")


def look_tools(seen: Mapping[str, Any]) -> dict[str, bool]:
    """See whether the programs are there that make and mount a SIF."""
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    configured = dict(
        line.partition("=")[::2] for line in _configuration(seen["apptainer.installed"]).splitlines()
    )
    own = Path(configured.get("LIBEXECDIR", "/usr/libexec")) / "apptainer" / "bin"
    return {
        name: shutil.which(name, path=f"{path}:{own}") is not None
        or shutil.which(f"{name}_ll", path=f"{path}:{own}") is not None
        for name in ("mksquashfs", "squashfuse")
    }


def judge_tools(seen: dict[str, bool]) -> Verdict:
    """Judge whether SIFs can be made, and mounted by a user."""
    if not seen["mksquashfs"]:
        return warn("mksquashfs is missing: no SIF can be made here", "sudo apt-get install squashfs-tools")
    if not seen["squashfuse"]:
        return warn("squashfuse is missing: a user cannot mount a SIF", "sudo apt-get install squashfuse")
    return ok("mksquashfs, squashfuse")


def look_runs(seen: Mapping[str, Any]) -> Trial:
    """Run something in an empty container."""
    program: Program = seen["apptainer.installed"]
    with tempfile.TemporaryDirectory(prefix="spikecrate-doctor-") as name:
        folder = Path(name)
        done = run(
            probe_argv(program.path, folder, in_user_namespace=apptainer.lacks_capabilities()),
            env=environment(folder),
            timeout=PROBE_S,
            check=False,
        )
    if done.timed_out or done.code != 0:
        said = done.output or f"FATAL: no answer within {PROBE_S} s"
        return Trial(error=apptainer.refusal(said), inside=is_inside(os.environ))
    return Trial()


def judge_runs(seen: Trial) -> Verdict:
    """Judge whether a container really runs."""
    return _judged(seen, "a container of this machine's own programs ran")


def look_temporary(_: Mapping[str, Any]) -> Space:
    """See what is free where an image is unpacked."""
    return space.look(scratch_place(Store(place_of(None)).sifs))


def judge_temporary(seen: Space) -> Verdict:
    """Judge whether an image can be unpacked."""
    return space.judge(seen, "export SPIKECRATE_STORE=FOLDER, on a larger disk")


def _judged(seen: Trial, good: str) -> Verdict:
    if seen.error is None:
        return ok(good)
    if seen.inside:
        # As it is made: only a container without the Docker socket is let run Apptainer.
        return warn(
            f"not in this development container: {seen.error}",
            "--runtime docker; or, outside, invoke dev --rebuild --no-docker",
            ends=True,
        )
    return fail(str(seen.error), seen.error.next_step)


def _configuration(program: Program) -> str:
    try:
        return capture([program.path, "buildcfg"], timeout=10)
    except CommandError:
        return ""


INSTALLED: Final = ("apptainer.installed",)
CHECKS: Final = (
    Check(
        name="apptainer.installed",
        about="Apptainer or SingularityCE is there, and starts",
        look=look_installed,
        judge=judge_installed,
    ),
    Check(
        name="apptainer.namespaces",
        about="the kernel allows user namespaces",
        look=look_namespaces,
        judge=judge_namespaces,
        needs=INSTALLED,
    ),
    Check(
        name="apptainer.fuse",
        about="this user can mount a SIF",
        look=look_fuse,
        judge=judge_fuse,
        needs=INSTALLED,
    ),
    Check(
        name="apptainer.tools",
        about="mksquashfs and squashfuse are there",
        look=look_tools,
        judge=judge_tools,
        needs=INSTALLED,
    ),
    Check(
        name="apptainer.runs",
        about="a container really runs",
        look=look_runs,
        judge=judge_runs,
        needs=INSTALLED,
        limit_s=PROBE_S + 10,
    ),
    Check(
        name="apptainer.temp",
        about="space where an image is unpacked",
        look=look_temporary,
        judge=judge_temporary,
        needs=INSTALLED,
    ),
)
