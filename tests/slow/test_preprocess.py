"""A recording that is preprocessed is that of SpikeInterface called by hand, with equal bytes in every runtime."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, SPIKECRATE, last_json

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.errors import UsageError
from spikecrate.recordings import open_recording
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store

MEAREC = DATA / "mearec_tetrode"
SCRIPT = Path(__file__).with_name("preprocess") / "by_hand.py"
RATE, CHANNELS, DEAD, NOISY = 30000, 16, 5, 11
GAIN = 0.195
BAND = {"operation": "bandpass_filter", "freq_min": 300, "freq_max": 6000}
REFERENCE = {"operation": "common_reference"}
DENSE = [
    {"operation": "phase_shift", "shifts": [channel % 13 / 13 for channel in range(CHANNELS)]},
    {"operation": "highpass_filter", "freq_min": 400, "order": 3},
    {"operation": "detect_bad_channels"},
    {**REFERENCE, "reference": "local", "radius_max": 90, "min_neighbors": 3},
]
GROUPS = [
    {"operation": "notch_filter"},
    {"operation": "detect_bad_channels", "method": "std", "action": "remove"},
    {"operation": "remove_channels", "channels": ["3"]},
    {**REFERENCE, "reference": "group", "operator": "average"},
]

pytestmark = pytest.mark.usefixtures("shared_environments")


def written(folder, traces, **facts):
    """Write traces as a flat file, channels 20 um apart."""
    folder.mkdir()
    traces.tofile(folder / "raw.dat")
    shape = {"num_channels": traces.shape[1], "sampling_frequency": RATE}
    facts = {
        "file": "raw.dat",
        "dtype": traces.dtype.str,
        "gain_uv": GAIN,
        "offset_uv": 0.0,
        **shape,
        **facts,
    }
    (folder / "geom.csv").write_text("".join(f"0,{20 * channel}\n" for channel in range(traces.shape[1])))
    (folder / "recording.json").write_text(json.dumps({**facts, "probe": "geom.csv"}))
    return folder


def counts(seconds, seed=3):
    """Return int16 traces: what neighbours have in common, slow waves, one channel that is dead and one too loud."""
    rng, length = np.random.default_rng(seed), round(seconds * RATE)
    own, shared = rng.standard_normal((length, CHANNELS)), rng.standard_normal((length, 1))
    slow = 4000 * np.sin(2 * np.pi * 3 * np.arange(length)[:, None] / RATE)
    traces = 10 * own + 60 * shared + slow
    traces[:, DEAD], traces[:, NOISY] = 0, 20 * traces[:, NOISY] / 8
    return np.clip(traces, -32768, 32767).astype("<i2")


@pytest.fixture
def noise(tmp_path):
    """Three and a half seconds of 16 channels."""
    return written(tmp_path / "noise", counts(3.517))


def on_host(recording, steps, **options):
    return spikecrate.preprocess(recording, steps, runtime="host", **options)


def by_hand(environments, done, chain, folder, out, dtype="float32"):
    """Compute the same by SpikeInterface or scipy alone, with the settings that the harness pins; in uV."""
    (python,) = [
        path.parents[3] / "bin" / "python"
        for path in environments.glob("lock-*/lib/python3*/site-packages/spikeinterface")
    ]
    told = done.result.record["inside"]["environment"]
    # Without the folders, which went with the job.
    pinned = {name: value for name, value in told.items() if not value.startswith("/")}
    words = [python, SCRIPT, chain, folder / "recording.json", str(done.result.record["seed"]), out]
    answer = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ | pinned)
    return np.fromfile(out, dtype=dtype).reshape(-1, json.loads(answer.stdout.splitlines()[-1]))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_bytes_are_equal_in_every_runtime_and_with_any_cores_and_the_second_time_is_a_cache_hit(noise):
    made = {}
    for runtime, cores in (("docker", 2), ("docker", 1), ("apptainer", 2), ("host", 2)):
        done = spikecrate.preprocess(noise, DENSE, runtime=runtime, cores=cores, force=True)
        assert (done.result.status, done.result.record["runtime"]) == ("ran", runtime)
        made[runtime, cores] = contents(done.folder)
    first, *others = made.values()
    assert {str(name) for name in first} == {"traces.raw", "recording.json", "probe.json", "channels.json"}
    assert all(other == first for other in others)
    again = spikecrate.preprocess(noise, DENSE)
    assert (again.result.status, again.channels) == ("cached", done.channels)
    store, options = open_store(), {"runtime": "docker", "recording": None, "cores": None, "keep": False}
    assert rerun(find_job(done.result.key, store, Silent()), **options, store=store, progress=Silent()).equal


@pytest.mark.parametrize(
    ("chain", "steps"), [("band", [BAND, REFERENCE]), ("dense", DENSE), ("groups", GROUPS)]
)
def test_every_sample_is_that_of_spikeinterface_called_by_hand(environments, noise, tmp_path, chain, steps):
    facts = json.loads((noise / "recording.json").read_text())
    if chain == "groups":
        places = [[0, 20 * channel] for channel in range(CHANNELS)]
        shanks = [str(int(channel >= 5)) for channel in range(CHANNELS)]
        probe = {"ndim": 2, "si_units": "um", "contact_positions": places, "shank_ids": shanks}
        (noise / "probe.json").write_text(
            json.dumps({"specification": "probeinterface", "version": "0.3.1", "probes": [probe]})
        )
        (noise / "recording.json").write_text(json.dumps(facts | {"probe": "probe.json"}))
    options = {"seed": 4, "params": {"dtype": "float32"}}
    exact = on_host(noise, steps, **options)
    rounded = on_host(noise, steps, seed=4)
    expected = by_hand(environments, exact, chain, noise, tmp_path / "expected")
    assert np.array_equal(exact.recording.traces(), expected)
    assert np.array_equal(
        rounded.recording.traces(), np.rint(expected.astype("float64") / GAIN).astype("int16")
    )
    assert set(exact.recording.layout.gains) == {1.0}
    assert set(rounded.recording.layout.gains) == {GAIN}
    assert rounded.channels == exact.channels


@pytest.mark.parametrize(
    ("chain", "step", "at_borders", "inside"),
    [("scipy band", BAND, 0.005, 1e-5), ("scipy notch", {"operation": "notch_filter"}, 0.05, 0.05)],
)
def test_filters_in_pieces_are_those_of_scipy_over_the_whole_recording(
    environments, noise, tmp_path, chain, step, at_borders, inside
):
    done = on_host(noise, [step], params={"dtype": "float32"})
    expected = by_hand(environments, done, chain, noise, tmp_path / "expected", dtype="float64")
    difference = np.abs(done.recording.traces() - expected).max(axis=1)
    borders = np.arange(RATE, len(difference), RATE)
    far = np.abs(np.arange(len(difference))[:, None] - borders).min(axis=1) > RATE // 10
    # In uV, of traces of 75 uV after the band-pass and 2000 uV after the notch.
    assert difference.max() < at_borders
    assert difference[far].max() < inside


def test_bad_channels_are_found_told_and_interpolated_or_removed(noise):
    assert [channel["label"] for channel in on_host(noise, DENSE).channels].count("good") == CHANNELS - 2
    find = {"operation": "detect_bad_channels"}
    done = {
        action: on_host(noise, [find | {"action": action}]) for action in ("interpolate", "remove", "report")
    }
    for action, word in (("interpolate", "interpolated"), ("remove", "removed"), ("report", "kept")):
        found = {one["channel"]: one for one in done[action].channels if one["label"] != "good"}
        assert {name: one["action"] for name, one in found.items()} == {
            str(DEAD + 1): word,
            str(NOISY + 1): word,
        }
        assert found[str(DEAD + 1)]["label"] == "dead"
        (warning,) = done[action].result.warnings
        assert warning == f"bad channels {word}: {DEAD + 1} (dead), {NOISY + 1} (noise)"
    left = [str(channel + 1) for channel in range(CHANNELS) if channel not in (DEAD, NOISY)]
    assert list(done["remove"].recording.channel_ids) == left
    assert np.array_equal(done["report"].recording.traces(), open_recording(noise).traces())
    described = json.loads((noise / "recording.json").read_text())
    del described["gain_uv"]
    (noise / "recording.json").write_text(json.dumps(described))
    counted = on_host(noise, [find | {"action": "report"}])
    assert any("no gain, so that psd_hf_threshold" in warning for warning in counted.result.warnings)
    assert any(
        "channels are bad: good ones may be among them" in warning for warning in counted.result.warnings
    )
    assert "gain_uv" not in json.loads((counted.folder / "recording.json").read_text())
    dead = done["interpolate"].recording.traces()[:, DEAD]
    assert np.abs(dead).max() > 100
    alone = {"operation": "remove_channels", "channels": [f"1-{DEAD}", f"{DEAD + 2}-16"]}
    with pytest.raises(UsageError, match="common_reference: there is one channel"):
        on_host(noise, [alone, REFERENCE])


def test_the_same_voltages_in_another_layout_give_the_same_recording(tmp_path, noise):
    first = on_host(noise, [BAND, REFERENCE]).recording.traces()
    raw = counts(3.517)
    unsigned = (raw.astype(np.int32) + 32768).astype("<u2")
    others = {
        "big": written(tmp_path / "big", raw.astype(">i2")),
        "unsigned": written(tmp_path / "unsigned", unsigned, offset_uv=-32768 * GAIN),
        "by channel": written(tmp_path / "by channel", raw, time_axis=1),
    }
    np.ascontiguousarray(raw.T).tofile(others["by channel"] / "raw.dat")
    for name, folder in others.items():
        found = on_host(folder, [BAND, REFERENCE])
        assert found.recording.layout.dtype == "<i2", name
        # The offset is subtracted in float32.
        assert np.abs(found.recording.traces() - first.astype(int)).max() <= (name == "unsigned"), name
    volts = written(tmp_path / "float", (raw * GAIN).astype("<f4"), gain_uv=1.0)
    found = on_host(volts, [BAND, REFERENCE])
    assert found.recording.layout.dtype == "<f4"
    assert np.abs(found.recording.traces() / GAIN - first).max() < 0.51
    view = open_recording(noise).view(start=1, end=3, exclude_channels=["2"])
    assert on_host(view, [BAND]).recording.traces().shape == (2 * RATE, CHANNELS - 1)


def test_gains_that_differ_are_applied_before_the_common_reference(tmp_path):
    raw = np.random.default_rng(0).integers(-1000, 1000, (RATE, 3)).astype("<i2")
    gains = [0.5, 1.0, 2.0]
    done = on_host(written(tmp_path / "gains", raw, gain_uv=gains), [REFERENCE])
    volts = raw * gains
    expected = np.rint((volts - np.median(volts, axis=1, keepdims=True)) / gains)
    assert np.array_equal(done.recording.traces(), expected)
    assert list(done.recording.layout.gains) == gains


def test_values_beyond_int16_are_clipped_and_counted(tmp_path):
    raw = np.zeros((RATE, 3), dtype="<i2")
    raw[10:15, 0], raw[10:15, 1:] = 32000, -32000
    done = on_host(written(tmp_path / "steep", raw), [REFERENCE])
    assert done.recording.traces()[12].tolist() == [32767, 0, 0]
    assert done.result.warnings == [
        "5 samples beyond the range of int16 are clipped; write float32 to keep them"
    ]


def test_ten_times_as_long_a_recording_takes_no_more_memory(tmp_path):
    block, peaks = counts(10), []
    for name, blocks in (("short", 2), ("long", 20)):
        folder = written(tmp_path / name, block)
        with (folder / "raw.dat").open("wb") as file:
            for _ in range(blocks):
                file.write(block.data)
        record = on_host(folder, [BAND, REFERENCE], cores=1).result.record
        assert record["inside"]["peak_memory_counted_by"] == "process"
        peaks.append(record["inside"]["peak_memory_bytes"])
    # One piece of the file is mapped, of the short one all; unbounded it would be 173 MB more.
    assert peaks[1] - peaks[0] < 64e6


def test_a_full_disk_is_named_before_hours_of_work(noise, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", full], check=True)
    try:
        (full / "environments").symlink_to((tmp_path / "store" / "environments").resolve())
        full.chmod(0o700)
        words = ["preprocess", noise, "--step", "bandpass_filter", "--runtime", "host"]
        environ = os.environ | {"SPIKECRATE_STORE": str(full)}
        done = subprocess.run([SPIKECRATE, *words], capture_output=True, text=True, check=False, env=environ)
        assert done.returncode == spikecrate.errors.DiskFullError.exit_code, done.stderr
        assert "no space is left" in done.stderr
        assert list((full / "work").glob("*")) == []
    finally:
        subprocess.run(["umount", full], check=True)


def test_control_c_ends_the_workers_and_leaves_nothing(tmp_path, own_store):
    folder = written(tmp_path / "long", np.tile(counts(10), (30, 1)))
    on_host(MEAREC, [BAND])
    words = ["preprocess", folder, "--step", "bandpass_filter", "--runtime", "host", "--cores", "2", "-v"]
    child = subprocess.Popen([SPIKECRATE, *words], stderr=subprocess.PIPE, text=True)
    assert any("preprocessing: 10%" in line for line in child.stderr)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == 130
    assert list((own_store / "work").glob("*")) == []
    time.sleep(1)
    assert (
        str(own_store)
        not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    )


def test_a_real_recording_is_preprocessed_and_sorted_by_its_key_and_its_folder(command, tmp_path):
    words = (
        "preprocess",
        MEAREC,
        "--step",
        "bandpass_filter",
        "--step",
        "common_reference",
        "--output",
        tmp_path / "c",
    )
    done = command(*words, "--runtime", "docker", "--json")
    assert done.returncode == 0, done.stderr
    told = last_json(done)
    assert (told["num_channels"], told["num_samples"], told["dtype"]) == (4, 640_000, "<i2")
    results = [
        last_json(command("sort", word, "--output", "-", "--runtime", "docker", "--json"))
        for word in (told["key"][:12], tmp_path / "c", told["folder"])
    ]
    assert len({result["key"] for result in results}) == 1
    assert [result["status"] for result in results] == ["ran", "cached", "cached"]
    analyzed = last_json(
        command("analyze", results[0]["key"], "--param", "filter=false", "--runtime", "docker", "--json")
    )
    assert len(analyzed["units"]) == results[0]["units"] > 0
