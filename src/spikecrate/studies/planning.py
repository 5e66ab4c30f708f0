"""Plan a study: open and hash each recording once, and give every job its key, its limits and a forecast."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spikecrate._util.canonical import digest
from spikecrate._version import __version__
from spikecrate.catalogue.tools import SORTER, find, require
from spikecrate.errors import SpikecrateError, StoppedError, UsageError
from spikecrate.recordings.probe import at_shared_places
from spikecrate.recordings.views import group_names
from spikecrate.steps.estimate import judge, runs_of, shipped_runs
from spikecrate.steps.key import differences
from spikecrate.steps.kinds import RECORDING
from spikecrate.steps.opening import open_any
from spikecrate.steps.output import is_inside
from spikecrate.steps.paths import TRUTH
from spikecrate.steps.recording_input import hash_recordings
from spikecrate.steps.request import SortRequest
from spikecrate.store import summary
from spikecrate.studies.expand import expand
from spikecrate.studies.plan import Plan, PlannedJob, PlannedRecording, PlannedVariant, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Tool
    from spikecrate.recordings import Recording
    from spikecrate.steps.estimate import Estimate, Run
    from spikecrate.steps.job import Job
    from spikecrate.steps.key import KeyParts
    from spikecrate.steps.recording_input import RecordingInput
    from spikecrate.store import Store
    from spikecrate.studies.definition import Study, Variant
    from spikecrate.studies.expand import Found

COMPARED: Final = 5
"""The latest results of a sorter on a recording with which a job is compared, to tell what is new about it."""


class _Input(NamedTuple):
    planned: PlannedRecording
    hashed: RecordingInput | None
    same_place: list[str]
    """Names of the channels that share a place with another."""


class _Measured(NamedTuple):
    tool: Tool
    runs: list[Run]
    disk_bytes: int | None
    """Median size of its results in the store."""


class _Sorter(NamedTuple):
    planned: PlannedVariant
    job: Job | None
    """Its job on one of the recordings, with which those on the others have all but the recording in common."""
    measured: _Measured


def make_plan(study: Study, store: Store, progress: Progress) -> Plan:
    """Plan every job of a study; nothing runs but the import of recordings that cannot be read in place.

    Parameters
    ----------
    study : Study
        The study.
    store : Store
        The store with the cache of hashes and with measured runs.
    progress : Progress
        Shows how far the hashes are.

    Returns
    -------
    Plan
        A recording or a sorter that fails has its `problem`, and its jobs do not run.

    Raises
    ------
    StudyInvalidError
        A path of the study does not exist.
    UsageError
        The study's folder would lie inside a recording.
    """
    inputs = [one for found in expand(study) for one in _inputs(found, study, store, progress)]
    usable = next((one.hashed for one in inputs if one.hashed is not None), None)
    rows = list(summary.results(store))
    measured = {
        name: _measured(find(name, kind=SORTER), store, rows)
        for name in dict.fromkeys(variant.sorter for variant in study.variants)
    }
    sorters = [
        _sorter(variant, measured[variant.sorter], usable, study, store, progress)
        for variant in study.variants
    ]
    earlier = _earlier(store, progress)
    jobs = [
        _job(place, one, number, sorter, seed, study, store, earlier)
        for place, one in enumerate(inputs)
        for number, sorter in enumerate(sorters)
        for seed in study.seeds
    ]
    return Plan(
        name=study.name,
        study=str(study.path),
        content=study.content,
        version=__version__,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        store=str(store.root),
        comparison=study.comparison,
        resources=study.resources,
        recordings=tuple(one.planned for one in inputs),
        variants=tuple(sorter.planned for sorter in sorters),
        jobs=tuple(jobs),
    )


def open_planned(planned: PlannedRecording, store: Store, progress: Progress, *, runtime: str) -> Recording:
    """Open a recording of a plan where it lies.

    Parameters
    ----------
    planned : PlannedRecording
        The recording.
    store : Store
        Keeps a recording that must be imported.
    progress : Progress
        Shows an import.
    runtime : str
        Where an import runs.

    Returns
    -------
    Recording
        The group, of one that names a group.

    Raises
    ------
    RecordingError
        It cannot be read.
    """
    options = {"probe": planned.probe} if planned.probe else {}
    opened = open_any(planned.path, store=store, progress=progress, runtime=runtime, **options)
    return opened.view(group=planned.group) if planned.group else opened


def problem_of(error: SpikecrateError) -> Problem:
    """Return why a job cannot run.

    Parameters
    ----------
    error : SpikecrateError
        The error.

    Returns
    -------
    Problem
    """
    return Problem(kind=type(error).__name__, message=str(error).splitlines()[0])


def _inputs(found: Found, study: Study, store: Store, progress: Progress) -> Iterator[_Input]:
    entry = found.entry
    planned = PlannedRecording(
        name=found.name,
        study_set=found.study_set,
        tags=list(entry.tags),
        path=str(found.path),
        probe=entry.probe,
        group="",
        truth=entry.truth,
        exhaustive=entry.exhaustive,
    )
    try:
        whole = open_planned(planned, store, progress, runtime=study.resources.runtime)
        views = whole.by_group() if entry.by_group else {"": whole}
        hashed = hash_recordings(RECORDING, list(views.values()), store, progress)
    except StoppedError:
        raise
    except SpikecrateError as error:
        progress.note(f"{found.path} cannot be opened: {error}")
        yield _Input(replace(planned, problem=problem_of(error)), None, [])
        return
    if is_inside(study.folder, whole):
        message = f"{study.folder} would lie inside the recording {whole.path}, where nothing is written"
        raise UsageError(message, next_step=f"move {study.path.name} to another folder")
    truth = (whole.path if whole.path.is_dir() else whole.path.parent) / TRUTH
    groups = group_names(whole) if entry.by_group else ()
    for (group, view), one in zip(views.items(), hashed, strict=True):
        facts = replace(
            planned,
            name=f"{found.name}:{group}" if group else found.name,
            group=group,
            places=[channel for channel, name in enumerate(groups) if name == group],
            truth=entry.truth or (str(truth) if truth.is_file() else ""),
            channels=view.layout.num_channels,
            duration_s=view.duration_s,
            sampling_frequency=view.layout.sampling_frequency,
            content=digest(one.identity),
        )
        shared = at_shared_places(view.layout.locations)
        yield _Input(facts, one, [view.channel_ids[channel] for channel in shared])


def _measured(tool: Tool, store: Store, rows: Iterable[summary.Summary]) -> _Measured:
    sizes = [row.size_bytes for row in rows if row.sorter == tool.name]
    return _Measured(
        tool=tool,
        runs=[*runs_of(tool.name, store), *shipped_runs(tool)],
        disk_bytes=round(statistics.median(sizes)) if sizes else None,
    )


def _sorter(
    variant: Variant,
    measured: _Measured,
    usable: RecordingInput | None,
    study: Study,
    store: Store,
    progress: Progress,
) -> _Sorter:
    tool = measured.tool
    planned = PlannedVariant(name=variant.name, sorter=tool.name, version=tool.version, params=variant.params)
    if usable is None:
        return _Sorter(planned, None, measured)
    resources = study.resources
    request = SortRequest(
        recording=usable, sorter=tool.name, params=variant.params, cores=resources.cores, gpu=resources.gpu
    )
    try:
        job = request.job(store, progress)
        return _Sorter(replace(planned, recipe=job.parts.recipe), job, measured)
    except StoppedError:
        raise
    except SpikecrateError as error:
        return _Sorter(replace(planned, problem=problem_of(error)), None, measured)


def _earlier(store: Store, progress: Progress) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the key parts of the latest results by tool and samples, and under no tool by samples alone."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in sorted(summary.history(store, progress), key=lambda record: str(record["started"])):
        parts = record["key_parts"]
        samples = parts.get("inputs", {}).get(RECORDING, {}).get("samples")
        for tool in (parts.get("tool"), ""):
            found[tool, samples].append(parts)
    return {place: results[-COMPARED:] for place, results in found.items()}


def _why(parts: KeyParts, earlier: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Return what is new about a job against the earlier result that is nearest to it."""
    samples = parts.inputs[RECORDING]["samples"]
    mine = parts.as_dict()
    if (parts.tool, samples) in earlier:
        changes = min(
            (differences(mine, theirs) for theirs in reversed(earlier[parts.tool, samples])), key=len
        )
        return "; ".join(changes[:3]) + (f"; {len(changes) - 3} more" if len(changes) > 3 else "")
    if ("", samples) in earlier:
        return f"the store has no result of {parts.tool} on this recording"
    return "the store has no result on this recording"


