"""Every sorter's Boutiques descriptor says what its sorter.json says."""

from __future__ import annotations

import json

import pytest

from spikecrate.catalogue.boutiques import descriptor
from spikecrate.catalogue.parameters import parse_assignments
from spikecrate.catalogue.tools import catalogue

SORTERS = [pytest.param(sorter, id=sorter.name) for sorter in catalogue().values()]


@pytest.mark.parametrize("sorter", SORTERS)
def test_each_input_has_a_place_of_its_own_on_the_command_line(sorter):
    described = descriptor(sorter)
    keys = [entry["value-key"] for entry in described["inputs"]]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= set(described["command-line"].split())
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize("sorter", SORTERS)
def test_the_defaults_as_words_of_the_command_line_are_the_sorter_s_defaults(sorter):
    words = [
        f"{entry['id']}={entry['default-value']}"
        for entry in descriptor(sorter)["inputs"]
        if "default-value" in entry
    ]
    assert parse_assignments(sorter, words) == sorter.defaults


@pytest.mark.parametrize("sorter", SORTERS)
def test_a_range_is_handed_on(sorter):
    by_name = {entry["id"]: entry for entry in descriptor(sorter)["inputs"]}
    for name, schema in sorter.parameters["properties"].items():
        if schema["type"] in ("integer", "number"):
            least = schema.get("exclusiveMinimum", schema.get("minimum"))
            assert by_name[name].get("minimum") == least
            assert by_name[name].get("exclusive-minimum", False) == ("exclusiveMinimum" in schema)
