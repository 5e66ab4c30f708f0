"""Run a finished job again from its record: to verify its result, or to restore it."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from spikecrate._util.git import read_git
from spikecrate.catalogue.tools import find
from spikecrate.errors import (
    CommandError,
    RecipeGoneError,
    RecordingChangedError,
    ResultDiffersError,
    SorterNotFoundError,
)
from spikecrate.recordings import identity as content
from spikecrate.recordings import open_recording
from spikecrate.runtimes import choose
from spikecrate.runtimes.gpu import decide, is_present
from spikecrate.sortings import read_firings
from spikecrate.sortings.agreement import agree
from spikecrate.steps.job import Job, build_request, samples_hash
from spikecrate.steps.key import KeyParts, differences
from spikecrate.steps.kinds import RECORDING
from spikecrate.steps.paths import FIRINGS
from spikecrate.steps.request import limits
from spikecrate.steps.run import run_uncached
from spikecrate.steps.sources import current, hash_of, kept
from spikecrate.store import results
from spikecrate.store.file_hashes import FileHashCache, FileState

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Sorter
    from spikecrate.runtimes.contract import Limits
    from spikecrate.sortings.agreement import Agreement
    from spikecrate.steps.sources import Sources
    from spikecrate.store import Store
    from spikecrate.store.results import Stored


@dataclass(frozen=True, kw_only=True)
class RerunOutcome:
    """The outcome of running a job again.

    Attributes
    ----------
    key : str
        The job key.
    equal : bool
        Whether `firings.mda` has the same bytes.
    before, now : dict
        The earlier run and this one: `blake3`, `units`, `events`, `runtime`, `image`, `wall_s`.
    agreement : dict or None
        The agreement of the two sortings; None where they are equal or the earlier one is not available.
    folder : str or None
        The folder of the result; None where it was not to be kept.
    """

    key: str
    equal: bool
    before: dict[str, Any]
    now: dict[str, Any]
    agreement: dict[str, Any] | None
    folder: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that `--json` prints."""
        return asdict(self)


def rerun(
    told: Stored,
    *,
    runtime: str,
    recording: Path | str | None,
    cores: int | None,
    keep: bool,
    store: Store,
    progress: Progress,
) -> RerunOutcome:
    """Run a job from its record alone and compare the result with the record.

    Parameters
    ----------
    told : Stored
        The job, from `spikecrate.steps.resolve`.
    runtime : str
        The runtime; empty for the one of the earlier run.
    recording : Path or str, optional
        The recording, if it has moved; by default the path in the record.
    cores : int, optional
        Processors; by default as in the earlier run, but no more than are available.
    keep : bool
        Whether to add the result to the store if the store has none of this job. An existing one is never replaced.
    store : Store
        The store for the run, the kept recipes and the result.
    progress : Progress
        Receives the sorter's log.

    Raises
    ------
    ResultDiffersError
        The bytes differ; the details name the difference. With `keep`, the new result is kept all the same.
    RecordingChangedError
        The recording has changed; the message names the changed parts.
    RecipeGoneError
        The sorter has changed and its old version is not available.
    spikecrate.errors.SpikecrateError
        Any error of a run.
    """
    record = told.record
    job = remake(record, recording=recording, store=store, progress=progress)
    job.check()
    request = build_request(job.sorter, job.parts.recipe, job.sources, gpu=job.gpu)
    engine = choose(runtime or record["runtime"], store, progress, request=request)
    compared: list[Agreement] = []

    def use(built: Path, new: dict[str, Any]) -> RerunOutcome:
        equal = _hash(record) == _hash(new)
        if not equal and (told.folder / FIRINGS).is_file():
            rate = job.recording.layout.sampling_frequency
            compared.append(agree(*(read_firings(folder / FIRINGS, rate) for folder in (told.folder, built))))
        folder = None
        if keep:
            stored = results.find(store, job.key, progress.note) or results.publish(store, job.key, built)
            folder = str(stored.folder)
        return RerunOutcome(
            key=job.key,
            equal=equal,
            before=_outcome(record),
            now=_outcome(new),
            agreement=compared[0].as_dict() if compared else None,
            folder=folder,
        )

    given = _limits(record, job, cores)
    done = run_uncached(
        job, runtime=engine, request=request, limits=given, store=store, progress=progress, use=use
    )
    if not done.equal:
        raise _differs(done, compared[0].sentence() if compared else "")
    return done


