"""Python: the interpreter, the packages against the lock, the tools."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.data import data_path
from spikecrate.doctor.check import Check, fail, ok, warn
from spikecrate_dev.session import is_inside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict

OLDEST: Final = (3, 11)
SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class Packages:
    """What is installed, against what was tested.

    Attributes
    ----------
    pinned, installed : dict
        Version by name: of the lock's packages for this machine, and of what is there.
    checkout : bool
        Whether this spikecrate runs from a clone, whose environment is the whole lock.
    inside : bool
        Whether this is the development container, whose environment is its image's.
    """

    pinned: dict[str, str]
    installed: dict[str, str]
    checkout: bool
    inside: bool = False


def look_version(_: Mapping[str, Any]) -> tuple[tuple[int, ...], str]:
    """See which Python this is."""
    return sys.version_info[:3], sys.executable


def judge_version(seen: tuple[tuple[int, ...], str]) -> Verdict:
    """Judge whether this Python is new enough."""
    numbers, path = seen
    said = f"Python {'.'.join(map(str, numbers))}, {path}"
    if numbers < OLDEST:
        return fail(f"{said}; 3.11 or newer is needed", "sudo apt-get install python3.11 python3.11-venv")
    return ok(said)


def look_lock(_: Mapping[str, Any]) -> Packages:
    """See what is installed, and what the lock says."""
    lock = data_path("requirements.lock")
    found = {_plain(one.metadata["Name"]): one.version for one in distributions() if one.metadata["Name"]}
    return Packages(
        pinned=read_lock(lock.read_text(encoding="utf-8")),
        installed=found,
        checkout=(lock.parent / "pyproject.toml").is_file(),
        inside=is_inside(os.environ),
    )


def read_lock(text: str) -> dict[str, str]:
    """Read the packages of a lock that this machine gets, and their versions."""
    from packaging.requirements import Requirement

    pinned = {}
    for line in text.splitlines():
        if not line or line[0].isspace() or line[0] in "#-":
            continue
        wanted = Requirement(line.rstrip("\\ "))
        if wanted.marker is None or wanted.marker.evaluate():
            pinned[_plain(wanted.name)] = str(wanted.specifier).removeprefix("==")
    return pinned


def judge_lock(seen: Packages) -> Verdict:
    """Judge whether the packages are those that were tested together."""
    other = [
        f"{name} {seen.installed[name]} (locked {wanted})"
        for name, wanted in sorted(seen.pinned.items())
        if seen.installed.get(name, wanted) != wanted
    ]
    missing = [name for name in sorted(seen.pinned) if name not in seen.installed]
    if not seen.checkout:
        return ok("as locked" if not other else f"not those of the lock: {_some(other)}")
    if other or missing:
        said = [*other, *(f"{name} is missing" for name in missing)]
        mend = "invoke dev --rebuild, outside" if seen.inside else "ci/venv.sh"
        return warn(f"not those of requirements.lock: {_some(said)}", mend)
    return ok(f"all {len(seen.pinned)} of requirements.lock")


def look_tools(_: Mapping[str, Any]) -> dict[str, str | None]:
    """See the versions of invoke, uv and nox."""
    return {name: _version(name) for name in ("invoke", "uv", "nox")}


def judge_tools(seen: dict[str, str | None]) -> Verdict:
    """Judge whether the tools are there; nox is for who works on spikecrate."""
    said = ", ".join(f"{name} {there}" for name, there in seen.items() if there is not None)
    if seen["uv"] is None:
        return fail(f"{said}; uv is missing, which makes the environments of sorters", "pip install uv")
    return ok(said)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _some(said: list[str]) -> str:
    more = len(said) - SHOWN
    return ", ".join(said[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


CHECKS: Final = (
    Check(name="python.version", about="Python 3.11 or newer", look=look_version, judge=judge_version),
    Check(
        name="python.lock",
        about="the packages installed are those of requirements.lock",
        look=look_lock,
        judge=judge_lock,
    ),
    Check(name="python.tools", about="versions of invoke, uv and nox", look=look_tools, judge=judge_tools),
)
