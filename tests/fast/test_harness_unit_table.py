"""The table of units that a sorting comes with, against scipy's filter and a brute force."""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pytest
from layouts import layout_of
from scipy.signal import butter, sosfiltfilt

from spikecrate.recordings import open_recording
from spikecrate.recordings.toy import write_toy
from spikecrate_harness import mda, unit_table
from spikecrate_harness.layout import Layout
from spikecrate_harness.traces import open_traces
from spikecrate_harness.unit_table import Row, gain, isi_violations, kernel, write_unit_table

RATE = 30000.0


def filtered(traces, rate=RATE):
    """Filter as scipy does, forwards and backwards."""
    if rate <= 12000:
        return sosfiltfilt(butter(5, 300, "highpass", fs=rate, output="sos"), traces, axis=0)
    return sosfiltfilt(butter(5, [300, 6000], "bandpass", fs=rate, output="sos"), traces, axis=0)


def firings(times, labels):
    return np.array([np.zeros(len(times)), times, labels], dtype=np.float64)


def opened(folder, samples, **changes):
    """Write samples to a flat file and open it."""
    (folder / "raw.dat").write_bytes(samples.tobytes())
    layout = layout_of(samples.shape[1], len(samples), dtype=samples.dtype.str, **changes)
    return open_traces(Layout.from_dict(layout), [folder / "raw.dat"])


def toy(folder, **arguments):
    """Write a toy recording and open it; return its true firings, too."""
    path = write_toy(folder / "toy", **arguments)
    recording = open_recording(path)
    return open_traces(recording.layout, recording.files), mda.read(path / "firings_true.mda")


def read(path):
    with path.open(newline="") as file:
        return [*csv.reader(file)]


def by_brute_force(recording, events, rate=RATE):
    """Measure every unit from all its events and the whole recording, filtered by scipy."""
    traces = filtered(recording.traces().astype(np.float64), rate) * recording.gains
    noise = 1.4826 * np.median(np.abs(traces - np.median(traces, axis=0)), axis=0)
    before, after = int(0.001 * rate), int(0.002 * rate)
    rows = []
    for unit in np.unique(events[2]):
        times = np.sort(events[1, events[2] == unit]).astype(int)
        inside = [time for time in times if after <= time < len(traces) - after]
        template = np.mean([traces[time - before : time + after] for time in inside], axis=0)
        place, channel = np.unravel_index(np.abs(template).argmax(), template.shape)
        close = sum((late - early) / rate < 0.0015 for early, late in itertools.pairwise(times))
        duration = len(traces) / rate
        amplitudes = [traces[time - before + place, channel] for time in inside]
        rows.append(
            Row(
                unit=int(unit),
                events=len(times),
                rate=len(times) / duration,
                channel=int(channel),
                snr=abs(template[place, channel]) / noise[channel],
                isi_violations=pytest.approx(close * duration / (2 * len(times) ** 2 * 0.0015)),
                amplitude=float(np.median(amplitudes)),
            )
        )
    return rows


@pytest.mark.parametrize("rate", [30000.0, 32000.0, 12500.0, 10000.0])
def test_the_filter_is_scipys_butterworth_run_both_ways(rate):
    traces = np.random.default_rng(0).normal(size=2**14).cumsum()
    passed = np.fft.irfft(np.fft.rfft(traces) * gain(len(traces), rate), len(traces))
    middle = slice(4000, -4000)
    expected = filtered(traces, rate)[middle]
    assert np.abs(passed[middle] - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("rate", [30000.0, 10000.0])
def test_the_kernel_is_the_filter_within_a_hundredth_and_lets_no_offset_through(rate):
    half = round(0.006 * rate)
    found, exact = kernel(half, rate), np.zeros(4 * half + 1)
    exact[2 * half] = 1
    exact = filtered(np.pad(exact, 5000), rate)[5000 + half : 5000 + 3 * half + 1]
    assert np.abs(found - exact).max() < 0.01 * np.abs(exact).max()
    assert abs(found.sum()) < 1e-12
    assert np.abs(found - found[::-1]).max() < 1e-15


@pytest.mark.parametrize("rate", [600.0, 400.0])
def test_a_sampling_frequency_below_the_band_only_loses_the_offset(rate):
    assert gain(10, rate).tolist() == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("channels", "events_over_all"),
    [(4, None), (70, 100)],
)
def test_every_value_is_that_of_a_brute_force(tmp_path, channels, events_over_all):
    recording, true = toy(tmp_path, duration_s=6, num_channels=channels, num_units=8, difficulty="medium")
    rows = unit_table.unit_table(recording, true)
    assert (events_over_all is None) == (8192 // channels > true.shape[1])
    for found, expected in zip(rows, by_brute_force(recording, true), strict=True):
        assert found == expected._replace(snr=found.snr, amplitude=found.amplitude)
        assert found.snr == pytest.approx(expected.snr, rel=0.03)
        assert found.amplitude == pytest.approx(expected.amplitude, rel=0.01)
        assert found.amplitude < 0


def test_more_events_than_are_read_are_sampled_evenly(tmp_path, monkeypatch):
    recording, true = toy(tmp_path, duration_s=10, num_channels=4, num_units=3)
    expected = by_brute_force(recording, true)
    for name, value in (("MOST_EVENTS", 15), ("FIRST_VALUES", 40), ("FIRST_LEAST", 5), ("BATCH_VALUES", 1)):
        monkeypatch.setattr(unit_table, name, value)
    rows = unit_table.unit_table(recording, true)
    assert min(row.events for row in rows) > 15
    for found, brute in zip(rows, expected, strict=True):
        assert (found.channel, found.events) == (brute.channel, brute.events)
        assert found.snr == pytest.approx(brute.snr, rel=0.06)
        assert found.amplitude == pytest.approx(brute.amplitude, rel=0.06)


def test_the_samples_read_are_bounded_however_many_events_there_are(tmp_path):
    samples = np.random.default_rng(1).integers(-50, 50, size=(300_000, 8), dtype="<i2")
    recording = opened(tmp_path, samples)
    read = []
    traces = recording.traces

    def counted(start, stop):
        read.append((start, stop))
        return traces(start, stop)

    recording.traces = counted
    times = np.arange(200, 299_000, 7)
    unit_table.unit_table(recording, firings(times, times % 60 + 1))
    # A pass over all channels, two batches of waveforms, and the noise: waveforms that overlap are read once.
    assert sum(stop - start for start, stop in read) < 3.6 * len(samples)
    assert len(read) < 40


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "<f4"},
        {"dtype": ">i2"},
        {"dtype": "<f8"},
        {"time_axis": 1},
        {"offset": 6},
        {"channels": [3, 0], "gains": [0.5, 0.5], "offsets": [9.0, 9.0], "locations": [[0, 0], [0, 20]]},
        {"dtype": "<i4", "gains": [0.5, 0.5, 0.5, 2.0]},
    ],
)
def test_any_layout_is_read(tmp_path, changes):
    true = toy(tmp_path, duration_s=3, num_channels=4, num_units=2)
    samples = true[0].traces()
    kind = np.dtype(changes.pop("dtype", "<i2"))
    in_file = samples.astype(kind)
    data = in_file.T.tobytes() if changes.get("time_axis") else in_file.tobytes()
    (tmp_path / "raw.dat").write_bytes(bytes(changes.get("offset", 0)) + data)
    layout = layout_of(4, len(samples), dtype=kind.str, **changes)
    recording = open_traces(Layout.from_dict(layout), [tmp_path / "raw.dat"])
    columns = np.ascontiguousarray(samples[:, changes.get("channels", [0, 1, 2, 3])])
    plain = opened(tmp_path / "toy", columns, gains=changes.get("gains", [1.0] * 4))
    rows = unit_table.unit_table(recording, true[1])
    for found, expected in zip(rows, by_brute_force(plain, true[1]), strict=True):
        assert (found.channel, found.events) == (expected.channel, expected.events)
        assert found.snr == pytest.approx(expected.snr, rel=0.03)
        assert found.amplitude == pytest.approx(expected.amplitude, rel=0.01)


