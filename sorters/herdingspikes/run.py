"""HerdingSpikes on a recording of any length: band-pass, its detection and localisation, its mean-shift clustering.

The samples are filtered once, block by block on a fixed grid, into a scratch file of float32 that the detection reads.

Sources: herdingspikes 0.4.6 (`hs2.py`, `detection_lightning/`, `clustering/mean_shift_.py`).
"""

from __future__ import annotations

import ctypes
import json
import math
import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness.answer import NothingFoundError
from spikecrate_harness.workers import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

ORDER: Final = 5
"""Of the Butterworth band-pass, once forwards and once backwards: zero phase, -6 dB at the edges."""
RINGING: Final = 1e-9
"""How far a block's margin lets the filter's ringing decay: below float32."""
BLOCK_SAMPLES: Final = 65536
BLOCK_VALUES: Final = 2**23
"""Samples x channels of a block at most: 64 MiB of float64."""
MARGIN_VALUES: Final = 2**24
"""Samples x channels of a block's margin at most."""
CHUNK_VALUES: Final = 20_000_000
CHUNK_SAMPLES: Final = 1_000_000
"""Of what is detected in at once, as HerdingSpikes chooses by itself."""
SCALE_STRETCHES, SCALE_SAMPLES = 20, 10_000
"""By how many stretches of how many samples HerdingSpikes scales; it cannot take a shorter recording."""
REFERENCE_CHANNELS: Final = 20
"""Below so many channels HerdingSpikes itself says that a common reference is wrong."""


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
        Scratch folder (samples x channels x 4 bytes are needed), seed, and number of worker processes.

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
    np.random.seed(told["seed"])
    os.register_at_fork(after_in_child=end_with_parent)
    traces = prepare(recording, told["filter"], resources.scratch)
    heard = traces.heard()
    if not len(heard):
        message = "all channels are constant nearly all the time"
        raise NothingFoundError(message)
    spikes = _detect(traces, heard, told["detection"], resources.scratch)
    times = spikes["t"].to_numpy(np.int64)
    channels = heard[spikes["ch"].to_numpy(np.int64)] + 1
    labels = _cluster(spikes, told, resources)
    inside = (times >= 0) & (times < recording.num_samples) & (labels > 0)
    if not inside.all():
        print(f"left out {np.count_nonzero(~inside)} events of no unit, or outside the recording")
    return times[inside], labels[inside], channels[inside]


