"""Runtimes: which one `auto` chooses, and whether the host runtime can make each sorter's environment."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Final

from spikecrate.catalogue.tools import catalogue
from spikecrate.doctor.check import Checks, Facts, Verdict, ok, warn
from spikecrate.environments import environment, toolchain
from spikecrate.errors import SpikecrateError
from spikecrate.images.recipe import LOCK

ENGINES: Final = {"docker": ("docker.daemon",), "apptainer": ("apptainer.runs", "apptainer.fuse")}
"""The checks that an engine must pass, the preferred engine first."""
CHECKS: Final = Checks()


@dataclass(frozen=True, kw_only=True)
class Host:
    """What the host runtime builds environments with.

    Attributes
    ----------
    problems : tuple of SpikecrateError
        Of the sorters without a Python that runs, or without its headers.
    compiler : str or None
        The machine's C++ compiler.
    to_compile : tuple of str
        Sorters with packages to compile.
    brings : bool
        Whether each of these locks a compiler that can be downloaded.
    """

    problems: tuple[SpikecrateError, ...]
    compiler: str | None
    to_compile: tuple[str, ...]
    brings: bool


def look_auto(facts: Facts) -> list[str]:
    """Return the engines whose checks all passed.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    return [name for name, needed in ENGINES.items() if all(check in facts for check in needed)]


@CHECKS.add(
    "runtime.auto",
    "where jobs run without --runtime",
    look_auto,
    after=tuple(check for needed in ENGINES.values() for check in needed),
)
def judge_auto(usable: list[str]) -> Verdict:
    """Judge whether jobs run in a container.

    Parameters
    ----------
    usable : list
        As `look_auto` returns it.
    """
    if not usable:
        fix = "install Docker or Apptainer, or fix the installed one as the lines above say"
        return warn("no container engine works: jobs run on the host, without isolation", fix)
    return ok(f"{usable[0]}" + (f"; also {usable[1]}" if usable[1:] else ""))


def look_host(_: Facts) -> Host:
    """Return what the environments of the catalogue's sorters would be made with."""
    from spikecrate.steps.job import build_request, recipe

    problems, to_compile, brings = [], [], True
    for sorter in catalogue().values():
        if not (sorter.folder / LOCK).exists() or (sorter.folder / environment.DEBIAN_LOCK).exists():
            continue
        request = build_request(sorter, recipe(sorter))
        compiled = (sorter.folder / environment.BUILD_LOCK).exists()
        try:
            interpreter = toolchain.find_interpreter(request)[0]
            if compiled:
                toolchain.require_headers(request, interpreter)
        except SpikecrateError as error:
            problems.append(error)
        if compiled:
            to_compile.append(sorter.name)
            brings = brings and (sorter.folder / environment.COMPILER_LOCK).exists()
    compiler = next((found for name in toolchain.COMPILERS if (found := shutil.which(name))), None)
    return Host(problems=tuple(problems), compiler=compiler, to_compile=tuple(to_compile), brings=brings)


@CHECKS.add("runtime.host", "Python, its headers and a compiler for --runtime host", look_host, limit_s=40)
def judge_host(host: Host) -> Verdict:
    """Judge whether the host runtime can run every sorter.

    Parameters
    ----------
    host : Host
        As `look_host` returns it.
    """
    if host.problems:
        fix = host.problems[0].next_step or "sudo apt-get install python3.11 python3.11-dev"
        return warn("; ".join(dict.fromkeys(map(str, host.problems))), fix)
    if host.to_compile and host.compiler is None:
        names = ", ".join(host.to_compile)
        if not host.brings:
            return warn(f"no C++ compiler, and {names} must be compiled", "sudo apt-get install g++")
        return ok(f"no C++ compiler; the one that {names} locks is downloaded when needed")
    return ok("a Python for every sorter" + (f", {host.compiler}" if host.compiler else ""))
