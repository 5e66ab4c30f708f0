"""The table of units that comes with a sorting: its share of the time of the sorter's step, over three sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.measure import Row, at_most
from spikecrate import api
from spikecrate._util.progress import Silent
from spikecrate.recordings.toy import write_toy

if TYPE_CHECKING:
    from pathlib import Path

SIZES: Final = ((20, 4), (60, 16), (60, 64))
"""Seconds and channels; a unit for each channel."""
SHARE: Final = 0.05
ROUNDS: Final = 3


def share_of_the_step(scratch: Path) -> list[Row]:
    """Compare the harness's time for the table with that of the whole step, both from its own report."""
    rows = []
    for seconds, channels in SIZES:
        recording = write_toy(scratch / f"{channels}", duration_s=seconds, num_channels=channels)
        found: dict[str, list[float]] = {"table": [], "ms4, with the table": []}
        for number in range(ROUNDS + 1):
            done = api.sort(
                recording, runtime="docker", force=True, store=scratch / "store", progress=Silent()
            )
            # The first run warms the caches.
            if number:
                found["table"].append(done.record["inside"]["unit_table_s"])
                found["ms4, with the table"].append(done.record["inside"]["wall_s"])
        what = f"(m) table of {done.record['units']} units, {seconds} s × {channels} channels"
        rows.append(at_most(what, found, "table", "ms4, with the table", ratio=SHARE, seconds=None))
    return rows
