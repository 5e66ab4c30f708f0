"""SpyKING CIRCUS 2, SpikeInterface's own, run so that equal input gives equal bytes.

Sources: spikeinterface 0.105.3 (`sorters/internal/spyking_circus2.py` and the components that it calls).
"""

from __future__ import annotations

import copy
import json
import math
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
    from collections.abc import Mapping

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

CHUNK: Final = "1s"
"""What a worker takes at once. Fixed, so that the result does not hang on the number of workers."""
HIGHEST: Final = 0.49
"""Of the sampling frequency: the highest upper edge that the band-pass can have."""


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
    found = _spykingcircus2(recording, told, resources)
    events = found.to_spike_vector()
    times, labels = events["sample_index"], events["unit_index"] + 1
    # A template may match so that its peak lies beyond either end of the recording.
    inside = (times >= 0) & (times < recording.num_samples)
    if not inside.all():
        print(f"left out {np.count_nonzero(~inside)} events whose peak lies outside the recording")
    return times[inside], labels[inside]


def settings(recording: TraceReader, parameters: Mapping[str, Any], resources: Resources) -> dict[str, Any]:
    """Return what SpyKING CIRCUS 2 is told, by its own names.

    Raises
    ------
    ValueError
        Where the pass band is empty.
    """
    chosen = dict(parameters)
    general = {name: chosen[name] for name in ("ms_before", "ms_after", "radius_um")}
    detection: dict[str, Any] = {
        "method": chosen["detection_method"],
        "method_kwargs": {"peak_sign": chosen["peak_sign"], "detect_threshold": chosen["detect_threshold"]},
    }
    if chosen["exclude_sweep_ms"] is not None:
        detection["exclude_sweep_ms"] = chosen["exclude_sweep_ms"]
    clusterer = {
        "method": "hdbscan",
        "min_cluster_size": chosen["min_cluster_size"],
        "allow_single_cluster": chosen["allow_single_cluster"],
    }
    split = {
        "split_radius_um": chosen["split_radius_um"],
        "recursive": True,
        "recursive_depth": chosen["recursive_depth"],
        "method_kwargs": {"clusterer": clusterer, "n_pca_features": chosen["n_pca_features"]},
    }
    merge = {
        "similarity_thresh": chosen["merge_similarity_thresh"],
        "num_shifts": chosen["merge_num_shifts"],
        "use_lags": True,
    }
    matching = {
        "amplitudes": [chosen["min_amplitude"], chosen["max_amplitude"]],
        **{name: chosen[name] for name in ("stop_criteria", "max_failures", "omp_min_sps", "relative_error")},
        **{name: chosen[name] for name in ("rank", "vicinity")},
        # The overlaps of templates in ordinary memory: /dev/shm has a limit of its own.
        "shared_memory": False,
    }
    return {
        "general": general | {"n_components": chosen["n_svd_components"]},
        "filtering": {
            **_band(recording.sampling_frequency, chosen),
            "ftype": chosen["filter_type"],
            "filter_order": chosen["filter_order"],
        },
        "whitening": {"mode": chosen["whitening_mode"], "regularize": chosen["whitening_regularize"]},
        "detection": detection,
        "selection": {
            "method": "uniform",
            "method_kwargs": {
                "n_peaks_per_channel": chosen["n_peaks_per_channel"],
                "min_n_peaks": chosen["min_n_peaks"],
                "select_per_channel": chosen["select_per_channel"],
            },
        },
        "apply_motion_correction": chosen["apply_motion_correction"],
        "motion_correction": {
            "preset": chosen["motion_correction_preset"],
            "interpolate_motion_kwargs": {
                "border_mode": chosen["motion_border_mode"],
                "spatial_interpolation_method": "kriging",
                "sigma_um": 20.0,
                "p": 2,
            },
        },
        "clustering": {
            "method": "iterative-hdbscan",
            "method_kwargs": {"split": split, "merge_from_templates": merge},
        },
        "cleaning": {
            "min_snr": chosen["min_snr"],
            "max_jitter_ms": chosen["max_jitter_ms"],
            "sparsify_threshold": chosen["sparsify_threshold"],
            "mean_sd_ratio_threshold": chosen["mean_sd_ratio_threshold"],
        },
        "min_firing_rate": chosen["min_firing_rate"],
        "matching": {"method": "circus-omp", "matching_kwargs": matching},
        "merging": {
            "max_distance_um": chosen["merge_max_distance_um"],
            "similarity_kwargs": {
                "method": "l1",
                "support": "union",
                "max_lag_ms": chosen["merge_max_lag_ms"],
            },
            "sparsity_overlap": chosen["merge_sparsity_overlap"],
            "censor_ms": chosen["merge_censor_ms"],
            "template_diff_thresh": chosen["merge_template_diff_thresh"],
        },
        "apply_preprocessing": chosen["apply_preprocessing"],
        "apply_whitening": chosen["apply_whitening"],
        "multi_units_only": chosen["multi_units_only"],
        "deterministic_peaks_detection": chosen["deterministic_peaks_detection"],
        "seed": resources.seed,
    }


