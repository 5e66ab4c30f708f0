"""The analysis of a real recording is that of SpikeInterface, opens there, and has equal bytes in every runtime."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, last_json

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.api.analyze import Analysis
from spikecrate.errors import JobFailedError
from spikecrate.recordings.toy import write_toy
from spikecrate.steps.request import StepRequest
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store
from spikecrate_harness import mda

MEAREC = DATA / "mearec_tetrode"
SCRIPT = Path(__file__).with_name("analyze") / "by_hand.py"
SAMPLES = 640_000
"""Of the MEArec tetrode: 20 s at 32 kHz."""
BORDERS = ([0, 3, SAMPLES - 2, SAMPLES - 1], [1, 1, 1, 2])
"""Times and labels of units of which no event has a whole waveform."""
OF_TIMES = {"num_spikes", "firing_rate", "isi_violations_count"}

pytestmark = pytest.mark.usefixtures("shared_environments")


def analyzed(recording, folder, **options):
    """Analyze a folder with a firings.mda on the host, which is the quickest."""
    inputs = {"recording": recording, "sorting": folder}
    request = StepRequest(tool="analyze", inputs=inputs, runtime="host", **options)
    return Analysis(result=spikecrate.run(request))


def sorting(folder, times, labels):
    """Write a sorting."""
    folder.mkdir()
    mda.write(folder / "firings.mda", np.array([np.zeros(len(times)), times, labels], dtype=np.float64))
    return folder


@pytest.fixture
def truth(tmp_path):
    """The true sorting of the tetrode."""
    (tmp_path / "truth").mkdir()
    shutil.copyfile(MEAREC / "firings_true.mda", tmp_path / "truth" / "firings.mda")
    return tmp_path / "truth"


def by_spikeinterface(environments, *words, pinned=None):
    """Call SpikeInterface alone, in the tool's own environment, with the settings that the harness pins."""
    (python,) = [
        path.parents[3] / "bin" / "python"
        for path in environments.glob("lock-*/lib/python3*/site-packages/spikeinterface")
    ]
    environ = {**os.environ, **(pinned or {})}
    done = subprocess.run([python, SCRIPT, *words], check=True, capture_output=True, text=True, env=environ)
    return json.loads(done.stdout.splitlines()[-1])


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_bytes_are_equal_in_every_runtime_and_with_any_cores_and_the_second_time_is_a_cache_hit():
    store = open_store()
    result = spikecrate.sort(MEAREC, runtime="docker")
    made = {}
    for runtime, cores in (("docker", 2), ("docker", 1), ("apptainer", 2), ("host", 2)):
        done = result.analyze(params={"pca": True}, runtime=runtime, cores=cores, force=True)
        assert (done.result.status, done.result.record["runtime"]) == ("ran", runtime)
        made[runtime, cores] = contents(done.folder)
    first, *others = made.values()
    assert len(first) > 40
    assert all(other == first for other in others)
    again = spikecrate.analyze(result.key, params={"pca": True})
    assert (again.result.status, again.units) == ("cached", done.units)
    options = {"runtime": "docker", "recording": None, "cores": None, "keep": False}
    earlier = find_job(done.result.key, store, Silent())
    assert rerun(earlier, **options, store=store, progress=Silent()).equal
    for name, data in first.items():
        assert str(store.root).encode() not in data, name
        assert b"/inputs" not in data, name


def test_every_value_is_that_of_spikeinterface_called_by_hand(truth, environments):
    done = analyzed(MEAREC, truth, params={"pca": True})
    gain = json.loads((MEAREC / "params.json").read_text())["scale_factor"]
    told = done.result.record["inside"]["environment"]
    # Without the folders, which went with the job.
    pinned = {name: value for name, value in told.items() if not value.startswith("/")}
    words = ("metrics", MEAREC, truth / "firings.mda", str(gain))
    expected = by_spikeinterface(environments, *words, pinned=pinned)
    assert done.metrics == expected["metrics"]
    for name in ("x", "y", "channel"):
        assert [getattr(unit, name) for unit in done.units] == expected[name]
    told = json.loads((done.folder / "metrics.json").read_text())
    assert ["unit", *told["metrics.csv"]] == list(done.metrics)


def test_counts_and_rates_are_those_of_the_events(truth):
    done = analyzed(MEAREC, truth, params={"isi_threshold_ms": 5.01})
    firings = mda.read(truth / "firings.mda")
    for unit, violations in zip(done.units, done.metrics["isi_violations_count"], strict=True):
        times = np.sort(firings[1, firings[2] == unit.unit])
        assert (unit.events, unit.rate) == (len(times), len(times) / 20.0)
        close = np.count_nonzero(np.diff(times) / 32000 < 0.00501)
        assert violations == close
        assert unit.isi_violations == pytest.approx(close * 20.0 / (2 * len(times) ** 2 * 0.00501))
    assert sum(done.metrics["isi_violations_count"]) > 0
    assert {unit.unit: unit.events for unit in done.units} == Counter(firings[2].astype(int).tolist())


