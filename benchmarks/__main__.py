"""`python -m benchmarks [--only hit,hash] [--json]`: measure, and print a table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import (
    bench_analyze,
    bench_apptainer,
    bench_compare,
    bench_dev,
    bench_hash,
    bench_hit,
    bench_run,
    bench_spikeinterface,
    bench_store,
    bench_study,
    bench_units,
    machine,
)
from benchmarks.measure import amount

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measure import Row

BENCHMARKS: dict[str, Callable[[Path], list[Row]]] = {
    "run": bench_run.whole_run,
    "spikeinterface": bench_spikeinterface.overhead,
    "hit": bench_hit.cache_hit,
    "hash": bench_hash.throughput,
    "container": bench_run.container_against_host,
    "list": bench_hit.task_list,
    "apptainer": bench_apptainer.conversion_and_start,
    "dev": bench_dev.enter_and_make,
    "store": bench_store.growth,
    "study": bench_study.growth,
    "study-job": bench_study.overhead,
    "compare": bench_compare.against_spikeinterface,
    "analyze": bench_analyze.against_spikeinterface,
    "chain": bench_compare.chained_events,
    "units": bench_units.share_of_the_step,
}

HEAD = """# Measured

`nox -s bench -- --write benchmarks/README.md` makes this page. It runs both sides of each row in turn, on one machine, and
compares medians. The last columns show the goal of each row, and by how much a missed goal is missed.
"""


def main() -> None:
    """Run the requested benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help=f"some of {','.join(BENCHMARKS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--write", type=Path, help="write the table to this file, too")
    options = parser.parse_args()
    # Python's default, which some build machines turn off: modules are compiled once, not at every start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    facts = machine.facts()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="spikecrate-bench-") as scratch:
        for name in options.only.split(","):
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            folder = Path(scratch) / name
            folder.mkdir()
            rows += BENCHMARKS[name](folder)
    if options.json:
        print(
            json.dumps(
                {
                    "machine": facts,
                    "rows": [{**asdict(row), "ratio": row.ratio, "spread": row.spread} for row in rows],
                }
            )
        )
        return
    text = "\n".join(
        [
            "; ".join(f"{name} {value}" for name, value in facts.items()),
            "",
            "| what | ours (least–most) | against | ratio | goal | met |",
            "|---|---|---|---|---|---|",
            *map(_line, rows),
        ]
    )
    print(text)
    if options.write is not None:
        options.write.write_text(f"{HEAD}\n{text}\n")


def _line(row: Row) -> str:
    met = "yes" if row.met else f"missed by {row.missed_by}"
    return (
        f"| {row.what} | {amount(row.ours, row.unit)} ({row.spread}) | {row.against} "
        f"{amount(row.other, row.unit)} | {row.ratio:.2f} | {row.goal} | {met} |"
    )


if __name__ == "__main__":
    main()
