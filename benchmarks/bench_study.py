"""Studies: plan and status of growing numbers of jobs, a cached job, and a job that runs, against `sort`."""

from __future__ import annotations

import json
import os
import shutil
import time
from itertools import count
from typing import TYPE_CHECKING

from benchmarks.bench_run import SPIKECRATE, small
from benchmarks.measure import Row, at_most, interleaved, process, timed
from spikecrate import api
from spikecrate._util.progress import Silent
from spikecrate.recordings.toy import write_toy
from spikecrate.steps.key import KeyParts
from spikecrate.store import file_hashes as memo
from spikecrate.store import open_store
from spikecrate.store import result_manifest as seal
from spikecrate.studies.attempts import Attempt, Attempts
from spikecrate.studies.definition import read_study
from spikecrate.studies.plan import freeze
from spikecrate.studies.planning import make_plan
from spikecrate.studies.run import RunOptions, run_study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from spikecrate.api.result import Result
    from spikecrate.store import Store
    from spikecrate.studies.definition import Study
    from spikecrate.studies.plan import Plan
    from spikecrate.studies.status import JobStatus

ROUNDS = 5
RECORDINGS = 10
COUNTS = (1_000, 10_000)
CACHED = 1_000
JOBS = 3
"""Jobs of a study that runs in each round."""


class Unwatched:
    """A watcher that shows nothing."""

    def begin(self, plan: Plan, hits: int, todo: int) -> None:
        """Show nothing."""

    def ended(self, job: JobStatus) -> None:
        """Show nothing."""

    def tick(self, running: Sequence[int]) -> None:
        """Show nothing."""


def growth(scratch: Path) -> list[Row]:
    """Time `study.plan` and `study.status` as whole processes: half of the jobs finished, half failed."""
    environ = {**os.environ, "SPIKECRATE_STORE": str(scratch / "store")}
    store = open_store(scratch / "store")
    for number in range(RECORDINGS):
        write_toy(scratch / "data" / f"rec{number}", duration_s=1, seed=number)
    rows = []
    for jobs in COUNTS:
        study = _study(scratch / f"jobs{jobs}.yaml", "data/rec*", f"repeats: {jobs // RECORDINGS}\n")
        plan = make_plan(study, store, Silent())
        freeze(plan, study.folder)
        failed = Attempt(state="failed", error={"error": "JobFailedError", "message": "the sorter failed"})
        for index, job in enumerate(plan.jobs):
            if index % 2:
                Attempts(study.folder).write(str(job.key), failed)
            else:
                store.result(str(job.key)).mkdir(parents=True, exist_ok=True)
        found = interleaved(
            {
                "plan": process([SPIKECRATE, "study.plan", str(study.path), "--json"], env=environ),
                "status": process([SPIKECRATE, "study.status", str(study.path), "--json"], env=environ),
                "start": process([SPIKECRATE, "--version"], env=environ),
            },
            ROUNDS,
        )
        for name, seconds in (("plan", 5), ("status", 2)):
            what = f"(n) study.{name} of {jobs:,} jobs"
            rows.append(at_most(what, found, name, "start", ratio=None, seconds=seconds))
    return rows


def overhead(scratch: Path) -> list[Row]:
    """Time a cached job of a study, and one that runs against `spikecrate sort` of the same."""
    recording, store = small(scratch), open_store(scratch / "store")
    done = api.sort(recording, runtime="docker", cores=1, store=store.root, progress=Silent())
    for seed in range(1, CACHED):
        _put(store, done, seed)
    time.sleep(memo.SETTLED_S + 1)
    study = _study(scratch / "cached.yaml", str(recording), f"repeats: {CACHED}\n")

    def run() -> object:
        return run_study(study, store, Unwatched(), Silent(), RunOptions())

    def hit() -> object:
        return api.sort(recording, cores=1, store=store.root)

    measured = interleaved({"study": timed(run), "hit": timed(hit)}, ROUNDS)
    cached = {"study": [seconds / CACHED for seconds in measured["study"]], "hit": measured["hit"]}
    ran = interleaved(_runs(scratch, recording), ROUNDS)
    return [
        at_most("(n) a cached job of a study", cached, "study", "hit", ratio=None, seconds=0.001),
        at_most("(n) a job of a study, 20 s × 4 channels", ran, "study", "sort", ratio=1.3, seconds=None),
    ]


def _put(store: Store, done: Result, seed: int) -> None:
    """Put a whole result into a store, that of another seed."""
    parts = {**done.record["key_parts"], "seed": seed}
    key = KeyParts(**parts).key
    folder = shutil.copytree(done.folder, store.result(key))
    (folder / seal.NAME).unlink()
    record = {**done.record, "key": key, "key_parts": parts, "seed": seed}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    seal.seal(folder)


def _runs(scratch: Path, recording: Path) -> dict[str, Callable[[], float]]:
    """Return the time of a job in a study, one after the other, and of `sort`, each of seeds that are new."""
    environ = {**os.environ, "SPIKECRATE_STORE": str(scratch / "runs")}
    seeds = count()

    def study() -> float:
        path = scratch / f"run{next(seeds)}.yaml"
        _study(
            path,
            str(recording),
            f"seeds: {[next(seeds) for _ in range(JOBS)]}\nresources: {{runtime: docker}}\n",
        )
        return process([SPIKECRATE, "study.run", str(path), "--jobs", "1"], env=environ)() / JOBS

    def sort() -> float:
        words = ("--cores", "1", "--runtime", "docker", "--output", "-", "--seed", str(next(seeds)))
        return process([SPIKECRATE, "sort", str(recording), *words], env=environ)()

    return {"study": study, "sort": sort}


def _study(path: Path, recordings: str, more: str) -> Study:
    path.write_text(f"recordings: ['{recordings}']\nsorters: [ms4]\n{more}", encoding="utf-8")
    return read_study(path)