def _job(
    place: int,
    one: _Input,
    number: int,
    sorter: _Sorter,
    seed: int,
    study: Study,
    store: Store,
    earlier: dict[tuple[str, str], list[dict[str, Any]]],
) -> PlannedJob:
    planned = PlannedJob(recording=place, variant=number, seed=seed)
    problem = one.planned.problem or sorter.planned.problem
    if one.hashed is None or sorter.job is None:
        return replace(planned, problem=problem)
    layout, duration_s = one.hashed.recording.layout, one.hashed.recording.duration_s
    try:
        require(
            sorter.job.tool, channels=layout.num_channels, duration_s=duration_s, same_place=one.same_place
        )
    except SpikecrateError as error:
        return replace(planned, problem=problem_of(error))
    expected: Estimate | None = judge(layout.num_samples * layout.num_channels, sorter.measured.runs)
    parts = replace(sorter.job.parts, seed=seed, inputs={RECORDING: one.hashed.identity})
    key = parts.key
    return replace(
        planned,
        key=key,
        timeout_s=study.resources.timeout_s(duration_s),
        gpu=sorter.job.gpu,
        memory_bytes=None if expected is None else expected.memory_bytes,
        wall_s=None if expected is None else expected.wall_s,
        disk_bytes=sorter.measured.disk_bytes,
        why="" if store.result(key).exists() else _why(parts, earlier),
    )
