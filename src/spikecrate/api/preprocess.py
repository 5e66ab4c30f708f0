"""Preprocess a recording: a step of the tool `preprocess`, whose environment has SpikeInterface.

The tool sees samples, gains and places; names, groups and gaps of the channels go to it as parameters, so that the new
recording has them too.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.nearest import nearest
from spikecrate._util.progress import default_progress
from spikecrate.api.run import find_or_run
from spikecrate.catalogue.parameters import complete, validate
from spikecrate.catalogue.tools import find
from spikecrate.errors import JobFailedError, ParameterValueError, UsageError
from spikecrate.recordings import Recording, open_recording
from spikecrate.recordings.views import group_names, named_channels
from spikecrate.steps.kinds import KINDS, PREPROCESS, RECORDING
from spikecrate.steps.opening import open_any
from spikecrate.steps.request import StepRequest
from spikecrate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.api.result import Result
    from spikecrate.api.run import Output

TOOL: Final = "preprocess"
SHOW: Final = f"run spikecrate sorters.show {TOOL} for the operations and their parameters"
ASSUMED: Final = ("gain_uv", "probe")
"""What a new recording.json leaves out if it was assumed of the recording."""


@dataclass(frozen=True, kw_only=True)
class Preprocessed:
    """A recording that was preprocessed.

    Attributes
    ----------
    result : Result
        The result of the step, with its key, status, run record and the user's copy.
    """

    result: Result

    @property
    def folder(self) -> Path:
        """The folder of the new recording: in the user's copy, else in the store."""
        return (self.result.output or self.result.folder) / KINDS[PREPROCESS].folder

    @cached_property
    def recording(self) -> Recording:
        """The new recording, opened; `sort` takes it."""
        return open_recording(self.folder)

    @cached_property
    def channels(self) -> list[dict[str, str]]:
        """Of each channel of the old recording `channel`, `label` (good, dead, noise, out, named) and `action`."""
        found: list[dict[str, str]] = json.loads((self.folder / "channels.json").read_bytes())
        return found

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The operations, with all of their parameters."""
        steps: list[dict[str, Any]] = self.result.parameters["steps"]
        return steps

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        done, layout = self.result, self.recording.layout
        return {
            **self.result.run_facts,
            "folder": str(self.folder),
            "steps": self.steps,
            "dtype": layout.dtype,
            "num_channels": layout.num_channels,
            "num_samples": layout.num_samples,
            "sampling_frequency": layout.sampling_frequency,
            "channels": self.channels,
            "warnings": done.warnings,
        }


def preprocess(
    recording: Recording | Path | str,
    steps: Sequence[Mapping[str, Any]],
    *,
    params: Mapping[str, Any] | None = None,
    output: Output = None,
    store: Path | str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Preprocessed:
    """Preprocess a recording: filter it, subtract a common reference, treat bad channels, in any order.

    Parameters
    ----------
    recording : Recording, Path or str
        A recording, or a view of one.
    steps : sequence of mapping
        The operations in order: each has the field `operation` and the parameters that differ from its defaults;
        docs/preprocess.md lists them.
    params : mapping, optional
        Further parameters of the tool `preprocess`: `dtype`.
    output, store, progress
        As for `sort`.
    **options
        `runtime`, `cores`, `memory_bytes`, `timeout_s`, `seed`, `force` as for `sort`.

    Returns
    -------
    Preprocessed
        With the new `recording`, its `folder`, and what was found of the `channels`.

    Raises
    ------
    ParameterUnknownError, ParameterValueError
        An operation or a parameter is not known, or does not fit the recording.
    UsageError
        No channel would be left.
    spikecrate.errors.SpikecrateError
        As for `sort`.
    """
    shelf, shown = open_store(store), progress or default_progress()
    tool = find(TOOL)
    chosen = complete(tool, {**(params or {}), "steps": steps})
    validate(tool, chosen)
    if not chosen["steps"]:
        message = "no operation is named"
        raise UsageError(message, next_step=SHOW)
    if not isinstance(recording, Recording):
        runtime = options.get("runtime", "auto")
        recording = open_any(recording, store=shelf, progress=shown, runtime=runtime)
    chosen |= _facts(recording, chosen["steps"])
    chosen["steps"] = [
        _fitted(f"steps[{place}]: {step['operation']}", step, recording, chosen)
        for place, step in enumerate(chosen["steps"])
    ]
    _require_channels_left(chosen["steps"], _names(recording, chosen))
    request = StepRequest(tool=TOOL, inputs={RECORDING: recording}, params=chosen, **options)
    try:
        return Preprocessed(result=find_or_run(request, shelf, shown, output=output))
    except JobFailedError as failure:
        # The tool's last line is the reason.
        if failure.details.get("exit_code") != UsageError.exit_code:
            raise
        reason = str(failure).rpartition("\n")[2]
        message = f"{recording.path}: {reason}"
        raise UsageError(message, next_step=SHOW) from None


def _facts(recording: Recording, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parameters that are facts of the recording."""
    ids, groups = recording.channel_ids, recording.groups
    if groups is None and any(step.get("reference") == "group" for step in steps):
        groups = group_names(recording)
    assumed = {found.field for found in recording.assumptions}
    return {
        # Channels of several probes may have one name.
        "channel_ids": list(ids) if len(set(ids)) == len(ids) else [],
        "groups": list(groups or ()),
        "gaps": [[gap.sample, gap.missing] for gap in recording.gaps],
        "spike_sign": recording.spike_sign,
        "assumed": [name for name in ASSUMED if name in assumed],
    }