def settings(
    recording: TraceReader, parameters: Mapping[str, Any], resources: Resources
) -> dict[str, dict[str, Any] | int]:
    """Return what the filter and HerdingSpikes are told, by their own names.

    Raises
    ------
    ValueError
        Where parameters contradict each other or the recording.
    """
    chosen = dict(parameters)
    if recording.num_samples < SCALE_SAMPLES:
        message = (
            f"HerdingSpikes measures the noise in stretches of {SCALE_SAMPLES} samples; "
            f"the recording has {recording.num_samples}"
        )
        raise ValueError(message)
    reference = chosen["common_reference"]
    if reference is None:
        reference = "median" if recording.num_channels >= REFERENCE_CHANNELS else "none"
    elif reference == "median" and recording.num_channels == 1:
        message = "common_reference: the median of one channel is the channel itself; nothing would be left"
        raise ValueError(message)
    samples = {
        name: int(chosen[name] * recording.sampling_frequency / 1000 + 0.5)
        for name in (
            *("peak_jitter", "spike_duration", "rise_duration", "left_cutout_time", "right_cutout_time"),
        )
    }
    short = [name for name, count in samples.items() if count < samples["peak_jitter"]]
    if short:
        message = f"{' and '.join(short)} must not be shorter than peak_jitter ({chosen['peak_jitter']:g} ms)"
        raise ValueError(message)
    return {
        "filter": _band(recording.sampling_frequency, chosen),
        "detection": {
            "chunk_size": min(CHUNK_SAMPLES, max(1, CHUNK_VALUES // recording.num_channels)),
            "rescale": True,
            "rescale_value": chosen["rescale_value"],
            "lowpass": chosen["lowpass"],
            "common_reference": reference,
            "spike_duration": chosen["spike_duration"],
            "amp_avg_duration": chosen["amp_avg_duration"],
            "threshold": chosen["threshold"],
            "min_avg_amp": chosen["min_avg_amp"],
            "AHP_thr": chosen["AHP_thr"],
            "neighbor_radius": chosen["neighbor_radius"],
            "inner_radius": chosen["inner_radius"],
            "peak_jitter": chosen["peak_jitter"],
            "rise_duration": chosen["rise_duration"],
            "decay_filtering": chosen["decay_filtering"],
            "decay_ratio": chosen["decay_ratio"],
            "localize": True,
            "save_shape": True,
            "left_cutout_time": chosen["left_cutout_time"],
            "right_cutout_time": chosen["right_cutout_time"],
            "verbose": True,
        },
        "pca": {"pca_ncomponents": chosen["pca_ncomponents"], "pca_whiten": chosen["pca_whiten"]},
        "clustering": {
            "alpha": chosen["clustering_alpha"],
            "cluster_subset": chosen["clustering_subset"],
            "bandwidth": chosen["clustering_bandwidth"],
            "bin_seeding": chosen["clustering_bin_seeding"],
            "min_bin_freq": chosen["clustering_min_bin_freq"],
        },
        "seed": resources.seed % 2**32,
    }


def _band(sampling_frequency: float, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pass band that the recording can have; without an upper edge it is a high-pass."""
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


def prepare(recording: TraceReader, told: Mapping[str, Any], scratch: Path) -> Prepared:
    """Filter a recording into a scratch file.

    Raises
    ------
    ValueError
        Where the filter rings for longer than a block can be.
    OSError
        With ENOSPC before any work is done, where the scratch folder is too small.
    """
    blocks = Blocks(recording, told)
    prepared = Prepared(recording, scratch / "prepared.float32")
    print(f"filtering {recording.num_channels} channels x {recording.num_samples} samples", flush=True)
    with prepared.path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 4 * recording.num_channels * recording.num_samples)
        for done, start in enumerate(blocks.starts, start=1):
            file.write(np.ascontiguousarray(blocks.read(start).T, dtype=np.float32).tobytes())
            if 10 * done // len(blocks.starts) > 10 * (done - 1) // len(blocks.starts):
                print(f"filtering: {100 * done // len(blocks.starts)}%", flush=True)
    return prepared


class Blocks:
    """A recording in uV, filtered, block by block. The grid is fixed, so that each value is always the same.

    Parameters
    ----------
    recording : TraceReader
        Raw traces.
    told : mapping
        Whether to filter, and the edges in Hz; an upper one of None for a high-pass.

    Raises
    ------
    ValueError
        Where the filter rings for longer than a block can be.
    """

    def __init__(self, recording: TraceReader, told: Mapping[str, Any]) -> None:
        self.recording = recording
        self.apply = told["apply"]
        self.margin = 0
        if self.apply:
            from scipy.signal import butter

            low, high = told["freq_min"], told["freq_max"]
            edges, kind = (low, "highpass") if high is None else ([low, high], "bandpass")
            self.filter = butter(ORDER, edges, kind, output="zpk", fs=recording.sampling_frequency)
            # What a block shows of the samples beyond its margin decays with the pole nearest the unit circle.
            slowest = np.abs(self.filter[1]).max()
            self.margin = (
                math.ceil(math.log(RINGING) / math.log(slowest)) if slowest < 1 else MARGIN_VALUES + 1
            )
            if self.margin * recording.num_channels > MARGIN_VALUES:
                message = (
                    f"freq_min ({low:g} Hz) and freq_max ({high or math.inf:g} Hz) make a filter that rings for too "
                    f"long at {recording.sampling_frequency:g} Hz: raise freq_min, or set them further apart"
                )
                raise ValueError(message)
        fit = min(BLOCK_SAMPLES, max(1, BLOCK_VALUES // recording.num_channels))
        self.size = max(fit, self.margin)
        self.starts = range(0, recording.num_samples, self.size)
        # Taken off first, so that a constant channel is silent to the last bit.
        self.first = recording.traces(0, 1).T.astype(np.float64)

    def read(self, start: int) -> np.ndarray:
        """Return the block that starts at a sample, channels x samples, float64."""
        recording, margin = self.recording, self.margin
        stop = min(start + self.size, recording.num_samples)
        first, last = max(0, start - margin), min(stop + margin, recording.num_samples)
        counts = recording.traces(first, last).T.astype(np.float64)
        traces = (counts - self.first) * recording.gains[:, np.newaxis]
        if not self.apply:
            return traces
        # Beyond the recording's ends it goes on mirrored about its last point, as scipy's sosfiltfilt has it.
        missing = ((0, 0), (margin - (start - first), margin - (last - stop)))
        traces = np.pad(traces, missing, mode="reflect", reflect_type="odd")
        return self._filtered(traces)[:, margin : margin + stop - start]

    def _filtered(self, traces: np.ndarray) -> np.ndarray:
        """Apply the filter's squared magnitude: what running it forwards and then backwards does."""
        from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
        from scipy.signal import freqz_zpk

        rate = self.recording.sampling_frequency
        length = next_fast_len(traces.shape[1], real=True)
        _, response = freqz_zpk(*self.filter, worN=rfftfreq(length, 1 / rate), fs=rate)
        return np.asarray(irfft(rfft(traces, length) * np.abs(response) ** 2, length))


class Prepared:
    """The filtered traces on disk, as HerdingSpikes asks for a recording's.

    Parameters
    ----------
    recording : TraceReader
        What they are of.
    path : Path
        File of float32, samples x channels.
    channels : numpy.ndarray, optional
        Those that are shown; by default all.
    """

    def __init__(self, recording: TraceReader, path: Path, channels: np.ndarray | None = None) -> None:
        self.recording = recording
        self.path = path
        self.channels = np.arange(recording.num_channels) if channels is None else channels

    def heard(self) -> np.ndarray:
        """Return the channels that HerdingSpikes can scale: it divides by the spread of their values.

        Where it measures it they must not have one value 95% of the time.
        """
        starts = np.random.default_rng(0).integers(
            0, self.get_num_samples() - SCALE_SAMPLES, SCALE_STRETCHES, dtype=np.int32, endpoint=True
        )
        stretches = [self.get_traces(start_frame=start, end_frame=start + SCALE_SAMPLES) for start in starts]
        low, high = np.quantile(np.concatenate(stretches), [0.025, 0.975], axis=0)
        if not (high > low).all():
            silent = ", ".join(str(channel) for channel in np.flatnonzero(high <= low) + 1)
            print(f"left out channels that are constant nearly all the time: {silent}")
        return np.flatnonzero(high > low)

    def get_num_segments(self) -> int:
        """Return the number of segments."""
        return 1

    def get_num_samples(self, _segment: int | None = None) -> int:
        """Return the samples per channel."""
        return self.recording.num_samples

    def get_sampling_frequency(self) -> float:
        """Return the sampling frequency, Hz."""
        return self.recording.sampling_frequency

    def get_num_channels(self) -> int:
        """Return the number of channels."""
        return len(self.channels)

    def get_channel_ids(self) -> list[int]:
        """Return the channels' numbers."""
        return [int(channel) for channel in self.channels]

    def get_channel_property(self, channel: int, _key: str) -> np.ndarray:
        """Return a channel's location, the one property that is asked for."""
        return self.recording.locations[channel]

    def get_traces(self, segment_index: int = 0, start_frame: int = 0, end_frame: int = 0) -> np.ndarray:
        """Read samples x channels."""
        del segment_index
        # Read, not mapped: pages of a mapped file would count as the process's own memory.
        columns = self.recording.num_channels
        with self.path.open("rb") as file:
            file.seek(4 * columns * int(start_frame))
            values = np.fromfile(file, np.float32, columns * (int(end_frame) - int(start_frame)))
        traces = values.reshape(-1, columns)
        return traces if len(self.channels) == columns else np.ascontiguousarray(traces[:, self.channels])


def _detect(traces: Prepared, heard: np.ndarray, told: Mapping[str, Any], scratch: Path) -> Any:
    """Detect and localise; return a table of events.

    Raises
    ------
    NothingFoundError
        Where there are none.
    """
    _zero_what_is_allocated()
    from herdingspikes import HSDetectionLightning

    shown = Prepared(traces.recording, traces.path, heard)
    detection = HSDetectionLightning(shown, dict(told) | {"out_file": str(scratch / "detected")})
    # Its own copy of the result is not needed; the shapes still go to a file.
    detection.out_file_name = None
    try:
        detection.DetectFromRaw()
    except AssertionError:
        if detection.spikes is None or len(detection.spikes):
            raise
        message = "no events"
        raise NothingFoundError(message) from None
    print(f"{len(detection.spikes)} events", flush=True)
    return detection.spikes


def _zero_what_is_allocated() -> None:
    """Make the C library give zeroed memory.

    HerdingSpikes reads samples that it has never written: with lowpass, the first one of each chunk.
    """
    perturb, to_zero = -6, 0xFF
    ctypes.CDLL(None).mallopt(perturb, to_zero)


def _cluster(spikes: Any, told: Mapping[str, Any], resources: Resources) -> np.ndarray:
    """Return the unit of each event, from 1."""
    from herdingspikes import HSClustering
    from joblib import parallel_config

    subset = told["clustering"]["cluster_subset"]
    least = max(2, told["pca"]["pca_ncomponents"])
    if len(spikes) < least:
        message = f"too few spikes to make a unit: {len(spikes)} events, {least} are needed"
        raise NothingFoundError(message)
    clustering = HSClustering(spikes)
    clustering.ShapePCA(**told["pca"])
    if subset is not None and subset >= len(spikes):
        print(f"clustering_subset: there are only {len(spikes)} events, all are used")
        subset = None
    options = dict(told["clustering"]) | {"cluster_subset": subset}
    try:
        # Forked workers share the imports; large arrays go by way of the scratch folder.
        with parallel_config(backend="multiprocessing", temp_folder=str(resources.scratch)):
            clustering.CombinedClustering(n_jobs=resources.cores, **options)
    except ValueError as error:
        if "No point was within" not in str(error):
            raise
        message = f"no place has clustering_min_bin_freq of the {len(spikes)} events"
        raise NothingFoundError(message) from None
    return clustering.spikes["cl"].to_numpy(np.int64) + 1
