"""Runtimes: which one `auto` takes, and whether the host's can make a sorter's environment."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.catalogue.tools import catalogue
from spikecrate.doctor.check import Check, ok, warn
from spikecrate.environments import environment
from spikecrate.errors import EnvironmentBuildError
from spikecrate.images.recipe import LOCK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict

ENGINES: Final = {"docker": ("docker.daemon",), "apptainer": ("apptainer.runs", "apptainer.fuse")}
"""What must be well for a runtime, the better first."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """What the host's runtime would build with.

    Attributes
    ----------
    problems : tuple of EnvironmentBuildError
        One for each sorter that has no Python or no headers here.
    compiler : str or None
        The machine's own.
    to_compile : tuple of str
        Sorters with packages that have to be compiled.
    brings : bool
        Whether each of these names a compiler that can be fetched.
    """

    problems: tuple[EnvironmentBuildError, ...]
    compiler: str | None
    to_compile: tuple[str, ...]
    brings: bool


def look_auto(seen: Mapping[str, Any]) -> list[str]:
    """See which runtimes can be used."""
    return [name for name, needed in ENGINES.items() if all(check in seen for check in needed)]


def judge_auto(usable: list[str]) -> Verdict:
    """Judge whether jobs run in a container."""
    if not usable:
        return warn(
            "jobs run on the host, which isolates nothing: no container engine can be used",
            "install Docker or Apptainer, or mend the one that is here: the lines above say how",
        )
    return ok(f"{usable[0]}" + (f"; also {usable[1]}" if usable[1:] else ""))


def look_host(_: Mapping[str, Any]) -> Host:
    """See with what the environments of the catalogue's sorters would be made."""
    from spikecrate.steps.job import build_request, recipe

    problems, to_compile, brings = [], [], True
    for sorter in catalogue().values():
        if not (sorter.folder / LOCK).exists() or (sorter.folder / environment.DEBIAN_LOCK).exists():
            continue
        request = build_request(sorter, recipe(sorter))
        compiled = (sorter.folder / environment.BUILD_LOCK).exists()
        try:
            interpreter, _version = environment.find_interpreter(request)
            if compiled:
                environment.require_headers(request, interpreter)
        except EnvironmentBuildError as error:
            problems.append(error)
        if compiled:
            to_compile.append(sorter.name)
            brings = brings and (sorter.folder / environment.COMPILER_LOCK).exists()
    compiler = next((found for name in environment.COMPILERS if (found := shutil.which(name))), None)
    return Host(problems=tuple(problems), compiler=compiler, to_compile=tuple(to_compile), brings=brings)


def judge_host(seen: Host) -> Verdict:
    """Judge whether the host's runtime could run every sorter."""
    if seen.problems:
        return warn("; ".join(map(str, seen.problems)), seen.problems[0].next_step)
    if seen.to_compile and seen.compiler is None:
        names = ", ".join(seen.to_compile)
        if not seen.brings:
            return warn(f"no C++ compiler, and {names} has to be compiled", "sudo apt-get install g++")
        return ok(f"no C++ compiler; the one that {names} names is fetched where it is needed")
    return ok("a Python for every sorter" + (f", {seen.compiler}" if seen.compiler else ""))


CHECKS: Final = (
    Check(
        name="runtime.auto",
        about="where jobs run without --runtime",
        look=look_auto,
        judge=judge_auto,
        after=tuple(check for needed in ENGINES.values() for check in needed),
    ),
    Check(
        name="runtime.host",
        about="Python, its headers and a compiler for --runtime host",
        look=look_host,
        judge=judge_host,
    ),
)
