"""Run a step, or find its result in the store: `run`, `load`, and what every verb of this room calls."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spikecrate._util.progress import default_progress
from spikecrate._util.quantities import format_bytes
from spikecrate.api.result import Result
from spikecrate.catalogue.tools import SORTER
from spikecrate.errors import OutputError
from spikecrate.steps.output import STORE_ONLY, is_inside, put, require_usable
from spikecrate.steps.request import SortRequest
from spikecrate.store import open_store
from spikecrate.store.place import system_errors_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording
    from spikecrate.steps.job import Job
    from spikecrate.steps.request import Request, StepRequest
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

    Output = Path | str | Callable[[Job], Path | None] | None


def run(
    request: StepRequest,
    *,
    output: Output = None,
    store: Path | str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run any tool on its inputs, or return the result of an earlier run (a cache hit).

    Parameters
    ----------
    request : StepRequest
        The tool, its inputs and parameters, and what it may use.
    output, store, progress
        As for `sort`.

    Returns
    -------
    Result

    Raises
    ------
    spikecrate.errors.SpikecrateError
        As for `sort`.
    """
    return find_or_run(request, open_store(store), progress or default_progress(), output=output)


def find_or_run(request: Request, store: Store, progress: Progress, *, output: Output = None) -> Result:
    """Sort as `sort` does, with its arguments as one value.

    Parameters
    ----------
    request : Request
        Recording, sorter, parameters and limits.
    store : Store
        Where results are.
    progress : Progress
        Gets notes, log lines and how far the work is.
    output : Path, str or callable, optional
        As for `sort`.

    Returns
    -------
    Result

    Raises
    ------
    spikecrate.errors.SpikecrateError
        Each case has a class and an exit code of its own.
    """
    return find_or_run_stored(request, store, progress, output=output)[0]


def opened(request: SortRequest, store: Store, progress: Progress) -> Recording:
    """Return the recording of a request, opened.

    Parameters
    ----------
    request : SortRequest
        The request.
    store : Store
        Keeps a recording that must be imported.
    progress : Progress
        Shows an import.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingError
        The recording cannot be read.
    """
    from spikecrate.steps.opening import open_any
    from spikecrate.steps.recording_input import RecordingInput

    word = request.recording
    if isinstance(word, RecordingInput):
        return word.recording
    if isinstance(word, (str, Path)):
        return open_any(word, store=store, progress=progress, runtime=request.runtime)
    return word


def find_or_run_stored(
    request: Request, store: Store, progress: Progress, *, output: Output = None
) -> tuple[Result, Stored]:
    """Do as `find_or_run`, and return the result in the store too.

    Parameters
    ----------
    request, store, progress, output
        As for `find_or_run`.

    Returns
    -------
    Result, Stored
    """
    from spikecrate.steps.joined import put_joined, require_joinable
    from spikecrate.store import results

    started = time.monotonic()
    with system_errors_named(store.root):
        if isinstance(request, SortRequest) and isinstance(request.recording, (str, Path)):
            request = replace(request, recording=opened(request, store, progress))
        job = request.job(store, progress)
        job.note_assumptions(progress)
        target = target_of(job, output)
        joined = job.tool.kind == SORTER and len(job.recording.parts) > 1
        stored = None if request.force else results.find(store, job.key, progress.note)
        ran = False
        if stored is None:
            if target is not None:
                (require_joinable if joined else require_usable)(target)
            stored, ran = _run(request, job, store, progress)
        recording = job.recordings[0] if job.recordings else None
        result = _result(stored, "ran" if ran else "cached", target, started, recording)
        if target is not None and joined:
            put_joined(target, {"all": stored}, result.sorting, (), job.recording, store)
        elif target is not None:
            put(stored, target, store)
    return result, stored


def load(folder: Path | str) -> Result:
    """Read a result folder: of the store, a copy, or a crate from another machine.

    Every file is checked against the seal and against the hashes in the crate.

    Parameters
    ----------
    folder : Path or str
        The folder, or its `ro-crate-metadata.json`.

    Returns
    -------
    Result
        With `status` `loaded`.

    Raises
    ------
    ResultCorruptError
        If a file is missing, changed or unreadable; the message names it.
    """
    from spikecrate.steps.resolve import read_folder

    started = time.monotonic()
    return _result(read_folder(Path(folder)), "loaded", None, started)


def _result(
    stored: Stored,
    status: Literal["ran", "cached", "loaded"],
    output: Path | None,
    started: float,
    recording: Recording | None = None,
) -> Result:
    return Result(
        key=stored.record["key"],
        status=status,
        folder=stored.folder,
        output=output,
        record=stored.record,
        elapsed_s=time.monotonic() - started,
        recording=recording,
    )


def _run(request: Request, job: Job, store: Store, progress: Progress) -> tuple[Stored, bool]:
    """Run a job that the store has no result of; return the result, and whether this process ran it."""
    # Imported and checked only on a cache miss: the job of a cache hit was checked before it ran.
    from spikecrate.runtimes import choose
    from spikecrate.steps.estimate import available_memory, estimate
    from spikecrate.steps.run import run as run_job

    job.check()
    expected = estimate(job, store)
    free = request.memory_bytes or available_memory()
    if expected is not None and free is not None and expected.memory_bytes > free:
        whose = "the limit is" if request.memory_bytes else "this machine has free"
        needed = format_bytes(expected.memory_bytes)
        progress.note(f"{job.tool.name} will need about {needed} of memory, {whose} {format_bytes(free)}")
    engine = choose(request.runtime, store, progress, request=job.build)
    title = f"{job.tool.name} ({engine.name})"
    with progress.bar(title, 0, expected_s=None if expected is None else expected.wall_s):
        limits, force = request.limits, request.force
        return run_job(job, runtime=engine, limits=limits, store=store, progress=progress, force=force)


def target_of(job: Job, output: Output) -> Path | None:
    """Return the folder for the user's copy of a result.

    Parameters
    ----------
    job : Job
        The job.
    output : Path, str or callable, optional
        As for `sort`.

    Returns
    -------
    Path or None
        None where the result stays in the store.

    Raises
    ------
    OutputError
        The folder is inside a recording.
    """
    named = output(job) if callable(output) else output
    if named is None or str(named) == STORE_ONLY:
        return None
    for recording in job.recordings:
        if is_inside(Path(named), recording):
            message = f"{named} is inside the recording {recording.path}, where nothing is written"
            raise OutputError(message, next_step="name another folder: --output DIR, or --output -")
    return Path(named).absolute()
