"""Klusta on a recording of any length: SpikeDetekt finds the events, KlustaKwik 2 clusters them.

Both are called as Klusta's own program calls them, without the .kwik files, which only hold what is kept here anyway.

Sources: klusta 3.0.16 (`launch.py`, `klustakwik.py`, `traces/`); klustakwik2 0.2.6; Rossant et al. 2016, doi:10.1038/nn.4268.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness.answer import NothingFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

DETECTION: Final = (
    *("filter_low", "filter_high_factor", "filter_butter_order", "n_excerpts", "excerpt_size_seconds"),
    *("use_single_threshold", "threshold_strong_std_factor", "threshold_weak_std_factor", "detect_spikes"),
    *("connected_component_join_size", "extract_s_before", "extract_s_after", "weight_power"),
    *("n_features_per_channel", "pca_n_waveforms_max"),
)
"""Parameters that go to SpikeDetekt as they are; all others but the radius go to KlustaKwik 2."""
CHUNK: Final = {"chunk_size_seconds": 1.0, "chunk_overlap_seconds": 0.015}
LEAST_SAMPLES: Final = 100
"""A shorter recording holds no event, and is shorter than the filter's own padding."""
LEAST_EVENTS: Final = 10
"""Fewer have no principal components to speak of."""
GROUP: Final = 0


class Traces:
    """The recording as SpikeDetekt reads arrays: by rows, in uV, nothing held.

    Parameters
    ----------
    recording : TraceReader
        Raw traces.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, recording: TraceReader) -> None:
        self.recording = recording
        self.shape = (recording.num_samples, recording.num_channels)

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a slice of samples, all channels."""
        rows = key[0] if isinstance(key, tuple) else key
        start, stop, _ = rows.indices(len(self))
        counts = self.recording.traces(start, stop)
        return (counts * np.asarray(self.recording.gains) + np.asarray(self.recording.offsets)).astype(
            self.dtype
        )


def settings(recording: TraceReader, parameters: Mapping[str, Any], resources: Resources) -> dict[str, Any]:  # noqa: ARG001
    """Return what SpikeDetekt and KlustaKwik 2 are told, by their own names."""
    clustering = {
        name: value for name, value in parameters.items() if name not in (*DETECTION, "adjacency_radius")
    }
    return {
        "spikedetekt": {
            **{name: parameters[name] for name in DETECTION},
            **CHUNK,
            "sample_rate": recording.sampling_frequency,
        },
        "klustakwik2": {**clustering, "num_cpus": 1},
        "adjacency_radius": parameters["adjacency_radius"],
    }


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
        Scratch folder, cores, seed.

    Returns
    -------
    tuple of numpy.ndarray
        Times in samples, labels from 1, channels from 1.
    """
    told = settings(recording, parameters, resources)
    print("settings:", json.dumps(told, sort_keys=True), flush=True)
    # numpy's warnings of names that it will drop would fill the log.
    warnings.simplefilter("ignore")
    if recording.num_samples < LEAST_SAMPLES:
        message = f"the recording has {recording.num_samples} samples, {LEAST_SAMPLES} are needed"
        raise NothingFoundError(message)
    traces = Traces(recording)
    live = live_channels(traces, told["spikedetekt"])
    if len(live) == 0:
        message = "no channel has noise above 0"
        raise NothingFoundError(message)
    times, features, masks = detect(traces, live, recording.locations, told, str(resources.scratch))
    print(f"{len(times)} events on {len(live)} channels", flush=True)
    if len(times) < LEAST_EVENTS:
        message = f"too few spikes to make a unit: {len(times)} events, {LEAST_EVENTS} are needed"
        raise NothingFoundError(message)
    clusters = cluster(features, masks, told["klustakwik2"])
    special = parameters["use_noise_cluster"] + parameters["use_mua_cluster"]
    times = np.rint(times)
    kept = (clusters >= special) & (times >= 0) & (times < recording.num_samples)
    print(
        f"{np.sum(clusters < special)} events are noise or multi-unit activity and are left out", flush=True
    )
    if not kept.any():
        message = f"all {len(times)} events are noise or multi-unit activity"
        raise NothingFoundError(message)
    _, labels = np.unique(clusters[kept], return_inverse=True)
    channels = primary_channels(features[kept], labels, live)
    return times[kept], labels + 1, channels


def live_channels(traces: Traces, told: Mapping[str, Any]) -> np.ndarray:
    """Return the channels whose noise is above 0: on the others every sample would be beyond the threshold."""
    from klusta.traces import SpikeDetekt

    all_channels = {GROUP: list(range(traces.shape[1]))}
    probing = SpikeDetekt(
        probe_channels=all_channels, probe_adjacency_list={}, **{**told, "use_single_threshold": False}
    )
    return np.flatnonzero(np.ravel(probing.find_thresholds(traces)["strong"]) > 0)


def adjacency(locations: np.ndarray, live: np.ndarray, radius: float) -> dict[int, set[int]]:
    """Return each live channel's neighbours."""
    places = np.asarray(locations, dtype=float)
    near = {}
    for channel in live:
        distances = np.linalg.norm(places[live] - places[channel], axis=1)
        chosen = live if radius < 0 else live[distances <= radius]
        near[int(channel)] = {int(other) for other in chosen} - {int(channel)}
    return near


def detect(
    traces: Traces, live: np.ndarray, locations: np.ndarray, told: Mapping[str, Any], folder: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the events: times, features (events x channels x components) and masks (events x channels)."""
    from klusta.traces import SpikeDetekt

    detekt = SpikeDetekt(
        tempdir=folder,
        probe_channels={GROUP: [int(channel) for channel in live]},
        probe_adjacency_list=adjacency(locations, live, told["adjacency_radius"]),
        **told["spikedetekt"],
    )
    found = detekt.run_serial(traces)
    times = found.spike_samples[GROUP]
    if times is None or len(times) == 0:
        message = "no events"
        raise NothingFoundError(message)
    features, masks = (
        np.concatenate([np.asarray(part) for part in parts[GROUP] if part is not None and len(part)])
        for parts in (found.features, found.masks)
    )
    return np.asarray(times, dtype=float), features, masks


def cluster(features: np.ndarray, masks: np.ndarray, told: Mapping[str, Any]) -> np.ndarray:
    """Cluster the events; the first clusters are those of noise and of multi-unit activity."""
    from klusta.klustakwik import klustakwik

    components = features.shape[2]
    flat = features.reshape(len(features), -1)
    clusters, _ = klustakwik(features=flat, masks=np.repeat(masks, components, axis=1), **told)
    return np.asarray(clusters)


def primary_channels(features: np.ndarray, labels: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Return each event the channel, from 1, on which the features of its unit have the most energy."""
    energy = np.sum(np.square(features, dtype=float), axis=2)
    of_units = np.array(
        [live[np.mean(energy[labels == label], axis=0).argmax()] for label in range(labels.max() + 1)]
    )
    return of_units[labels] + 1
