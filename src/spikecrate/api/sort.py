"""Sort a recording, or every group of its channels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spikecrate._util.progress import Once, default_progress
from spikecrate.api.result import GroupedResult, Result
from spikecrate.api.run import find_or_run, find_or_run_stored, opened, target_of
from spikecrate.errors import SpikecrateError, StoppedError
from spikecrate.steps.request import SortRequest
from spikecrate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.api.run import Output
    from spikecrate.recordings import Recording
    from spikecrate.store.results import Stored


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
    recording = opened(request, shelf, shown)
    views = recording.by_group()
    inputs = hash_recordings(RECORDING, list(views.values()), shelf, shown)
    requests = {name: replace(request, recording=found) for name, found in zip(views, inputs, strict=True)}
    target = target_of(next(iter(requests.values())).job(shelf, shown), output)
    if target is not None:
        require_joinable(target)
    done: dict[str, tuple[Result, Stored]] = {}
    failed: list[SpikecrateError] = []
    for place, (name, one) in enumerate(requests.items(), start=1):
        shown.note(f"group {name}, {place} of {len(views)}: channels {', '.join(views[name].channel_ids)}")
        try:
            done[name] = find_or_run_stored(one, shelf, shown)
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
    sorting, units = join_groups(
        {name: result.sorting for name, result in results.items()},
        {name: result.units for name, result in results.items()},
        channels,
    )
    if target is not None:
        put_joined(
            target, {name: stored for name, (_, stored) in done.items()}, sorting, units, recording, shelf
        )
    return GroupedResult(
        results=results,
        sorting=sorting,
        units=units,
        channel_ids=tuple(recording.channel_ids),
        output=target,
    )