def test_floats_and_whole_numbers_have_equal_tables(tmp_path):
    recording, true = toy(tmp_path, duration_s=3, num_channels=4, num_units=2)
    same = opened(tmp_path, recording.traces().astype("<f4"), gains=recording.gains.tolist())
    assert unit_table.unit_table(same, true) == unit_table.unit_table(recording, true)


@pytest.mark.parametrize(
    ("times", "violations"),
    [([5], 0), ([0, 44], 1), ([0, 45], 0), ([0, 46], 0), ([7, 7, 100], 1), (range(0, 300, 30), 9)],
)
def test_intervals_below_1_5_ms_are_violations(times, violations):
    times = np.array(times)
    # v T / (2 n² t) with T = 10 s.
    expected = violations * 10 / (2 * len(times) ** 2 * 0.0015)
    assert isi_violations(times, RATE, 300_000) == pytest.approx(expected)


def test_values_that_do_not_exist_are_empty_cells(tmp_path):
    samples = np.random.default_rng(2).integers(-9, 9, size=(20_000, 3), dtype="<i2")
    samples[:, 1] = 4
    cases = firings([0, 59, 19_941, 5000, 9000], [2, 2, 2, 7, 7])
    write_unit_table(tmp_path / "units.csv", opened(tmp_path, samples), cases)
    head, borders, inside = read(tmp_path / "units.csv")
    assert head == ["unit", "events", "rate", "channel", "snr", "isi_violations", "amplitude"]
    assert borders == ["2", "3", repr(3 / (20_000 / RATE)), "", "", "0.0", ""]
    assert all(inside)
    silent = np.full((20_000, 2), 11, dtype="<f4")
    write_unit_table(tmp_path / "units.csv", opened(tmp_path, silent), firings([9000], [1]))
    assert read(tmp_path / "units.csv")[1][3:] == ["0", "", "0.0", "0.0"]
    silent[9000:9003, 1] = np.nan
    write_unit_table(tmp_path / "units.csv", opened(tmp_path, silent), firings([9000], [1]))
    assert read(tmp_path / "units.csv")[1][3:] == ["0", "", "0.0", "0.0"]


def test_an_empty_sorting_has_a_table_without_rows(tmp_path):
    recording = opened(tmp_path, np.zeros((100, 2), dtype="<i2"))
    write_unit_table(tmp_path / "units.csv", recording, firings([], []))
    assert (tmp_path / "units.csv").read_text() == "unit,events,rate,channel,snr,isi_violations,amplitude\n"


@pytest.mark.parametrize("num_samples", [1, 2, 119, 121, 500])
def test_a_recording_shorter_than_the_filter_has_a_table(tmp_path, num_samples):
    samples = np.random.default_rng(3).integers(-99, 99, size=(num_samples, 2), dtype="<i2")
    (row,) = unit_table.unit_table(opened(tmp_path, samples), firings([num_samples // 2], [1]))
    assert (row.channel is None) == (num_samples < 120)
    assert row.rate == 1 / (num_samples / RATE)
