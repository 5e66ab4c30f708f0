"""MountainSort 4 on a recording of any length: band-pass, whitening, sorting, all deterministic.

The samples are prepared once, block by block on a fixed grid, into a scratch file of float32, channel after
channel; the sorter's worker processes read that file. Nothing is ever held whole in memory.

Sources: mountainsort4 1.0.7 (`ms4alg.py`); Chung et al. 2017, doi:10.1016/j.neuron.2017.08.030.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness.stage_progress import StageProgress
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
COVARIANCE_BLOCKS: Final = 64
"""A longer recording's covariance is taken from this many blocks, evenly spaced: 140 s at 30 kHz."""
MARGIN_VALUES: Final = 2**24
"""Samples x channels of a block's margin at most: about 1.5 GiB while a block is filtered."""
PREPARATION: Final = ("filter", "freq_min", "freq_max", "whiten")
SORTING: Final = (
    *("detect_sign", "detect_threshold", "detect_interval", "adjacency_radius"),
    *("clip_size", "num_features", "max_num_clips_for_pca"),
)
"""Parameters that go to MountainSort 4 as they are."""
FLOOR: Final = 1e-3
"""Of the median channel's variance, added to every direction's: a silent channel is not blown up to noise."""


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
        Scratch folder (samples x channels x 4 bytes are needed) and number of worker processes.

    Returns
    -------
    times, labels, channels : numpy.ndarray
        Sample index, unit (from 1) and primary channel (from 1) of each event.

    Raises
    ------
    ValueError
        Where parameters contradict each other or the recording.
    """
    told = settings(parameters, resources)
    print(f"settings: {json.dumps(told, sort_keys=True)}", flush=True)
    prepared = prepare(recording, told["preparation"], resources.scratch)
    return _mountainsort(prepared, recording, told, resources)


def settings(parameters: Mapping[str, Any], resources: Resources) -> dict[str, Any]:
    """Return what the preparation and MountainSort 4 are told, by their own names."""
    return {
        "preparation": {name: parameters[name] for name in PREPARATION},
        "setSortingOpts": {name: parameters[name] for name in SORTING},
        "setNumWorkers": resources.cores,
    }


class Prepared:
    """The prepared traces on disk, as mountainsort4 asks for a recording's.

    Parameters
    ----------
    path : Path
        File of float32, channel after channel.
    num_channels, num_samples : int
        Its shape.
    """

    def __init__(self, path: Path, num_channels: int, num_samples: int) -> None:
        self.path = path
        self.shape = (num_channels, num_samples)

    def get_channel_ids(self) -> list[int]:
        """Return the channels' numbers."""
        return list(range(self.shape[0]))

    def get_num_frames(self) -> int:
        """Return the samples per channel."""
        return self.shape[1]

    def get_traces(self, channel_ids: np.ndarray, start_frame: int, end_frame: int) -> np.ndarray:
        """Read channels x samples as float64, which mountainsort4 computes in and changes in place."""
        # Read, not mapped: pages of a mapped file would count as the process's own memory.
        traces = np.empty((len(channel_ids), end_frame - start_frame))
        with self.path.open("rb") as file:
            for channel, row in zip(channel_ids, traces, strict=True):
                file.seek(4 * (int(channel) * self.shape[1] + start_frame))
                row[:] = np.fromfile(file, np.float32, len(row))
        return traces


def prepare(recording: TraceReader, parameters: Mapping[str, Any], scratch: Path) -> Prepared:
    """Filter and whiten a recording into a scratch file.

    Raises
    ------
    ValueError
        Where the pass band is empty.
    OSError
        With ENOSPC before any work is done, where the scratch folder is too small.
    """
    blocks = Blocks(recording, _band(recording.sampling_frequency, parameters))
    prepared = Prepared(scratch / "prepared.float32", recording.num_channels, recording.num_samples)
    size = 4 * recording.num_channels * recording.num_samples
    print(f"preparing {recording.num_channels} channels x {recording.num_samples} samples", flush=True)
    with prepared.path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
        mean, whitener = _whitening(blocks, whiten=parameters["whiten"])
        tell = StageProgress(desc="preparing", total=len(blocks.starts))
        for start in blocks.starts:
            block = (whitener @ (blocks.read(start) - mean)).astype(np.float32)
            for channel, row in enumerate(block):
                file.seek(4 * (channel * recording.num_samples + start))
                file.write(row.tobytes())
            tell.update()
    return prepared


