"""Real recordings that cannot be data_path, end to end in Docker, where they lie: units, events, accuracy.

`SPIKECRATE_DATA` names their folder; by default `shared/data` beside the clone. In CI it must be there.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from test_sort_docker import state

import spikecrate
from spikecrate.sortings import compare, read_firings

DATA = Path(os.environ.get("SPIKECRATE_DATA", ROOT.parent / "shared" / "data"))
STREAM = "openephys_binary/test/DelayedRecording/Record Node 118/experiment1/recording1/continuous/File_Reader-106.0"


@pytest.fixture(autouse=True)
def data():
    if not DATA.is_dir() and not os.environ.get("SPIKECRATE_CI"):
        pytest.skip(f"{DATA} is not here; SPIKECRATE_DATA names another folder")
    assert DATA.is_dir(), f"CI needs the recordings in {DATA}"


@pytest.mark.parametrize(
    ("name", "channels", "units"),
    [("locust_trial_01", 4, 3), ("spikerbox_neuron", 1, 1), (STREAM, 16, 5)],
    ids=["locust tetrode", "SpikerBox neuron", "Open Ephys stream"],
)
def test_a_real_recording_is_sorted_in_place(name, channels, units, capsys):
    """The least number of units is what a person sees in the traces, not what this build happens to give."""
    recording = DATA / name
    before = state(recording)
    result = spikecrate.sort(recording, sorter="ms4", runtime="docker")
    layout = result.record["inputs"]["recording"]["layout"]
    assert len(layout["gains"]) == channels
    assert len(result.sorting.unit_ids) >= units
    assert np.all(np.diff(result.sorting.times) >= 0)
    assert result.sorting.times[-1] < sum(part["num_samples"] for part in layout["parts"])
    assert state(recording) == before
    with capsys.disabled():
        print(f"\n{recording.name}: {result.record['units']} units, {result.record['events']} events")  # noqa: T201


def test_the_simulated_tetrode_is_sorted_as_well_as_its_sorter_can(capsys):
    recording = DATA / "mearec_tetrode"
    result = spikecrate.sort(recording, sorter="ms4", runtime="docker")
    truth = read_firings(recording / "firings_true.mda", result.sorting.sampling_frequency)
    accuracies = [unit.accuracy for unit in compare(truth, result.sorting).assigned]
    with capsys.disabled():
        print(f"\nmearec_tetrode: accuracies {[round(accuracy, 3) for accuracy in accuracies]}")  # noqa: T201
    assert len(accuracies) == 6
    assert min(accuracies) >= 0.88
