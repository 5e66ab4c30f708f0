"""What the tests are repeated over: every sorter of the catalogue, in every runtime that can run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from spikecrate.catalogue.tools import HARNESS_ENTRYPOINT, catalogue

SORTERS = {name: sorter for name, sorter in catalogue().items() if (sorter.folder / "Dockerfile").exists()}
"""Those whose images are made here; of a prebuilt image nobody here knows what is in it."""
SPIKECRATE = Path(sys.executable).with_name("spikecrate")
OTHER_UID = 54321
RUNTIMES = ("docker", "apptainer", "host")
QUICK = ("ms4", "threshold-octave")
"""Those whose main promises every run of CI holds them to; `nox -s catalogue` takes all."""


class Case(NamedTuple):
    """A sorter in a runtime."""

    sorter: str
    runtime: str


class Parameter(NamedTuple):
    """A parameter of a sorter."""

    sorter: str
    name: str


def runtimes(name):
    """The host runs the harness; a program of the sorter's own, or a package of Debian's, needs its image."""
    sorter = SORTERS[name]
    needs_image = sorter.entrypoint != HARNESS_ENTRYPOINT or (sorter.folder / "debian.lock").exists()
    return RUNTIMES[:2] if needs_image else RUNTIMES


THREADS = {"kilosort4": "threads", "ms4": "setNumWorkers", "spykingcircus": "processes"}
"""Sorters that print how many cores their tool uses, and the name of that setting."""
CASES = [Case(name, runtime) for name in SORTERS for runtime in runtimes(name)]
PARAMETERS = [
    Parameter(name, parameter)
    for name, sorter in SORTERS.items()
    for parameter in sorter.parameters["properties"]
]
