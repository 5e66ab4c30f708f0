"""Tridesclous on a recording of any length: its own steps for a catalogue of units, then its peeler, all seeded.

Tridesclous reads the user's samples where they are, piece by piece, and keeps its filtered traces in the scratch folder.

Sources: tridesclous 1.6.9 (`autoparams.py`, `cataloguetools.py`, `catalogueconstructor.py`, `peeler.py`).
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness.answer import NothingFoundError
from spikecrate_harness.stage_progress import StageProgress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

DENSE: Final = 4
"""Up to so many channels tridesclous takes every waveform on all channels."""
CATALOGUE_S: Final = 601.0
"""Length from which the catalogue is made; of a recording up to twice as long, all of it is."""
NOISE_S: Final = 10.0
"""Length from which the noise of each channel is estimated."""
LEAST_PIECES: Final = 4
"""Pieces of a recording of a few seconds, which are else of one second each."""
CHANNELS: Final = 0
"""The one group of channels."""


def sort(
    recording: TraceReader, parameters: Mapping[str, Any], resources: Resources
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort a recording.

    Parameters
    ----------
    recording : TraceReader
        Raw traces.
    parameters : mapping
        Every parameter of sorter.json.
    resources : Resources
        Scratch folder (samples x channels x 4 bytes are needed) and seed.

    Returns
    -------
    times, labels, channels : numpy.ndarray
        Sample index, unit (from 1) and channel with the highest peak (from 1) of each event.

    Raises
    ------
    NothingFoundError
        Where there are too few events to make a unit.
    ValueError
        Where parameters contradict each other or the recording.
    """
    told = settings(recording, parameters, resources)
    print(f"settings: {json.dumps(told, sort_keys=True)}", flush=True)
    # Tridesclous draws from numpy's global generator everywhere.
    np.random.seed(told["seed"])
    heard = _heard(recording)
    if not len(heard):
        message = f"all channels are constant in the first {NOISE_S:g} s"
        raise NothingFoundError(message)
    return _tridesclous(recording, heard, told, resources)


def settings(recording: TraceReader, parameters: Mapping[str, Any], resources: Resources) -> dict[str, Any]:
    """Return what tridesclous is told, by its own names: what it would choose by itself, and what the user changes.

    Raises
    ------
    ValueError
        Where parameters contradict each other or the recording.
    """
    chosen = dict(parameters)
    rate, channels = recording.sampling_frequency, recording.num_channels
    seconds = recording.num_samples / rate
    mode = _chosen(chosen["mode"], "dense" if channels <= DENSE else "sparse")
    dense = mode == "dense"
    feature_method = _chosen(chosen["feature_method"], "global_pca" if dense else "pca_by_channel")
    sampler = _chosen(chosen["peak_sampler"], "rand" if dense else "rand_by_channel")
    if dense and sampler == "rand_by_channel":
        message = "peak_sampler can be rand_by_channel in the mode sparse only"
        raise ValueError(message)
    waveforms = {
        name: chosen[name] for name in ("wf_left_ms", "wf_right_ms", "wf_left_long_ms", "wf_right_long_ms")
    }
    padding = _padding(rate, chosen)
    return {
        "catalogue": {
            "duration": _chosen(chosen["duration"], seconds if seconds < 2 * CATALOGUE_S else CATALOGUE_S),
            "chunksize": _chunk(recording, waveforms, padding, chosen["maximum_jitter_shift"]),
            "mode": mode,
            "sparse_threshold": chosen["sparse_threshold"],
            "memory_mode": "memmap",
            "n_spike_for_centroid": chosen["n_spike_for_centroid"],
            # More workers would each draw numbers of their own.
            "n_jobs": 1,
            "preprocessor": {
                "highpass_freq": chosen["highpass_freq"],
                "lowpass_freq": chosen["lowpass_freq"],
                "smooth_size": chosen["smooth_size"],
                "pad_width": padding,
                "engine": "numpy",
                "common_ref_removal": chosen["common_ref_removal"],
            },
            "peak_detector": {
                "method": "geometrical",
                "engine": "numba",
                "peak_sign": chosen["peak_sign"],
                "relative_threshold": chosen["relative_threshold"],
                "peak_span_ms": chosen["peak_span_ms"],
                "adjacency_radius_um": chosen["peak_adjacency_radius_um"],
                "smooth_radius_um": chosen["smooth_radius_um"],
            },
            "noise_snippet": {"nb_snippet": chosen["nb_snippet"]},
            "extract_waveforms": waveforms,
            "clean_peaks": {
                "alien_value_threshold": _chosen(chosen["alien_value_threshold"], -1.0),
                "mode": "extremum_amplitude",
            },
            "peak_sampler": {
                "mode": sampler,
                "nb_max": chosen["nb_max"],
                "nb_max_by_channel": chosen["nb_max_by_channel"],
            },
            "feature_method": feature_method,
            "cluster_method": "pruningshears",
            "cluster_kargs": {
                "max_loop": _chosen(chosen["max_loop"], max(1000, (10 if dense else 20) * channels)),
                "min_cluster_size": chosen["min_cluster_size"],
                "adjacency_radius_um": chosen["cluster_adjacency_radius_um"],
                "high_adjacency_radius_um": chosen["high_adjacency_radius_um"],
                "auto_merge_threshold": chosen["auto_merge_threshold"],
            },
            "clean_cluster": {
                f"apply_{step}": chosen[step]
                for step in (
                    *("auto_split", "trash_not_aligned", "auto_merge_cluster", "trash_low_extremum"),
                    "trash_small_cluster",
                )
            },
            "make_catalogue": {
                # Not implemented for what its peeler reads.
                "inter_sample_oversampling": False,
                "subsample_ratio": "auto",
                "sparse_thresh_level2": chosen["sparse_thresh_level2"],
            },
        },
        "feature_kargs": {
            "global_pca": {
                "n_components": _chosen(chosen["n_components"], 5 if channels <= 2 else 2 * channels)
            },
            "pca_by_channel": {
                "n_components_by_channel": chosen["n_components_by_channel"],
                "adjacency_radius_um": chosen["feature_adjacency_radius_um"],
            },
            "peak_max": {},
        },
        "peeler": {"engine": "geometrical", "maximum_jitter_shift": chosen["maximum_jitter_shift"]},
        "seed": resources.seed % 2**32,
    }


