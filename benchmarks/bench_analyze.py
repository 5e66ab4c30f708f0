"""`spikecrate analyze`, on the host and in Docker, against SpikeInterface's calls by hand in the same environment.

Both are whole processes that make a new analysis, with all cores: ours finds the sorting, takes the hash of the recording
from its cache, runs, checks, hashes and seals the result.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.bench_run import SPIKECRATE
from benchmarks.measure import Row, at_most, interleaved, process
from spikecrate import api
from spikecrate._util.progress import Silent
from spikecrate.recordings.toy import write_toy

if TYPE_CHECKING:
    from collections.abc import Callable

PEER: Final = Path(__file__).parent / "spikeinterface" / "analyze.py"
SIZES: Final = ((20, 4, 6), (60, 16, 12), (120, 32, 24))
"""Seconds, channels and units of each recording."""
RATIO: Final = 1.1
ROUNDS: Final = 5


def against_spikeinterface(scratch: Path) -> list[Row]:
    """Time the analysis of the true spikes' sorter at three sizes."""
    store, rows = scratch / "store", []
    for seconds, channels, units in SIZES:
        folder = write_toy(
            scratch / f"toy-{seconds}", duration_s=seconds, num_channels=channels, num_units=units
        )
        sorting = api.sort(folder, runtime="docker", store=store, progress=Silent())
        done = api.analyze(sorting, runtime="host", store=store, progress=Silent())
        found = interleaved(
            {
                "host": _ours(sorting.key, store, "host"),
                "docker": _ours(sorting.key, store, "docker"),
                "SpikeInterface by hand": _by_hand(folder, sorting.folder, done.result.record, scratch),
            },
            ROUNDS,
        )
        size = f"{seconds} s × {channels} channels, {len(done.units)} units"
        rows += [
            at_most(
                f"(l) analyze {size}, {runtime}",
                found,
                runtime,
                "SpikeInterface by hand",
                ratio=RATIO,
                seconds=None,
            )
            for runtime in ("host", "docker")
        ]
    return rows


def _ours(key: str, store: Path, runtime: str) -> Callable[[], float]:
    words = [SPIKECRATE, "analyze", key, "--runtime", runtime, "--force"]
    return process(words, env={**os.environ, "SPIKECRATE_STORE": str(store)})


def _by_hand(folder: Path, sorting: Path, record: dict[str, object], scratch: Path) -> Callable[[], float]:
    """Return a timed process of the same calls, with the interpreter and the pinned variables of our run."""
    inside, argv = record["inside"], record["argv"]
    assert isinstance(inside, dict)
    assert isinstance(argv, list)
    # Without the folders, which went with the job.
    pinned = {name: value for name, value in inside["environment"].items() if not value.startswith("/")}
    gain = json.loads((folder / "params.json").read_text())["scale_factor"]
    out, cores = scratch / "by-hand", len(os.sched_getaffinity(0))
    python = next(word for word in argv if word.endswith("/bin/python"))
    words = [python, str(PEER), str(folder), str(sorting / "firings.mda"), str(gain), str(out), str(cores)]
    run = process(words, env={**os.environ, **pinned})

    def cleaned() -> float:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return run()

    return cleaned
