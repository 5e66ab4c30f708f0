"""Run a finished job again from its record: to verify its result, or to restore it."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate._util.git import read_git
from spikecrate._util.quantities import counted
from spikecrate.catalogue.tools import find
from spikecrate.errors import (
    CommandError,
    JobNotFoundError,
    RecipeGoneError,
    RecordingChangedError,
    ResultDiffersError,
    SorterNotFoundError,
)
from spikecrate.runtimes import choose
from spikecrate.runtimes.gpu import decide, is_present
from spikecrate.sortings import read_firings
from spikecrate.sortings.comparison.compare import agree
from spikecrate.steps.inputs import open_inputs
from spikecrate.steps.job import Job
from spikecrate.steps.key import KeyParts, differences
from spikecrate.steps.kinds import KINDS, RECORDING
from spikecrate.steps.lineage import command_again, reopen_recorded
from spikecrate.steps.paths import FIRINGS
from spikecrate.steps.record import outputs_hash
from spikecrate.steps.request import Request
from spikecrate.steps.run import run_uncached
from spikecrate.steps.sources import current, hash_of, kept
from spikecrate.store import results
from spikecrate.store.summary import told_maker

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Tool
    from spikecrate.runtimes.contract import Limits
    from spikecrate.sortings.comparison.compare import Agreement
    from spikecrate.steps.inputs import FolderWord, Word
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
        Whether the output has the same bytes.
    before, now : dict
        The earlier run and this one: `blake3` of the output, `runtime`, `image`, `wall_s`; `units` and `events` of a
        sorting.
    agreement : dict or None
        The agreement of two sortings that differ; None where they are equal or the earlier one is not available.
    folder : str or None
        The folder of the result; None unless it was kept.
    """

    key: str
    equal: bool
    before: dict[str, Any]
    now: dict[str, Any]
    agreement: dict[str, Any] | None
    folder: str | None


