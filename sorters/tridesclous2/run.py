"""Tridesclous 2, SpikeInterface's own, run so that equal input gives equal bytes.

Sources: spikeinterface 0.105.3 (`sorters/internal/tridesclous2.py` and the components that it calls).
"""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness.spikeinterface import (
    in_microvolts,
    watch,
    without_silent_channels,
)
from spikecrate_harness.stage_progress import StageProgress
from spikecrate_harness.workers import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

CHUNK: Final = "1s"
"""What a worker takes at once. Fixed, so that the result does not hang on the number of workers."""
HIGHEST: Final = 0.49
"""Of the sampling frequency: the highest upper edge that the band-pass can have."""
MOTION_BAND_HZ: Final = 6000.0
"""The upper edge that drift is estimated with, which cannot be set."""
SAME_NAMES: Final = (
    *("apply_preprocessing", "apply_motion_correction", "motion_correction_preset"),
    *("clustering_ms_before", "clustering_ms_after", "ms_before", "ms_after"),
    *("detection_radius_um", "features_radius_um", "split_radius_um", "template_radius_um"),
    *("merge_similarity_lag_ms", "peak_sign", "detect_threshold", "n_peaks_per_channel"),
    *("n_svd_components_per_channel", "n_pca_features", "clustering_recursive_depth"),
    *("template_sparsify_threshold", "template_min_snr_ptp", "template_max_jitter_ms", "min_firing_rate"),
)


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
    NothingFoundError
        Where a step leaves nothing for the next.
    ValueError
        Where parameters contradict each other or the recording.
    """
    told = settings(recording, parameters, resources)
    print(f"settings: {json.dumps(told, sort_keys=True)}", flush=True)
    found = _tridesclous2(recording, told, resources)
    events = found.to_spike_vector()
    times, labels = events["sample_index"], events["unit_index"] + 1
    # A template may match so that its peak lies beyond either end of the recording.
    inside = (times >= 0) & (times < recording.num_samples)
    if not inside.all():
        print(f"left out {np.count_nonzero(~inside)} events whose peak lies outside the recording")
    return times[inside], labels[inside]


def settings(recording: TraceReader, parameters: Mapping[str, Any], resources: Resources) -> dict[str, Any]:
    """Return what Tridesclous 2 is told, by its own names.

    Raises
    ------
    ValueError
        Where the pass band is empty, `preprocessing` is not a JSON object, or drift cannot be estimated.
    """
    chosen = dict(parameters)
    if chosen["apply_motion_correction"] and chosen["preprocessing"] is None:
        limit = 2 * MOTION_BAND_HZ
        if recording.sampling_frequency <= limit:
            message = f"apply_motion_correction needs a sampling frequency above {limit:g} Hz"
            raise ValueError(message)
    return {
        **{name: chosen[name] for name in SAME_NAMES},
        **_band(recording.sampling_frequency, chosen),
        "preprocessing_dict": _checked(chosen["preprocessing"]),
        "seed": resources.seed,
    }


def _checked(preprocessing: str | None) -> str | None:
    """Make sure that the parameter `preprocessing` is a JSON object, as text."""
    if preprocessing is None:
        return None
    try:
        steps = json.loads(preprocessing)
    except ValueError as error:
        message = f"preprocessing is not JSON: {error}"
        raise ValueError(message) from None
    if not isinstance(steps, dict):
        message = "preprocessing is not a JSON object of steps and their arguments"
        raise ValueError(message)  # noqa: TRY004  (what the user gave is wrong, not its type in Python)
    return preprocessing


def _band(sampling_frequency: float, chosen: Mapping[str, Any]) -> dict[str, float]:
    """Return the pass band that the recording can have."""
    low, high, limit = chosen["freq_min"], chosen["freq_max"], HIGHEST * sampling_frequency
    if chosen["apply_preprocessing"] and low >= min(high, limit):
        message = f"freq_min ({low:g} Hz) must be below freq_max ({high:g} Hz) and below {limit:g} Hz"
        raise ValueError(message)
    return {"freq_min": low, "freq_max": min(high, limit)}


def _tridesclous2(recording: TraceReader, told: Mapping[str, Any], resources: Resources) -> Any:
    """Run the sorter with these settings; give SpikeInterface's sorting.

    Raises
    ------
    NothingFoundError
        Where a step leaves nothing for the next.
    """
    import tqdm.auto

    tqdm.auto.tqdm = StageProgress  # before SpikeInterface takes it from there
    from spikeinterface.core import set_global_job_kwargs
    from spikeinterface.sorters import Tridesclous2Sorter
    from spikeinterface.sorters.internal import tridesclous2

    _watch_steps(recording.sampling_frequency, told["clustering_ms_before"])
    os.register_at_fork(after_in_child=end_with_parent)
    seeded = np.random.default_rng
    # Some steps draw without a seed: the selection of peaks, the pieces from which whitening and noise are measured.
    np.random.default_rng = lambda seed=None: seeded(resources.seed if seed is None else seed)
    # Workers sum waveforms, each those of the chunks that it happens to get: the last bits hang on who gets which.
    tridesclous2.estimate_templates_with_accumulator = _by_one_worker(
        tridesclous2.estimate_templates_with_accumulator
    )

    jobs = {
        "n_jobs": resources.cores,
        "mp_context": "fork",
        "pool_engine": "process",
        "chunk_duration": CHUNK,
    }
    set_global_job_kwargs(**jobs, progress_bar=True)
    folder = resources.scratch / "sorter"
    traces = in_microvolts(recording, filtered=not told["apply_preprocessing"])
    traces = without_silent_channels(traces, recording)
    # Traces are kept in a folder, not in shared memory, its default: a recording is larger than /dev/shm.
    kept = {"cache_preprocessing_mode": "folder", "save_array": False, "job_kwargs": jobs}
    if told["preprocessing_dict"] is not None:
        kept["preprocessing_dict"] = json.loads(told["preprocessing_dict"])
    Tridesclous2Sorter.initialize_folder(traces, folder, verbose=True, remove_existing_folder=True)
    asked = Tridesclous2Sorter.set_params_to_folder(traces, folder, {**told, **kept}, verbose=True)
    # Not `run_sorter`: it makes one error, whose text alone tells what happened, of all.
    return Tridesclous2Sorter._run_from_folder(folder / "sorter_output", asked, verbose=True)


def _by_one_worker(step: Callable[..., Any]) -> Callable[..., Any]:
    """Make one of SpikeInterface's steps use one process."""

    @functools.wraps(step)
    def alone(*arguments: Any, **named: Any) -> Any:
        return step(*arguments, **{**named, "n_jobs": 1})

    return alone


