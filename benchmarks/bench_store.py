"""Lists and `store.gc --dry-run` of a thousand to a hundred thousand results, against `find` over the same folders."""

from __future__ import annotations

import copy
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from benchmarks.bench_run import SPIKECRATE, small
from benchmarks.measure import Row, at_most, interleaved, process
from spikecrate import api
from spikecrate._util.canonical import digest
from spikecrate._util.progress import Silent
from spikecrate.steps.key import KeyParts
from spikecrate.store import file_hashes as memo
from spikecrate.store import open_store, summary
from spikecrate.store import result_manifest as seal

if TYPE_CHECKING:
    from spikecrate.store import Store

COUNTS = (1_000, 10_000, 100_000)
ROUNDS = 5
LIST_S = 1.0
COLLECT_S = 5.0


def growth(scratch: Path) -> list[Row]:
    """Time whole processes over stores of growing size."""
    done = api.sort(small(scratch), runtime="docker", store=scratch / "store", progress=Silent())
    store = open_store(scratch / "many")
    rows: list[Row] = []
    made = 0
    for count in COUNTS:
        for number in range(made, count):
            put(store, done.record, number)
        made = count
        # A shard that changed a moment ago is read again at every list.
        time.sleep(memo.SETTLED_S + 1)
        assert sum(1 for _ in summary.results(store)) == count
        rows += timings(store, count)
    return rows


def timings(store: Store, count: int) -> list[Row]:
    """Time the tasks over one store."""
    environ = {**os.environ, "SPIKECRATE_STORE": str(store.root)}
    names = ["find", str(store.results), "-mindepth", "2", "-maxdepth", "2"]
    uses = ["find", str(store.results), "-name", seal.NAME, "-printf", "%T@\n"]

    found = interleaved(
        {
            "list": process([SPIKECRATE, "job.list"], env=environ),
            "all": process([SPIKECRATE, "job.list", "--json"], env=environ),
            "gc": process(
                [SPIKECRATE, "store.gc", "--keep", "30d", "--max", "200G", "--dry-run"], env=environ
            ),
            "find, names": process(names),
            "find, times": process(uses),
        },
        ROUNDS,
    )
    what = f"of {count:,} results"
    return [
        at_most(f"(j) job.list {what}", found, "list", "find, names", ratio=None, seconds=LIST_S),
        at_most(f"(j) job.list --json, all {what}", found, "all", "find, names", ratio=None, seconds=LIST_S),
        at_most(f"(j) store.gc --dry-run {what}", found, "gc", "find, times", ratio=None, seconds=COLLECT_S),
    ]


def put(store: Store, record: dict[str, Any], number: int) -> None:
    """Put a result into a store as `publish` does, without flushing: the job of another seed."""
    parts = {**copy.deepcopy(record["key_parts"]), "seed": number}
    key = KeyParts(**parts).key
    folder = store.result(key)
    folder.mkdir(parents=True)
    changed = {
        "key": key,
        "key_parts": parts,
        "seed": number,
        "started": f"2026-01-01T00:00:{number / 2000:06.3f}",
    }
    files = {
        "firings.mda": bytes(96),
        "run.json": json.dumps({**record, **changed}, indent=1).encode(),
    }
    sizes = {name: {"size": len(data), "blake3": blake3(data).hexdigest()} for name, data in files.items()}
    files[seal.NAME] = json.dumps({"files": sizes, "seal": digest(["seal", sizes])}, indent=1).encode()
    for name, data in files.items():
        Path(f"{folder}/{name}").write_bytes(data)