def rerun(
    earlier: Stored,
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
    earlier : Stored
        The job, from `spikecrate.steps.resolve`.
    runtime : str
        The runtime; empty for the one of the earlier run.
    recording : Path or str, optional
        The recording, if it has moved; by default the path in the record.
    cores : int, optional
        Processors; by default as in the earlier run, but no more than are available.
    keep : bool
        Whether to add the result to the store; an existing result of this job is never replaced.
    store : Store
        The store for the run, the kept recipes and the result.
    progress : Progress
        Receives the tool's log.

    Returns
    -------
    RerunOutcome

    Raises
    ------
    ResultDiffersError
        The bytes differ; the details name the difference. With `keep`, the store has the new result nevertheless.
    RecordingChangedError
        The recording has changed; the message names the changed parts.
    RecipeGoneError
        The tool has changed and its old version is not available.
    spikecrate.errors.SpikecrateError
        Any error of a run.
    """
    record = earlier.record
    job = remake(record, recording=recording, store=store, progress=progress)
    job.check()
    engine = choose(runtime or record["runtime"], store, progress, request=job.build)
    compared: list[Agreement] = []

    def use(built: Path, new: dict[str, Any]) -> RerunOutcome:
        equal = outputs_hash(record) == outputs_hash(new)
        if not equal and job.kind.is_sorting and (earlier.folder / FIRINGS).is_file():
            rate = job.layout.sampling_frequency
            compared.append(
                agree(*(read_firings(folder / FIRINGS, rate) for folder in (earlier.folder, built)))
            )
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
    done = run_uncached(job, runtime=engine, limits=given, store=store, progress=progress, use=use)
    if done.equal:
        return done
    now, before = (_in_words(outcome) for outcome in (done.now, done.before))
    message = f"job {done.key[:12]} gave a different result: {now}, before {before}"
    if compared:
        message += f"; {compared[0].sentence()}"
    raise ResultDiffersError(
        message,
        next_step="spikecrate sort RECORDING --repeat 5 measures how repeatable the sorter is",
        details=asdict(done),
    )


def remake(record: dict[str, Any], *, recording: Path | str | None, store: Store, progress: Progress) -> Job:
    """Describe a job from its record, with the same key.

    Parameters
    ----------
    record : dict
        The run record.
    recording : Path or str, optional
        The recording, if it has moved.
    store : Store
        The store with the kept recipes and other steps.
    progress : Progress
        Shows the progress of hashing.

    Returns
    -------
    Job

    Raises
    ------
    RecordingChangedError
        An input has changed; the message names the changed parts.
    RecipeGoneError
        The tool has changed and its old version is not available.
    JobNotFoundError
        An input is the result of a job that is gone.
    RecordingError
        The recording cannot be read.
    """
    parts = KeyParts(**record["key_parts"])
    tool, sources = _sources(record, parts, store)
    requested = {None: "auto", True: "on", False: "off"}[parts.gpu]
    on_gpu = decide(tool.name, tool.gpu, requested, present=is_present())
    words: dict[str, Word] = {
        name: reopen_recorded(facts, recording if name == RECORDING else None, store, progress)
        if facts["kind"] == "recording"
        else folder_word(facts, store)
        if facts["kind"] == "folder"
        else [folder_word(one, store) for one in facts["folders"]]
        for name, facts in record["inputs"].items()
    }
    inputs = open_inputs(tool.inputs, words, store, progress)
    identities = {name: found.identity for name, found in inputs.items()}
    if identities != parts.inputs:
        changed = differences({**parts.as_dict(), "inputs": identities}, parts.as_dict())
        wrong = next(name for name, identity in identities.items() if identity != parts.inputs.get(name))
        message = (
            f"{inputs[wrong].paths[0]} differs from the {wrong} of the earlier run: {'; '.join(changed)}"
        )
        raise RecordingChangedError(message, next_step="name the original recording: --recording DIR")
    return Job(tool=tool, inputs=inputs, parts=parts, sources=sources, gpu=on_gpu)


def folder_word(facts: dict[str, Any], store: Store) -> FolderWord:
    """Return how a request names the folder of a run record again.

    Parameters
    ----------
    facts : dict
        The run record's entry of the folder.
    store : Store
        The store.

    Returns
    -------
    Path, str or tuple of Path
        The key of the job that made the folder if the store has it, else its path or files.

    Raises
    ------
    JobNotFoundError
        A job made the folder, and its result is gone; the message names the job, and the next step makes it again.
    """
    key = facts.get("key")
    if facts.get("names"):
        return tuple(Path(facts["path"]) / str(name) for name in facts["names"])
    if isinstance(key, str) and store.result(key).is_dir():
        return key
    if isinstance(key, str) and not Path(facts["path"]).exists():
        message = f"an input is the result of the job {told_maker(facts)}, which is not in the store"
        made = facts.get("made_by")
        step = command_again(made) if made else f"spikecrate job.rerun FOLDER, with a copy of job {key[:12]}"
        raise JobNotFoundError(message, next_step=f"make it again: {step}")
    return str(facts["path"])


def _sources(record: dict[str, Any], parts: KeyParts, store: Store) -> tuple[Tool, Sources]:
    """Return the sources of the job's image: from the catalogue if unchanged, else from the store."""
    try:
        tool = find(parts.tool)
    except SorterNotFoundError:
        now = "the catalogue no longer has that tool"
        repository = None
    else:
        sources = current(tool)
        recipe = hash_of(tool, sources)
        if recipe == parts.recipe:
            return tool, sources
        now, repository = f"it is {recipe[:12]} now", tool.folder
    found = kept(parts.tool, parts.recipe, store)
    if found is not None:
        return found
    message = (
        f"{parts.tool} had the recipe {parts.recipe[:12]} when the job ran, {now}, "
        "and this store has no copy of its sources"
    )
    raise RecipeGoneError(message, next_step=_way_back(record, repository))


def _way_back(record: dict[str, Any], folder: Path | None) -> str:
    """Return the command that restores the old version of the tool, where git has it."""
    state = record["tool"].get("catalogue") or {}
    commit = state.get("commit")
    if folder is None or not isinstance(commit, str):
        return "set SPIKECRATE_SORTERS to a folder with the old version of the tool"
    try:
        root = read_git(folder, "rev-parse", "--show-toplevel")
        read_git(folder, "cat-file", "-e", f"{commit}^{{commit}}")
    except CommandError:
        return f"check out commit {commit} of the tool's repository"
    words = ["git", "-C", root, "worktree", "add", f"{root}-{commit[:12]}", commit]
    edited = "; it had been edited since that commit" if state.get("dirty") else ""
    return f"{shlex.join(words)} and run this command in that folder{edited}"


def _limits(record: dict[str, Any], job: Job, cores: int | None) -> Limits:
    """Return the limits of the earlier run, without its time limit: another machine may need longer."""
    had, available = record["limits"].get("cores"), Request().limits.cores
    usual = min(had, available) if isinstance(had, int) and had > 0 else None
    memory = record["limits"].get("memory_bytes")
    return Request(cores=job.parts.cores or cores or usual, memory_bytes=memory).limits


def _outcome(record: dict[str, Any]) -> dict[str, Any]:
    image = record.get("image") or {}
    return {
        "blake3": outputs_hash(record),
        **{name: record[name] for name in (*KINDS[record["tool"]["kind"]].facts, "runtime", "wall_s")},
        "image": image.get("digest"),
    }


def _in_words(outcome: dict[str, Any]) -> str:
    counts = [
        counted(outcome[name], name.removesuffix("s")) for name in ("units", "events") if name in outcome
    ]
    return ", ".join([*counts, f"BLAKE3 {outcome['blake3'][:12]}"])
