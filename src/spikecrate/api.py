"""The public calls: `spikecrate.sort`, `sort_by_group`, `analyze`, `run` and `load`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spikecrate._util.progress import Once, default_progress
from spikecrate._util.quantities import format_bytes
from spikecrate.catalogue.tools import SORTER
from spikecrate.errors import OutputError, SpikecrateError, StoppedError
from spikecrate.steps.output import STORE_ONLY, is_inside, put, require_usable
from spikecrate.steps.request import SortRequest
from spikecrate.steps.result import GroupedResult, Result
from spikecrate.store import open_store
from spikecrate.store.place import system_errors_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording
    from spikecrate.steps.analysis import Analysis
    from spikecrate.steps.job import Job
    from spikecrate.steps.request import Request, StepRequest
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

    Output = Path | str | Callable[[Job], Path | None] | None


def sort(
    recording: Recording | Path | str,
    *,
    sorter: str = "ms4",
    params: Mapping[str, Any] | None = None,
    runtime: str = "auto",
    output: Output = None,
    cores: int | None = None,
    gpu: str = "auto",
    memory_bytes: int | None = None,
    timeout_s: float | None = None,
    seed: int = 0,
    force: bool = False,
    store: Path | str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Sort a recording, or return the result of an earlier run (a cache hit).

    Parameters
    ----------
    recording : Recording, Path or str
        A recording in any of the formats of docs/recordings.md, or a view of one. It is read in place and never
        written to.
    sorter : str
        Name or alias in the catalogue.
    params : mapping, optional
        Parameters that differ from the sorter's defaults.
    runtime : str
        `docker`, `apptainer`, `host`, or `auto`: the first that this machine has.
    output : Path, str or callable, optional
        Folder for a copy of the result; a callable gets the job and returns the folder, or None. By default,
        and for "-", the result stays in the store only.
    cores : int, optional
        Processors for the sorter; by default all that this process may use.
    gpu : str
        `on`, `off`, or `auto`: where the sorter uses one and the machine has one.
    memory_bytes : int, optional
        Memory limit; by default none.
    timeout_s : float, optional
        Time limit for the sorter in seconds; by default none.
    seed : int
        Seed for the sorter; part of the job key.
    force : bool
        Run the job despite a cache hit, and replace the result.
    store : Path or str, optional
        By default `SPIKECRATE_STORE`, else `~/.cache/spikecrate` (or in `$XDG_CACHE_HOME`).
    progress : Progress, optional
        Gets notes, log lines and how far the work is; by default a bar in a Jupyter notebook, else nothing.

    Returns
    -------
    Result
        With `sorting`, `record`, `folder` and `output`.

    Raises
    ------
    spikecrate.errors.SpikecrateError
        Each case has a class and an exit code of its own; docs/troubleshoot.md lists them.
    """
    request = SortRequest(
        recording=recording,
        sorter=sorter,
        params=params or {},
        runtime=runtime,
        cores=cores,
        gpu=gpu,
        memory_bytes=memory_bytes,
        timeout_s=timeout_s,
        seed=seed,
        force=force,
    )
    return find_or_run(request, open_store(store), progress or default_progress(), output=output)


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


