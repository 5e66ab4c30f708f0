"""A comparison has equal bytes in every runtime, and the counts of SpikeInterface on a real recording."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, last_json

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import find
from spikecrate.errors import JobFailedError
from spikecrate.sortings import Sorting, compare, find_consensus, read_firings
from spikecrate.steps.job import build_request, recipe
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store
from spikecrate_harness import mda

MEAREC = DATA / "mearec_tetrode"
RATE = 32_000
SCRIPT = Path(__file__).with_name("compare") / "by_hand.py"
TWELVE_SAMPLES = 0.375
"""A tolerance in ms that is whole at this rate: SpikeInterface cuts the rest off."""

pytestmark = pytest.mark.usefixtures("shared_environments")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def written(path, *trains):
    """Write a sorting."""
    times = np.concatenate(trains)
    labels = np.repeat(np.arange(1, len(trains) + 1), [len(train) for train in trains])
    mda.write(path, np.array([np.zeros(len(times)), times, labels], dtype=np.float64))
    return path


def test_the_bytes_are_equal_in_every_runtime_and_with_any_cores_and_the_second_time_is_a_cache_hit():
    store = open_store()
    first, second = (
        spikecrate.sort(MEAREC, runtime="docker", params={"detect_threshold": threshold})
        for threshold in (3, 4)
    )
    options = {"truth": "auto", "names": ["low", "high"], "params": {"exhaustive": True}}
    made = {}
    for runtime, cores in (("docker", 2), ("docker", 1), ("apptainer", 2), ("host", 2)):
        done = first.compare(second, **options, runtime=runtime, cores=cores, force=True)
        assert (done.result.status, done.result.record["runtime"]) == ("ran", runtime)
        made[runtime, cores] = contents(done.folder)
    bytes_of, *others = made.values()
    assert len(bytes_of) == 7
    assert all(other == bytes_of for other in others)
    again = spikecrate.compare(first.key, second.key[:16], **options)
    assert (again.result.status, again.truth) == ("cached", done.truth)
    earlier = find_job(done.result.key, store, Silent())
    repeated = {"runtime": "docker", "recording": None, "cores": None, "keep": False}
    assert rerun(earlier, **repeated, store=store, progress=Silent()).equal
    for name, data in bytes_of.items():
        assert str(store.root).encode() not in data, name
        assert b"/inputs" not in data, name
    # The same functions, called here.
    truth = read_firings(MEAREC / "firings_true.mda", RATE)
    for name, result in (("low", first), ("high", second)):
        expected = compare(truth, result.sorting).assigned
        rows = [unit for unit in done.truth if unit.sorting == name]
        assert [(row.unit, row.found, row.matched, row.accuracy) for row in rows] == [
            (unit.unit, unit.found, unit.matches, unit.accuracy) for unit in expected
        ]
    consensus = find_consensus({"low": first.sorting, "high": second.sorting})
    assert done.consensus_sorting.times.tolist() == consensus.sorting.times.tolist()
    assert done.labels["consensus_votes"].tolist() == consensus.votes.tolist()
    assert len(done.consensus) >= 6


def test_the_counts_and_classes_are_those_of_spikeinterface(environments):
    found = spikecrate.sort(MEAREC, runtime="docker")
    options = {"exhaustive": True, "tolerance_ms": TWELVE_SAMPLES}
    done = found.compare(truth="auto", params=options, runtime="host")
    python = next(environments.glob("lock-*/lib/python3*/site-packages/spikeinterface")).parents[3]
    words = (MEAREC / "firings_true.mda", found.folder / "firings.mda", str(RATE), str(TWELVE_SAMPLES))
    ran = subprocess.run(
        [python / "bin" / "python", SCRIPT, *words],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    expected = json.loads(ran.stdout.splitlines()[-1])
    table = np.zeros((len(expected["units"]), len(expected["found"])))
    for pair in done.agreement:
        table[expected["units"].index(pair.first_unit), expected["found"].index(pair.second_unit)] = (
            pair.matched
        )
    assert table.tolist() == expected["matches"]
    assert [unit.found for unit in done.truth] == expected["assigned"]
    assert [[unit.accuracy, unit.precision, unit.recall] for unit in done.truth] == expected["performance"]
    for name, units in expected["classes"].items():
        assert [unit.unit for unit in done.units if name in unit.classes] == units, name


def test_a_few_common_events_do_not_displace_a_good_match_in_the_image(tmp_path):
    """Found 1 agrees .801 with true unit 1 and shares 4 events with true unit 2; its near-duplicate agrees .799."""
    one, two = 600 * np.arange(1, 1001), 600 * np.arange(2001, 3001) + 300
    noise = 600 * np.arange(4000, 4300) + 150
    truth = written(tmp_path / "firings_true.mda", one, two)
    found = written(
        tmp_path / "found.mda",
        np.concatenate([one[:893], noise[:111], two[:4]]),
        np.concatenate([one[:892], noise[150:266]]),
    )
    done = spikecrate.compare(found, truth=truth, sampling_frequency=RATE, runtime="docker")
    good, bad = done.truth
    assert (good.found, good.matched, good.extra, good.accuracy) == (1, 893, 115, 893 / 1115)
    assert (bad.found, bad.accuracy, bad.best, bad.best_matched) == (None, 0, 1, 4)


def test_the_image_has_just_the_modules_that_the_tool_names():
    tool = find("compare")
    request = build_request(tool, recipe(tool))
    spikecrate.compare(*2 * [MEAREC / "firings_true.mda"], sampling_frequency=RATE, runtime="docker")
    words = ["docker", "run", "--rm", "--network=none", "--entrypoint=find", request.reference]
    listed = subprocess.run(
        [*words, "/opt/spikecrate/spikecrate", "-name", "*.py", "-printf", "%P\n"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert sorted(listed.stdout.split()) == [*tool.library]


def test_a_million_events_a_sorting_are_compared_with_their_lag_in_seconds(tmp_path):
    generator = np.random.default_rng(7)
    times = np.sort(generator.integers(0, 3600 * 30_000, 1_000_000)).astype(np.float64)
    labels = generator.integers(1, 101, len(times))
    paths = []
    for shift in (0, 5):
        sorting = Sorting.from_events(times + shift, labels, sampling_frequency=30_000)
        paths.append(tmp_path / f"{shift}.mda")
        table = [np.zeros(len(sorting)), sorting.times, sorting.labels]
        mda.write(paths[-1], np.array(table, dtype=np.float64))
    done = spikecrate.compare(paths[0], truth=paths[1], sampling_frequency=30_000, runtime="docker")
    assert {unit.found for unit in done.truth} == set(range(1, 101))
    assert {unit.lag_ms for unit in done.truth} == {round(-5 / 30, 6)}
    assert done.result.record["wall_s"] < 60


def test_parameters_that_do_not_fit_end_with_the_reason_in_the_image(tmp_path):
    one = written(tmp_path / "one.mda", [1.0, 2.0])
    two = written(tmp_path / "two.mda", [1.0, 2.0])
    with pytest.raises(JobFailedError, match="least_votes is 3 with 2 sortings"):
        spikecrate.compare(one, two, sampling_frequency=RATE, params={"least_votes": 3}, runtime="docker")


def test_the_command_prints_the_same_units_as_the_tables(command, tmp_path):
    key = last_json(command("sort", MEAREC, "--output", "-", "--runtime", "docker", "--json"))["key"]
    words = ("compare", key[:12], "--truth", "auto", "--runtime", "docker")
    done = command(*words, "--output", tmp_path / "copy", "--json")
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "copy" / "comparison" / "truth.csv").read_text().splitlines()[1:]
    assert [str(unit["matched"]) for unit in last_json(done)["truth"]] == [row.split(",")[5] for row in rows]
    shown = command(*words)
    assert "cache hit" in shown.stdout
    assert len([line for line in shown.stdout.splitlines() if line[:4].strip().isdigit()]) == len(rows)
