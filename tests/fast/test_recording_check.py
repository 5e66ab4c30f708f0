"""`recording.check`: what is wrong with a recording is found, and on a sound one nothing is."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from recording_files import DATA, OPENEPHYS, write_flat
from scipy import signal

from spikecrate.cli.main import run
from spikecrate.recordings import check_measure, open_recording
from spikecrate.recordings.check import SAMPLE_S, check_recording
from spikecrate.recordings.check_picture import picture
from spikecrate.recordings.toy import write_toy

HZ = 10_000
SECONDS = 4


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The samples of a toy, with their rate and gain."""
    folder = write_toy(tmp_path_factory.mktemp("check") / "toy", duration_s=SECONDS, num_channels=8)
    recording = open_recording(folder)
    return recording.traces(), recording.layout.sampling_frequency, recording.layout.gains[0]


def checked(folder, traces, rate, gain, **options):
    folder.mkdir(exist_ok=True)
    path = write_flat(folder, traces, gain_uv=gain, sampling_frequency=rate)
    return check_recording(open_recording(path), **options)


def tone(rate, count, hertz, height):
    return np.rint(height * np.sin(2 * np.pi * hertz * np.arange(count) / rate)).astype(np.int16)


def constant(traces, _rate):
    traces[:, 2] = 17


def nearly_silent(traces, _rate):
    traces[:, 2] = np.rint(traces[:, 2] * 0.05)


def noisy(traces, _rate):
    traces[:, 2] *= 3


def clipped_above(traces, _rate):
    traces[:, 2] = np.minimum(traces[:, 2], 1.2 * traces[:, 2].std())


def clipped_below(traces, _rate):
    traces[:, 2] = np.maximum(traces[:, 2], -1.2 * traces[:, 2].std())


def at_the_rail(traces, rate):
    """The amplifier is at its end nine tenths of the time."""
    beat = np.arange(len(traces)) % int(rate) < 0.9 * rate
    traces[beat, 2] = 32767


@pytest.mark.parametrize(
    ("spoil", "verdict"),
    [
        (constant, "dead"),
        (nearly_silent, "dead"),
        (noisy, "noisy"),
        (clipped_above, "saturated"),
        (clipped_below, "saturated"),
        (at_the_rail, "saturated"),
    ],
)
@pytest.mark.parametrize("everything", [False, True])
def test_a_bad_channel_is_found_and_the_option_leaves_it_out(tmp_path, sound, spoil, verdict, everything):
    traces, rate, gain = sound
    traces = traces.copy()
    spoil(traces, rate)
    check = checked(tmp_path / "rec", traces, rate, gain, everything=everything)
    assert {channel.id for channel in check.bad} == {"3"}
    assert verdict in check.bad[0].problems
    assert check.exclude == "--exclude-channels 3"
    assert not check.drop_outs


def test_nothing_is_found_in_a_sound_recording(tmp_path, sound):
    traces, rate, gain = sound
    for folder in (checked(tmp_path / "rec", traces, rate, gain), mearec(), open_ephys()):
        assert [channel.verdict for channel in folder.channels] == ["good"] * len(folder.channels)
        assert (folder.findings, folder.exclude, folder.bad) == ((), "", ())


def mearec():
    return check_recording(open_recording(DATA / "mearec_tetrode"))


def open_ephys():
    place = next(OPENEPHYS.rglob("structure.oebin")).parent / "continuous" / "File_Reader-106.0"
    return check_recording(open_recording(place))


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_is_found_with_the_frequency_and_height_that_scipy_finds(tmp_path, sound, mains):
    traces, rate, gain = sound
    traces = traces.copy()
    traces[:, 1] += tone(rate, len(traces), mains, 200) + tone(rate, len(traces), 2 * mains, 60)
    check = checked(tmp_path / "rec", traces, rate, gain)
    channel = check.channels[1]
    assert [entry.verdict for entry in check.channels] == ["good", "hum", *["good"] * 6]
    assert check.findings[0].startswith(f"hum: {mains} Hz on 1 of 8 channels")
    hertz, power = signal.welch(traces[:, 1] * gain, rate, nperseg=round(rate), scaling="spectrum")
    assert hertz[power.argmax()] == channel.hum_hz == mains
    oracle = np.sqrt(power[np.abs(hertz - mains) < 0.5].sum() + power[np.abs(hertz - 2 * mains) < 0.5].sum())
    assert channel.hum_uv == pytest.approx(oracle, rel=0.02)
    # Hum is not noise: the averages hold it.
    assert channel.noise_uv == pytest.approx(check.channels[0].noise_uv, rel=0.1)


