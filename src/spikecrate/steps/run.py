"""Act: run a job to a sealed result, or to a kept failure."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from spikecrate._util.files import disk_full_named, remove_tree
from spikecrate.catalogue.tools import HARNESS_ENTRYPOINT
from spikecrate.errors import (
    DiskFullError,
    JobFailedError,
    JobMemoryError,
    JobTimeoutError,
    ResultInvalidError,
    SpikecrateError,
    StoppedError,
)
from spikecrate.runtimes.contract import JOB, OUT, PIDS_LIMIT, RECORDING, SCRATCH, Mount, Task
from spikecrate.steps.crate import ro_crate
from spikecrate.steps.log import Log
from spikecrate.steps.paths import CRATE, FAILURE, FIRINGS, LOG, RECORD, WorkPaths
from spikecrate.steps.record import now, run_record
from spikecrate.steps.report import read_report
from spikecrate.steps.sources import keep
from spikecrate.steps.sweep import sweep
from spikecrate.store import result_manifest as seal
from spikecrate.store import results
from spikecrate.store.lock import Lock
from spikecrate_harness import main as harness
from spikecrate_harness.job import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest
    from spikecrate.runtimes.contract import Exit, Image, Limits, Runtime
    from spikecrate.steps.job import Job
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

T = TypeVar("T")

FIRINGS_HEADER: Final = 64
EVENT_BYTES: Final = 24
"""Three numbers of eight bytes; there cannot be more events than samples in all channels."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What `run` gives: the result, and whether it was made here or by another process meanwhile."""

    stored: Stored
    ran: bool


def run(
    job: Job,
    *,
    runtime: Runtime,
    request: BuildRequest,
    limits: Limits,
    store: Store,
    progress: Progress,
    force: bool,
) -> Outcome:
    """Run a job once, whoever else asks for it.

    Parameters
    ----------
    job : Job
        What to run.
    runtime : Runtime
        Where.
    request : BuildRequest
        What its image is made from.
    limits : Limits
        What it may use.
    store : Store
        Where the result goes.
    progress : Progress
        Gets the sorter's log, line by line.
    force : bool
        Run it although there is a result.

    Raises
    ------
    JobFailedError, JobMemoryError, JobTimeoutError, ResultInvalidError, DiskFullError
        The failure is kept in the store; nothing else is.
    RecordingChangedError
        Where the recording changed meanwhile.
    """
    lock = Lock(store.lock(job.key))
    waited = lock.acquire(
        lambda owner: progress.note(
            f"job {job.key[:8]} is already running (process {owner.get('pid', '?')} "
            f"on {owner.get('host', '?')}); waiting for its result"
        )
    )
    try:
        if waited or not force:
            stored = results.find(store, job.key, progress.note)
            if stored is not None:
                return Outcome(stored=stored, ran=False)
        for name in sweep(store, runtime, own_key=job.key):
            progress.note(f"removed what a stopped run left: {name}")
        # Not before the wait: what nobody runs in may be pruned meanwhile.
        image = runtime.prepare(request, progress)

        def publish(built: Path, _record: dict[str, Any]) -> Stored:
            return results.publish(store, job.key, built)

        return Outcome(stored=_attempt(job, runtime, image, limits, store, progress, publish), ran=True)
    finally:
        lock.release()


def run_uncached(
    job: Job,
    *,
    runtime: Runtime,
    request: BuildRequest,
    limits: Limits,
    store: Store,
    progress: Progress,
    use: Callable[[Path, dict[str, Any]], T],
) -> T:
    """Run a job although there may be a result of it, and leave that alone.

    Parameters
    ----------
    job, runtime, request, limits, store, progress
        As for `run`.
    use : callable
        Given the finished folder and its run record while the job's lock is held; the folder is removed
        afterwards unless it was moved. What it returns is returned.

    Raises
    ------
    spikecrate.errors.SpikecrateError
        As `run`.
    """
    image = runtime.prepare(request, progress)
    with Lock(store.lock(job.key)):
        return _attempt(job, runtime, image, limits, store, progress, use)


def job_document(job: Job, limits: Limits) -> dict[str, Any]:
    """Give what the harness reads as /job/job.json."""
    return {
        "contract": CONTRACT,
        "key": job.key,
        "sorter": job.sorter.name,
        "parameters": job.parts.parameters,
        "recording": {**job.recording.layout.as_dict(), "file": _inside_name(job)},
        "seed": job.parts.seed,
        "cores": limits.cores,
        "memory_bytes": limits.memory_bytes,
        "gpu": job.gpu,
    }


