"""A finished job, run once more from its record: to prove its result, or to have it back."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from spikecrate._util.process import capture
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
class Again:
    """What came of running a job once more.

    Attributes
    ----------
    key : str
        The job's.
    equal : bool
        Whether `firings.mda` came out with the same bytes.
    before, now : dict
        Of the record, and of this run: `blake3`, `units`, `events`, `runtime`, `image`, `wall_s`.
    agreement : dict or None
        How far the two sortings agree, where they differ and the earlier one is at hand.
    folder : str or None
        Where the result lies; None where nothing was to be kept.
    """

    key: str
    equal: bool
    before: dict[str, Any]
    now: dict[str, Any]
    agreement: dict[str, Any] | None
    folder: str | None

    def as_dict(self) -> dict[str, Any]:
        """Give it as `--json` prints it."""
        return asdict(self)


def run_again(
    told: Stored,
    *,
    runtime: str,
    recording: Path | str | None,
    cores: int | None,
    keep: bool,
    store: Store,
    progress: Progress,
) -> Again:
    """Run a job from its record alone and hold what comes out to what the record says.

    Parameters
    ----------
    told : Stored
        The job, as `spikecrate.steps.resolve` found it.
    runtime : str
        Where; empty for where it ran before.
    recording : Path or str, optional
        Where the recording lies now; by default where it lay.
    cores : int, optional
        By default as many as it had, or as many as there are.
    keep : bool
        Put the result into the store where the store has none of this job. One that it has is never replaced.
    store : Store
        For the run, what recipes were made from, and the result.
    progress : Progress
        Gets the sorter's log.

    Raises
    ------
    ResultDiffersError
        With how they differ; what was to be kept is kept nevertheless.
    RecordingChangedError
        Where the recording is another by now; the message names the parts.
    RecipeGoneError
        Where what the image was made from is nowhere at hand.
    spikecrate.errors.SpikecrateError
        As any run.
    """
    record = told.record
    job = remake(record, recording=recording, store=store, progress=progress)
    job.check()
    request = build_request(job.sorter, job.parts.recipe, job.sources, gpu=job.gpu)
    engine = choose(runtime or record["runtime"], store, progress, request=request)
    compared: list[Agreement] = []

    def use(built: Path, new: dict[str, Any]) -> Again:
        equal = _hash(record) == _hash(new)
        if not equal and (told.folder / FIRINGS).is_file():
            rate = job.recording.layout.sampling_frequency
            compared.append(agree(*(read_firings(folder / FIRINGS, rate) for folder in (told.folder, built))))
        folder = None
        if keep:
            stored = results.find(store, job.key, progress.note) or results.publish(store, job.key, built)
            folder = str(stored.folder)
        return Again(
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
    """Describe a job anew from its record; its key is the record's, or an error says what is another now.

    Raises
    ------
    RecordingChangedError, RecipeGoneError
        As `run_again`.
    RecordingNotFoundError and its kin
        From the recording.
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
    if identity != parts.recording:
        changed = differences({**parts.as_dict(), "recording": identity}, parts.as_dict())
        message = f"{opened.path} is not the recording that was sorted: {'; '.join(changed)}"
        raise RecordingChangedError(message, next_step="name the recording as it was: --recording DIR")
    return Job(sorter=sorter, recording=opened, state=state, parts=parts, sources=sources, gpu=on_gpu)


def _sources(record: dict[str, Any], parts: KeyParts, store: Store) -> tuple[Sorter, Sources]:
    """Find what the job's image was made from: in the catalogue where that is unchanged, else kept in the store."""
    try:
        sorter = find(parts.sorter)
    except SorterNotFoundError:
        now = "the catalogue has no such sorter now"
        repository = None
    else:
        sources = current(sorter)
        recipe = hash_of(sorter, sources)
        if recipe == parts.recipe:
            return sorter, sources
        now, repository = f"it is {recipe[:12]} now", sorter.folder
    found = kept(parts.sorter, parts.recipe, store)
    if found is not None:
        return found
    message = (
        f"{parts.sorter} was recipe {parts.recipe[:12]} when the job ran, {now}, "
        "and this store did not keep what it was made from"
    )
    raise RecipeGoneError(message, next_step=_way_back(record, repository))


def _way_back(record: dict[str, Any], folder: Path | None) -> str:
    """Give the command that brings the sorter back as it was, where git can."""
    state = record["sorter"].get("catalogue") or {}
    commit = state.get("commit")
    if folder is None or not isinstance(commit, str):
        return "name the folder that holds the sorter as it was in SPIKECRATE_SORTERS"
    try:
        root = capture(["git", "-C", folder, "rev-parse", "--show-toplevel"], timeout=10)
        capture(["git", "-C", folder, "cat-file", "-e", f"{commit}^{{commit}}"], timeout=10)
    except CommandError:
        return f"find the repository of the sorter and check out commit {commit}"
    words = ["git", "-C", root, "worktree", "add", f"{root}-{commit[:12]}", commit]
    edited = "; it had been edited since that commit" if state.get("dirty") else ""
    return f"{shlex.join(words)} and run this command in that folder{edited}"


def _limits(record: dict[str, Any], job: Job, cores: int | None) -> Limits:
    """Give what it had, but for the time: another machine may need longer."""
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


def _differs(done: Again, agreement: str) -> ResultDiffersError:
    before, now = done.before, done.now
    message = (
        f"job {done.key[:12]} gave another result this time: {now['events']} events of {now['units']} units "
        f"(BLAKE3 {str(now['blake3'])[:12]}), before {before['events']} of {before['units']} "
        f"({str(before['blake3'])[:12]})"
    )
    return ResultDiffersError(
        f"{message}; {agreement}" if agreement else message,
        next_step="spikecrate sort RECORDING --repeat 5 says how repeatable the sorter is",
        details=done.as_dict(),
    )
