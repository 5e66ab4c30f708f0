"""Apptainer or SingularityCE: installed, able to mount and make a SIF, able to run."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from spikecrate._util.process import answer, run
from spikecrate.doctor import space
from spikecrate.doctor.check import Checks, Facts, Verdict, numbers, ok, warn
from spikecrate.engines import apptainer
from spikecrate.engines.host_paths import is_inside
from spikecrate.errors import SpikecrateError
from spikecrate.images.sif_build import scratch_place
from spikecrate.runtimes.apptainer import environment, probe_argv
from spikecrate.store.place import Store, place_of

PROBE_S: Final = 20
REPRODUCIBLE: Final = (1, 5)
SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"
CHECKS: Final = Checks()
INSTALLED: Final = ("apptainer.installed",)


@CHECKS.add(
    "apptainer.installed",
    "Apptainer or SingularityCE is installed and starts",
    lambda _: apptainer.find_program(),
)
def judge_installed(program: apptainer.Program) -> Verdict:
    """Return the version of the installed program.

    Parameters
    ----------
    program : Program
        The program.
    """
    message = f"{program.engine} {program.version}, {program.path}"
    if program.engine == "apptainer" and numbers(program.version) >= REPRODUCIBLE:
        return ok(f"{message}; makes reproducible SIFs")
    return ok(message)


def look_fuse(facts: Facts) -> SpikecrateError | None:
    """Try whether this user can mount a SIF; return the error in a development container.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    try:
        if os.geteuid() != 0 or apptainer.lacks_capabilities():
            apptainer.require_fuse(facts["apptainer.installed"])
    except SpikecrateError as error:
        return _by_design(error)
    return None


@CHECKS.add("apptainer.fuse", "this user can mount a SIF", look_fuse, needs=INSTALLED)
def judge_fuse(error: SpikecrateError | None) -> Verdict:
    """Judge whether this user can mount a SIF.

    Parameters
    ----------
    error : SpikecrateError or None
        As `look_fuse` returns it.
    """
    return _judged(error, "this user can mount a SIF")


def look_tools(facts: Facts) -> dict[str, bool]:
    """Return which of the programs that make and mount a SIF are installed.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    listed = answer([facts["apptainer.installed"].path, "buildcfg"], timeout=10) or ""
    configured = dict(line.partition("=")[::2] for line in listed.splitlines())
    own = Path(configured.get("LIBEXECDIR", "/usr/libexec")) / "apptainer" / "bin"
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}:{own}"
    return {
        name: any(shutil.which(variant, path=path) for variant in (name, f"{name}_ll"))
        for name in ("mksquashfs", "squashfuse")
    }


@CHECKS.add("apptainer.tools", "mksquashfs and squashfuse are installed", look_tools, needs=INSTALLED)
def judge_tools(installed: dict[str, bool]) -> Verdict:
    """Judge whether this user can make and mount SIFs.

    Parameters
    ----------
    installed : dict
        As `look_tools` returns it.
    """
    if not installed["mksquashfs"]:
        return warn("mksquashfs is missing, so no SIF can be made", "sudo apt-get install squashfs-tools")
    if not installed["squashfuse"]:
        return warn("squashfuse is missing, so a user cannot mount a SIF", "sudo apt-get install squashfuse")
    return ok("mksquashfs, squashfuse")


def look_runs(facts: Facts) -> SpikecrateError | None:
    """Run a program in an empty container; return the error in a development container.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    program: apptainer.Program = facts["apptainer.installed"]
    # After a Ctrl-C it is removed while the program may still end in it.
    with tempfile.TemporaryDirectory(prefix="spikecrate-doctor-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        argv = probe_argv(program.path, folder, in_user_namespace=apptainer.lacks_capabilities())
        done = run(argv, env=environment(folder), timeout=PROBE_S, check=False)
    if done.timed_out or done.code != 0:
        output = done.output or f"FATAL: no answer within {PROBE_S} s"
        return _by_design(apptainer.refusal(output))
    return None


@CHECKS.add("apptainer.runs", "a container runs", look_runs, needs=INSTALLED, limit_s=PROBE_S + 10)
def judge_runs(error: SpikecrateError | None) -> Verdict:
    """Judge whether a container runs.

    Parameters
    ----------
    error : SpikecrateError or None
        As `look_runs` returns it.
    """
    return _judged(error, "a container ran")


def _by_design(error: SpikecrateError) -> SpikecrateError:
    """Return an error in a development container, where only one without Docker's socket may run Apptainer."""
    if is_inside(os.environ):
        return error
    raise error


def _judged(error: SpikecrateError | None, good: str) -> Verdict:
    if error is None:
        return ok(good)
    fix = "--runtime docker; or, outside, invoke dev --rebuild --no-docker"
    return warn(f"not in this development container: {error}", fix, ends=True)


@CHECKS.add(
    "apptainer.temp",
    "space where an image is unpacked",
    lambda _: space.look(scratch_place(Store(place_of(None)).sifs)),
    needs=INSTALLED,
)
def judge_temp(found: space.Space) -> Verdict:
    """Judge whether there is enough space.

    Parameters
    ----------
    found : Space
        Space of the folder where an image is unpacked.
    """
    return space.judge(found, "export SPIKECRATE_STORE=FOLDER, on a larger disk")
