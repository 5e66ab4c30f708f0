"""What a script calls: `spikecrate.sort`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spikecrate.errors import OutputError, UsageError
from spikecrate.jobs.job import Job, describe
from spikecrate.jobs.plan import Plan, plan
from spikecrate.output import is_inside, put
from spikecrate.progress import Silent
from spikecrate.sorters import check, validate
from spikecrate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spikecrate.images.build import BuildRequest
    from spikecrate.progress import Progress
    from spikecrate.runtimes.task import Limits
    from spikecrate.sorters import Sorter
    from spikecrate.sortings import Sorting
    from spikecrate.store import Store
    from spikecrate.store.results import Stored


@dataclass(frozen=True, kw_only=True)
class Result:
    """A sorting, and what it is the sorting of.

    Attributes
    ----------
    key : str
        The job key, 64 hex digits.
    status : str
        `ran`: made by this call. `cached`: found in the store.
    folder : Path
        The result in the store.
    output : Path or None
        The copy that was put where the user keeps things.
    record : dict
        The run record: what went in, what ran, what came out.
    elapsed_s : float
        How long this call took; `record["wall_s"]` is how long the sorter took when it ran.
    """

    key: str
    status: Literal["ran", "cached"]
    folder: Path
    output: Path | None
    record: dict[str, Any]
    elapsed_s: float

    @cached_property
    def sorting(self) -> Sorting:
        """Spike times (samples), unit labels and unit ids, as numpy arrays."""
        from spikecrate.jobs.paths import FIRINGS
        from spikecrate.sortings import read_firings

        layout = self.record["recording"]["layout"]
        return read_firings(self.folder / FIRINGS, layout["sampling_frequency"])

    def as_dict(self) -> dict[str, Any]:
        """Give the result as `--json` prints it."""
        record = self.record
        return {
            "key": self.key,
            "status": self.status,
            "folder": str(self.folder),
            "output": None if self.output is None else str(self.output),
            "sorter": record["sorter"]["name"],
            "version": record["sorter"]["version"],
            "recipe": record["recipe"],
            "image": record["image"] or record["environment"],
            "runtime": record["runtime"],
            "units": record["units"],
            "events": record["events"],
            "wall_s": record["wall_s"],
            "elapsed_s": round(self.elapsed_s, 4),
        }


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What `sort` would do, for `--dry-run`.

    Attributes
    ----------
    job : Job
        What is asked for.
    plan : Plan
        Hit, wait or run, and why.
    runtime : str
        Where it would run.
    image : str
        In what.
    argv : list of str
        The exact command line.
    """

    job: Job
    plan: Plan
    runtime: str
    image: str
    argv: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Give the forecast as `--json` prints it."""
        return {
            "key": self.job.key,
            "action": self.plan.action,
            "reasons": list(self.plan.reasons),
            "nearest": self.plan.nearest,
            "runtime": self.runtime,
            "image": self.image,
            "argv": self.argv,
        }


def sort(
    recording: Path | str,
    *,
    sorter: str = "ms4",
    params: Mapping[str, Any] | None = None,
    runtime: str = "auto",
    output: Path | str | Callable[[Job], Path | None] | None = None,
    cores: int | None = None,
    gpu: str = "auto",
    memory_bytes: int | None = None,
    timeout_s: float | None = None,
    seed: int = 0,
    force: bool = False,
    store: Path | str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Sort a recording, or find the sorting that was made of it before.

    Parameters
    ----------
    recording : Path or str
        A recording in any of the formats of docs/recordings.md. It is read in place and never written to.
    sorter : str
        Name or alias in the catalogue.
    params : mapping, optional
        Parameters that differ from the sorter's defaults.
    runtime : str
        `docker`, `apptainer`, `host`, or `auto`: the first that this machine has.
    output : Path, str or callable, optional
        Folder for a copy of the result; a callable is given the job and names the folder, or None. By default
        the result stays in the store alone.
    cores : int, optional
        Processors for the sorter; by default all that this process may use.
    gpu : str
        `on`, `off`, or `auto`: where the sorter uses one and the machine has one.
    memory_bytes : int, optional
        Memory limit; by default none.
    timeout_s : float, optional
        Time limit for the sorter in seconds; by default none.
    seed : int
        Handed to the sorter; part of the job key.
    force : bool
        Run the job although its result is in the store, and replace that.
    store : Path or str, optional
        By default `SPIKECRATE_STORE`, else `/tmp/spikecrate-<uid>`.
    progress : Progress, optional
        Gets notes, log lines and how far things are; by default nothing is shown.

    Returns
    -------
    Result

    Raises
    ------
    spikecrate.errors.SpikecrateError
        Each case has a class and an exit code of its own; docs/troubleshoot.md lists them.
    """
    started = time.monotonic()
    progress = progress or Silent()
    opened = open_store(store)
    limits = _limits(cores, memory_bytes, timeout_s)
    job = describe(
        recording,
        sorter=sorter,
        parameters=params or {},
        seed=seed,
        cores=limits.cores,
        gpu=gpu,
        store=opened,
        progress=progress,
    )
    target = _target(job, output)
    from spikecrate.store import results

    stored = None if force else results.find(opened, job.key, progress.note)
    ran = False
    if stored is None:
        stored, ran = _run(job, runtime, limits, opened, progress, force=force)
    if target is not None:
        put(stored, target)
    return Result(
        key=job.key,
        status="ran" if ran else "cached",
        folder=stored.folder,
        output=target,
        record=stored.record,
        elapsed_s=time.monotonic() - started,
    )


