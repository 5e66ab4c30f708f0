"""Python: the interpreter and the packages it needs at run time."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from spikecrate.doctor.check import Check, fail, ok

if TYPE_CHECKING:
    from spikecrate.doctor.check import Verdict

OLDEST: Final = (3, 11)
TOOLS: Final = ("invoke", "uv", "nox")


def judge_version(facts: tuple[tuple[int, ...], str]) -> Verdict:
    """Judge whether this Python is new enough."""
    numbers, path = facts
    message = f"Python {'.'.join(map(str, numbers))}, {path}"
    if numbers < OLDEST:
        return fail(f"{message}; 3.11 or newer is needed", "sudo apt-get install python3.11 python3.11-venv")
    return ok(message)


def judge_tools(versions: dict[str, str | None]) -> Verdict:
    """Judge whether the tools are installed; only spikecrate's developers need nox."""
    message = ", ".join(f"{name} {number}" for name, number in versions.items() if number is not None)
    if versions["uv"] is None:
        return fail(f"{message}; uv is missing, which makes the environments of sorters", "pip install uv")
    return ok(message)


def installed_version(name: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


CHECKS: Final = (
    Check(
        "python.version",
        "Python 3.11 or newer",
        lambda _: (sys.version_info[:3], sys.executable),
        judge_version,
    ),
    Check(
        "python.tools",
        "versions of invoke, uv and nox",
        lambda _: {name: installed_version(name) for name in TOOLS},
        judge_tools,
    ),
)
