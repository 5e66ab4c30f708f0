"""Preprocess a recording by SpikeInterface, one operation after the other, and write it as a flat file.

The operations are computed in µV as float32; only what is written is rounded.

Sources: spikeinterface 0.105.3 (`preprocessing`, `core.job_tools`); probeinterface 0.4.2.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness.spikeinterface import as_spikeinterface
from spikecrate_harness.stage_progress import StageProgress
from spikecrate_harness.traces import TraceReader, open_traces
from spikecrate_harness.workers import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from spikecrate_harness.resources import Resources

    Step = Mapping[str, Any]

SAMPLES: Final = "traces.raw"
PROBE: Final = "probe.json"
CHUNK: Final = "1s"
"""What a worker computes at once. Fixed, so that each value is always the same, however many workers there are."""
PIECE_BYTES: Final = 64 * 2**20
"""What is mapped at once of a file with sample after sample."""
INT16: Final = np.iinfo(np.int16)
GOOD: Final = "good"
ACTIONS: Final = {"interpolate": "interpolated", "remove": "removed"}
SMALL_INTEGERS: Final = ("i1", "i2", "u1", "u2")
USAGE: Final = 2
"""Exit code of spikecrate's error of usage, which the library raises with the last line of the log."""


class UnfitError(ValueError):
    """An operation does not fit the recording, or leaves no channel."""


