"""Everything that uses SpikeInterface has one environment: the images share its layer on disk."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from pathlib import Path

import pytest
from ms4_run import noise, recording_of

from spikecrate.catalogue.tools import read
from spikecrate.environments.environment import place
from spikecrate.steps.job import build_request, recipe
from spikecrate.store import open_store
from spikecrate_harness.resources import Resources

ROOT = Path(__file__).parents[2]
SORTERS = ROOT / "sorters"
OF_SPIKEINTERFACE = ("ms5", "spykingcircus2", "tridesclous2")
SHARING = sorted(
    lock.parent
    for root in (SORTERS, ROOT / "tools")
    for lock in root.glob("*/requirements.lock")
    if "\nspikeinterface==" in lock.read_text()
)


def environment_stage(folder):
    lines = (folder / "Dockerfile").read_text().splitlines()
    begun = itertools.dropwhile(lambda line: "AS environment" not in line, lines)
    return list(itertools.takewhile(lambda line: "AS code" not in line, begun))


def module(sorter):
    specification = importlib.util.spec_from_file_location(f"{sorter}_run_py", SORTERS / sorter / "run.py")
    loaded = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = loaded
    specification.loader.exec_module(loaded)
    return loaded


def defaults(sorter):
    schemas = json.loads((SORTERS / sorter / "sorter.json").read_text())["parameters"]["properties"]
    return {name: schema["default"] for name, schema in schemas.items()}


def test_every_tool_and_every_sorter_of_spikeinterface_shares_it():
    sorters = {SORTERS / name for name in OF_SPIKEINTERFACE}
    assert set(SHARING) == sorters | {path.parent for path in ROOT.glob("tools/*/tool.json")}


@pytest.mark.parametrize("name", ["requirements.in", "requirements.lock"])
def test_what_is_installed_is_the_same_to_the_byte(name):
    assert len({(folder / name).read_bytes() for folder in SHARING}) == 1


def test_how_it_is_installed_is_the_same_to_the_byte():
    stages = [environment_stage(folder) for folder in SHARING]
    assert stages[0]
    assert stages == [stages[0]] * len(SHARING)


def test_on_the_host_it_is_one_folder(tmp_path):
    store = open_store(tmp_path)
    tools = [read(folder) for folder in SHARING]
    places = [place(build_request(tool, recipe(tool)), store) for tool in tools]
    assert len({found.python for found in places}) == 1
    assert len({found.code for found in places}) == len(SHARING)


@pytest.mark.parametrize("sorter", OF_SPIKEINTERFACE)
def test_a_band_that_is_none_is_refused_before_anything_is_started(sorter, tmp_path):
    chosen = defaults(sorter) | {"freq_min": 6000, "freq_max": 300}
    with pytest.raises(ValueError, match=r"freq_min \(6000 Hz\) must be below freq_max \(300 Hz\)"):
        module(sorter).settings(recording_of(noise(3000, 2)), chosen, Resources(tmp_path, 1, None, 0))


@pytest.mark.parametrize("sorter", OF_SPIKEINTERFACE)
def test_an_upper_edge_that_a_recording_cannot_have_is_not_told(sorter, tmp_path):
    slow = recording_of(noise(3000, 2), rate=10000.0)
    told = module(sorter).settings(slow, defaults(sorter), Resources(tmp_path, 1, None, 0))
    edge = (told.get("filter") or told.get("filtering") or told)["freq_max"]
    assert edge is None or edge < 5000


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_preprocessing_that_is_no_json_object_is_refused(text, tmp_path):
    chosen = defaults("tridesclous2") | {"preprocessing": text}
    with pytest.raises(ValueError, match="preprocessing is not"):
        module("tridesclous2").settings(recording_of(noise(3000, 2)), chosen, Resources(tmp_path, 1, None, 0))