def test_noise_is_the_standard_deviation_that_scipy_finds_above_the_average(tmp_path):
    traces = np.random.default_rng(1).normal(0, 100, (3 * HZ, 4)).astype(np.float32)
    check = checked(tmp_path / "rec", traces, HZ, 0.5)
    window = round(check_measure.AVERAGE_S * HZ)
    kernel = -np.ones(window) / window
    kernel[window // 2] += 1
    for channel, column in zip(check.channels, traces.T, strict=True):
        assert channel.noise_uv == pytest.approx(signal.lfilter(kernel, 1, column).std() * 0.5, rel=0.02)


def test_an_offset_is_found_and_is_no_reason_to_leave_channels_out(tmp_path, sound):
    traces, rate, gain = sound
    check = checked(tmp_path / "rec", traces + np.int16(2050), rate, gain)
    assert {channel.verdict for channel in check.channels} == {"offset"}
    assert [channel.offset_uv for channel in check.channels] == pytest.approx(
        (traces.mean(axis=0) + 2050) * gain, rel=0.01
    )
    assert check.exclude == ""
    assert check.findings[0].startswith("offset: 8 of 8 channels")


@pytest.mark.parametrize("value", [0, -32768])
@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize(("first", "last"), [(0.5, 0.52), (0.98, 1.05), (0, 0.01), (SECONDS - 0.3, SECONDS)])
def test_a_drop_out_is_found_where_it_is(tmp_path, sound, value, first, last, everything, monkeypatch):
    traces, rate, gain = sound
    monkeypatch.setattr(check_measure, "BLOCK_VALUES", 8 * 1000)
    traces = traces.copy()
    traces[round(first * rate) : round(last * rate)] = value
    check = checked(tmp_path / "rec", traces, rate, gain, everything=everything)
    (found,) = check.drop_outs
    assert (found.start_s, found.duration_s) == pytest.approx((first, last - first), abs=1.5 / rate)
    assert check.drop_outs_count == 1
    assert check.drop_outs_s == found.duration_s
    assert {channel.verdict for channel in check.channels} == {"good"}
    assert "drop-outs: 1 " in check.findings[0]


def test_values_that_are_not_finite_are_found_and_disturb_no_other_measurement(tmp_path, sound):
    traces, rate, gain = sound
    values = traces.astype(np.float32)
    plain = checked(tmp_path / "plain", values, rate, gain)
    values[1000:1010, 5] = np.nan
    values[2000, 5] = np.inf
    check = checked(tmp_path / "rec", values, rate, gain)
    assert [channel.verdict for channel in check.channels] == [*["good"] * 5, "not finite", "good", "good"]
    assert check.channels[5].noise_uv == pytest.approx(plain.channels[5].noise_uv, rel=0.01)
    json.dumps([channel.noise_uv for channel in check.channels], allow_nan=False)


def test_the_order_of_channels_does_not_matter(tmp_path, sound):
    traces, rate, gain = sound
    traces = traces.copy()
    noisy(traces, rate)
    traces[:, 6] = 0
    traces[:, 4] += tone(rate, len(traces), 50, 300)
    traces[20_000:21_000] = 5
    order = np.random.default_rng(3).permutation(8)
    ids = np.array([f"ch{index}" for index in range(8)])

    def by_id(order, folder):
        folder.mkdir()
        path = write_flat(
            folder,
            traces[:, order],
            gain_uv=gain,
            sampling_frequency=rate,
            channel_ids=ids[order].tolist(),
        )
        check = check_recording(open_recording(path))
        facts = {channel.id: replace(channel, location_um=()) for channel in check.channels}
        return facts, check.drop_outs, check.findings

    assert by_id(np.arange(8), tmp_path / "a") == by_id(order, tmp_path / "b")


@pytest.mark.parametrize(
    ("shape", "rate"),
    [((1, 4), 30_000), ((7, 1), 0.3), ((3, 2), 129.7), ((5_000, 2), 129.7), ((15_000, 2), 29_999.9)],
)
def test_a_recording_of_few_samples_or_channels_or_of_any_rate_is_checked(tmp_path, shape, rate):
    traces = np.random.default_rng(0).integers(-50, 50, shape).astype(np.int16)
    check = checked(tmp_path / "rec", traces, rate, 1.0, everything=True)
    assert len(check.channels) == shape[1]
    assert check.checked_s == pytest.approx(shape[0] / rate)


def test_hum_is_found_at_a_rate_that_is_no_whole_number(tmp_path):
    rate = 29_999.6
    traces = np.random.default_rng(0).normal(0, 40, (60_100, 4)).astype(np.int16)
    traces[:, 3] += tone(rate, len(traces), 60, 100)
    check = checked(tmp_path / "rec", traces, rate, 1.0)
    assert [channel.verdict for channel in check.channels] == ["good", "good", "good", "hum"]
    assert check.channels[3].hum_hz == 60
    assert check.channels[3].hum_uv == pytest.approx(100 / np.sqrt(2), rel=0.05)


def test_a_smooth_slow_signal_has_no_drop_outs(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.5, (20_000, 1))
    traces = np.rint(tone(1000, len(noise), 5, 300)[:, np.newaxis] + noise).astype(np.int16)
    assert checked(tmp_path / "rec", traces, 1000, 1.0).drop_outs == ()


class Long:
    """A recording that makes its samples as they are read."""

    def __init__(self, seconds, num_channels=64, rate=2000):
        self.layout = SimpleNamespace(
            num_channels=num_channels,
            num_samples=seconds * rate,
            sampling_frequency=float(rate),
            gains=(1.0,) * num_channels,
            offsets=(0.0,) * num_channels,
            locations=((0.0, 0.0),) * num_channels,
        )
        self.channel_ids = tuple(map(str, range(num_channels)))
        self.duration_s = float(seconds)
        self.read = []

    def traces(self, start, stop):
        self.read.append((start, stop))
        shape = stop - start, self.layout.num_channels
        return np.random.default_rng(start).integers(-50, 50, shape, dtype=np.int16)

    def peak(self):
        """Check it; return the result, and the bytes that were held at once."""
        tracemalloc.start()
        try:
            return check_recording(self), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_thirty_seconds_of_a_day_are_read_from_its_start_to_its_end_in_the_memory_of_a_minute(monkeypatch):
    monkeypatch.setattr(check_measure, "BLOCK_VALUES", 2**14)
    day = Long(86_400)
    check, held = day.peak()
    assert check.checked_s == SAMPLE_S
    assert (day.read[0][0], day.read[-1][1]) == (0, day.layout.num_samples)
    assert sum(stop - start for start, stop in day.read) == SAMPLE_S * 2000
    assert max(stop - start for start, stop in day.read) * 64 <= 2**14
    assert held < 1.1 * Long(60).peak()[1]


def test_a_picture_is_xml_with_a_place_for_each_channel_and_every_text_escaped(tmp_path, sound):
    traces, rate, gain = sound
    traces = traces.copy()
    traces[:, 6] = 0
    ids = ['<script>"&', "]]>", "\x1b[31m", "\ufffe", "e", "f", "<g>", "h"]
    path = write_flat(tmp_path, traces, gain_uv=gain, sampling_frequency=rate, channel_ids=ids)
    check = check_recording(open_recording(path))
    tree = ET.fromstring(picture(check, "<rec> & \x00\udcff").encode())
    kinds = [element.tag.rpartition("}")[2] for element in tree.iter()]
    assert kinds.count("circle") == 8
    assert kinds.count("rect") == 1 + 8
    assert "script" not in kinds
    texts = [element.text for element in tree.iter() if element.text]
    assert ids[0] in texts
    assert any("<rec> &" in text for text in texts)
    assert sum("dead" in text for text in texts) == 2


def test_the_command_prints_a_table_and_the_option_and_draws_the_picture(tmp_path, sound, capsys):
    traces, rate, gain = sound
    traces = traces.copy()
    traces[:, 2] = 0
    path = write_flat(tmp_path, traces, gain_uv=gain, sampling_frequency=rate)
    drawn = tmp_path / "out" / "check.svg"
    assert run(["recording.check", str(path), "--picture", str(drawn)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split()[0] == "channel"
    assert printed.rstrip().endswith("spikecrate sort … --exclude-channels 3")
    assert ET.parse(drawn).getroot().tag.endswith("svg")
    assert run(["recording.check", str(path), "--all", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["exclude"] == "--exclude-channels 3"
    assert facts["channels"][2]["problems"] == ["dead"]
    assert facts["checked_s"] == facts["duration_s"]


def test_a_picture_replaces_no_file_but_an_svg(tmp_path, sound, capsys):
    traces, rate, gain = sound
    path = write_flat(tmp_path, traces, gain_uv=gain, sampling_frequency=rate)
    data = path / "data.raw"
    before = data.read_bytes()
    assert run(["recording.check", str(path), "--picture", str(data)]) == 2
    assert "ends in .svg" in capsys.readouterr().err
    assert data.read_bytes() == before


def test_a_picture_that_cannot_be_written_is_an_error_that_names_it(tmp_path, sound, capsys):
    traces, rate, gain = sound
    path = write_flat(tmp_path, traces, gain_uv=gain, sampling_frequency=rate)
    assert run(["recording.check", str(path), "--picture", str(path / "data.raw" / "check.svg")]) != 0
    printed = capsys.readouterr().err
    assert "check.svg" in printed
    assert "name a file that can be written" in printed


def test_a_stretch_too_short_to_measure_noise_is_said_to_be(tmp_path, sound):
    traces, rate, gain = sound
    found = checked(tmp_path / "short", traces[:3], rate, gain)
    assert "noise: the samples are too few to measure it; check a second or more" in found.findings
    assert checked(tmp_path / "long", traces, rate, gain).findings == ()