def analyze(
    result: Result | Path | str,
    *,
    recording: Recording | Path | str | None = None,
    output: Output = None,
    store: Path | str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Analysis:
    """Analyze a sorting: quality metrics, templates, correlograms and locations of its units.

    Parameters
    ----------
    result : Result, Path or str
        The sorting; also its result folder, or the first digits of its job key.
    recording : Recording, Path or str, optional
        The recording, or where it is now; by default where it was sorted.
    output, store, progress
        As for `sort`.
    **options
        `params` of the tool `analyze`; `runtime`, `cores`, `memory_bytes`, `timeout_s`, `seed`, `force` as for `sort`.

    Returns
    -------
    Analysis
        With `units` and `metrics`, and the `folder` that SpikeInterface opens.

    Raises
    ------
    RecordingChangedError
        The sorting is of another recording.
    spikecrate.errors.SpikecrateError
        As for `sort`.
    """
    from spikecrate.steps.analysis import Analysis, analysis_request
    from spikecrate.steps.resolve import find_job

    shelf, shown = open_store(store), progress or default_progress()
    if isinstance(result, Result):
        folder, record = result.folder, result.record
        recording = result.recording if recording is None else recording
    else:
        stored = find_job(str(result), shelf, shown)
        folder, record = stored.folder, stored.record
    request = analysis_request(folder, record, recording=recording, store=shelf, progress=shown, **options)
    return Analysis(result=find_or_run(request, shelf, shown, output=output))


def sort_by_group(
    request: SortRequest,
    *,
    output: Output = None,
    store: Path | str | None = None,
    progress: Progress | None = None,
) -> GroupedResult:
    """Sort every shank, tetrode or probe of a recording by itself, and join the sortings.

    The recording is read once for the hashes of all groups; each group is a job with a key of its own.

    Parameters
    ----------
    request : SortRequest
        The recording, the sorter and its parameters.
    output, store, progress
        As for `sort`; a callable gets the job of the first group.

    Returns
    -------
    GroupedResult

    Raises
    ------
    spikecrate.errors.SpikecrateError
        As for `sort`; the other groups are sorted nevertheless.
    """
    from spikecrate.recordings.views import group_names
    from spikecrate.sortings.join import join_groups
    from spikecrate.steps.joined import put_joined, require_joinable
    from spikecrate.steps.kinds import RECORDING
    from spikecrate.steps.recording_input import hash_recordings

    shelf, shown = open_store(store), Once(progress or default_progress())
    recording = _opened(request, shelf, shown)
    views = recording.by_group()
    inputs = hash_recordings(RECORDING, list(views.values()), shelf, shown)
    requests = {name: replace(request, recording=found) for name, found in zip(views, inputs, strict=True)}
    target = _target(next(iter(requests.values())).job(shelf, shown), output)
    if target is not None:
        require_joinable(target)
    done: dict[str, tuple[Result, Stored]] = {}
    failed: list[SpikecrateError] = []
    for place, (name, one) in enumerate(requests.items(), start=1):
        shown.note(f"group {name}, {place} of {len(views)}: channels {', '.join(views[name].channel_ids)}")
        try:
            done[name] = _find_or_run(one, shelf, shown)
        except StoppedError:
            raise
        except SpikecrateError as error:
            error.args = (f"group {name}: {error}",)
            failed.append(error)
    for further in failed[1:]:
        shown.note(str(further))
    if failed:
        raise failed[0]
    groups = group_names(recording)
    channels = {name: [index for index, group in enumerate(groups) if group == name] for name in views}
    results = {name: result for name, (result, _stored) in done.items()}
    sorting, units = join_groups({name: result.sorting for name, result in results.items()}, channels)
    if target is not None:
        put_joined(
            target, {name: stored for name, (_, stored) in done.items()}, sorting, units, recording, shelf
        )
    return GroupedResult(results=results, sorting=sorting, units=units, output=target)


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
    return _find_or_run(request, store, progress, output=output)[0]


def _opened(request: SortRequest, store: Store, progress: Progress) -> Recording:
    """Return the recording of a request, opened."""
    from spikecrate.steps.opening import open_any
    from spikecrate.steps.recording_input import RecordingInput

    word = request.recording
    if isinstance(word, RecordingInput):
        return word.recording
    if isinstance(word, (str, Path)):
        return open_any(word, store=store, progress=progress, runtime=request.runtime)
    return word


def _find_or_run(
    request: Request, store: Store, progress: Progress, *, output: Output = None
) -> tuple[Result, Stored]:
    from spikecrate.steps.joined import put_joined, require_joinable
    from spikecrate.store import results

    started = time.monotonic()
    with system_errors_named(store.root):
        if isinstance(request, SortRequest) and isinstance(request.recording, (str, Path)):
            request = replace(request, recording=_opened(request, store, progress))
        job = request.job(store, progress)
        job.note_assumptions(progress)
        target = _target(job, output)
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
        analyzer=analyze,
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


def _target(job: Job, output: Output) -> Path | None:
    named = output(job) if callable(output) else output
    if named is None or str(named) == STORE_ONLY:
        return None
    for recording in job.recordings:
        if is_inside(Path(named), recording):
            message = f"{named} is inside the recording {recording.path}, where nothing is written"
            raise OutputError(message, next_step="name another folder: --output DIR, or --output -")
    return Path(named).absolute()
