"""What sorters/ms4/run.py makes of the samples before mountainsort4 sees them."""

from __future__ import annotations

import numpy as np
import pytest
from ms4_run import DEFAULTS, noise, prepared, recording_of, run
from scipy.signal import butter, sosfiltfilt

UNWHITENED = {"whiten": False}


@pytest.mark.parametrize("band", [(300, 6000), (20, 3000), (500, 600), (300, 15000)])
def test_the_band_is_scipys_butterworth_forwards_and_backwards(tmp_path, band):
    samples = noise(40000, 2)
    got = prepared(recording_of(samples), tmp_path, freq_min=band[0], freq_max=band[1], **UNWHITENED)
    edges, kind = (band[0], "highpass") if band[1] == 15000 else (band, "bandpass")
    sections = butter(5, edges, kind, output="sos", fs=30000)
    expected = sosfiltfilt(sections, samples.T.astype(float), padtype="odd", padlen=30000)
    assert np.abs(got - expected).max() < 1e-4
    assert got.std() > 1


def test_the_grid_of_blocks_is_of_no_effect_beyond_rounding(tmp_path, monkeypatch):
    recording = recording_of(noise(50000, 3))
    whole = prepared(recording, tmp_path)
    monkeypatch.setattr(run, "BLOCK_SAMPLES", 7001)
    assert np.abs(prepared(recording, tmp_path) - whole).max() < 1e-5


def test_a_constant_offset_is_of_no_effect(tmp_path):
    samples = noise(20000, 2)
    shifted = recording_of((samples + np.array([5000, -3000])).astype("<i2"))
    assert np.abs(prepared(shifted, tmp_path) - prepared(recording_of(samples), tmp_path)).max() < 1e-5


def test_the_size_of_a_count_is_of_no_effect_when_whitened(tmp_path):
    samples = noise(20000, 2)
    small = prepared(recording_of(samples, gain=0.05), tmp_path)
    assert np.abs(small - prepared(recording_of(samples), tmp_path)).max() < 1e-5


def test_without_whitening_traces_are_microvolts(tmp_path):
    samples = noise(20000, 2)
    traces = prepared(recording_of(samples, gain=0.5), tmp_path, filter=False, **UNWHITENED)
    assert np.array_equal(traces, samples.T * 0.5)


@pytest.mark.parametrize("channels", [1, 4])
def test_whitened_channels_are_uncorrelated_and_of_one_size(tmp_path, channels):
    traces = prepared(recording_of(noise(100000, channels)), tmp_path)
    assert np.abs(np.atleast_2d(np.cov(traces)) - np.eye(channels)).max() < 0.02


def test_long_recordings_are_whitened_by_evenly_spaced_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "BLOCK_SAMPLES", 600)
    traces = prepared(recording_of(noise(100000, 3)), tmp_path)
    assert np.abs(np.cov(traces) - np.eye(3)).max() < 0.05


@pytest.mark.parametrize("level", [0, 2050])
@pytest.mark.parametrize("filtered", [True, False])
def test_a_silent_recording_stays_silent(tmp_path, level, filtered):
    traces = prepared(recording_of(np.full((5000, 3), level, "<i2")), tmp_path, filter=filtered)
    assert not traces.any()


def test_a_nearly_silent_channel_is_not_blown_up(tmp_path):
    samples = noise(50000, 4)
    samples[:, 3] = 2050 + np.random.default_rng(1).integers(0, 2, 50000)
    sizes = prepared(recording_of(samples), tmp_path).std(axis=1)
    assert sizes[3] < 0.5
    assert np.allclose(sizes[:3], 1, atol=0.05)


def test_two_equal_channels_can_be_whitened(tmp_path):
    traces = prepared(recording_of(np.repeat(noise(20000, 1), 2, axis=1)), tmp_path)
    assert np.isfinite(traces).all()
    assert np.abs(traces).max() < 20


@pytest.mark.parametrize("num_samples", [1, 2, 3, 100, 600])
def test_recordings_shorter_than_the_filter_can_be_prepared(tmp_path, num_samples):
    traces = prepared(recording_of(noise(num_samples, 2)), tmp_path)
    assert traces.shape == (2, num_samples)
    assert np.isfinite(traces).all()


def test_a_band_beyond_half_the_rate_becomes_a_high_pass_and_says_so(tmp_path, capsys):
    recording = recording_of(noise(20000, 1), rate=10000.0)
    assert np.isfinite(prepared(recording, tmp_path, freq_max=6000)).all()
    assert "freq_max (6000 Hz) is not below half the sampling frequency (5000 Hz)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (6000, 300, r"freq_min \(6000 Hz\) must be below freq_max \(300 Hz\)"),
        (300, 300, r"freq_min \(300 Hz\) must be below freq_max \(300 Hz\)"),
        (600, 6000, r"freq_min \(600 Hz\) must be below half the sampling frequency \(500 Hz\)"),
    ],
)
def test_an_empty_band_is_refused_by_name(tmp_path, low, high, words):
    recording = recording_of(noise(1000, 1), rate=1000.0)
    with pytest.raises(ValueError, match=words):
        prepared(recording, tmp_path, freq_min=low, freq_max=high)


@pytest.mark.parametrize("band", [(1e-4, 6000), (1e-12, 6000), (300, 300.001), (300, 14999.9999)])
def test_a_band_whose_filter_rings_too_long_is_refused_by_name(tmp_path, band):
    recording = recording_of(noise(1000, 4))
    with pytest.raises(ValueError, match=r"freq_min .* and freq_max .* rings for too long"):
        prepared(recording, tmp_path, freq_min=band[0], freq_max=band[1])


def test_prepared_traces_are_read_in_part(tmp_path):
    recording = recording_of(noise(5000, 4))
    traces = run.prepare(recording, DEFAULTS, tmp_path)
    whole = traces.get_traces(np.arange(4), 0, 5000)
    part = traces.get_traces(np.array([3, 1]), 100, 200)
    assert part.dtype == np.float64
    assert np.array_equal(part, whole[[3, 1], 100:200])