def _band(sampling_frequency: float, chosen: Mapping[str, Any]) -> dict[str, float]:
    """Return the pass band that the recording can have."""
    low, high, limit = chosen["freq_min"], chosen["freq_max"], HIGHEST * sampling_frequency
    if chosen["apply_preprocessing"] and low >= min(high, limit):
        message = f"freq_min ({low:g} Hz) must be below freq_max ({high:g} Hz) and below {limit:g} Hz"
        raise ValueError(message)
    return {"freq_min": low, "freq_max": min(high, limit)}


def _spykingcircus2(recording: TraceReader, told: Mapping[str, Any], resources: Resources) -> Any:
    """Run the sorter with these settings; give SpikeInterface's sorting.

    Raises
    ------
    NothingFoundError
        Where a step leaves nothing for the next.
    """
    import tqdm.auto

    tqdm.auto.tqdm = StageProgress  # before SpikeInterface takes it from there
    from spikeinterface.core import set_global_job_kwargs
    from spikeinterface.sorters import Spykingcircus2Sorter

    _watch_steps(recording.sampling_frequency, told["general"]["ms_before"])
    os.register_at_fork(after_in_child=end_with_parent)
    seeded = np.random.default_rng
    # Some steps draw without a seed: the pieces from which they measure noise.
    np.random.default_rng = lambda seed=None: seeded(resources.seed if seed is None else seed)

    # Without it detection stops when the workers together have seen enough, which hangs on who is first.
    workers = resources.cores if told["deterministic_peaks_detection"] else 1
    jobs = {"n_jobs": workers, "mp_context": "fork", "pool_engine": "process", "chunk_duration": CHUNK}
    set_global_job_kwargs(**jobs, progress_bar=True)
    folder = resources.scratch / "sorter"
    traces = in_microvolts(recording, filtered=not told["apply_preprocessing"])
    traces = without_silent_channels(traces, recording)
    # Not in shared memory, its default: a recording is larger than /dev/shm.
    cache = {"mode": "folder", "folder": str(folder / "cache")}
    Spykingcircus2Sorter.initialize_folder(traces, folder, verbose=True, remove_existing_folder=True)
    asked = Spykingcircus2Sorter.set_params_to_folder(
        traces, folder, _arguments(told) | {"cache_preprocessing": cache, "job_kwargs": jobs}, verbose=True
    )
    # Not `run_sorter`: it makes one error, whose text alone tells what happened, of all.
    return Spykingcircus2Sorter._run_from_folder(folder / "sorter_output", asked, verbose=True)


def _arguments(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as Python has them: no upper limit of the amplitudes is infinity, which JSON lacks."""
    asked = copy.deepcopy(dict(told))
    amplitudes = asked["matching"]["matching_kwargs"]["amplitudes"]
    amplitudes[1] = math.inf if amplitudes[1] is None else amplitudes[1]
    return asked


def _watch_steps(sampling_frequency: float, ms_before: float) -> None:
    """Make the sorting end in NothingFoundError where a step leaves nothing: the next one would fail."""
    from spikeinterface.core.core_tools import ms_to_samples
    from spikeinterface.sortingcomponents import clustering, peak_detection, tools
    from spikeinterface.sortingcomponents.clustering import iterative_hdbscan
    from spikeinterface.sortingcomponents.clustering import tools as clustering_tools
    from spikeinterface.sortingcomponents.waveforms import peak_svd

    peak = ms_to_samples(ms_before, sampling_frequency)
    watch(peak_detection, "detect_peaks", "no peaks", lambda peaks: len(peaks) > 0)
    for name in ("get_prototype_and_waveforms_from_peaks", "get_prototype_and_waveforms_from_recording"):
        watch(tools, name, "no whole waveform", lambda found: np.isfinite(found[0]).all())
    watch(
        peak_svd,
        "extract_waveform_at_max_channel",
        "no waveform with its peak in the middle",
        lambda waveforms: (np.abs(waveforms[:, :, 0]).argmax(axis=1) == peak).any(),
    )
    for module in (iterative_hdbscan, tools):
        watch(module, "clean_templates", "no clean template", lambda templates: len(templates.unit_ids) > 0)
    watch(clustering, "find_clusters_from_peaks", "no clusters", lambda found: len(found[0]) > 0)
    for module in (iterative_hdbscan, clustering_tools):
        watch(module, "remove_small_cluster", "no cluster that fires enough", lambda found: len(found[1]) > 0)
