"""sorter.schema.json: what a sorter.json may and must say."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import spikecrate

SCHEMA = json.loads((Path(spikecrate.__file__).parent / "catalogue/sorter.schema.json").read_text())
SORTER = {
    "name": "my-sorter",
    "title": "My Sorter",
    "version": "1.0",
    "license": "MIT",
    "description": "Sorts.",
    "gpu": "none",
    "deterministic": True,
    "cores_change_result": True,
    "python": ">=3.11,<3.13",
    "parameters": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "threshold": {
                "type": "number",
                "default": 3,
                "unit": "Hz",
                "minimum": 0,
                "description": "Least height.",
            }
        },
    },
}


def faults(sorter):
    return [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(sorter)]


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_a_minimal_sorter_is_accepted():
    assert faults(SORTER) == []


@pytest.mark.parametrize("name", sorted(SORTER))
def test_no_field_of_the_minimal_sorter_can_be_left_out(name):
    assert faults({key: value for key, value in SORTER.items() if key != name}) == ["$"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "My Sorter"),
        ("gpu", "maybe"),
        ("deterministic", "yes"),
        ("python", "3.11"),
        ("reference", {"doi": "https://doi.org/10.1/x"}),
        ("image", {"reference": "lab/sorter:latest"}),
        ("entrypoint", "run --all"),
    ],
)
def test_a_field_of_the_wrong_form_is_refused(name, value):
    assert faults({**SORTER, name: value})[0].startswith(f"$.{name}")


def test_an_image_by_digest_is_accepted():
    assert faults({**SORTER, "image": {"reference": "lab/sorter@sha256:" + "0a" * 32}}) == []


def test_an_unknown_field_is_refused():
    assert faults({**SORTER, "licence": "MIT"}) == ["$"]


@pytest.mark.parametrize("name", ["type", "default", "description"])
def test_a_parameter_says_type_default_and_meaning(name):
    sorter = copy.deepcopy(SORTER)
    del sorter["parameters"]["properties"]["threshold"][name]
    assert faults(sorter) == ["$.parameters.properties.threshold"]


def test_unknown_parameters_cannot_be_let_through():
    sorter = copy.deepcopy(SORTER)
    sorter["parameters"]["additionalProperties"] = True
    assert faults(sorter) == ["$.parameters.additionalProperties"]
