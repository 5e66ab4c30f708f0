"""Run a study on this machine: freeze the plan, submit what has no result, watch until all has ended."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from spikecrate._util.files import make_folder
from spikecrate.batch.engine import ResourceClass
from spikecrate.batch.local import Capacity, Local
from spikecrate.catalogue.tools import find
from spikecrate.errors import SpikecrateError, StoppedError, UsageError
from spikecrate.runtimes import choose
from spikecrate.runtimes.gpu import VISIBLE, devices, is_present
from spikecrate.steps.estimate import available_memory
from spikecrate.steps.job import build_request, recipe
from spikecrate.store import results
from spikecrate.store.lock import Lock
from spikecrate.studies.attempts import Attempt, Attempts
from spikecrate.studies.control import LOCK, LOGS, stop_workers
from spikecrate.studies.plan import PLAN, freeze, load_plan
from spikecrate.studies.planning import make_plan
from spikecrate.studies.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.store import Store
    from spikecrate.studies.definition import Study
    from spikecrate.studies.plan import Plan
    from spikecrate.studies.status import JobStatus, StudyStatus

TICK_S: Final = 0.1
LOOK_S: Final = 1.0
"""Seconds between two looks at jobs that a submitter which died has left running."""


class Watcher(Protocol):
    """Is told how far a study is."""

    def begin(self, plan: Plan, hits: int, todo: int) -> None:
        """Receive the plan, and how many jobs have a result and how many run.

        Parameters
        ----------
        plan : Plan
            The frozen plan.
        hits, todo : int
            Numbers of jobs.
        """

    def ended(self, job: JobStatus) -> None:
        """Receive the state of a job that has ended.

        Parameters
        ----------
        job : JobStatus
            The job.
        """

    def tick(self, running: Sequence[int]) -> None:
        """Receive the numbers of the jobs that run, ten times a second.

        Parameters
        ----------
        running : sequence of int
            Numbers of the jobs.
        """


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run.

    Attributes
    ----------
    jobs : int or None
        Most jobs at once; None for as many as fit.
    replan : bool
        Whether to make the plan anew: recordings added or changed, sorters changed.
    retry : bool
        Whether failed jobs run again.
    command : callable or None
        Returns the command line of a worker, by the study's folder and the number of the job; None for
        `worker_command`.
    """

    jobs: int | None = None
    replan: bool = False
    retry: bool = False
    command: Callable[[Path, int], list[str]] | None = None


def worker_command(folder: Path, index: int) -> list[str]:
    """Return the command line that runs one job.

    Parameters
    ----------
    folder : Path
        The study's folder.
    index : int
        Number of the job.

    Returns
    -------
    list of str
    """
    job = ("study.work", str(folder), "--index", str(index), "--verbose")
    return [sys.executable, "-m", "spikecrate", *job]


def run_study(
    study: Study, store: Store, watcher: Watcher, progress: Progress, options: RunOptions
) -> StudyStatus:
    """Run every job of a study that has no result; one that fails stops no other.

    Parameters
    ----------
    study : Study
        The study.
    store : Store
        Keeps the results.
    watcher : Watcher
        Is told how far the study is.
    progress : Progress
        Receives notes; shows hashing and the building of images.
    options : RunOptions
        How to run it.

    Returns
    -------
    StudyStatus

    Raises
    ------
    UsageError
        Another process runs this study.
    StudyInvalidError, DiskFullError
    """
    folder = study.folder
    with _alone(folder):
        plan = _frozen(study, store, progress, replan=options.replan)
        attempts = Attempts(folder)
        if options.retry:
            for job in status_of(plan, folder, store).jobs:
                if job.status == "failed" and job.key is not None:
                    attempts.write(job.key, escalated(plan, job, attempts.read(job.key) or Attempt(number=0)))
        todo, abroad = _open_jobs(plan, folder, store, progress)
        watcher.begin(
            plan, len({job.key for job in plan.jobs if job.key}) - len(todo) - len(abroad), len(todo)
        )
        todo = _with_images(plan, todo, attempts, store, progress)
        engine = Local(
            command=partial(options.command or worker_command, folder),
            log=lambda index: folder / LOGS / f"{plan.jobs[index].key}.log",
            capacity=_capacity(options.jobs),
            reserved=lambda: (
                plan.resources.cores * len(abroad),
                sum(plan.jobs[index].memory_bytes or 0 for index in abroad),
            ),
        )
        try:
            _submit(engine, plan, todo, attempts)
            _watch(engine, plan, folder, store, watcher, abroad)
        except BaseException:
            engine.cancel()
            if abroad:
                stop_workers(attempts)
            raise
        return status_of(plan, folder, store)


def escalated(plan: Plan, job: JobStatus, attempt: Attempt) -> Attempt:
    """Return what a failed job gets at its next attempt: twice the memory or time, where it had too little.

    Parameters
    ----------
    plan : Plan
        The plan.
    job : JobStatus
        The failed job.
    attempt : Attempt
        Its latest attempt.

    Returns
    -------
    Attempt
        Waiting.
    """
    planned, kind = plan.jobs[job.index], job.error.kind if job.error else ""
    memory, timeout_s = attempt.memory_bytes, attempt.timeout_s
    if kind == "JobMemoryError":
        had = memory or plan.resources.memory_bytes or planned.memory_bytes
        memory = 2 * had if had else None
    if kind == "JobTimeoutError":
        limit = timeout_s or planned.timeout_s
        timeout_s = 2 * limit if limit else None
    return replace(attempt, state="waiting", error=None, memory_bytes=memory, timeout_s=timeout_s)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    make_folder(folder)
    lock = Lock(folder / LOCK)
    if not lock.try_acquire():
        owner = lock.owner()
        message = f"process {owner.get('pid', '?')} on {owner.get('host', '?')} runs this study already"
        raise UsageError(
            message, next_step="spikecrate study.status shows how far it is; study.cancel stops it"
        )
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):
            # Empty where the study was refused.
            folder.rmdir()