def forecast(
    recording: Path | str,
    *,
    sorter: str = "ms4",
    params: Mapping[str, Any] | None = None,
    runtime: str = "auto",
    cores: int | None = None,
    gpu: str = "auto",
    memory_bytes: int | None = None,
    timeout_s: float | None = None,
    seed: int = 0,
    force: bool = False,
    store: Path | str | None = None,
    progress: Progress | None = None,
) -> Forecast:
    """Say what `sort` would do with the same arguments, and why; nothing runs.

    Raises
    ------
    spikecrate.errors.SpikecrateError
        Where `sort` would refuse the arguments.
    """
    from spikecrate.jobs.paths import WorkPaths
    from spikecrate.jobs.run import make_task
    from spikecrate.runtimes import choose

    progress = progress or Silent()
    opened = open_store(store)
    limits = _limits(cores, memory_bytes, timeout_s)
    job = describe(
        recording,
        sorter=sorter,
        parameters=params or {},
        seed=seed,
        cores=limits.cores,
        gpu=gpu,
        store=opened,
        progress=progress,
    )
    _check_job(job)
    request = build_request(job.sorter, job.parts.recipe)
    engine = choose(runtime, opened, progress, request=request)
    image = engine.preview(request)
    task = make_task(job, image, limits, WorkPaths(opened.work / f"{job.key}-attempt"), opened)
    return Forecast(
        job=job,
        plan=plan(job, opened, progress, force=force),
        runtime=engine.name,
        image=image.reference,
        argv=engine.command(task),
    )


def build_request(sorter: Sorter, recipe: str) -> BuildRequest:
    """Say what a sorter's image or environment is made from."""
    from spikecrate.images.build import BuildRequest

    return BuildRequest(
        name=sorter.name,
        folder=sorter.folder,
        version=sorter.version,
        title=sorter.title,
        description=sorter.description,
        license=sorter.license,
        url=sorter.url,
        entrypoint=sorter.entrypoint,
        python=sorter.python,
        recipe=recipe,
    )


def _run(
    job: Job, runtime: str, limits: Limits, store: Store, progress: Progress, *, force: bool
) -> tuple[Stored, bool]:
    # Imported and checked only when something has to run: a hit was checked when it was made.
    from spikecrate.jobs.run import run
    from spikecrate.runtimes import choose

    _check_job(job)
    _note_spike_sign(job, progress)
    request = build_request(job.sorter, job.parts.recipe)
    outcome = run(
        job,
        runtime=choose(runtime, store, progress, request=request),
        request=request,
        limits=limits,
        store=store,
        progress=progress,
        force=force,
    )
    return outcome.stored, outcome.ran


def _check_job(job: Job) -> None:
    check(job.sorter.folder)
    validate(job.sorter, job.parts.parameters)


def _note_spike_sign(job: Job, progress: Progress) -> None:
    """Say so where the recording names the sign of its spikes and the sorter is told another."""
    sign, asked = job.recording.spike_sign, job.parts.parameters.get("detect_sign")
    if sign is not None and asked is not None and sign != asked:
        progress.note(
            f"the recording says that its spikes have sign {sign}, {job.sorter.name} looks for sign {asked}: "
            f"--param detect_sign={sign} takes the recording's"
        )


def _limits(cores: int | None, memory_bytes: int | None, timeout_s: float | None) -> Limits:
    from spikecrate.runtimes.task import Limits

    available = len(os.sched_getaffinity(0))
    if cores is not None and not 1 <= cores <= available:
        message = f"{cores} cores were asked for, this process may use {available}"
        raise UsageError(message, next_step=f"--cores 1 to {available}")
    if memory_bytes is not None and memory_bytes < 64 * 2**20:
        message = f"a memory limit of {memory_bytes} bytes is too small to start Python in"
        raise UsageError(message, next_step="--memory 4G")
    if timeout_s is not None and timeout_s <= 0:
        message = f"a time limit of {timeout_s} s leaves no time"
        raise UsageError(message, next_step="--timeout 2h")
    return Limits(cores=cores or available, memory_bytes=memory_bytes, timeout_s=timeout_s)


def _target(job: Job, output: Path | str | Callable[[Job], Path | None] | None) -> Path | None:
    named = output(job) if callable(output) else output
    if named is None:
        return None
    if is_inside(Path(named), job.recording):
        message = f"{named} lies inside the recording {job.recording.folder}, where nothing is written"
        raise OutputError(message, next_step="name a folder elsewhere: --output DIR, or --output -")
    return Path(named).absolute()
