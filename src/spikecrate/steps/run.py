"""Run a job; keep its result in the store, or its log and error where it fails."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any, TypeVar

from spikecrate._util.files import MAX_INNER_PATH, disk_full_named, entries, make_folder, remove_tree
from spikecrate.catalogue.tools import HARNESS_ENTRYPOINT, SORTER
from spikecrate.errors import (
    DiskFullError,
    JobFailedError,
    JobMemoryError,
    JobTimeoutError,
    ResultInvalidError,
    SpikecrateError,
    StoppedError,
)
from spikecrate.runtimes.contract import JOB, OUT, PIDS_LIMIT, SCRATCH, ContainerSpec, Mount
from spikecrate.steps.crate import ro_crate
from spikecrate.steps.kinds import require_file
from spikecrate.steps.log import Log, exception_in
from spikecrate.steps.paths import CRATE, FAILURE, LOG, RECORD, WorkPaths
from spikecrate.steps.record import now, run_record
from spikecrate.steps.report import read_report
from spikecrate.steps.sources import keep
from spikecrate.steps.sweep import sweep
from spikecrate.store import result_manifest as seal
from spikecrate.store import results
from spikecrate.store.lock import Lock
from spikecrate.store.place import concerns
from spikecrate_harness import main as harness
from spikecrate_harness.job import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.runtimes.contract import ExitStatus, Image, Limits, Runtime
    from spikecrate.steps.job import Job
    from spikecrate.steps.kinds import Kind
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

T = TypeVar("T")


def run(
    job: Job,
    *,
    runtime: Runtime,
    limits: Limits,
    store: Store,
    progress: Progress,
    force: bool,
) -> tuple[Stored, bool]:
    """Run a job once, however many processes request it.

    Parameters
    ----------
    job : Job
        The job.
    runtime : Runtime
        The runtime.
    limits : Limits
        Limits of cores, memory and time.
    store : Store
        The store that keeps the result.
    progress : Progress
        Receives the tool's log, line by line.
    force : bool
        Run it even if the store has its result, and replace that result.

    Returns
    -------
    Stored, bool
        The result, and whether this process ran the job rather than waited for another one.

    Raises
    ------
    JobFailedError, JobMemoryError, JobTimeoutError, ResultInvalidError, DiskFullError
        The job failed; the store keeps its log and the error, and no result.
    RecordingChangedError
        An input changed during the run.
    """
    lock = Lock(store.lock(job.key))
    before = results.identity(store, job.key)
    waited = lock.acquire(
        lambda owner: progress.note(
            f"job {job.key[:8]} is already running (process {owner.get('pid', '?')} "
            f"on {owner.get('host', '?')}); waiting for its result"
        )
    )
    try:
        # With `force`, only a result made during the wait counts: `job.verify` locks too and changes none.
        made_meanwhile = waited and results.identity(store, job.key) != before
        if made_meanwhile or not force:
            stored = results.find(store, job.key, progress.note)
            if stored is not None:
                return stored, False
        for name in sweep(store, runtime, own_key=job.key):
            progress.note(f"removed leftovers of a stopped run: {name}")
        for concern in concerns(store):
            progress.note(concern)
        # Prepare only after the wait: `image.prune` may remove an image while no job runs in it.
        image = runtime.prepare(job.build, progress)

        def publish(built: Path, _record: dict[str, Any]) -> Stored:
            return results.publish(store, job.key, built)

        return _attempt(job, runtime, image, limits, store, progress, publish), True
    finally:
        lock.release()


def run_uncached(
    job: Job,
    *,
    runtime: Runtime,
    limits: Limits,
    store: Store,
    progress: Progress,
    use: Callable[[Path, dict[str, Any]], T],
) -> T:
    """Run a job even if the store has its result, and leave that result untouched.

    Parameters
    ----------
    job, runtime, limits, store, progress
        See `run`.
    use : callable
        Receives the finished folder and its run record while this process has the job's lock. The folder is removed
        afterwards unless `use` moves it.

    Returns
    -------
    object
        The return value of `use`.

    Raises
    ------
    spikecrate.errors.SpikecrateError
        Any error that `run` raises.
    """
    image = runtime.prepare(job.build, progress)
    with Lock(store.lock(job.key)):
        return _attempt(job, runtime, image, limits, store, progress, use)


def job_document(job: Job, limits: Limits) -> dict[str, Any]:
    """Return the content of /job/job.json, which the harness reads.

    Parameters
    ----------
    job : Job
        The job.
    limits : Limits
        Its limits.

    Returns
    -------
    dict
    """
    return {
        "contract": CONTRACT,
        "key": job.key,
        "tool": job.tool.name,
        "kind": job.tool.kind,
        "parameters": job.parts.parameters,
        "inputs": {name: found.document for name, found in job.inputs.items()},
        "seed": job.parts.seed,
        "cores": limits.cores,
        "memory_bytes": limits.memory_bytes,
        "gpu": job.gpu,
    }


def make_spec(job: Job, image: Image, limits: Limits, paths: WorkPaths, store: Store) -> ContainerSpec:
    """Return the container to run: its mounts, user and limits.

    Parameters
    ----------
    job, image, limits, paths, store
        The job, its image and limits, the folders of the attempt, and the store.

    Returns
    -------
    ContainerSpec
    """
    return ContainerSpec(
        name=paths.name,
        labels={"spikecrate.store": str(store.root), "spikecrate.key": job.key},
        image=image,
        mounts=(
            Mount(source=paths.job, target=JOB),
            *(mount for found in job.inputs.values() for mount in found.mounts),
            Mount(source=paths.out, target=OUT, read_only=False),
            Mount(source=paths.scratch, target=SCRATCH, read_only=False),
        ),
        limits=limits,
        user=(os.getuid(), os.getgid()),
        gpu=job.gpu,
    )


def _attempt(
    job: Job,
    runtime: Runtime,
    image: Image,
    limits: Limits,
    store: Store,
    progress: Progress,
    use: Callable[[Path, dict[str, Any]], T],
) -> T:
    staging = store.work / f"{job.key}-recipe-{secrets.token_hex(4)}"
    keep(job.tool, job.sources, job.parts.recipe, store, staging)
    paths = WorkPaths.fresh(store.work, job.key)
    try:
        with disk_full_named(store.root):
            paths.make()
            paths.job_json.write_text(json.dumps(job_document(job, limits), indent=1), encoding="utf-8")
            paths.owner.write_text(
                json.dumps({"runtime": runtime.name, "pid": os.getpid()}), encoding="utf-8"
            )
        spec = make_spec(job, image, limits, paths, store)
        started = now()
        try:
            with disk_full_named(store.root), Log(paths.log, progress.line) as log:
                ended_as = runtime.run(spec, log.write)
            ended = now()
            _obey(ended_as, log.tail, spec, job)
            report, facts = _collect(paths, job)
        except StoppedError:
            # The user, a batch system or a closed terminal stopped the job, so it did not fail.
            raise
        except SpikecrateError as error:
            _keep_failure(store, job, paths, error)
            raise
        job.check_unchanged(report.get("opened"), progress)
        files = {
            name: {
                "size": (paths.result / name).stat().st_size,
                "blake3": seal.hash_file(paths.result / name),
            }
            for name in (*_outputs(paths.result, job.kind), LOG)
        }
        record = run_record(
            job,
            spec=spec,
            runtime=runtime.name,
            argv=runtime.command(spec),
            started=started,
            ended=ended,
            ended_as=ended_as,
            report=report,
            facts=facts,
            files=files,
        )
        with disk_full_named(store.root):
            for name, content in ((RECORD, record), (CRATE, ro_crate(record))):
                text = json.dumps(content, indent=1, ensure_ascii=False)
                (paths.result / name).write_text(text, encoding="utf-8")
        return use(paths.result, record)
    finally:
        remove_tree(paths.root)


def _obey(ended_as: ExitStatus, tail: str, spec: ContainerSpec, job: Job) -> None:
    """Raise the error for an exit status; the harness's exit codes count only where the harness ran."""
    keeps_codes = job.tool.entrypoint == HARNESS_ENTRYPOINT
    kind = SORTER if job.tool.kind == SORTER else "tool"
    told = "" if job.tool.kind == SORTER else exception_in(tail)
    last = f": {told}" if told else f"; its last lines:\n{tail}" if tail else ""

    def failure(
        error: type[SpikecrateError], problem: str, next_step: str, **details: Any
    ) -> SpikecrateError:
        return error(f"the {kind} {problem}{last}", next_step=next_step, details=details)

    if ended_as.too_many_processes:
        problem = f"started more than {PIDS_LIMIT} processes at once and was stopped"
        raise failure(JobFailedError, problem, "read its log: spikecrate job.logs")
    if ended_as.timed_out:
        problem = f"exceeded its time limit of {spec.limits.timeout_s:g} s"
        raise failure(JobTimeoutError, problem, "give it more time: --timeout 4h")
    if ended_as.code == 0:
        return
    if ended_as.out_of_memory or (keeps_codes and ended_as.code == harness.OUT_OF_MEMORY):
        had, problem = spec.limits.memory_bytes, "ran out of this machine's memory"
        if had is None:
            next_step = "run it on a machine with more memory, or with fewer --cores"
            raise failure(JobMemoryError, problem, next_step)
        problem = f"needed more than the {had / 2**30:.1f} GiB of memory that it had"
        next_step = f"give it more: --memory {max(1, round(2 * had / 2**30))}G"
        peak = ended_as.peak_memory_bytes
        raise failure(JobMemoryError, problem, next_step, memory_bytes=had, peak_memory_bytes=peak)
    if keeps_codes and ended_as.code == harness.INVALID_SORTING:
        next_step = "see docs/contract.md for the valid forms of a sorting"
        raise failure(ResultInvalidError, "returned no valid sorting", next_step)
    if keeps_codes and ended_as.code == harness.DISK_FULL:
        place = spec.source(OUT).parent.parent
        message = f"no space is left in the {kind}'s scratch or output folder, in {place}{last}"
        raise DiskFullError(
            message, next_step="free some space (spikecrate store.gc), or set SPIKECRATE_STORE elsewhere"
        )
    how = f"signal {ended_as.code - 128}" if ended_as.code > 128 else f"exit code {ended_as.code}"
    next_step = f"spikecrate job.logs {job.key[:12]} prints the whole log"
    raise failure(JobFailedError, f"failed with {how}", next_step, exit_code=ended_as.code)