def make_task(job: Job, image: Image, limits: Limits, paths: WorkPaths, store: Store) -> Task:
    """Say what is mounted, as whom, within which limits."""
    return Task(
        name=paths.name,
        labels={"spikecrate.store": str(store.root), "spikecrate.key": job.key},
        image=image,
        mounts=(
            Mount(source=paths.job, target=JOB),
            _recording_mount(job),
            Mount(source=paths.out, target=OUT, read_only=False),
            Mount(source=paths.scratch, target=SCRATCH, read_only=False),
        ),
        limits=limits,
        user=(os.getuid(), os.getgid()),
        gpu=job.gpu,
    )


def _recording_mount(job: Job) -> Mount:
    """Mount the user's folder; where its sample file is a link that leads out of it, that one file."""
    folder, sample_file = _resolved(job)
    if sample_file.is_relative_to(folder):
        return Mount(source=folder, target=RECORDING)
    return Mount(source=sample_file, target=RECORDING / sample_file.name)


def _inside_name(job: Job) -> str:
    """Name of the sample file as seen under /recording."""
    folder, sample_file = _resolved(job)
    if sample_file.is_relative_to(folder):
        return sample_file.relative_to(folder).as_posix()
    return sample_file.name


def _resolved(job: Job) -> tuple[Path, Path]:
    return job.recording.folder.resolve(), job.recording.sample_file.resolve()


def _attempt(
    job: Job,
    runtime: Runtime,
    image: Image,
    limits: Limits,
    store: Store,
    progress: Progress,
    use: Callable[[Path, dict[str, Any]], T],
) -> T:
    beside = store.work / f"{job.key}-recipe-{secrets.token_hex(4)}"
    keep(job.sorter, job.sources, job.parts.recipe, store, beside)
    paths = WorkPaths.fresh(store.work, job.key)
    try:
        with disk_full_named(store.root):
            paths.make()
            paths.job_json.write_text(json.dumps(job_document(job, limits), indent=1))
            paths.owner.write_text(json.dumps({"runtime": runtime.name, "pid": os.getpid()}))
        task = make_task(job, image, limits, paths, store)
        started = now()
        try:
            with disk_full_named(store.root), Log(paths.log, progress.line) as log:
                ended_as = runtime.run(task, log.write)
            ended = now()
            _obey(ended_as, log.tail, task, job)
            report = _collect(paths, job)
        except StoppedError:
            # The user, a batch system or a closed terminal ended it: no failure of the job.
            raise
        except SpikecrateError as error:
            _keep_failure(store, job, paths, error)
            raise
        job.check_unchanged()
        files = {
            name: {
                "size": (paths.result / name).stat().st_size,
                "blake3": seal.hash_file(paths.result / name),
            }
            for name in (FIRINGS, LOG)
        }
        record = run_record(
            job,
            task=task,
            runtime=runtime.name,
            argv=runtime.command(task),
            seed=job.parts.seed,
            started=started,
            ended=ended,
            ended_as=ended_as,
            report=report,
            files=files,
        )
        with disk_full_named(store.root):
            (paths.result / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False))
            (paths.result / CRATE).write_text(json.dumps(ro_crate(record), indent=1, ensure_ascii=False))
        return use(paths.result, record)
    finally:
        remove_tree(paths.root)


def _obey(ended_as: Exit, tail: str, task: Task, job: Job) -> None:
    """Turn every end but a good one into its error; only the harness keeps the harness's exit codes."""
    keeps_codes = job.sorter.entrypoint == HARNESS_ENTRYPOINT
    last = f"; its last lines:\n{tail}" if tail else ""
    if ended_as.too_many_processes:
        message = f"the sorter had more than {PIDS_LIMIT} processes at once and was ended{last}"
        raise JobFailedError(message, next_step="spikecrate job.logs shows what it did")
    if ended_as.timed_out:
        message = f"the sorter ran into its time limit of {task.limits.timeout_s:g} s{last}"
        raise JobTimeoutError(message, next_step="give it more time: --timeout 4h")
    if ended_as.code == 0:
        return
    if ended_as.out_of_memory or (keeps_codes and ended_as.code == harness.OUT_OF_MEMORY):
        raise _memory_error(ended_as, task, last)
    if keeps_codes and ended_as.code == harness.INVALID_SORTING:
        message = f"what the sorter answered is not a valid sorting{last}"
        raise ResultInvalidError(message, next_step="docs/contract.md says what a sorter must answer")
    if keeps_codes and ended_as.code == harness.DISK_FULL:
        place = task.source(OUT).parent.parent
        message = f"the sorter found no space left in its scratch or output folder, in {place}{last}"
        raise DiskFullError(
            message, next_step="free some space (spikecrate store.gc), or set SPIKECRATE_STORE elsewhere"
        )
    how = f"signal {ended_as.code - 128}" if ended_as.code > 128 else f"exit code {ended_as.code}"
    message = f"the sorter failed with {how}{last}"
    raise JobFailedError(
        message,
        next_step=f"spikecrate job.logs {job.key[:12]} prints its whole log",
        details={"exit_code": ended_as.code},
    )


