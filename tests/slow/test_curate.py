"""A curated sorting of a real recording is that of SpikeInterface and phy, and has equal bytes in every runtime."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, last_json

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store

MEAREC = DATA / "mearec_tetrode"
SCRIPT = Path(__file__).with_name("curate") / "by_others.py"

pytestmark = pytest.mark.usefixtures("shared_environments")


@pytest.fixture
def others(readers):
    """Call SpikeInterface or phylib alone."""

    def run(*words):
        done = subprocess.run(
            [readers, "-W", "ignore", SCRIPT, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def result():
    return spikecrate.sort(MEAREC, runtime="docker")


def contents(folder):
    files = [folder / "firings.mda", folder / "units.csv", *sorted((folder / "curation").iterdir())]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def trains(result):
    return {
        str(unit): np.round(train).astype(int).tolist() for unit, train in result.sorting.trains().items()
    }


def document(result):
    """Return a curation with everything: the two largest units merged, the third in three parts, and so on."""
    units = sorted(result.units, key=lambda unit: -unit.events)
    first, second, third, fourth, fifth, *_, last = [unit.unit for unit in units]
    return {
        "format_version": "2",
        "unit_ids": [unit.unit for unit in result.units],
        "label_definitions": {"quality": {"label_options": ["good", "noise"], "exclusive": True}},
        "manual_labels": [
            {"unit_id": unit, "labels": {"quality": [label]}}
            for unit, label in ((first, "good"), (second, "good"), (third, "noise"), (fourth, "good"))
        ],
        "merges": [{"unit_ids": [second, first]}],
        "splits": [
            {"unit_id": third, "mode": "indices", "indices": [[0, 5, 6], [1, 2]]},
            {"unit_id": fifth, "mode": "labels", "labels": [n % 2 for n in range(units[4].events)]},
        ],
        "removed": [last],
    }


def test_the_bytes_are_equal_in_every_runtime_and_with_any_cores_and_the_second_time_is_a_cache_hit(result):
    made = {}
    for runtime, cores in (("docker", 2), ("docker", 1), ("apptainer", 2), ("host", 2)):
        done = result.curate(document(result), runtime=runtime, cores=cores, force=True)
        assert (done.status, done.record["runtime"]) == ("ran", runtime)
        made[runtime, cores] = contents(done.folder)
    first, *rest = made.values()
    assert [*first] == ["firings.mda", "units.csv", "curation/changes.csv", "curation/curation.json"]
    assert all(other == first for other in rest)
    assert spikecrate.curate(result.key, document(result)).status == "cached"
    options = {"runtime": "docker", "recording": None, "cores": None, "keep": False}
    assert rerun(
        find_job(done.key, open_store(), Silent()), **options, store=open_store(), progress=Silent()
    ).equal


def test_the_units_are_those_that_spikeinterface_makes(result, others, tmp_path):
    given = tmp_path / "given.json"
    given.write_text(json.dumps(document(result)))
    done = result.curate(given, runtime="host")
    # By the file as it was given, which leaves the numbers of new units to SpikeInterface, and by what was applied.
    for curation in (given, done.folder / "curation" / "curation.json"):
        expected = others("apply", result.folder / "firings.mda", curation)
        assert trains(done) == expected["trains"]
        labels = {str(unit.unit): unit.labels.get("quality", "") for unit in done.units}
        assert labels == expected["quality"]
    assert sum(map(len, trains(done).values())) == done.record["events"] == len(done.sorting)


def test_a_curation_that_spikeinterface_writes_is_read(result, others, tmp_path):
    others("save", result.folder / "firings.mda", tmp_path / "saved.json")
    done = result.curate(tmp_path / "saved.json", runtime="host")
    expected = others("apply", result.folder / "firings.mda", tmp_path / "saved.json")
    assert trains(done) == expected["trains"]


def test_unchanged_units_keep_what_the_sorter_measured_and_all_are_analyzed_again(result):
    done = result.curate(merge=[[1, 2]], runtime="host")
    before = {unit.unit: unit for unit in result.units}
    assert [unit for unit in done.units if unit.unit in before] == [
        before[unit] for unit in sorted({*before} - {1, 2})
    ]
    (new,) = [unit for unit in done.units if unit.unit not in before]
    assert (new.snr, new.amplitude) == (None, None)
    analyzed = done.analyze(runtime="host")
    (measured,) = [unit for unit in analyzed.units if unit.unit == new.unit]
    assert (measured.events, measured.rate) == (new.events, new.rate)
    assert measured.isi_violations == new.isi_violations
    assert measured.snr > 0
    assert analyzed.result.record["inputs"]["sorting"]["key"] == done.key


def read_back(result, folder, others, own):
    """Change a folder of phy by phylib, curate by it, and compare every event."""
    found = others("phy", folder)
    done = result.curate(folder, runtime="host")
    clusters = np.array(found["clusters"])
    samples = np.array(found["samples"])
    after = trains(done)
    expected = {cluster: samples[clusters == cluster].tolist() for cluster in np.unique(clusters).tolist()}
    assert sorted(after.values()) == sorted(expected.values())
    labels = {str(unit.unit): unit.labels.get("quality", "unsorted") for unit in done.units}
    by_train = {tuple(train): unit for unit, train in after.items()}
    for cluster, train in expected.items():
        unit = by_train[tuple(train)]
        assert labels[unit] == found["groups"][str(cluster)]
        assert not own or unit == str(cluster)
    quiet = result.curate(folder, leave_out=["noise"], runtime="host")
    assert sorted(trains(quiet)) == sorted(unit for unit in after if labels[unit] != "noise")


def test_what_is_done_in_phy_to_an_export_is_read_back(result, others, tmp_path):
    exported = result.export(to="phy", output=tmp_path / "phy", runtime="host")
    read_back(result, exported.folder, others, own=True)


def test_what_is_done_in_phy_to_an_export_of_spikeinterface_is_read_back(result, others, tmp_path):
    analyzed = result.analyze(runtime="host")
    others("to_phy", analyzed.folder, tmp_path / "phy")
    read_back(result, tmp_path / "phy", others, own=False)


def test_the_command_says_what_a_rule_does_before_it_does_it(command, tmp_path):
    key = last_json(command("sort", MEAREC, "--output", "-", "--runtime", "docker", "--json"))["key"]
    words = ["curate", key[:12], "--keep", "snr > 5 and isi_violations < 0.5", "--label", "good=snr > 8"]
    planned = command(*words, "--runtime", "host", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    told = last_json(command(*words, "--runtime", "host", "--json"))
    removed = [change["unit_before"] for change in told["changes"] if change["how"] == "removed"]
    assert removed == json.loads(planned.stdout)["removed"]
    assert all(unit["snr"] > 5 and unit["isi_violations"] < 0.5 for unit in told["units_table"])
    assert {unit["labels"].get("quality") for unit in told["units_table"] if unit["snr"] > 8} == {"good"}
    shown = command(*words, "--runtime", "host", "--output", tmp_path / "copy")
    assert "quality" in shown.stdout
    assert (tmp_path / "copy" / "curation" / "curation.json").is_file()