def _collect(paths: WorkPaths, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the output and assemble the result folder; return the harness's report and the facts of the kind."""
    kind = job.kind
    files = kind.files_in(paths.out)
    for name in (*files, RECORD):
        require_file(paths.out / name)
    facts = kind.check(paths.out, job) if kind.check else {}
    report = {**read_report(paths.out / RECORD), **facts}
    with disk_full_named(paths.root):
        for name in files:
            (paths.out / name).rename(paths.result / name)
        (paths.out / RECORD).unlink()
        shutil.copyfile(paths.log, paths.result / LOG)
        shutil.copyfile(paths.job_json, paths.result / "job.json")
        if any(paths.out.iterdir()):
            _refuse_special_files(paths.out)
            paths.out.rename(paths.result / kind.folder)
    return report, facts


def _outputs(folder: Path, kind: Kind) -> list[str]:
    """Return the files that the run record lists: those of the kind, or all if the kind names none."""
    if kind.files or not (folder / kind.folder).is_dir():
        return list(kind.files_in(folder))
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(entries(folder / kind.folder))
        if path.is_file()
    ]


def _refuse_special_files(folder: Path) -> None:
    try:
        for path in entries(folder):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                message = f"/out/{path.relative_to(folder)} is a link or a special file"
                raise ResultInvalidError(message, next_step="write only files and folders to /out")
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        message = f"/out has paths longer than {MAX_INNER_PATH} bytes"
        raise ResultInvalidError(message, next_step="write fewer levels of folders to /out") from None


def _keep_failure(store: Store, job: Job, paths: WorkPaths, error: SpikecrateError) -> None:
    """Keep the log and the error of a failure; they replace those of an earlier failure of the same job."""
    folder = store.failure(job.key)
    try:
        remove_tree(folder)
        make_folder(folder)
        if paths.log.exists():
            shutil.copyfile(paths.log, folder / LOG)
        what = {
            **error.as_dict(),
            "key": job.key,
            "key_parts": job.parts.as_dict(),
            "inputs": {name: {"path": found.facts["path"]} for name, found in job.inputs.items()},
            "at": now().isoformat(),
        }
        (folder / FAILURE).write_text(json.dumps(what, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError:
        # A full disk causes both errors; the user sees the first one.
        return
    error.details.setdefault("log", str(folder / LOG))
