"""The development container of the clone in the current folder, and the packages of the clone's environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from spikecrate._util.data import data_path
from spikecrate.doctor.check import Checks, Facts, Verdict, ok, shorten, warn
from spikecrate.engines.host_paths import is_inside
from spikecrate.errors import DevContainerError
from spikecrate_dev import session
from spikecrate_dev.definition import find_project

CHECKS: Final = Checks()


@dataclass(frozen=True, kw_only=True)
class Packages:
    """Package versions by name: locked and installed; and whether this is the development container."""

    pinned: dict[str, str]
    installed: dict[str, str]
    inside: bool = False


def look_container(_: Facts) -> dict[str, Any] | str:
    """Return the status of the container; a text where there is none to describe.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, DevContainerError
    """
    if is_inside(os.environ):
        return "this is the development container"
    try:
        project = find_project(Path.cwd())
    except DevContainerError:
        return "the current folder is not in a clone"
    return session.status(project)


@CHECKS.add(
    "dev.container",
    "the development container matches its description",
    look_container,
    needs=("docker.daemon",),
)
def judge_container(status: dict[str, Any] | str) -> Verdict:
    """Judge whether the container matches its present description.

    Parameters
    ----------
    status : dict or str
        As `look_container` returns it.
    """
    if isinstance(status, str):
        return ok(status)
    if status["state"] == "absent":
        return ok("none yet; invoke dev makes it")
    message = f"{status['name']} is {status['state']}"
    if status["stale"]:
        return warn(f"{message}, made from an older description", "invoke dev --rebuild")
    return ok(message)


def look_packages(_: Facts) -> Packages:
    """Return the versions that are installed, and those of the lock."""
    from packaging.utils import canonicalize_name

    return Packages(
        pinned=read_lock(data_path("requirements.lock").read_text(encoding="utf-8")),
        installed={canonicalize_name(one.name): one.version for one in distributions() if one.name},
        inside=is_inside(os.environ),
    )


def read_lock(text: str) -> dict[str, str]:
    """Return the versions, by package name, that a lock pins for this machine.

    Parameters
    ----------
    text : str
        The content of a requirements.lock.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pinned: dict[str, str] = {}
    for line in text.splitlines():
        if not line or line[0].isspace() or line[0] in "#-":
            continue
        wanted = Requirement(line.rstrip("\\ "))
        if wanted.marker is None or wanted.marker.evaluate():
            pinned[canonicalize_name(wanted.name)] = str(wanted.specifier).removeprefix("==")
    return pinned


@CHECKS.add("dev.packages", "the installed packages are those of requirements.lock", look_packages)
def judge_packages(packages: Packages) -> Verdict:
    """Judge whether the installed packages are those of the lock.

    Parameters
    ----------
    packages : Packages
        As `look_packages` returns it.
    """
    differing = [
        f"{name} {packages.installed[name]} (locked {wanted})"
        for name, wanted in sorted(packages.pinned.items())
        if packages.installed.get(name, wanted) != wanted
    ]
    missing = [f"{name} is missing" for name in sorted(packages.pinned) if name not in packages.installed]
    if differing or missing:
        fix = "invoke dev --rebuild, outside" if packages.inside else "ci/venv.sh"
        return warn(f"not as in requirements.lock: {shorten([*differing, *missing])}", fix)
    return ok(f"all {len(packages.pinned)} as in requirements.lock")
