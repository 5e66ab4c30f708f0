"""Signal-to-noise ratio and firing rate of the units of a sorting.

The ratio is SpikeForest's: the peak of a unit's mean waveform over median(|x|) / 0.6745 of the channel with that
peak, both in the band of spikes. The filter is linear, so the mean is taken first and filtered once for each unit.
Spikes and stretches of noise are evenly spaced: nothing is random, and memory does not grow with the recording.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from spikecrate.sortings.model import Sorting

BAND_HZ: Final = (300.0, 6000.0)
ORDER: Final = 3
MARGIN_S: Final = 0.02
"""Margin read on each side of a stretch; the response of the filter decays within it."""
HALF_WINDOW_S: Final = 0.001
"""Largest distance of a waveform's peak from its event."""
MAX_EVENTS: Final = 200
"""Upper limit of events in a mean waveform, evenly spaced over those of the unit."""
NOISE_CHUNKS: Final = 20
NOISE_CHUNK_S: Final = 0.5
NOISE_VALUES: Final = 1 << 25
"""Upper limit of samples x channels for the noise estimate: 128 MiB of float32."""


class Traces(Protocol):
    """The part of a recording that the metrics read."""

    @property
    def num_samples(self) -> int:
        """Samples per channel."""

    @property
    def sampling_frequency(self) -> float:
        """Hz."""

    def traces(self, start: int, stop: int) -> NDArray[Any]:
        """Read a stretch.

        Parameters
        ----------
        start, stop : int
            The first sample, and the one after the last.

        Returns
        -------
        numpy.ndarray
            Samples x channels of any real type, in any unit.
        """


@dataclass(frozen=True, kw_only=True)
class UnitQuality:
    """Metrics of one unit.

    Attributes
    ----------
    unit, events : int
        Label and number of events.
    rate_hz : float
        Events per second of recording.
    channel : int
        Channel of the peak, from 0, as a column of the traces.
    peak : float
        Absolute height of the mean waveform on that channel, in the unit of the traces.
    snr : float or None
        Peak over noise; None where that channel is constant.
    """

    unit: int
    events: int
    rate_hz: float
    channel: int
    peak: float
    snr: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in JSON types."""
        return asdict(self)


def unit_quality(recording: Traces, sorting: Sorting) -> tuple[UnitQuality, ...]:
    """Measure every unit of a sorting.

    Parameters
    ----------
    recording : Traces
        The recording, unfiltered.
    sorting : Sorting
        Its times lie within the recording.

    Returns
    -------
    tuple of UnitQuality
        By ascending label; empty for an empty sorting.

    Raises
    ------
    UsageError
        If the sampling frequency is too low for the band of spikes.
    """
    import numpy as np

    rate = recording.sampling_frequency
    if rate <= 2 * BAND_HZ[0]:
        message = f"{rate:g} Hz are too few for spikes, which begin at {BAND_HZ[0]:g} Hz"
        raise UsageError(message, next_step="measure units in the raw recording, not in a slower copy")
    trains = sorting.trains()
    if not trains:
        return ()
    noise = noise_levels(recording)
    half = max(1, round(HALF_WINDOW_S * rate))
    units = []
    for unit, train in trains.items():
        picked = np.linspace(0, len(train) - 1, min(MAX_EVENTS, len(train))).round().astype(int)
        starts = train[picked].round().astype(int) - half
        waveform = np.abs(_filtered_mean(recording, starts.tolist(), 2 * half + 1))
        channel = int(waveform.max(axis=0).argmax())
        peak, level = float(waveform[:, channel].max()), float(noise[channel])
        units.append(
            UnitQuality(
                unit=unit,
                events=len(train),
                rate_hz=len(train) * rate / recording.num_samples,
                channel=channel,
                peak=peak,
                snr=peak / level if level else None,
            )
        )
    return tuple(units)


def noise_levels(recording: Traces) -> NDArray[np.float64]:
    """Estimate the standard deviation of every channel's noise, robust against spikes.

    Parameters
    ----------
    recording : Traces
        The recording, unfiltered.

    Returns
    -------
    numpy.ndarray
        Float64, one per channel: median(|x|) / 0.6745 in the band, over evenly spaced stretches of the recording.
    """
    import numpy as np

    rate, total = recording.sampling_frequency, recording.num_samples
    num_channels = recording.traces(0, 1).shape[1]
    length = int(min(NOISE_CHUNK_S * rate, NOISE_VALUES // (NOISE_CHUNKS * num_channels)))
    length = max(1, min(length, total))
    count = min(NOISE_CHUNKS, total // length)
    starts = np.linspace(0, total - length, count).round().astype(int).tolist()
    values = np.empty((num_channels, count * length), dtype=np.float32)
    for index, start in enumerate(starts):
        values[:, index * length : (index + 1) * length] = _filtered_mean(recording, [start], length).T
    np.abs(values, out=values)
    return np.array([np.median(row) for row in values], dtype=np.float64) / 0.6745


def band_pass(traces: NDArray[Any], sampling_frequency: float) -> NDArray[np.float64]:
    """Filter traces to the band of spikes, without shifting them in time.

    An upper edge at or above half the sampling frequency has no effect. The gain is that of a Butterworth filter of order 3, run forwards and backwards. The filter treats the traces as
    periodic: read a margin on both sides and drop it afterwards.

    Parameters
    ----------
    traces : numpy.ndarray
        Samples x channels.
    sampling_frequency : float
        Hz.

    Returns
    -------
    numpy.ndarray
        Float64, samples x channels.
    """
    import numpy as np

    frequency = np.fft.rfftfreq(len(traces), 1 / sampling_frequency)
    gain = np.zeros(len(frequency))
    gain[1:] = 1 / (1 + (BAND_HZ[0] / frequency[1:]) ** (2 * ORDER))
    if BAND_HZ[1] < sampling_frequency / 2:
        gain[1:] /= 1 + (frequency[1:] / BAND_HZ[1]) ** (2 * ORDER)
    # The offset is outside the band. Subtracting it first avoids rounding errors, and leaves zeros of a dead channel.
    spectrum = np.fft.rfft(traces - traces[:1].astype(np.float64), axis=0)
    return np.fft.irfft(spectrum * gain[:, np.newaxis], n=len(traces), axis=0)


def _filtered_mean(recording: Traces, starts: Sequence[int], length: int) -> NDArray[np.float64]:
    """Average stretches of one length, read with a margin on both sides, and filter the mean."""
    import numpy as np

    margin = round(MARGIN_S * recording.sampling_frequency)
    stretches = (_padded(recording, start - margin, start + length + margin) for start in starts)
    mean = np.asarray(sum(stretch.astype(np.float64) for stretch in stretches)) / len(starts)
    return band_pass(mean, recording.sampling_frequency)[margin : margin + length]


def _padded(recording: Traces, start: int, stop: int) -> NDArray[Any]:
    """Read a stretch; past the ends of the recording the outermost sample is repeated."""
    import numpy as np

    inside = max(start, 0), min(stop, recording.num_samples)
    before, after = inside[0] - start, stop - inside[1]
    return np.pad(recording.traces(*inside), ((before, after), (0, 0)), mode="edge")
