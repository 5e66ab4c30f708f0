"""Comparing two sortings: against SpikeInterface at three sizes, and one long chain against a tenth of it.

An hour at 30 kHz: 90 % of the true events are found, up to 5 samples off, and 10 % of the found ones are noise.
SpikeInterface counts with numba; neither its compilation nor the ordering of the events, on both sides, is timed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.bench_spikeinterface import environment
from benchmarks.measure import Row, at_most, interleaved, timed
from spikecrate._util.process import capture
from spikecrate.sortings import Sorting, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate.sortings import Comparison

PEER: Final = Path(__file__).parent / "spikeinterface" / "compare.py"
SIZES: Final = {(100, 500_000): 1.0, (300, 3_000_000): 1.0, (1000, 10_000_000): 0.25}
"""Units and events of each side, and the goal: our time over SpikeInterface's."""
SECONDS: Final = 3600
RATE: Final = 30000
CHAIN: Final = 100_000
ROUNDS: Final = 5


def against_spikeinterface(scratch: Path) -> list[Row]:
    """Time both comparisons with ground truth, from ordered events to assigned units."""
    import numpy as np

    python = environment(scratch, "comparison.lock")
    rows = []
    for (units, events), ratio in SIZES.items():
        truth, found = _hour(units, events)
        path = scratch / "events.npz"
        np.savez(
            path,
            truth_times=truth.times.astype(np.int64),
            truth_labels=truth.labels,
            found_times=found.times.astype(np.int64),
            found_labels=found.labels,
            sampling_frequency=RATE,
        )
        argv = [str(python), str(PEER), str(path)]
        measured = interleaved(
            {"ours": timed(_assigned(truth, found)), "SpikeInterface": _printed_seconds(argv)}, ROUNDS
        )
        what = f"(k) compare {units:,} units × {events:,} events"
        rows.append(at_most(what, measured, "ours", "SpikeInterface", ratio=ratio, seconds=None))
    return rows


def chained_events(scratch: Path) -> list[Row]:  # noqa: ARG001
    """Time `compare` where every event reaches two others: the time grows linearly with the events."""
    found = interleaved({"long": timed(_chain(CHAIN)), "a tenth": timed(_chain(CHAIN // 10))}, ROUNDS)
    what = f"(k) compare two chains of {CHAIN:,} events"
    return [at_most(what, found, "long", "a tenth", ratio=15, seconds=None)]


def _hour(units: int, events: int) -> tuple[Sorting, Sorting]:
    import numpy as np

    random = np.random.default_rng(0)
    end = SECONDS * RATE
    times, labels = random.integers(100, end - 100, events), random.integers(1, units + 1, events)
    found_times = times + random.integers(-5, 6, events)
    found_labels = labels.copy()
    noise = random.random(events) < 0.1
    found_times[noise] = random.integers(100, end - 100, noise.sum())
    found_labels[noise] = random.integers(1, units + 1, noise.sum())
    return (
        Sorting.from_events(times, labels, sampling_frequency=RATE, num_samples=end),
        Sorting.from_events(found_times, found_labels, sampling_frequency=RATE, num_samples=end),
    )


def _assigned(truth: Sorting, found: Sorting) -> Callable[[], object]:
    return lambda: compare(truth, found).assigned


def _printed_seconds(argv: list[str]) -> Callable[[], float]:
    return lambda: float(capture(argv, timeout=600).splitlines()[-1])


def _chain(events: int) -> Callable[[], Comparison]:
    import numpy as np

    times = np.arange(events) * 2.0
    truth, other = (
        Sorting.from_events(times + shift, np.ones(events), sampling_frequency=1000.0) for shift in (0, 3)
    )
    return lambda: compare(truth, other, 4)
