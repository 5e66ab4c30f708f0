"""SNR is the peak of the mean waveform over the channel's noise, whatever the recording's length or unit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from spikecrate.errors import UsageError
from spikecrate.sortings import Sorting, unit_quality
from spikecrate.sortings.metrics import BAND_HZ, band_pass, noise_levels

RATE = 30000.0


class InMemory:
    def __init__(self, samples, rate=RATE):
        self.samples, self.sampling_frequency = samples, rate
        self.num_samples = len(samples)

    def traces(self, start, stop):
        assert 0 <= start <= stop <= self.num_samples
        return self.samples[start:stop].copy()


class Endless:
    """Ten days of noise that is made where it is read."""

    sampling_frequency = RATE
    num_samples = int(864000 * RATE)

    def __init__(self):
        self.largest = self.read = 0

    def traces(self, start, stop):
        self.largest = max(self.largest, stop - start)
        self.read += stop - start
        return np.random.default_rng(start).normal(0, 10, (stop - start, 2)).astype(np.float32)


def spiking(rate=RATE, seconds=10, offset=0.0, amplitude=(0.0, 100.0, 40.0), sigma=10.0):
    rng = np.random.default_rng(5)
    samples = rng.normal(0, sigma, (int(seconds * rate), len(amplitude))) + offset
    ms = np.arange(-30, 60) / rate * 1000
    shape = -np.exp(-((ms / 0.15) ** 2) / 2) + 0.3 * np.exp(-(((ms - 0.5) / 0.3) ** 2) / 2)
    times = np.arange(100, len(samples) - 100, int(rate / 20))
    for time in times:
        samples[time - 30 : time + 60] += shape[:, None] * np.array(amplitude)
    return samples, Sorting.from_events(times, np.ones(len(times)), sampling_frequency=rate)


def reference(samples, times, rate):
    """Filter the whole recording with scipy, then take peak and noise as SpikeForest does."""
    high = BAND_HZ[1] if BAND_HZ[1] < rate / 2 else None
    sections = (
        butter(3, BAND_HZ[0], "highpass", fs=rate, output="sos")
        if high is None
        else butter(3, BAND_HZ, "bandpass", fs=rate, output="sos")
    )
    filtered = sosfiltfilt(sections, samples, axis=0)
    half = round(0.001 * rate)
    mean = np.mean([filtered[time - half : time + half + 1] for time in times.astype(int)], axis=0)
    channel = int(np.abs(mean).max(axis=0).argmax())
    return channel, np.abs(mean[:, channel]).max() / (np.median(np.abs(filtered[:, channel])) / 0.6745)


@pytest.mark.parametrize("rate", [30000.0, 10000.0])
@pytest.mark.parametrize("offset", [0.0, 2050.0])
def test_the_snr_is_that_of_filtering_the_whole_recording(rate, offset):
    samples, sorting = spiking(rate, offset=offset)
    (unit,) = unit_quality(InMemory(np.rint(samples).astype(np.int16), rate), sorting)
    channel, snr = reference(samples, sorting.times, rate)
    assert unit.channel == channel == 1
    assert unit.snr == pytest.approx(snr, rel=0.05)
    assert unit.rate_hz == pytest.approx(20, rel=0.02)


def test_the_snr_does_not_depend_on_the_unit_of_the_samples():
    samples, sorting = spiking()
    in_counts = unit_quality(InMemory(samples), sorting)[0]
    in_volts = unit_quality(InMemory(samples * 1e-6), sorting)[0]
    assert in_volts.snr == pytest.approx(in_counts.snr)


def test_the_same_sorting_gives_the_same_numbers_twice():
    samples, sorting = spiking()
    assert unit_quality(InMemory(samples), sorting) == unit_quality(InMemory(samples), sorting)


def test_the_noise_is_its_standard_deviation_in_the_band():
    white = np.random.default_rng(1).normal(0, 10, (int(20 * RATE), 2)) * [1, 3]
    filtered = band_pass(white, RATE)
    np.testing.assert_allclose(noise_levels(InMemory(white)), filtered.std(axis=0), rtol=0.02)


def test_the_filter_keeps_the_band_and_shifts_nothing():
    time = np.arange(30000) / RATE
    for frequency, gain in ((1500, 1), (50, 0), (12000, 0.02)):
        wave = np.sin(2 * np.pi * frequency * time)[:, None]
        assert band_pass(wave, RATE)[5000:-5000] == pytest.approx(wave[5000:-5000] * gain, abs=0.02)


def test_a_recording_of_ten_days_is_read_in_small_pieces():
    recording = Endless()
    times = np.linspace(1000, recording.num_samples - 1000, 5000).round()
    (unit,) = unit_quality(recording, Sorting.from_events(times, np.ones(5000), sampling_frequency=RATE))
    assert unit.snr < 1
    assert recording.largest < RATE
    assert recording.read < 30 * RATE


def test_events_at_the_very_ends_of_the_recording_are_measured():
    samples, _ = spiking(seconds=1)
    ends = Sorting.from_events([0, len(samples) - 1], [1, 2], sampling_frequency=RATE)
    assert [unit.events for unit in unit_quality(InMemory(samples), ends)] == [1, 1]


def test_a_recording_of_one_sample_is_no_error():
    one = Sorting.from_events([0], [1], sampling_frequency=RATE)
    (unit,) = unit_quality(InMemory(np.array([[7]], dtype=np.int16)), one)
    assert unit.snr is None


def test_a_channel_that_never_moves_has_no_snr():
    flat = InMemory(np.full((30000, 2), 2050, dtype=np.int16))
    (unit,) = unit_quality(flat, Sorting.from_events([500, 900], [3, 3], sampling_frequency=RATE))
    assert (unit.unit, unit.snr) == (3, None)


def test_an_empty_sorting_has_no_units():
    assert (
        unit_quality(InMemory(np.zeros((100, 1))), Sorting.from_events([], [], sampling_frequency=RATE)) == ()
    )


def test_a_recording_too_slow_for_the_band_is_refused():
    slow = InMemory(np.zeros((100, 1)), rate=500.0)
    with pytest.raises(UsageError, match="500 Hz"):
        unit_quality(slow, Sorting.from_events([5], [1], sampling_frequency=500.0))