def remake(record: dict[str, Any], *, recording: Path | str | None, store: Store, progress: Progress) -> Job:
    """Describe a job from its record, with the same key, or raise an error that names what has changed.

    Raises
    ------
    RecordingChangedError, RecipeGoneError
        See `rerun`.
    RecordingNotFoundError and its kin
        The recording cannot be read.
    """
    parts = KeyParts(**record["key_parts"])
    sorter, sources = _sources(record, parts, store)
    asked = {None: "auto", True: "on", False: "off"}[parts.gpu]
    on_gpu = decide(sorter.name, sorter.gpu, asked, present=is_present())
    opened = open_recording(recording or record["recording"]["path"])
    opened.require_utf8_paths()
    state = FileState.of(opened.sample_file)
    samples = samples_hash(opened, state, FileHashCache(store.memo), progress)
    identity = content.identity(opened, samples)
    if identity != parts.inputs.get(RECORDING):
        changed = differences({**parts.as_dict(), "inputs": {RECORDING: identity}}, parts.as_dict())
        message = f"{opened.path} differs from the recording that was sorted: {'; '.join(changed)}"
        raise RecordingChangedError(message, next_step="name the original recording: --recording DIR")
    return Job(sorter=sorter, recording=opened, state=state, parts=parts, sources=sources, gpu=on_gpu)


def _sources(record: dict[str, Any], parts: KeyParts, store: Store) -> tuple[Sorter, Sources]:
    """Find the sources of the job's image: in the catalogue if unchanged, else in the store."""
    try:
        sorter = find(parts.tool)
    except SorterNotFoundError:
        now = "the catalogue no longer has that sorter"
        repository = None
    else:
        sources = current(sorter)
        recipe = hash_of(sorter, sources)
        if recipe == parts.recipe:
            return sorter, sources
        now, repository = f"it is {recipe[:12]} now", sorter.folder
    found = kept(parts.tool, parts.recipe, store)
    if found is not None:
        return found
    message = (
        f"{parts.tool} had the recipe {parts.recipe[:12]} when the job ran, {now}, "
        "and this store has no copy of its sources"
    )
    raise RecipeGoneError(message, next_step=_way_back(record, repository))


def _way_back(record: dict[str, Any], folder: Path | None) -> str:
    """Return the command that restores the old version of the sorter, where git can."""
    state = record["sorter"].get("catalogue") or {}
    commit = state.get("commit")
    if folder is None or not isinstance(commit, str):
        return "set SPIKECRATE_SORTERS to a folder with the old version of the sorter"
    try:
        root = read_git(folder, "rev-parse", "--show-toplevel")
        read_git(folder, "cat-file", "-e", f"{commit}^{{commit}}")
    except CommandError:
        return f"check out commit {commit} of the sorter's repository"
    words = ["git", "-C", root, "worktree", "add", f"{root}-{commit[:12]}", commit]
    edited = "; it had been edited since that commit" if state.get("dirty") else ""
    return f"{shlex.join(words)} and run this command in that folder{edited}"


def _limits(record: dict[str, Any], job: Job, cores: int | None) -> Limits:
    """Return the limits of the earlier run without its time limit: another machine may need longer."""
    had, available = record["limits"].get("cores"), limits(None, None, None).cores
    usual = min(had, available) if isinstance(had, int) and had > 0 else None
    return limits(job.parts.cores or cores or usual, record["limits"].get("memory_bytes"), None)


def _hash(record: dict[str, Any]) -> str | None:
    value = record["files"].get(FIRINGS, {}).get("blake3")
    return value if isinstance(value, str) else None


def _outcome(record: dict[str, Any]) -> dict[str, Any]:
    image = record.get("image") or {}
    return {
        "blake3": _hash(record),
        **{name: record[name] for name in ("units", "events", "runtime", "wall_s")},
        "image": image.get("digest"),
    }


def _differs(done: RerunOutcome, agreement: str) -> ResultDiffersError:
    before, now = done.before, done.now
    message = (
        f"job {done.key[:12]} gave a different result: {now['events']} events of {now['units']} units "
        f"(BLAKE3 {str(now['blake3'])[:12]}), before {before['events']} of {before['units']} "
        f"({str(before['blake3'])[:12]})"
    )
    return ResultDiffersError(
        f"{message}; {agreement}" if agreement else message,
        next_step="spikecrate sort RECORDING --repeat 5 measures how repeatable the sorter is",
        details=done.as_dict(),
    )