def _watch_steps(sampling_frequency: float, ms_before: float) -> None:
    """Make the sorting end in NothingFoundError where a step leaves nothing: the next one would fail."""
    from spikeinterface.core.core_tools import ms_to_samples
    from spikeinterface.sortingcomponents import matching, peak_detection, tools
    from spikeinterface.sortingcomponents.clustering import iterative_isosplit
    from spikeinterface.sortingcomponents.clustering import main as clustering
    from spikeinterface.sortingcomponents.waveforms import peak_svd

    peak = ms_to_samples(ms_before, sampling_frequency)
    watch(peak_detection, "detect_peaks", "no peaks", lambda peaks: len(peaks) > 0)
    watch(
        peak_svd,
        "extract_waveform_at_max_channel",
        "no waveform with its peak in the middle",
        lambda waveforms: (np.abs(waveforms[:, :, 0]).argmax(axis=1) == peak).any(),
    )
    for module in (iterative_isosplit, tools):
        watch(module, "clean_templates", "no clean template", lambda templates: len(templates.unit_ids) > 0)
    watch(
        iterative_isosplit,
        "remove_small_cluster",
        "no cluster that fires enough",
        lambda kept: len(kept[1]) > 0,
    )
    watch(clustering, "find_clusters_from_peaks", "no clusters", lambda found: len(found[0]) > 0)
    watch(matching, "find_spikes_from_templates", "no events", lambda events: len(events) > 0)
