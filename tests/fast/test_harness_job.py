"""job.json, read and refused."""

from __future__ import annotations

import json

import pytest
from layouts import layout_of

from spikecrate_harness.job import JobError, read_job

LAYOUT = layout_of()
JOB = {
    "contract": 3,
    "key": "0" * 64,
    "tool": "fake",
    "kind": "sorter",
    "parameters": {"a": 1},
    "inputs": {"recording": {"kind": "recording", "layout": LAYOUT}, "sorting": {"kind": "folder"}},
    "seed": 0,
    "cores": 2,
    "memory_bytes": None,
    "gpu": False,
}


def written(path, job):
    path.write_text(job if isinstance(job, str) else json.dumps(job))
    return path


def test_a_job_is_read_whole(tmp_path):
    job = read_job(written(tmp_path / "job.json", JOB))
    assert (job.tool, job.kind, job.parameters, job.cores, job.memory_bytes) == (
        "fake",
        "sorter",
        {"a": 1},
        2,
        None,
    )
    assert job.inputs["recording"].as_dict() == LAYOUT
    assert job.inputs["sorting"] is None


@pytest.mark.parametrize("name", sorted(set(JOB)))
def test_a_missing_field_is_named(tmp_path, name):
    fields = {key: value for key, value in JOB.items() if key != name}
    with pytest.raises(JobError, match=rf"job\.json: {name}: "):
        read_job(written(tmp_path / "job.json", fields))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("contract", 1),
        ("contract", 2),
        ("kind", None),
        ("key", 1),
        ("parameters", []),
        ("seed", -1),
        ("seed", True),
        ("cores", 0),
        ("cores", "2"),
        ("gpu", 1),
        ("memory_bytes", 0),
        ("inputs", []),
    ],
)
def test_a_wrong_value_is_named(tmp_path, name, value):
    with pytest.raises(JobError, match=rf"job\.json: {name}: "):
        read_job(written(tmp_path / "job.json", {**JOB, name: value}))


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "recording", "layout": layout_of(num_samples=0)},
        {"kind": "recording", "layout": layout_of(gains=[1.0])},
        {"kind": "recording"},
        {"kind": "table"},
        "recording",
    ],
)
def test_a_wrong_input_is_named(tmp_path, entry):
    with pytest.raises(JobError, match=r"job\.json: inputs\.recording: "):
        read_job(written(tmp_path / "job.json", {**JOB, "inputs": {"recording": entry}}))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_what_is_not_a_json_object_is_refused(tmp_path, text):
    with pytest.raises(JobError, match=r"job\.json"):
        read_job(written(tmp_path / "job.json", text))


def test_a_job_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(JobError, match="No such file"):
        read_job(tmp_path / "job.json")
