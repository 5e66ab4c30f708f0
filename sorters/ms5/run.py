"""MountainSort 5 on a recording of any length: band-pass, whitening, and one of its three schemes.

The samples are prepared once, second by second, into a scratch file of float32 which MountainSort 5 maps.

Sources: mountainsort5 0.5.9 (its README and the schemes' modules); spikeinterface 0.105.3.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness.spikeinterface import in_microvolts
from spikecrate_harness.stage_progress import StageProgress
from spikecrate_harness.workers import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

CHUNK: Final = "1s"
"""What a worker prepares at once. Fixed, so that each value is always the same, however many workers there are."""
LONGEST_LINE: Final = 400
"""Characters of a line of the log; MountainSort 5 prints every channel's neighbours for every block."""


def sort(
    recording: TraceReader, parameters: Mapping[str, Any], resources: Resources
) -> tuple[np.ndarray, np.ndarray]:
    """Sort a recording.

    Parameters
    ----------
    recording : TraceReader
        Raw traces.
    parameters : mapping
        Every parameter of sorter.json.
    resources : Resources
        Scratch folder (samples x channels x 4 bytes are needed), seed, and number of worker processes.

    Returns
    -------
    times, labels : numpy.ndarray
        Sample index and unit (from 1) of each event.

    Raises
    ------
    ValueError
        Where parameters contradict each other or the recording.
    """
    told = settings(recording, parameters, resources)
    print(f"settings: {json.dumps(told, sort_keys=True)}", flush=True)
    os.register_at_fork(after_in_child=end_with_parent)
    with contextlib.redirect_stdout(ShortLines(sys.stdout)):  # type: ignore[type-var]
        prepared = prepare(recording, told, resources)
        times, labels = _mountainsort(prepared, told)
    # An event is moved to the peak of its unit, which can lie beyond either end of the recording.
    inside = (times >= 0) & (times < recording.num_samples)
    if not inside.all():
        print(f"left out {np.count_nonzero(~inside)} events whose peak lies outside the recording")
    return times[inside], labels[inside]


def settings(
    recording: TraceReader, parameters: Mapping[str, Any], resources: Resources
) -> dict[str, dict[str, Any]]:
    """Return what the preparation and MountainSort 5 are told, by their own names.

    Raises
    ------
    ValueError
        Where the pass band is empty, or the recording is shorter than a snippet.
    """
    chosen = dict(parameters)
    if recording.num_samples < chosen["snippet_T1"] + chosen["snippet_T2"]:
        message = (
            f"snippet_T1 and snippet_T2 make a snippet of {chosen['snippet_T1'] + chosen['snippet_T2']} samples; "
            f"the recording has {recording.num_samples}"
        )
        raise ValueError(message)
    shared = {
        name: chosen[name] for name in ("detect_sign", "snippet_T1", "snippet_T2", "snippet_mask_radius")
    }
    scheme1 = shared | {
        "detect_threshold": chosen["detect_threshold"],
        "detect_channel_radius": chosen["scheme1_detect_channel_radius"],
        "detect_time_radius_msec": chosen["detect_time_radius_msec"],
        "npca_per_channel": chosen["npca_per_channel"],
        "npca_per_subdivision": chosen["npca_per_subdivision"],
        "skip_alignment": chosen["skip_alignment"],
    }
    scheme2 = shared | {
        "phase1_detect_channel_radius": chosen["phase1_detect_channel_radius"],
        "phase1_detect_threshold": chosen["phase1_detect_threshold"],
        "phase1_detect_time_radius_msec": chosen["phase1_detect_time_radius_msec"],
        "phase1_npca_per_channel": chosen["npca_per_channel"],
        "phase1_npca_per_subdivision": chosen["npca_per_subdivision"],
        "detect_channel_radius": chosen["detect_channel_radius"],
        "detect_threshold": chosen["detect_threshold"],
        "detect_time_radius_msec": chosen["detect_time_radius_msec"],
        "max_num_snippets_per_training_batch": chosen["max_num_snippets_per_training_batch"],
        "classifier_npca": chosen["classifier_npca"],
        "training_duration_sec": chosen["training_duration_sec"],
        "training_recording_sampling_mode": chosen["training_recording_sampling_mode"],
        "classification_chunk_sec": chosen["classification_chunk_sec"],
    }
    return {
        "filter": _filter(recording.sampling_frequency, chosen),
        "whiten": {"apply": chosen["whiten"], "mode": "global", "seed": resources.seed},
        "sort": {"scheme": chosen["scheme"]},
        "scheme1": scheme1,
        "scheme2": scheme2,
        "scheme3": {"block_duration_sec": chosen["block_duration_sec"]},
    }