@dataclass
class Chain:
    """The recording after the operations so far, and what was done with its channels.

    Attributes
    ----------
    traces : spikeinterface.core.BaseRecording
        In uV, float32; its channel ids are the channels' names.
    groups : dict
        Shank, tetrode or probe by the name of the channel; empty where not known.
    resources : Resources
        Seed, number of worker processes, and the warnings.
    jobs : dict
        How SpikeInterface is to use processes.
    scaled : bool
        Whether the recording gives the gains.
    channels : dict
        Label and action by the name of the channel, for all channels of the recording in order.
    """

    traces: Any
    groups: Mapping[str, str]
    resources: Resources
    jobs: Mapping[str, Any]
    scaled: bool = True
    channels: dict[str, dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with good channels that are kept."""
        self.channels = {name: {"label": GOOD, "action": "kept"} for name in self.names}

    @property
    def names(self) -> list[str]:
        """Names of the channels that are left."""
        return [str(name) for name in self.traces.channel_ids]

    def apply(self, step: Step) -> None:
        """Apply one operation."""
        change = OPERATIONS[step["operation"]]
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UserWarning)
            self.traces = change(self, step)
        for warning in told:
            self.resources.warn(f"{step['operation']}: {warning.message}")

    def treat(self, names: Sequence[str], action: str) -> Any:
        """Return the traces with some channels interpolated, removed or as they were."""
        for name in names:
            self.channels[name]["action"] = ACTIONS.get(action, "kept")
        if action == "report" or not names:
            return self.traces
        if len(names) == len(self.names):
            told = "report them by action=report, or find them by another method"
            message = (
                f"detect_bad_channels: all {len(names)} channels are bad, and none would be left: {told}"
            )
            raise UnfitError(message)
        if action == "remove":
            return self.traces.remove_channels(list(names))
        return interpolated(self.traces, names)


def run(inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path, resources: Resources) -> None:
    """Preprocess a recording, and write the new one to `out`.

    Parameters
    ----------
    inputs : mapping
        `recording`, a TraceReader.
    parameters : mapping
        Those of tool.json.
    out : Path
        An empty folder.
    resources : Resources
        Seed, and number of worker processes.

    An operation that does not fit the recording ends the step with a last line; the harness would print a traceback after
    it.
    """
    try:
        preprocess(inputs["recording"], parameters, out, resources)
    except UnfitError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(USAGE)


def preprocess(
    recording: TraceReader, parameters: Mapping[str, Any], out: Path, resources: Resources
) -> None:
    """Preprocess a recording, and write the new one to `out`; the other arguments are those of `run`.

    Raises
    ------
    UnfitError
        An operation does not fit the recording, or leaves no channel.
    """
    from spikeinterface import preprocessing
    from spikeinterface.core import job_tools

    job_tools.tqdm = StageProgress
    os.register_at_fork(after_in_child=end_with_parent)
    # What the packages plan to change is for their developers.
    for category in (FutureWarning, DeprecationWarning):
        warnings.simplefilter("ignore", category)
    names = parameters["channel_ids"] or [str(index + 1) for index in range(recording.num_channels)]
    traces = preprocessing.scale_to_uV(as_spikeinterface(in_pieces(recording)).rename_channels(names))
    groups = dict(zip(names, parameters["groups"], strict=bool(parameters["groups"])))
    jobs = {"n_jobs": resources.cores, "mp_context": "fork", "pool_engine": "process"}
    chain = Chain(traces, groups, resources, jobs, scaled="gain_uv" not in parameters["assumed"])
    for step in parameters["steps"]:
        chain.apply(step)
    tell_channels(chain, out / "channels.json")
    gains = gains_of(recording, parameters["dtype"])
    kept = [names.index(name) for name in chain.names]
    write_samples(chain, None if gains is None else gains[kept], out / SAMPLES)
    describe(recording, parameters, kept, gains, out)


def in_pieces(recording: TraceReader) -> TraceReader:
    """Return a recording whose files are mapped piece by piece.

    Pages of a mapped file count as memory of the process: it would seem to need as much as the file is long.
    """
    parts, files = [], []
    for part, file in zip(recording.layout.parts, recording.files, strict=True):
        row = part.file_channels * part.itemsize
        step = max(1, PIECE_BYTES // row) if part.time_axis == 0 else part.num_samples
        for start in range(0, part.num_samples, step):
            length = min(step, part.num_samples - start)
            piece = replace(part, start=part.start + start, num_samples=length)
            if part.time_axis == 0:
                offset = part.offset + piece.start * row
                piece = replace(piece, offset=offset, file_samples=length, start=0)
            parts.append(piece)
            files.append(file)
    return open_traces(replace(recording.layout, parts=tuple(parts)), files)


def phase_shift(chain: Chain, step: Step) -> Any:
    """Shift each channel by its delay."""
    from spikeinterface import preprocessing

    if len(step["shifts"]) != len(chain.channels):
        message = f"phase_shift: {len(step['shifts'])} shifts for the {len(chain.channels)} channels of the recording"
        raise UnfitError(message)
    shifts = dict(zip(chain.channels, step["shifts"], strict=True))
    return preprocessing.phase_shift(
        chain.traces,
        margin_ms=step["margin_ms"],
        inter_sample_shift=[shifts[name] for name in chain.names],
    )


def highpass_filter(chain: Chain, step: Step) -> Any:
    """Filter by SpikeInterface's margins of five periods of the edge, however low it is."""
    from spikeinterface import preprocessing

    return preprocessing.highpass_filter(
        chain.traces,
        freq_min=step["freq_min"],
        filter_order=step["order"],
        ignore_low_freq_error=True,
    )


def bandpass_filter(chain: Chain, step: Step) -> Any:
    """Filter by SpikeInterface's margins of five periods of the lower edge, however low it is."""
    from spikeinterface import preprocessing

    return preprocessing.bandpass_filter(
        chain.traces,
        freq_min=step["freq_min"],
        freq_max=step["freq_max"],
        filter_order=step["order"],
        ignore_low_freq_error=True,
    )


def notch_filter(chain: Chain, step: Step) -> Any:
    """Remove one frequency; the traces count as filtered only if they were before."""
    from spikeinterface import preprocessing

    filtered = chain.traces.is_filtered()
    traces = preprocessing.notch_filter(chain.traces, freq=step["freq"], q=step["q"])
    traces.annotate(is_filtered=filtered)
    return traces


def common_reference(chain: Chain, step: Step) -> Any:
    """Subtract the median or mean of all channels, of a group or of a ring."""
    from spikeinterface import preprocessing

    names, local = chain.names, step["reference"] == "local"
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(chain.groups.get(name, "") if step["reference"] == "group" else "", []).append(
            name
        )
    if step["reference"] == "group" and not chain.groups:
        message = "common_reference: the groups of the channels are not known"
        raise UnfitError(message)
    for group, alone in members.items():
        if len(alone) == 1:
            where = f"group {group} has" if group else "there is"
            message = (
                f"common_reference: {where} one channel ({alone[0]}): its reference is the channel itself"
            )
            raise UnfitError(message)
    return preprocessing.common_reference(
        chain.traces,
        reference="local" if local else "global",
        operator=step["operator"],
        groups=list(members.values()) if step["reference"] == "group" else None,
        local_radius=(step["radius_min"], step["radius_max"]),
        min_local_neighbors=step["min_neighbors"],
    )


def detect_bad_channels(chain: Chain, step: Step) -> Any:
    """Find bad channels, and interpolate, remove or report them."""
    from spikeinterface import preprocessing

    own = ("operation", "action", "labels")
    if step["method"] == "coherence+psd" and not chain.scaled:
        unknown = "the recording gives no gain, so that psd_hf_threshold is in counts²/Hz"
        chain.resources.warn(f"detect_bad_channels: {unknown}")
    # It is told below.
    warnings.filterwarnings("ignore", message="Over 1/3 of channels")
    _found, labels = preprocessing.detect_bad_channels(
        chain.traces,
        seed=chain.resources.seed,
        job_kwargs={**chain.jobs, "progress_bar": False},
        **{name: value for name, value in step.items() if name not in own},
    )
    found = {name: str(label) for name, label in zip(chain.names, labels, strict=True) if label != GOOD}
    if 3 * len(found) > len(chain.names):
        told = f"{len(found)} of {len(chain.names)} channels are bad: good ones may be among them"
        chain.resources.warn(f"detect_bad_channels: {told}")
    for name, label in found.items():
        chain.channels[name]["label"] = label
    treated = [name for name, label in found.items() if label in step["labels"]]
    traces = chain.treat(treated, step["action"])
    for done in sorted({chain.channels[name]["action"] for name in found}):
        listed = [
            f"{name} ({label})" for name, label in found.items() if chain.channels[name]["action"] == done
        ]
        plural = "s" if len(listed) > 1 else ""
        chain.resources.warn(f"bad channel{plural} {done}: {', '.join(listed)}")
    if not found:
        print("no bad channels")
    return traces


def interpolate_channels(chain: Chain, step: Step) -> Any:
    """Replace named channels by a weighted mean of the others."""
    return named(chain, step, lambda names: interpolated(chain.traces, names, step["sigma_um"], step["p"]))


def remove_channels(chain: Chain, step: Step) -> Any:
    """Leave named channels out."""
    return named(chain, step, chain.traces.remove_channels)


def named(chain: Chain, step: Step, change: Callable[[list[str]], Any]) -> Any:
    """Return the traces with the channels changed that a step names."""
    left = chain.names
    if missing := [name for name in step["channels"] if name not in left]:
        gone = [name for name in missing if name in chain.channels]
        why = "has been removed" if gone else f"is none of the {len(left)} channels"
        message = f"{step['operation']}: {(gone or missing)[0]} {why}"
        raise UnfitError(message)
    names = list(dict.fromkeys(step["channels"]))
    if len(names) == len(left):
        message = f"{step['operation']}: all {len(left)} channels are named, so that none is left"
        raise UnfitError(message)
    for name in names:
        verb = step["operation"].removesuffix("_channels")
        chain.channels[name] = {"label": "named", "action": ACTIONS[verb]}
    return change(names)


def interpolated(traces: Any, names: Sequence[str], sigma_um: float | None = None, p: float = 1.3) -> Any:
    """Return the traces with some channels interpolated from all others.

    Raises
    ------
    UnfitError
        A channel has no other one within reach.
    """
    from spikeinterface import preprocessing
    from spikeinterface.preprocessing.preprocessing_tools import get_kriging_channel_weights

    places = traces.get_channel_locations()
    # SpikeInterface's own estimate, of the rows alone, has no value for a probe of one row.
    along = next((places[:, axis] for axis in (1, 0) if np.ptp(places[:, axis]) > 0), None)
    if along is None:
        message = "channels cannot be interpolated: all are at one place"
        raise UnfitError(message)
    if sigma_um is None:
        distances, counts = np.unique(np.diff(np.unique(along)), return_counts=True)
        sigma_um = float(distances[counts.argmax()])
    bad = np.isin(traces.channel_ids, names)
    weights = get_kriging_channel_weights(places[~bad], places[bad], sigma_um, p)
    far = [
        str(name)
        for name, reached in zip(traces.channel_ids[bad], weights.any(axis=0), strict=True)
        if not reached
    ]
    if far:
        message = f"channel {far[0]} cannot be interpolated: none of the {(~bad).sum()} other channels is within reach of {sigma_um:g} um"
        raise UnfitError(message)
    return preprocessing.interpolate_bad_channels(
        traces, list(names), sigma_um=sigma_um, p=p, weights=weights
    )


OPERATIONS: Final[dict[str, Callable[[Chain, Step], Any]]] = {
    operation.__name__: operation
    for operation in (
        *(phase_shift, highpass_filter, bandpass_filter, notch_filter, common_reference),
        *(detect_bad_channels, interpolate_channels, remove_channels),
    )
}


def gains_of(recording: TraceReader, dtype: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Return uV per count of the samples to write: those of the recording for int16, None for float32 in uV."""
    if dtype == "float32" or (dtype == "auto" and recording.layout.dtype[1:] not in SMALL_INTEGERS):
        return None
    if not recording.gains.all():
        message = (
            f"the gain of channel {int(np.flatnonzero(recording.gains == 0)[0]) + 1} is 0: write float32"
        )
        raise UnfitError(message)
    return recording.gains


def write_samples(chain: Chain, gains: np.ndarray[Any, Any] | None, path: Path) -> None:
    """Write the traces sample after sample, every worker its chunks in their places.

    SpikeInterface's own writer maps the file: where the disk is full, a signal ends the worker without a reason.
    """
    from spikeinterface.core.job_tools import TimeSeriesChunkExecutor

    traces = chain.traces
    row = traces.get_num_channels() * (4 if gains is None else 2)
    with path.open("wb") as file:
        # A full disk ends the job now, not hours later.
        os.posix_fallocate(file.fileno(), 0, row * traces.get_num_samples())
    context = {"traces": traces, "gains": gains, "path": path, "row": row}
    executor = TimeSeriesChunkExecutor(
        traces,
        write_chunk,
        dict,
        (context,),
        handle_returns=True,
        chunk_duration=CHUNK,
        job_name="preprocessing",
        progress_bar=True,
        **chain.jobs,
    )
    if clipped := sum(executor.run()):
        chain.resources.warn(
            f"{clipped} samples beyond the range of int16 are clipped; write float32 to keep them"
        )


def write_chunk(segment: int, start: int, stop: int, context: Mapping[str, Any]) -> int:
    """Write the samples from `start` to `stop`; return how many were clipped."""
    samples = context["traces"].get_traces(segment_index=segment, start_frame=start, end_frame=stop)
    if not np.isfinite(samples).all():
        message = f"samples {start} to {stop} are not finite after the last operation"
        raise ValueError(message)
    clipped = 0
    if context["gains"] is not None:
        counts = np.rint(samples / context["gains"])
        clipped = int(np.count_nonzero((counts < INT16.min) | (counts > INT16.max)))
        samples = np.clip(counts, INT16.min, INT16.max).astype("<i2")
    with context["path"].open("r+b") as file:
        file.seek(start * context["row"])
        file.write(np.ascontiguousarray(samples, dtype=samples.dtype.newbyteorder("<")).data)
    return clipped


def tell_channels(chain: Chain, path: Path) -> None:
    """Write what was found of each channel of the recording, and done with it."""
    told = [{"channel": name, **facts} for name, facts in chain.channels.items()]
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def describe(
    recording: TraceReader,
    parameters: Mapping[str, Any],
    kept: Sequence[int],
    gains: np.ndarray[Any, Any] | None,
    out: Path,
) -> None:
    """Write recording.json, and the places of the channels."""
    from probeinterface import Probe, write_probeinterface

    names, groups, assumed = parameters["channel_ids"], parameters["groups"], parameters["assumed"]
    gain_uv = (
        None if "gain_uv" in assumed else [1.0 if gains is None else float(gains[index]) for index in kept]
    )
    # An assumed column without some of its channels is no such column.
    placed = "probe" not in assumed or len(kept) < recording.num_channels
    if placed:
        places = np.array([recording.layout.locations[index] for index in kept])
        probe = Probe(ndim=places.shape[1], si_units="um")
        probe.set_contacts(positions=places, shapes="circle", shape_params={"radius": 5})
        if groups:
            probe.set_shank_ids([groups[index] for index in kept])
        probe.set_device_channel_indices(np.arange(len(kept)))
        write_probeinterface(out / PROBE, probe)
    known = {
        "channel_ids": [names[index] for index in kept] if names else [str(index + 1) for index in kept],
        "gain_uv": gain_uv,
        "probe": PROBE if placed else None,
        "spike_sign": parameters["spike_sign"],
        "gaps": parameters["gaps"] or None,
    }
    described = {
        "title": f"preprocessed: {', '.join(step['operation'] for step in parameters['steps'])}",
        "file": SAMPLES,
        "dtype": "<f4" if gains is None else "<i2",
        "num_channels": len(kept),
        "num_samples": recording.num_samples,
        "sampling_frequency": recording.sampling_frequency,
        "offset_uv": 0.0,
        **{name: value for name, value in known.items() if value is not None},
    }
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    (out / "recording.json").write_text(text, encoding="utf-8")