def _frozen(study: Study, store: Store, progress: Progress, *, replan: bool) -> Plan:
    """Return the plan of an earlier run where the study is the same, else a new one, frozen."""
    if (study.folder / PLAN).exists() and not replan:
        plan = load_plan(study.folder)
        if plan.content == study.content and plan.store == str(store.root):
            _require_same_sorters(plan)
            progress.note(f"going on with the plan of {plan.made}; --replan looks for changed recordings")
            return plan
    with progress.bar(f"planning {study.name}", 0):
        plan = make_plan(study, store, progress)
    freeze(plan, study.folder)
    return plan


def _require_same_sorters(plan: Plan) -> None:
    for variant in plan.variants:
        if variant.recipe and recipe(find(variant.sorter)) != variant.recipe:
            message = f"the sorter {variant.sorter} has changed since the plan of {plan.made}"
            raise UsageError(message, next_step="make the plan anew: spikecrate study.run STUDY --replan")


def _open_jobs(plan: Plan, folder: Path, store: Store, progress: Progress) -> tuple[list[int], set[int]]:
    """Return the jobs that must run, one a key, and those that a process runs already."""
    todo: list[int] = []
    abroad: set[int] = set()
    seen: set[str] = set()
    for job in status_of(plan, folder, store).jobs:
        if job.key is None or job.key in seen:
            continue
        seen.add(job.key)
        if job.status == "running":
            abroad.add(job.index)
        elif job.status in ("waiting", "died", "cancelled") or (
            job.status == "finished" and results.find(store, job.key, progress.note) is None
        ):
            todo.append(job.index)
    return todo, abroad


def _with_images(
    plan: Plan, todo: list[int], attempts: Attempts, store: Store, progress: Progress
) -> list[int]:
    """Make the image of each sorter once; return the jobs whose sorter has one, and note the failure of the others."""
    groups: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for index in todo:
        groups[plan.variants[plan.jobs[index].variant].sorter, plan.jobs[index].gpu].append(index)
    left = []
    for (sorter, gpu), indices in groups.items():
        try:
            tool = find(sorter)
            build = build_request(tool, recipe(tool), gpu=gpu)
            with progress.bar(f"preparing {sorter}", 0):
                choose(plan.resources.runtime, store, progress, request=build).prepare(build, progress)
        except StoppedError:
            raise
        except SpikecrateError as error:
            progress.note(f"{sorter} cannot run: {error}; its {len(indices)} jobs fail")
            for index in indices:
                key = str(plan.jobs[index].key)
                failed = attempts.read(key) or Attempt(number=0)
                attempts.write(key, replace(failed, state="failed", error=error.as_dict()))
        else:
            left += indices
    return left


def _capacity(jobs: int | None) -> Capacity:
    cores = len(os.sched_getaffinity(0))
    if jobs is not None and jobs < 1:
        message = f"--jobs {jobs} is not a positive number"
        raise UsageError(message, next_step="leave it out to run as many as fit")
    named = os.environ.get(VISIBLE)
    gpus = named.split(",") if named else map(str, range(len(devices()) or 1)) if is_present() else ()
    return Capacity(cores=cores, jobs=jobs or cores, memory_bytes=available_memory(), gpus=tuple(gpus))


def _submit(engine: Local, plan: Plan, todo: Sequence[int], attempts: Attempts) -> None:
    """Submit jobs by their resource class, those that are expected to take longest first."""
    classes: dict[ResourceClass, list[int]] = defaultdict(list)
    known = attempts.read_all()
    for index in sorted(todo, key=lambda index: -(plan.jobs[index].wall_s or 0)):
        job = plan.jobs[index]
        attempt = known.get(str(job.key), Attempt())
        resources = ResourceClass(
            cores=plan.resources.cores,
            memory_bytes=attempt.memory_bytes or plan.resources.memory_bytes or job.memory_bytes,
            timeout_s=attempt.timeout_s or job.timeout_s,
            gpu=job.gpu,
        )
        classes[resources].append(index)
    for resources, indices in classes.items():
        engine.submit(resources, indices)


def _watch(engine: Local, plan: Plan, folder: Path, store: Store, watcher: Watcher, abroad: set[int]) -> None:
    """Watch until every job has ended; run those again whose process, left by an earlier run, dies."""
    told: set[int] = set()
    looked = time.monotonic()
    while True:
        states = engine.states()
        for index in [index for index, state in states.items() if state == "ended" and index not in told]:
            told.add(index)
            watcher.ended(status_of(plan, folder, store, [index]).jobs[0])
        if abroad and time.monotonic() - looked > LOOK_S:
            looked = time.monotonic()
            for job in status_of(plan, folder, store, sorted(abroad)).jobs:
                if job.status == "running":
                    continue
                abroad.remove(job.index)
                if job.status == "died":
                    _submit(engine, plan, [job.index], Attempts(folder))
                else:
                    watcher.ended(job)
        running = [index for index, state in states.items() if state == "running"]
        watcher.tick([*running, *sorted(abroad)])
        if not abroad and all(state == "ended" for state in states.values()):
            return
        time.sleep(TICK_S)