def _fitted(
    place: str, step: dict[str, Any], recording: Recording, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an operation with the facts of the recording that it needs, or refuse it where it does not fit."""
    layout = recording.layout
    nyquist = layout.sampling_frequency / 2
    edges = [name for name in ("freq", "freq_min", "freq_max") if name in step]
    for name in edges:
        if step[name] >= nyquist:
            message = f"{place}: {name} ({step[name]:g} Hz) must be below half the sampling frequency ({nyquist:g} Hz)"
            raise ParameterValueError(message, next_step=SHOW)
    for low, high, unit in (("freq_min", "freq_max", "Hz"), ("radius_min", "radius_max", "um")):
        if high in step and step[low] >= step[high]:
            message = f"{place}: {low} ({step[low]:g} {unit}) must be below {high} ({step[high]:g} {unit})"
            raise ParameterValueError(message, next_step=SHOW)
    match step:
        case {"operation": "common_reference", "reference": reference}:
            groups = facts["groups"] if reference == "group" else [""] * layout.num_channels
            alone = [name for name, count in Counter(groups).items() if count == 1]
            if alone:
                where = f"group {alone[0]}" if reference == "group" else str(recording.path)
                message = f"{place}: {where} has one channel, whose common reference is the channel itself"
                raise ParameterValueError(message, next_step="leave the operation out")
        case {"channels": words}:
            names = _names(recording, facts)
            found = named_channels(words, names, place, recording)
            return {**step, "channels": [names[index] for index in sorted(found)]}
        case {"operation": "phase_shift", "shifts": []}:
            return {**step, "shifts": _shifts(place, step["probe"], recording)}
        case {"operation": "phase_shift", "shifts": shifts} if len(shifts) != layout.num_channels:
            message = f"{place}: {len(shifts)} shifts for {layout.num_channels} channels"
            raise ParameterValueError(message, next_step="give one a channel")
    return step


def _names(recording: Recording, facts: Mapping[str, Any]) -> list[str]:
    """Return the names by which the tool knows the channels."""
    return facts["channel_ids"] or [str(index + 1) for index in range(recording.layout.num_channels)]


def _require_channels_left(steps: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Refuse an operation that names channels that are gone, or all that are left."""
    left = {*names}
    for place, step in enumerate(steps):
        named, where = {*step.get("channels", ())}, f"steps[{place}]: {step['operation']}"
        if gone := sorted(named - left, key=names.index):
            message = f"{where}: channel {gone[0]} has been removed"
            raise UsageError(message, next_step="leave it out of this operation, or put this one first")
        if named == left:
            message = f"{where}: all {len(left)} channels are named, so that none is left"
            raise UsageError(message, next_step="name fewer channels")
        if step["operation"] == "remove_channels":
            left -= named


def _shifts(place: str, part: str, recording: Recording) -> list[float]:
    """Return the delay of each channel, by the recording's .meta or a probe that the user names."""
    from spikecrate.recordings.formats.neuropixels import part_numbers, probe_shifts
    from spikecrate.recordings.formats.spikeglx import is_stream, sample_shifts

    columns, file = recording.parts[0].channels, recording.files[0]
    if any(other.channels != columns for other in recording.parts):
        message = f"{place}: the files that are joined differ in the columns of their channels"
        raise ParameterValueError(message, next_step="give the shifts, one a channel")
    if not part:
        found = sample_shifts(file, columns) if file.suffix == ".bin" and is_stream(file) else None
        if found is None:
            message = f"{place}: {recording.path} does not say when each of its channels is sampled"
            step = 'name its Neuropixels probe ("probe": "NP1000"), or give the shifts, one a channel'
            raise ParameterValueError(message, next_step=step)
        return found
    if part not in part_numbers():
        message = f"{place}: no Neuropixels probe {part!r} is known{nearest(part, part_numbers())}"
        raise ParameterValueError(message, next_step="give the shifts, one a channel")
    delays = probe_shifts(part)
    if not delays.keys() >= set(columns):
        message = (
            f"{place}: {part} has {len(delays)} channels, the recording has a channel {max(columns) + 1}"
        )
        raise ParameterValueError(
            message, next_step="name the right probe, or give the shifts, one a channel"
        )
    return [delays[column] for column in columns]