def test_the_folder_opens_in_spikeinterface(truth, environments, tmp_path):
    done = analyzed(MEAREC, truth, params={"pca": True, "max_waveforms": 60})
    copied = shutil.copytree(done.folder, tmp_path / "copied")
    found = by_spikeinterface(environments, "open", copied)
    units = len(done.units)
    sampled = sum(unit.waveforms for unit in done.units)
    assert (found["units"], found["events"]) == ([unit.unit for unit in done.units], 965)
    assert found["main"] == [unit.channel for unit in done.units]
    assert found["computed"]
    assert found["extensions"] == [
        *("correlograms", "noise_levels", "principal_components", "quality_metrics", "random_spikes"),
        *("spike_amplitudes", "spike_locations", "template_metrics", "template_similarity", "templates"),
        *("unit_locations", "waveforms"),
    ]
    assert max(unit.waveforms for unit in done.units) == 60
    shapes = found["shapes"]
    assert shapes["waveforms/waveforms"] == [sampled, 96, 4]
    assert shapes["templates/average"] == [units, 96, 4]
    assert shapes["principal_components/pca_projection"] == [sampled, 5, 4]
    assert shapes["correlograms/ccgs"][:2] == shapes["template_similarity/similarity"] == [units, units]


def test_few_events_have_right_answers(environments, tmp_path):
    cases = {"empty": ([], []), "one event": ([5000], [3]), "borders": BORDERS}
    cases["one unit"] = (list(range(100, 600_000, 1000)), [7] * 600)
    found = {
        name: analyzed(MEAREC, sorting(tmp_path / name, *events), params={"pca": True})
        for name, events in cases.items()
    }
    for name, (times, labels) in cases.items():
        done = found[name]
        assert {unit.unit: unit.events for unit in done.units} == Counter(labels)
        assert np.load(done.folder / "sorting" / "spikes.npy")["sample_index"].tolist() == times
    assert by_spikeinterface(environments, "open", found["empty"].folder)["units"] == []
    (lone,) = found["one event"].units
    traces = spikecrate.open_recording(MEAREC).traces(4990, 5010)
    assert lone.channel == np.abs(traces - np.median(traces, axis=0)).max(axis=0).argmax()
    assert (lone.rate, lone.isi_violations, lone.waveforms) == (0.05, 0.0, 1)
    assert lone.amplitude is not None
    (steady,) = found["one unit"].units
    assert (steady.rate, steady.isi_violations, steady.waveforms) == (30.0, 0.0, 500)
    for unit in found["borders"].units:
        assert (unit.channel, unit.snr, unit.amplitude, unit.x, unit.waveforms) == (None, None, None, None, 0)
    metrics = found["borders"].metrics
    assert all(None not in metrics[name] for name in OF_TIMES)
    assert metrics["isi_violations_count"] == [1, 0]
    assert metrics["peak_to_trough_duration"] == [None, None]


def test_a_sorting_that_is_longer_than_the_recording_ends_with_the_reason(tmp_path):
    longer = sorting(tmp_path / "longer", [100, SAMPLES], [1, 1])
    with pytest.raises(
        JobFailedError, match=f"events up to sample {SAMPLES}, the recording {SAMPLES} samples"
    ):
        analyzed(MEAREC, longer)


@pytest.mark.parametrize("channels", [1, 64])
def test_one_channel_and_many_are_analyzed(tmp_path, channels):
    toy = write_toy(tmp_path / "toy", duration_s=12, num_channels=channels, num_units=4)
    (tmp_path / "truth").mkdir()
    shutil.copyfile(toy / "firings_true.mda", tmp_path / "truth" / "firings.mda")
    done = analyzed(toy, tmp_path / "truth", params={"pca": True})
    true = mda.read(toy / "firings_true.mda")
    for unit in done.units:
        (channel,) = set(true[0, true[2] == unit.unit])
        assert unit.channel == channel - 1
        assert unit.snr > 5
    assert ("spread" in done.metrics) == (channels == 64)


def test_filtered_traces_are_taken_as_they_are(truth):
    plain = analyzed(MEAREC, truth, params={"filter": False})
    filtered = analyzed(MEAREC, truth)
    assert [unit.events for unit in plain.units] == [unit.events for unit in filtered.units]
    assert [unit.snr for unit in plain.units] != [unit.snr for unit in filtered.units]
    with pytest.raises(JobFailedError, match=r"freq_min \(500 Hz\) must be below freq_max \(400 Hz\)"):
        analyzed(MEAREC, truth, params={"freq_min": 500, "freq_max": 400})


def test_the_command_prints_the_same_units_as_the_tables(command, tmp_path):
    key = last_json(command("sort", MEAREC, "--output", "-", "--runtime", "docker", "--json"))["key"]
    done = command("analyze", key[:12], "--runtime", "host", "--output", tmp_path / "copy", "--json")
    assert done.returncode == 0, done.stderr
    told = last_json(done)
    with (tmp_path / "copy" / "analysis" / "units.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [str(unit["events"]) for unit in told["units"]] == [row["events"] for row in rows]
    assert [repr(unit["snr"]) for unit in told["units"]] == [row["snr"] for row in rows]
    shown = command("analyze", key[:12], "--runtime", "host")
    assert "cache hit" in shown.stdout
    assert len(shown.stdout.splitlines()) == len(rows) + 4
