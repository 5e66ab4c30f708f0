"""Run one job of a study: what `spikecrate study.work STUDY --index N` calls, on every engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spikecrate import api
from spikecrate.errors import SpikecrateError, StoppedError, UsageError
from spikecrate.steps.kinds import RECORDING
from spikecrate.steps.output import STORE_ONLY
from spikecrate.steps.recording_input import hash_recordings
from spikecrate.steps.request import SortRequest
from spikecrate.store import results
from spikecrate.studies.attempts import Attempts
from spikecrate.studies.plan import load_plan
from spikecrate.studies.planning import open_planned

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.store import Store
    from spikecrate.studies.attempts import Attempt
    from spikecrate.studies.plan import Plan, PlannedJob


def work(folder: Path, index: int, store: Store, progress: Progress) -> None:
    """Run a job of a frozen plan, or find its result, and note how the attempt ended.

    Parameters
    ----------
    folder : Path
        The study's folder.
    index : int
        Number of the job.
    store : Store
        The store of the plan.
    progress : Progress
        Receives the sorter's log.

    Raises
    ------
    UsageError
        The plan has no such job, or its recording or sorter has changed since.
    spikecrate.errors.SpikecrateError
        The job failed.
    """
    plan = load_plan(folder)
    if not 0 <= index < len(plan.jobs):
        message = f"--index {index}: the plan has {len(plan.jobs)} jobs"
        raise UsageError(message, next_step=f"choose a number from 0 to {len(plan.jobs) - 1}")
    job = plan.jobs[index]
    if job.key is None:
        words = job.problem.message if job.problem else "it has no key"
        message = f"job {index} cannot run: {words}"
        raise UsageError(message, next_step="mend it, then spikecrate study.run STUDY --replan")
    progress.note(f"job {index}: {plan.title(index)}, {job.key[:12]}")
    attempts = Attempts(folder)
    with attempts.running(job.key) as attempt:
        try:
            _run(plan, job, job.key, attempt, store, progress)
        except (StoppedError, KeyboardInterrupt):
            attempts.write(job.key, replace(attempt, state="stopped"))
            raise
        except Exception as error:
            told = (
                error
                if isinstance(error, SpikecrateError)
                else SpikecrateError(f"{type(error).__name__}: {error}")
            )
            attempts.write(job.key, replace(attempt, state="failed", error=told.as_dict()))
            raise
        attempts.write(job.key, replace(attempt, state="finished"))


def _run(plan: Plan, job: PlannedJob, key: str, attempt: Attempt, store: Store, progress: Progress) -> None:
    # The recording may be gone by now; a result is a result.
    if results.find(store, key, progress.note) is not None:
        return
    resources = plan.resources
    planned, variant = plan.recordings[job.recording], plan.variants[job.variant]
    recording = open_planned(planned, store, progress, runtime=resources.runtime)
    (hashed,) = hash_recordings(RECORDING, [recording], store, progress)
    request = SortRequest(
        recording=hashed,
        sorter=variant.sorter,
        params=variant.params,
        runtime=resources.runtime,
        cores=resources.cores,
        gpu=resources.gpu,
        memory_bytes=(attempt.memory_bytes or resources.memory_bytes) if resources.memory_bytes else None,
        timeout_s=attempt.timeout_s or job.timeout_s,
        seed=job.seed,
    )
    if request.job(store, progress).key != key:
        message = f"the recording {planned.path} or the sorter {variant.sorter} has changed since the plan of {plan.made}"
        raise UsageError(message, next_step="make the plan anew: spikecrate study.run STUDY --replan")
    api.find_or_run(request, store, progress, output=STORE_ONLY)
