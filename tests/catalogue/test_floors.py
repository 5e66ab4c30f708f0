"""Every sorter finds at least what its quality.json says, on recordings whose spikes are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matrix import SORTERS

from spikecrate._util.data import data_path
from spikecrate._util.progress import Silent
from spikecrate.studies import quality

DATA = Path(__file__).parents[1] / "data"
KINDS = {"units_above_0.8": "units_above", "mean_accuracy": "mean_accuracy"}
FLOORS = {
    name: json.loads((sorter.folder / "quality.json").read_text())
    for name, sorter in SORTERS.items()
    if (sorter.folder / "quality.json").exists()
}


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    toys = quality.toys(tmp_path_factory.mktemp("toys"), Silent())
    return {**toys, "mearec_tetrode": DATA / "mearec_tetrode"}


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize(
    ("floor", "recording"),
    [
        pytest.param(name, recording, id=f"{name}-{recording}")
        for name, floors in FLOORS.items()
        for recording in floors["recordings"]
    ],
)
def test_it_finds_at_least_what_it_says(floor, recording, recordings):
    (score,) = quality.measure(
        [SORTERS[floor]],
        {recording: recordings[recording]},
        runtime="docker",
        progress=Silent(),
        seed=FLOORS[floor]["seed"],
    )
    assert score.failure == ""
    for kind, least in FLOORS[floor]["recordings"][recording].items():
        assert getattr(score, KINDS[kind]) >= least, score


@pytest.mark.main
def test_a_sorter_of_the_catalogue_says_what_it_finds(sorter):
    if SORTERS[sorter].folder.parent == data_path("sorters"):
        assert sorter in FLOORS, "it has no quality.json"
        assert {"mearec_tetrode", "toy_easy", "toy_medium", "toy_hard"} <= FLOORS[sorter]["recordings"].keys()