class Blocks:
    """A recording in uV, filtered, block by block. The grid is fixed, so that each value is always the same.

    Parameters
    ----------
    recording : TraceReader
        Raw traces.
    band : tuple of float, optional
        Lower and upper edge in Hz; the upper may be infinite. Without it the traces are as recorded.

    Raises
    ------
    ValueError
        Where the filter rings for longer than a block can be.
    """

    def __init__(self, recording: TraceReader, band: tuple[float, float] | None) -> None:
        self.recording = recording
        self.band = band
        self.margin = 0
        if band is not None:
            from scipy.signal import butter

            low, high = band
            edges, kind = (low, "highpass") if math.isinf(high) else ([low, high], "bandpass")
            self.filter = butter(ORDER, edges, kind, output="zpk", fs=recording.sampling_frequency)
            # What a block shows of the samples beyond its margin decays with the pole nearest the unit circle.
            slowest = np.abs(self.filter[1]).max()
            self.margin = (
                math.ceil(math.log(RINGING) / math.log(slowest)) if slowest < 1 else MARGIN_VALUES + 1
            )
            if self.margin * recording.num_channels > MARGIN_VALUES:
                message = (
                    f"freq_min ({low:g} Hz) and freq_max ({high:g} Hz) make a filter that rings for too long at "
                    f"{recording.sampling_frequency:g} Hz: raise freq_min, or set them further apart, or freq_max "
                    "further from half the sampling frequency"
                )
                raise ValueError(message)
        fit = min(BLOCK_SAMPLES, max(1, BLOCK_VALUES // recording.num_channels))
        self.size = max(fit, self.margin)
        self.starts = range(0, recording.num_samples, self.size)
        self.offset = self._microvolts(0, 1)

    def read(self, start: int) -> np.ndarray:
        """Return the block that starts at a sample, channels x samples, float64."""
        recording, margin = self.recording, self.margin
        stop = min(start + self.size, recording.num_samples)
        first, last = max(0, start - margin), min(stop + margin, recording.num_samples)
        traces = self._microvolts(first, last)
        if self.band is None:
            return traces
        # The filter takes the offset away, but for rounding: without it a constant channel is silent to the last bit.
        traces -= self.offset
        # Beyond the recording's ends it goes on mirrored about its last point, as scipy's sosfiltfilt has it.
        missing = ((0, 0), (margin - (start - first), margin - (last - stop)))
        traces = np.pad(traces, missing, mode="reflect", reflect_type="odd")
        return self._filtered(traces)[:, margin : margin + stop - start]

    def _microvolts(self, start: int, stop: int) -> np.ndarray:
        counts = self.recording.traces(start, stop).T.astype(np.float64)
        return counts * self.recording.gains[:, np.newaxis] + self.recording.offsets[:, np.newaxis]

    def _filtered(self, traces: np.ndarray) -> np.ndarray:
        """Apply the filter's squared magnitude: what running it forwards and then backwards does."""
        from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
        from scipy.signal import freqz_zpk

        rate = self.recording.sampling_frequency
        length = next_fast_len(traces.shape[1], real=True)
        _, response = freqz_zpk(*self.filter, worN=rfftfreq(length, 1 / rate), fs=rate)
        return np.asarray(irfft(rfft(traces, length) * np.abs(response) ** 2, length))


def _band(sampling_frequency: float, parameters: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the pass band that the recording can have; None where no filter is asked for."""
    low, high, nyquist = parameters["freq_min"], parameters["freq_max"], sampling_frequency / 2
    if not parameters["filter"]:
        return None
    if low >= high:
        message = f"freq_min ({low:g} Hz) must be below freq_max ({high:g} Hz)"
        raise ValueError(message)
    if low >= nyquist:
        message = f"freq_min ({low:g} Hz) must be below half the sampling frequency ({nyquist:g} Hz)"
        raise ValueError(message)
    if high >= nyquist:
        print(
            f"freq_max ({high:g} Hz) is not below half the sampling frequency ({nyquist:g} Hz): high-pass only"
        )
        return low, math.inf
    return low, high


def _whitening(blocks: Blocks, *, whiten: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the channels' mean and the matrix that makes them uncorrelated, each of variance 1 (ZCA)."""
    channels, count = blocks.recording.num_channels, len(blocks.starts)
    if not whiten:
        return np.zeros((channels, 1)), np.eye(channels)
    chosen = range(count)
    if count > COVARIANCE_BLOCKS:
        chosen = [index * (count - 1) // (COVARIANCE_BLOCKS - 1) for index in range(COVARIANCE_BLOCKS)]
    tell = StageProgress(desc="measuring covariance", total=len(chosen))
    total, products, samples = np.zeros((channels, 1)), np.zeros((channels, channels)), 0
    for index in chosen:
        block = blocks.read(blocks.starts[index])
        total += block.sum(axis=1, keepdims=True)
        products += block @ block.T
        samples += block.shape[1]
        tell.update()
    mean = total / samples
    covariance = products / samples - mean @ mean.T
    variances = np.diag(covariance)
    # Where nothing is filtered, rounding leaves a constant channel a variance of about this, not of nothing.
    heard = variances > 1e-12 * np.diag(products) / samples
    if not heard.any():
        return mean, np.zeros((channels, channels))
    values, vectors = np.linalg.eigh(covariance)
    scale = 1 / np.sqrt(np.maximum(values, 0) + FLOOR * np.median(variances[heard]))
    return mean, (vectors * scale) @ vectors.T


def _mountainsort(
    prepared: Prepared, recording: TraceReader, told: Mapping[str, Any], resources: Resources
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run mountainsort4 on prepared traces."""
    import dask
    from mountainsort4.ms4alg import MountainSort4

    from spikecrate_harness import mda

    sorter = MountainSort4()
    sorter.setRecording(prepared)
    sorter.setUseRecordingDirectly(True)
    sorter.setGeom(np.array(recording.layout.locations))
    sorter.setSortingOpts(**told["setSortingOpts"], verbose=True)
    sorter.setNumWorkers(told["setNumWorkers"])
    sorter.setTemporaryDirectory(str(resources.scratch))
    # Not `eventTimesLabelsChannels()`: in 1.0.7 it gives the labels again in the place of the channels.
    firings = resources.scratch / "firings.mda"
    sorter.setFiringsOutPath(str(firings))
    # Forked workers share the imports. Tasks are handed out one by one, not dask's six at a time, which would leave
    # cores idle. Every task seeds itself, so that the order of tasks is of no effect.
    workers = ProcessPoolExecutor(
        resources.cores, multiprocessing.get_context("fork"), _start_worker, (os.getpid(),)
    )
    with workers, dask.config.set(pool=workers, chunksize=1), _progress(2 * recording.num_channels):
        sorter.sort()
    channels, times, labels = mda.read(firings)
    # An event is moved to the peak of its unit, which can lie beyond either end of the recording.
    inside = (times >= 0) & (times < recording.num_samples)
    if not inside.all():
        print(f"left out {np.count_nonzero(~inside)} events whose peak lies outside the recording")
    return times[inside], labels[inside].astype(np.int64), channels[inside].astype(np.int64)


def _start_worker(parent: int) -> None:
    """Make a worker process end with its parent, and let it handle short clips."""
    from mountainsort4 import ms4alg

    end_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    ms4alg.compute_principal_components = _principal_components


def _principal_components(clips: np.ndarray, count: int) -> np.ndarray:
    """Return the first principal components, as ms4alg's own; those that do not exist are zero.

    There are no more of them than a clip has values (channels x clip_size), and mountainsort4 asks for four times
    `num_features`: without this it fails with 40 features on one channel and a clip_size below 40.
    """
    components = np.linalg.svd(clips)[0][:, :count]
    return np.pad(components, ((0, 0), (0, count - components.shape[1])))


def _progress(tasks: int) -> Any:
    """Return a dask callback that counts finished tasks."""
    from dask.callbacks import Callback

    tell = StageProgress(desc="sorting", total=tasks)
    return Callback(posttask=lambda *_: tell.update())
