"""A finished job, run once more: in another runtime, and after its image and its sorter have gone."""

from __future__ import annotations

import pytest
from conftest import last_json

FIRST = """
import numpy as np

def sort(recording, parameters, resources):
    traces = recording.traces(0, recording.num_samples)[:, 0].astype(float)
    times = np.flatnonzero(traces < -5 * np.median(np.abs(traces)) / 0.6745).astype(float)
    return times, np.ones(len(times), dtype=int)
"""


def test_a_result_is_made_again_after_its_image_and_its_sorter_have_gone(
    command, docker, toy, lab_sorter, tmp_path
):
    name = lab_sorter(FIRST)
    first = last_json(command("sort", toy, "--sorter", name, "--runtime", "docker", "--json"))
    before = docker.images.get(first["image"]["reference"]).id
    docker.images.remove(first["image"]["reference"], force=True)
    (tmp_path / "sorters" / name / "run.py").write_text(FIRST.replace("-5", "-6"))
    second = last_json(command("sort", toy, "--sorter", name, "--runtime", "docker", "--json"))
    assert second["recipe"] != first["recipe"]
    # The edit changes no length, and a build gives every file a date of its own making: it must still be seen.
    assert second["events"] < first["events"]

    done = command("job.rerun", first["key"][:8], "--json")
    assert done.returncode == 0, done.stderr
    again = last_json(done)
    assert again["equal"]
    assert again["now"]["blake3"] == again["before"]["blake3"]
    assert again["now"]["image"] == again["before"]["image"] == before

    seen = last_json(command("job.diff", first["key"][:8], second["key"][:8], "--json"))
    assert seen["recipe"] == ["sorter/run.py"]
    why = last_json(command("job.explain", second["key"][:8], "--json"))
    assert (why["nearest"], why["recipe"]) == (first["key"], ["sorter/run.py"])


@pytest.mark.parametrize("runtime", ["docker", "apptainer"])
def test_a_result_is_proved_by_a_second_run(command, toy, own_store, runtime):
    first = last_json(command("sort", toy, "--runtime", "docker", "--json"))
    record = (own_store / "results" / first["key"][:2] / first["key"] / "run.json").read_bytes()
    done = command("job.verify", first["key"][:8], "--runtime", runtime, "--json")
    assert done.returncode == 0, done.stderr
    assert last_json(done)["now"]["runtime"] == runtime
    assert (own_store / "results" / first["key"][:2] / first["key"] / "run.json").read_bytes() == record


def test_a_sorter_that_draws_lots_is_found_out(command, toy, lab_sorter):
    body = "import os\nimport numpy as np\n\ndef sort(recording, parameters, resources):\n"
    body += "    return np.array([100.0 * (1 + os.urandom(1)[0]), 90000.5 + os.urandom(1)[0]]), np.array([1, 2])\n"
    name = lab_sorter(body, "lots")
    first = last_json(command("sort", toy, "--sorter", name, "--runtime", "docker", "--json"))
    runs = last_json(command("sort", toy, "--sorter", name, "--runtime", "docker", "--repeat", "4", "--json"))
    assert not runs["equal"]
    assert len(runs["agreement"]) == len(runs["runs"]) == 4
    ends = {command("job.verify", first["key"][:8], "--json").returncode for _ in range(3)}
    assert ends <= {0, 46}
    assert 46 in ends


def test_the_hashes_are_said_to_people_too(command, toy):
    first = last_json(command("sort", toy, "--runtime", "docker", "--json"))
    said = command("job.verify", first["key"][:8]).stdout
    told = last_json(command("job.verify", first["key"][:8], "--json"))
    assert said.count(told["now"]["blake3"]) == 2