def _memory_error(ended_as: Exit, task: Task, last: str) -> JobMemoryError:
    had = task.limits.memory_bytes
    if had is None:
        message = f"the sorter ran out of this machine's memory{last}"
        return JobMemoryError(message, next_step="run it where there is more memory, or with fewer --cores")
    message = f"the sorter needed more than the {had / 2**30:.1f} GiB of memory that it was given{last}"
    ask = max(1, round(2 * had / 2**30))
    return JobMemoryError(
        message,
        next_step=f"give it more: --memory {ask}G",
        details={"memory_bytes": had, "peak_memory_bytes": ended_as.peak_memory_bytes},
    )


def _collect(paths: WorkPaths, job: Job) -> dict[str, Any]:
    """Check what the sorter left and put the result folder together; give the harness's report."""
    from spikecrate.sortings.model import read_firings

    for name in (FIRINGS, RECORD):
        path = paths.out / name
        if path.is_symlink() or not path.is_file():
            kind = "a symbolic link" if path.is_symlink() else "missing"
            message = f"/out/{name} is {kind}: the sorter did not keep the container contract"
            raise ResultInvalidError(message, next_step="docs/contract.md says what a sorter must leave")
    layout = job.recording.layout
    _require_size(
        paths.out / FIRINGS, FIRINGS_HEADER + EVENT_BYTES * layout.num_samples * layout.num_channels
    )
    sorting = read_firings(paths.out / FIRINGS, layout.sampling_frequency, num_samples=layout.num_samples)
    if (sorting.channels > layout.num_channels).any():
        message = f"/out/{FIRINGS} names channel {sorting.channels.max()} of {layout.num_channels}"
        raise ResultInvalidError(message, next_step="docs/contract.md says what a sorter must leave")
    report = read_report(paths.out / RECORD)
    report.update(units=len(sorting.unit_ids), events=len(sorting.times))
    with disk_full_named(paths.root):
        (paths.out / FIRINGS).rename(paths.result / FIRINGS)
        (paths.out / RECORD).unlink()
        shutil.copyfile(paths.log, paths.result / LOG)
        shutil.copyfile(paths.job_json, paths.result / "job.json")
        if any(paths.out.iterdir()):
            _refuse_special_files(paths.out)
            paths.out.rename(paths.result / "sorter")
    return report


def _require_size(path: Path, most: int) -> None:
    """Refuse what would fill the memory before it is read."""
    size = path.stat().st_size
    if size > most:
        message = f"/out/{path.name} has {size} bytes; more than {most} cannot be right"
        raise ResultInvalidError(message, next_step="docs/contract.md says what a sorter must leave")


def _refuse_special_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            message = f"the sorter left /out/{path.relative_to(folder)}, a link or a special file"
            raise ResultInvalidError(message, next_step="a sorter may leave files and folders only")


def _keep_failure(store: Store, job: Job, paths: WorkPaths, error: SpikecrateError) -> None:
    """Keep a failure's log and reason, in place of an earlier failure of the same job."""
    folder = store.failure(job.key)
    try:
        remove_tree(folder)
        folder.mkdir(parents=True)
        if paths.log.exists():
            shutil.copyfile(paths.log, folder / LOG)
        what = {
            **error.as_dict(),
            "key": job.key,
            "key_parts": job.parts.as_dict(),
            "recording": str(job.recording.path),
            "at": now().isoformat(),
        }
        (folder / FAILURE).write_text(json.dumps(what, indent=1, ensure_ascii=False))
    except OSError:
        # A full disk is why it failed, and why the reason cannot be kept; the user still sees it.
        return
    error.details.setdefault("log", str(folder / LOG))
