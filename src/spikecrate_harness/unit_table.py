"""The table of units that stands beside `firings.mda`: rate, channel, SNR, ISI violations and amplitude of each.

Columns and formulas are those of the tool `analyze`, from fewer events. Nothing is random, and the work is bounded by
counts, not by a clock, so that equal samples and events give equal bytes. Waveforms are read in order of time, those
that overlap at once: a pass over all channels finds a unit's channel, and a second one reads more of its events there.
"""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from spikecrate_harness.traces import TraceReader

NAME: Final = "units.csv"
BAND_HZ: Final = (300.0, 6000.0)
ORDER: Final = 5
"""Of the Butterworth filter, once forwards and once backwards."""
BEFORE_S: Final = 0.001
AFTER_S: Final = 0.002
"""Window of a waveform around its event."""
MARGIN_S: Final = 0.006
"""Half the length of the filter's kernel."""
ISI_S: Final = 0.0015
"""Shorter intervals between successive events are violations."""
MOST_EVENTS: Final = 500
LEAST_EVENTS: Final = 100
"""Of a unit's events in the second pass, evenly spaced over all of them."""
VALUES: Final = 2**28
READ_SHARE: Final = 8
"""Samples x channels of the second pass: these, or this part of a longer recording if that is more."""
FIRST_VALUES: Final = 2**13
FIRST_LEAST: Final = 24
"""Events x channels of a unit in the first pass, and its least number of events."""
BATCH_VALUES: Final = 2**23
"""Samples x channels of waveforms held at once: 64 MiB of float64."""
BLOCK_VALUES: Final = 2**22
"""Samples x channels read at once."""
GAP_VALUES: Final = 2**14
"""Samples x channels between two waveforms that are read along: cheaper than to read twice."""
NOISE_SAMPLES: Final = 2**13
"""Of a slice for the noise: a quarter of a second, and a power of two for the transform."""
NOISE_SLICES: Final = 20
NOISE_SHARE: Final = 2
"""Slices of noise, evenly spaced: so many, or this part of a shorter recording."""


class Row(NamedTuple):
    """A unit, by the columns of the file; None is an empty cell."""

    unit: int
    events: int
    rate: float
    channel: int | None = None
    snr: float | None = None
    isi_violations: float | None = None
    amplitude: float | None = None