def _chosen(value: Any, otherwise: Any) -> Any:
    """Return what the user chose; where that is nothing, what tridesclous would."""
    return otherwise if value is None else value


def _padding(sampling_frequency: float, chosen: Mapping[str, Any]) -> int:
    """Return the samples that the filter runs on beyond each piece, as tridesclous does by itself."""
    low, high, nyquist = chosen["highpass_freq"], chosen["lowpass_freq"], sampling_frequency / 2
    if low is not None and low >= nyquist:
        message = f"highpass_freq ({low:g} Hz) must be below half the sampling frequency ({nyquist:g} Hz)"
        raise ValueError(message)
    if low is not None and high is not None and low >= high:
        message = f"highpass_freq ({low:g} Hz) must be below lowpass_freq ({high:g} Hz)"
        raise ValueError(message)
    # Without a high-pass it would not choose: as for its default of 300 Hz.
    return max(1, int(sampling_frequency / (300 if low is None else low) * 3))


def _chunk(recording: TraceReader, waveforms: Mapping[str, float], padding: int, shift: int) -> int:
    """Return the samples of a piece: about one second, and such that (nearly) none are left over.

    The peeler leaves out what is left over. A piece must be longer than the filter's padding and than a waveform.
    """
    left, right, left_long, right_long = (
        int(waveforms[name] / 1000 * recording.sampling_frequency)
        for name in ("wf_left_ms", "wf_right_ms", "wf_left_long_ms", "wf_right_long_ms")
    )
    if not left_long < left < 0 < right < right_long:
        message = (
            f"the waveforms must reach from before to behind the peak, the long ones farther; in samples: "
            f"wf_left_long_ms {left_long}, wf_left_ms {left}, wf_right_ms {right}, wf_right_long_ms {right_long}"
        )
        raise ValueError(message)
    least = max(padding, right_long - left_long + 2 * shift + 64) + 2
    usual = max(int(recording.sampling_frequency), 2 * least)
    pieces = max(recording.num_samples // usual, min(LEAST_PIECES, recording.num_samples // least))
    if pieces < 2:
        message = (
            f"the recording has {recording.num_samples} samples; with highpass_freq, wf_left_long_ms and "
            f"wf_right_long_ms as they are, tridesclous needs {2 * least}"
        )
        raise ValueError(message)
    return recording.num_samples // pieces


def _heard(recording: TraceReader) -> np.ndarray:
    """Return the channels that are not constant where the noise is estimated: by zero noise they would be divided."""
    stop = min(recording.num_samples, int(NOISE_S * recording.sampling_frequency))
    step = max(1, 2**22 // recording.num_channels)
    varies = np.zeros(recording.num_channels, dtype=bool)
    first = recording.traces(0, 1)
    for start in range(0, stop, step):
        varies |= (recording.traces(start, min(stop, start + step)) != first).any(axis=0)
        if varies.all():
            break
    if not varies.all():
        silent = ", ".join(str(channel) for channel in np.flatnonzero(~varies) + 1)
        print(f"left out channels that are constant in the first {NOISE_S:g} s: {silent}")
    return np.flatnonzero(varies)


def _tridesclous(
    recording: TraceReader, heard: np.ndarray, told: Mapping[str, Any], resources: Resources
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the catalogue and run the peeler; give times, labels and channels."""
    import tridesclous
    from tridesclous import peeler as peeling

    folder = resources.scratch / "tridesclous"
    folder.mkdir()
    places = {int(channel): tuple(map(float, recording.locations[channel])) for channel in heard}
    group = {CHANNELS: {"channels": list(places), "graph": [], "geometry": places}}
    probe = resources.scratch / "probe.prb"
    probe.write_text(f"channel_groups = {group!r}\n")

    data = tridesclous.DataIO(dirname=str(folder))
    tridesclous.datasource.data_source_classes["Recording"] = _source(recording)
    # It asks for files or folders; this source needs neither.
    data.set_data_source(type="Recording", dirnames=[])
    data.set_probe_file(str(probe))

    catalogue, features = told["catalogue"], told["feature_kargs"]
    catalogue = catalogue | {"feature_kargs": features[catalogue["feature_method"]]}
    print("making the catalogue", flush=True)
    least = max(catalogue["cluster_kargs"]["min_cluster_size"], features["global_pca"]["n_components"])
    constructor = _constructor(least)(dataio=data, chan_grp=CHANNELS)
    tridesclous.apply_all_catalogue_steps(constructor, catalogue, verbose=True)

    units = data.load_catalogue(chan_grp=CHANNELS)
    peeling.tqdm = functools.partial(StageProgress, desc="peeling")
    peeler = tridesclous.Peeler(data)
    peeler.change_params(catalogue=units, chunksize=catalogue["chunksize"], **told["peeler"])
    peeler.run(duration=None, progressbar=True)
    spikes = data.get_spikes(seg_num=0, chan_grp=CHANNELS)
    if spikes is None:
        message = "the peeler found no events"
        raise NothingFoundError(message)
    # Labels below zero are events of no unit.
    spikes = spikes[spikes["cluster_label"] >= 0]
    inside = (spikes["index"] >= 0) & (spikes["index"] < recording.num_samples)
    if not inside.all():
        print(f"left out {np.count_nonzero(~inside)} events whose peak lies outside the recording")
    spikes = spikes[inside]
    channel_of = dict(
        zip(units["clusters"]["cluster_label"], units["clusters"]["extremum_channel"], strict=True)
    )
    channels = [heard[channel_of[label]] + 1 for label in spikes["cluster_label"]]
    return spikes["index"], spikes["cluster_label"] + 1, np.array(channels, dtype=np.int64)


def _source(recording: TraceReader) -> type:
    """Return a class of tridesclous' data sources that reads a recording.

    It is made anew by name wherever tridesclous opens its folder again, hence without arguments of its own.
    """
    from tridesclous.datasource import DataSourceBase

    first = recording.traces(0, 1).astype(np.float64)

    class Source(DataSourceBase):  # type: ignore[misc]
        """The recording in uV; each channel from its first sample on, so that the filter starts without a jump."""

        mode = "multi-dir"

        def __init__(self, **_: Any) -> None:
            super().__init__()
            self.nb_segment = 1
            self.total_channel = recording.num_channels
            self.sample_rate = recording.sampling_frequency
            self.dtype = np.dtype(np.float32)

        def get_segment_shape(self, _segment: int) -> tuple[int, int]:
            """Return samples and channels."""
            return recording.num_samples, recording.num_channels

        def get_signals_chunk(
            self, seg_num: int = 0, i_start: int | None = None, i_stop: int | None = None
        ) -> np.ndarray:
            """Read samples x channels."""
            del seg_num
            counts = recording.traces(i_start or 0, i_stop).astype(np.float64)
            return ((counts - first) * recording.gains).astype(np.float32)

        def get_channel_names(self) -> list[str]:
            """Name the channels."""
            return [str(channel) for channel in range(recording.num_channels)]

    return Source


def _constructor(least: int) -> type:
    """Return tridesclous' catalogue constructor, which ends where it would fail for want of events or units.

    Parameters
    ----------
    least : int
        Events from which there can be a unit.
    """
    from tridesclous import CatalogueConstructor

    class Constructor(CatalogueConstructor):  # type: ignore[misc]
        """Ends after each step that left nothing to go on with."""

        def run_signalprocessor(self, **options: Any) -> None:
            """Filter and detect."""
            super().run_signalprocessor(**options)
            print(f"{self.nb_peak} peaks")
            if not self.nb_peak:
                message = "no peaks"
                raise NothingFoundError(message)

        def sample_some_peaks(self, **options: Any) -> None:
            """Choose peaks."""
            super().sample_some_peaks(**options)
            if len(self.some_peaks_index) < least:
                message = (
                    f"too few spikes to make a unit: {len(self.some_peaks_index)} peaks, {least} are needed"
                )
                raise NothingFoundError(message)

        def find_clusters(self, **options: Any) -> None:
            """Cluster."""
            super().find_clusters(**options)
            print(f"{len(self.positive_cluster_labels)} clusters")
            self.go_on()

        def order_clusters(self, **options: Any) -> None:
            """Order what is left after all splitting, merging and trashing."""
            self.go_on()
            super().order_clusters(**options)

        def go_on(self) -> None:
            """End where there are no clusters."""
            if not len(self.positive_cluster_labels):
                message = "no clusters"
                raise NothingFoundError(message)

    return Constructor
