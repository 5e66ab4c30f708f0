"""The public calls: `spikecrate.sort` and `spikecrate.load`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spikecrate._util.progress import default_progress
from spikecrate._util.quantities import format_bytes
from spikecrate.errors import OutputError
from spikecrate.steps.output import STORE_ONLY, is_inside, put, require_usable
from spikecrate.steps.request import SortRequest
from spikecrate.store import open_store
from spikecrate.store.place import system_errors_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spikecrate._util.progress import Progress
    from spikecrate.sortings import Sorting
    from spikecrate.steps.job import Job
    from spikecrate.steps.request import Request, StepRequest
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

    Output = Path | str | Callable[[Job], Path | None] | None


@dataclass(frozen=True, kw_only=True)
class Result:
    """A sorting, and its run record.

    Attributes
    ----------
    key : str
        The job key, 64 hex digits.
    status : str
        `ran`: made by this call. `cached`: a cache hit. `loaded`: read from a folder.
    folder : Path
        The result in the store; for `loaded`, the folder that was read.
    output : Path or None
        The user's copy.
    record : dict
        The run record: inputs, run and outputs.
    elapsed_s : float
        Duration of this call; `record["wall_s"]` is that of the sorter's run.
    """

    key: str
    status: Literal["ran", "cached", "loaded"]
    folder: Path
    output: Path | None
    record: dict[str, Any]
    elapsed_s: float

    def __repr__(self) -> str:
        """Return sorter, counts, status and folder, on one line."""
        record, sorter = self.record, self.record["tool"]
        counts = f": {record['units']} units, {record['events']} events" if "units" in record else ""
        return f"Result({sorter['name']} {sorter['version']}{counts}; {self.status}; {str(self.output or self.folder)!r})"

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter of the run, defaults included."""
        parameters: dict[str, Any] = self.record["parameters"]
        return parameters

    @property
    def warnings(self) -> list[str]:
        """Reasons why the result may not be what you expect, such as too few spikes to make a unit."""
        # A record of an earlier version has none.
        warnings: list[str] = self.record.get("warnings", [])
        return warnings

    @cached_property
    def sorting(self) -> Sorting:
        """Spike times (samples), unit labels and channels (from 0), as numpy arrays."""
        from spikecrate.sortings import read_firings
        from spikecrate.steps.paths import FIRINGS

        layout = self.record["inputs"]["recording"]["layout"]
        return read_firings(
            self.folder / FIRINGS, layout["sampling_frequency"], num_samples=layout["num_samples"]
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the result as `--json` prints it."""
        record = self.record
        return {
            "key": self.key,
            "status": self.status,
            "folder": str(self.folder),
            "output": None if self.output is None else str(self.output),
            "sorter": record["tool"]["name"],
            "version": record["tool"]["version"],
            "recipe": record["recipe"],
            "image": record["image"] or record["environment"],
            "runtime": record["runtime"],
            **{name: record[name] for name in ("units", "events") if name in record},
            "warnings": self.warnings,
            "wall_s": record["wall_s"],
            "elapsed_s": round(self.elapsed_s, 4),
        }


def sort(
    recording: Path | str,
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
    recording : Path or str
        A recording in any of the formats of docs/recordings.md. It is read in place and never written to.
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
    from spikecrate.store import results

    started = time.monotonic()
    with system_errors_named(store.root):
        job = request.job(store, progress)
        job.note_assumptions(progress)
        target = _target(job, output)
        stored = None if request.force else results.find(store, job.key, progress.note)
        ran = False
        if stored is None:
            if target is not None:
                require_usable(target)
            stored, ran = _run(request, job, store, progress)
        if target is not None:
            put(stored, target, store)
    return _result(stored, "ran" if ran else "cached", target, started)


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
    stored: Stored, status: Literal["ran", "cached", "loaded"], output: Path | None, started: float
) -> Result:
    return Result(
        key=stored.record["key"],
        status=status,
        folder=stored.folder,
        output=output,
        record=stored.record,
        elapsed_s=time.monotonic() - started,
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
            message = f"{named} is inside the recording {recording.folder}, where nothing is written"
            raise OutputError(message, next_step="name another folder: --output DIR, or --output -")
    return Path(named).absolute()
