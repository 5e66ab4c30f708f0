"""Python: the interpreter and the tools that spikecrate calls."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from spikecrate.doctor.check import Checks, fail, ok

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict

TOOLS: Final = ("invoke", "uv", "nox")
CHECKS: Final = Checks()


def look_tools(_: Mapping[str, Any]) -> dict[str, str]:
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
