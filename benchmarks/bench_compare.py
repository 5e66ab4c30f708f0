"""Comparing two sortings whose events form one chain, against one of a tenth of its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measure import Row, at_most, interleaved, timed
from spikecrate.sortings import Sorting, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spikecrate.sortings import Comparison

EVENTS = 100_000
ROUNDS = 5


def chained_events(scratch: Path) -> list[Row]:  # noqa: ARG001
    """Time `compare` where every event reaches two others: the time grows linearly with the events."""
    found = interleaved({"long": timed(_chain(EVENTS)), "a tenth": timed(_chain(EVENTS // 10))}, ROUNDS)
    what = f"(k) compare two chains of {EVENTS:,} events"
    return [at_most(what, found, "long", "a tenth", ratio=15, seconds=None)]


def _chain(events: int) -> Callable[[], Comparison]:
    import numpy as np

    times = np.arange(events) * 2.0
    truth, other = (
        Sorting.from_events(times + shift, np.ones(events), sampling_frequency=1000.0) for shift in (0, 3)
    )
    return lambda: compare(truth, other, 4)