def write_unit_table(path: Path, recording: TraceReader, firings: NDArray[np.float64]) -> None:
    """Measure the units of a sorting and write `units.csv`.

    Parameters
    ----------
    path : Path
        The file; what is there is overwritten.
    recording : TraceReader
        Raw traces.
    firings : numpy.ndarray
        3 x L float64, as `as_firings` returns it.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Row._fields)
        table.writerows(unit_table(recording, firings))


def unit_table(recording: TraceReader, firings: NDArray[np.float64]) -> list[Row]:
    """Measure the units of a sorting.

    Parameters
    ----------
    recording : TraceReader
        Raw traces.
    firings : numpy.ndarray
        3 x L float64: channel, time, label.

    Returns
    -------
    list of Row
        By ascending label. Without a whole waveform inside the recording, a unit has no channel, SNR or amplitude.
    """
    trains = spike_trains(firings)
    measure = _Measure(recording, len(trains))
    whole = {unit: times for unit, train in trains.items() if len(times := measure.whole(train))}
    channels: dict[int, int] = {}
    for batch in _batches(whole, measure.length * recording.num_channels):
        channels |= measure.channels(batch)
    found: dict[int, tuple[int, float, float]] = {}
    for batch in _batches(whole, measure.length * measure.most):
        found |= measure.waveforms(batch, channels)
    noise = measure.noise(sorted({channel for channel, _peak, _amplitude in found.values()}))
    rows = []
    for unit, train in trains.items():
        rate = len(train) / (recording.num_samples / recording.sampling_frequency)
        violations = isi_violations(train, recording.sampling_frequency, recording.num_samples)
        if unit not in found:
            rows.append(Row(unit, len(train), rate, isi_violations=violations))
            continue
        channel, peak, amplitude = found[unit]
        level = noise[channel]
        snr = peak / level if level else math.nan
        rows.append(Row(unit, len(train), rate, channel, _known(snr), violations, _known(amplitude)))
    return rows


def spike_trains(firings: NDArray[np.float64]) -> dict[int, NDArray[np.int64]]:
    """Return the events of every unit.

    Parameters
    ----------
    firings : numpy.ndarray
        3 x L: channel, time, label.

    Returns
    -------
    dict
        By ascending label: times rounded to samples, int64, ascending.
    """
    import numpy as np

    times, labels = (np.round(row).astype(np.int64) for row in firings[1:3])
    order = np.lexsort((times, labels))
    units, starts = np.unique(labels[order], return_index=True)
    trains = np.split(times[order], starts[1:]) if len(units) else []
    return dict(zip(units.tolist(), trains, strict=True))


def isi_violations(train: NDArray[np.int64], sampling_frequency: float, num_samples: int) -> float:
    """Return the ratio of ISI violations, v T / (2 n² t) with v intervals shorter than t = 1.5 ms.

    Hill, Mehta & Kleinfeld 2011, J. Neurosci. 31:8699; the operations are in the order of SpikeInterface 0.105.3.

    Parameters
    ----------
    train : numpy.ndarray
        Times of the events of one unit in samples, ascending; at least one.
    sampling_frequency : float
        Hz.
    num_samples : int
        Length of the recording.
    """
    import numpy as np

    violations = int(np.count_nonzero(np.diff(train / sampling_frequency) < ISI_S))
    rate = len(train) / (num_samples / sampling_frequency)
    return violations / (2 * len(train) * ISI_S) / rate


def gain(length: int, sampling_frequency: float) -> NDArray[np.float64]:
    """Return the gain of the band-pass, run forwards and backwards; it shifts nothing in time.

    It is the squared magnitude of a digital Butterworth filter (bilinear transform). Where the upper edge is not below
    half the sampling frequency it is a high-pass; where the lower edge is not, only the offset is removed.

    Parameters
    ----------
    length : int
        Number of samples to filter, at least 1.
    sampling_frequency : float
        Hz.

    Returns
    -------
    numpy.ndarray
        length // 2 + 1 float64, 0 to 1, at the frequencies of a real Fourier transform.
    """
    import numpy as np

    low, high = (math.tan(math.pi * min(edge / sampling_frequency, 0.5)) for edge in BAND_HZ)
    passed = np.zeros(length // 2 + 1)
    at = np.tan(np.pi / length * np.arange(1, len(passed)))
    if 2 * BAND_HZ[0] >= sampling_frequency:
        passed[1:] = 1
    elif 2 * BAND_HZ[1] >= sampling_frequency:
        passed[1:] = 1 / (1 + (low / at) ** (2 * ORDER))
    else:
        passed[1:] = 1 / (1 + ((at - low * high / at) / (high - low)) ** (2 * ORDER))
    return passed


def kernel(half: int, sampling_frequency: float) -> NDArray[np.float64]:
    """Return the impulse response of the filter, cut to a length and free of an offset.

    Parameters
    ----------
    half : int
        Samples on each side of the centre, at least 1.
    sampling_frequency : float
        Hz.

    Returns
    -------
    numpy.ndarray
        2 half + 1 float64, symmetric; its sum is 0.
    """
    import numpy as np

    length = max(2**14, 4 * half)
    response = np.fft.irfft(gain(length, sampling_frequency), length)
    taper = np.hanning(2 * half + 3)[1:-1]
    cut = np.concatenate([response[-half:], response[: half + 1]])
    return np.asarray(cut - taper * (cut.sum() / taper.sum()))


class _Measure:
    """The waveforms of a recording.

    Parameters
    ----------
    recording : TraceReader
        Raw traces.
    num_units : int
        Number of units, between which the work is divided.
    """

    def __init__(self, recording: TraceReader, num_units: int) -> None:
        import numpy as np

        self.recording = recording
        rate, channels = recording.sampling_frequency, recording.num_channels
        self.before, self.after = int(BEFORE_S * rate), max(1, int(AFTER_S * rate))
        self.margin = math.ceil(MARGIN_S * rate)
        self.length = self.before + self.after + 2 * self.margin
        self.kernel = kernel(self.margin, rate)
        budget = max(VALUES, recording.num_samples * channels // READ_SHARE)
        share = budget // max(1, num_units * self.length * channels)
        self.most = min(MOST_EVENTS, max(LEAST_EVENTS, share))
        self.first = min(self.most, max(FIRST_LEAST, FIRST_VALUES // channels))
        native = np.dtype(recording.layout.dtype)
        # Whole numbers are added without rounding; the sum of 500 samples of two bytes fits into four.
        exact = np.int32 if native.itemsize <= 2 else np.int64
        self.sums: type[Any] = exact if native.kind in "iu" else np.float64

    def whole(self, train: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the events whose waveform lies inside the recording."""
        most = max(self.before, self.after)
        return train[(train >= most) & (train < self.recording.num_samples - most)]

    def channels(self, trains: Mapping[int, NDArray[np.int64]]) -> dict[int, int]:
        """Return the channel of each unit, where its mean waveform is largest (uV)."""
        import numpy as np

        sums = {
            unit: np.zeros((self.length, self.recording.num_channels), dtype=self.sums) for unit in trains
        }
        for unit, waveform in self._read(trains, self.first):
            sums[unit] += waveform.astype(self.sums)
        found = {}
        for unit, total in sums.items():
            mean = total / min(self.first, len(trains[unit]))
            heights = np.abs(self._filtered(mean) * self.recording.gains).max(axis=0)
            found[unit] = int(np.where(np.isfinite(heights), heights, -1).argmax())
        return found

    def waveforms(
        self, trains: Mapping[int, NDArray[np.int64]], channels: Mapping[int, int]
    ) -> dict[int, tuple[int, float, float]]:
        """Return channel, height of the mean waveform (counts) and median amplitude (uV) of each unit."""
        import numpy as np

        native = np.dtype(self.recording.layout.dtype).newbyteorder("=")
        read: dict[int, list[NDArray[Any]]] = {unit: [] for unit in trains}
        for unit, waveform in self._read(trains, self.most):
            read[unit].append(waveform[:, channels[unit]].astype(native))
        found = {}
        for unit in trains:
            channel = channels[unit]
            raw = np.stack(read.pop(unit))
            template = self._filtered(raw.sum(axis=0, dtype=self.sums)[:, np.newaxis] / len(raw))[:, 0]
            place = int(np.abs(template).argmax())
            around = raw[:, place : place + len(self.kernel)]
            # The kernel has no offset: without the samples' own, a constant channel is silent to the last bit.
            values = (around - around[:, :1].astype(np.float64)) @ self.kernel
            amplitude = float(np.median(values)) * float(self.recording.gains[channel])
            found[unit] = channel, float(abs(template[place])), amplitude
        return found

    def noise(self, channels: list[int]) -> dict[int, float]:
        """Return 1.4826 median |x - median| of some channels in counts, over evenly spaced slices."""
        import numpy as np

        total, length = self.recording.num_samples, min(NOISE_SAMPLES, self.recording.num_samples)
        count = min(NOISE_SLICES, max(1, total // (NOISE_SHARE * length)))
        starts = np.linspace(0, total - length, count + 2)[1:-1].round().astype(int).tolist()
        inside = slice(self.margin, -self.margin) if length > 4 * self.margin else slice(None)
        passed = gain(length, self.recording.sampling_frequency)
        # What lies between every other sample, at 30 kHz, follows from the band.
        step = max(1, int(self.recording.sampling_frequency / 2 / BAND_HZ[1]))
        found: dict[int, float] = {}
        batch = max(1, BATCH_VALUES // (count * length))
        for first in range(0, len(channels), batch):
            values: dict[int, list[NDArray[np.float64]]] = {
                channel: [] for channel in channels[first : first + batch]
            }
            for start in starts:
                block = self.recording.traces(start, start + length)
                for channel, filtered in values.items():
                    trace = block[:, channel].astype(np.float64)
                    trace = np.fft.irfft(np.fft.rfft(trace - trace[0]) * passed, length)
                    filtered.append(trace[inside][::step])
            found |= {channel: _deviation(np.concatenate(each)) for channel, each in values.items()}
        return found

    def _filtered(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Filter a mean waveform with its margins; return it without them."""
        import numpy as np

        rows = np.lib.stride_tricks.sliding_window_view(mean - mean[:1], len(self.kernel), axis=0)
        return np.asarray(rows @ self.kernel)

    def _read(self, trains: Mapping[int, NDArray[np.int64]], most: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield evenly spaced waveforms of each unit, samples x channels with margins, in order of time."""
        import numpy as np

        picked = {unit: times[_spaced(len(times), most)] for unit, times in trains.items()}
        times = np.concatenate(list(picked.values()))
        labels = np.repeat(list(picked), [len(each) for each in picked.values()])
        order = np.argsort(times, kind="stable")
        starts = (times[order] - self.before - self.margin).tolist()
        units = labels[order].tolist()
        channels = self.recording.num_channels
        longest, reach = max(self.length, BLOCK_VALUES // channels), self.length + GAP_VALUES // channels
        first = 0
        while first < len(starts):
            last = first
            while (
                last + 1 < len(starts)
                and starts[last + 1] <= starts[last] + reach
                and starts[last + 1] + self.length - starts[first] <= longest
            ):
                last += 1
            block = self._padded(starts[first], starts[last] + self.length)
            for index in range(first, last + 1):
                begin = starts[index] - starts[first]
                yield units[index], block[begin : begin + self.length]
            first = last + 1

    def _padded(self, start: int, stop: int) -> NDArray[Any]:
        """Read samples; past the ends of the recording the outermost one is repeated."""
        import numpy as np

        inside = max(start, 0), min(stop, self.recording.num_samples)
        traces = self.recording.traces(*inside)
        missing = inside[0] - start, stop - inside[1]
        return np.pad(traces, (missing, (0, 0)), mode="edge") if any(missing) else traces


def _batches(trains: Mapping[int, NDArray[np.int64]], values: int) -> Iterator[dict[int, NDArray[np.int64]]]:
    """Yield the units some at a time, so that the `values` of each are held at once."""
    units, size = list(trains), max(1, BATCH_VALUES // values)
    for first in range(0, len(units), size):
        yield {unit: trains[unit] for unit in units[first : first + size]}


def _spaced(count: int, most: int) -> NDArray[np.int64]:
    """Return at most so many places of `count`, evenly spaced."""
    import numpy as np

    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _deviation(values: NDArray[np.float64]) -> float:
    """Return the standard deviation of noise, robust against spikes."""
    import numpy as np

    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
