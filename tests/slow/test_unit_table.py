"""The units that a sorting comes with are those of `analyze`, equal in every runtime, and open in SpikeInterface."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import DATA, last_json

import spikecrate
from spikecrate.recordings.toy import write_toy
from spikecrate.sortings.units import SORTED, read_units

MEAREC = DATA / "mearec_tetrode"
OPEN = """
import json, sys
sys.path.append(sys.argv[1])
import spikecrate
found = spikecrate.load(sys.argv[2]).to_spikeinterface()
print(json.dumps({
    "units": found.unit_ids.tolist(),
    "rate": found.sampling_frequency,
    "trains": {int(unit): found.get_unit_spike_train(unit).tolist() for unit in found.unit_ids},
    "properties": {name: found.get_property(name).tolist() for name in found.get_property_keys()},
}))
"""

pytestmark = pytest.mark.usefixtures("shared_environments")


@pytest.mark.parametrize("recording", ["mearec", "toy"])
def test_the_units_are_those_of_analyze(recording, tmp_path):
    path = MEAREC
    if recording == "toy":
        path = write_toy(tmp_path / "toy", duration_s=30, num_channels=16, difficulty="medium")
    result = spikecrate.sort(path, runtime="host")
    analyzed = result.analyze(runtime="host").units
    assert len(result.units) == len(analyzed) > 5
    for unit, other in zip(result.units, analyzed, strict=True):
        for name in ("unit", "events", "rate", "channel", "isi_violations"):
            assert getattr(unit, name) == getattr(other, name), (unit, other)
        assert unit.snr == pytest.approx(other.snr, rel=0.03)
        assert unit.amplitude == pytest.approx(other.amplitude, rel=0.03)


def test_the_table_has_equal_bytes_in_every_runtime_and_with_any_cores():
    made = set()
    for runtime, cores in (("docker", 2), ("docker", 1), ("apptainer", 2), ("host", 2)):
        done = spikecrate.sort(MEAREC, runtime=runtime, cores=cores, force=True)
        assert (done.status, done.record["runtime"]) == ("ran", runtime)
        made.add((done.folder / "units.csv").read_bytes())
    assert len(made) == 1
    assert len(read_units(done.folder / "units.csv", SORTED)) > 5


def test_the_sorting_opens_in_spikeinterface_with_its_units(environments):
    result = spikecrate.sort(MEAREC, runtime="host")
    result.analyze(runtime="host")
    (packages,) = [
        path.parent
        for path in environments.glob("lock-*/lib/python3*/site-packages/pandas")
        if (path.parent / "mountainsort5").is_dir()
    ]
    words = [sys.executable, "-c", OPEN, packages, result.folder]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    trains = result.sorting.trains()
    assert (found["units"], found["rate"]) == (list(trains), result.sorting.sampling_frequency)
    for unit, train in trains.items():
        assert found["trains"][str(unit)] == train.round().tolist()
    for name in ("events", "rate", "channel", "snr", "isi_violations", "amplitude"):
        assert found["properties"][name] == [getattr(unit, name) for unit in result.units]


def test_the_command_prints_the_table_after_a_run_and_at_a_cache_hit(command):
    first, second = (command("sort", MEAREC, "--output", "-", "--runtime", "host") for _ in range(2))
    tables = [done.stdout.partition("ms4 ")[0].splitlines() for done in (first, second)]
    assert "cache hit" in second.stdout
    units = last_json(command("sort", MEAREC, "--output", "-", "--json"))["units_table"]
    assert tables[0] == tables[1]
    assert [line.split()[:2] for line in tables[0][1:]] == [
        [str(unit["unit"]), str(unit["events"])] for unit in units
    ]