def _filter(sampling_frequency: float, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filter that the recording can have: above half the sampling frequency there is nothing to cut."""
    low, high, nyquist = chosen["freq_min"], chosen["freq_max"], sampling_frequency / 2
    if not chosen["filter"]:
        return {"apply": False, "freq_min": low, "freq_max": high}
    if low >= high:
        message = f"freq_min ({low:g} Hz) must be below freq_max ({high:g} Hz)"
        raise ValueError(message)
    if low >= nyquist:
        message = f"freq_min ({low:g} Hz) must be below half the sampling frequency ({nyquist:g} Hz)"
        raise ValueError(message)
    return {"apply": True, "freq_min": low, "freq_max": high if high < nyquist else None}


def prepare(recording: TraceReader, told: Mapping[str, Mapping[str, Any]], resources: Resources) -> Any:
    """Filter and whiten a recording into a scratch folder.

    Returns
    -------
    spikeinterface.core.BaseRecording
        Float32: standard deviations of each channel with whitening, uV without.
    """
    from spikeinterface import preprocessing
    from spikeinterface.core import job_tools

    job_tools.tqdm = StageProgress
    filtering, whitening = told["filter"], told["whiten"]
    traces = in_microvolts(recording, filtered=not filtering["apply"])
    if filtering["apply"] and filtering["freq_max"] is None:
        print(
            f"freq_max is not below half the sampling frequency: a high-pass at {filtering['freq_min']:g} Hz"
        )
        traces = preprocessing.highpass_filter(traces, freq_min=filtering["freq_min"], dtype="float32")
    elif filtering["apply"]:
        traces = preprocessing.bandpass_filter(
            traces, freq_min=filtering["freq_min"], freq_max=filtering["freq_max"], dtype="float32"
        )
    if whitening["apply"]:
        print("measuring covariance", flush=True)
        traces = preprocessing.whiten(traces, dtype="float32", mode=whitening["mode"], seed=whitening["seed"])
    return traces.save(
        folder=resources.scratch / "prepared",
        n_jobs=resources.cores,
        mp_context="fork",
        pool_engine="process",
        chunk_duration=CHUNK,
        progress_bar=True,
        verbose=False,
    )


def _mountainsort(prepared: Any, told: Mapping[str, Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Run the chosen scheme on prepared traces; give its times and labels."""
    import mountainsort5

    if told["sort"]["scheme"] == 1:
        first = mountainsort5.Scheme1SortingParameters(**told["scheme1"])
        found = mountainsort5.sorting_scheme1(prepared, sorting_parameters=first)
    else:
        second = mountainsort5.Scheme2SortingParameters(**told["scheme2"])
        if told["sort"]["scheme"] == 2:
            found = mountainsort5.sorting_scheme2(prepared, sorting_parameters=second)
        else:
            third = mountainsort5.Scheme3SortingParameters(second, **told["scheme3"])
            found = mountainsort5.sorting_scheme3(prepared, sorting_parameters=third)
    events = found.to_spike_vector()
    return events["sample_index"], np.asarray(found.unit_ids, dtype=np.int64)[events["unit_index"]]


class ShortLines:
    """Standard output whose lines are cut where they are long."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text, line by line."""
        lines = text.split("\n")
        cut = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …" for line in lines]
        self.stream.write("\n".join(cut))
        return len(text)

    def flush(self) -> None:
        """Flush."""
        self.stream.flush()
