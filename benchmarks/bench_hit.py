"""A cache hit, and the start of the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench_run import SPIKECRATE, small
from benchmarks.measure import Row, at_most, interleaved, process, timed
from spikecrate import api
from spikecrate._util.progress import Silent

if TYPE_CHECKING:
    from spikecrate.api.result import Result

ROUNDS = 15
ROOT = Path(__file__).parents[1]


def cache_hit(scratch: Path) -> list[Row]:
    """Time a cache hit in the library and as a whole process."""
    recording = small(scratch)
    store = scratch / "store"
    api.sort(recording, runtime="docker", store=store, progress=Silent())

    def hit() -> Result:
        return api.sort(recording, store=store)

    environ = {**os.environ, "SPIKECRATE_STORE": str(store)}
    found = interleaved(
        {
            "library": timed(hit),
            "process": process([SPIKECRATE, "sort", str(recording), "--json", "--output", "-"], env=environ),
            "python -c pass": process([sys.executable, "-c", "pass"]),
            "import invoke": process([sys.executable, "-c", "import invoke"]),
        },
        ROUNDS,
    )
    return [
        at_most(
            "(b) cache hit in the library", found, "library", "python -c pass", ratio=None, seconds=0.005
        ),
        at_most("(b) cache hit, whole process", found, "process", "import invoke", ratio=None, seconds=0.35),
    ]


def task_list(scratch: Path) -> list[Row]:  # noqa: ARG001
    """Time `invoke --list` in the project's folder."""
    invoke = str(Path(sys.executable).with_name("invoke"))
    found = interleaved(
        {
            "invoke --list": process([invoke, "--list"], cwd=ROOT),
            "import invoke": process([sys.executable, "-c", "import invoke"]),
        },
        ROUNDS,
    )
    return [at_most("(e) invoke --list", found, "invoke --list", "import invoke", ratio=None, seconds=0.3)]
