"""A result folder is a Process Run Crate: another program's library reads it, and each MUST of the profile is met.

The MUSTs are those of RO-Crate 1.1 (https://www.researchobject.org/ro-crate/specification/1.1/) and of Process Run
Crate 0.5 (https://www.researchobject.org/workflow-run-crate/profiles/0.5/process_run_crate/). Validators fetch the
JSON-LD contexts from the web, so here they are written out.
"""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from lab import ANSWER, TWO_EVENTS, Here, write_sorter
from rocrate.rocrate import ROCrate

import spikecrate
from spikecrate.runtimes import choice


@pytest.fixture(scope="module")
def result(toy, tmp_path_factory):
    place = tmp_path_factory.mktemp("crate")
    body = ANSWER + "    import sys; out = sys.argv[sys.argv.index('--out') + 1]\n"
    body += "    open(out + '/templates.txt', 'w').write('x')\n"
    write_sorter(place / "sorters", body + TWO_EVENTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKECRATE_SORTERS", str(place / "sorters"))
        patch.setattr(choice, "_makers", lambda store, _needed=None: {"host": lambda: Here(store)})
        return spikecrate.sort(toy, sorter="lab", params={"value": 2}, seed=3, store=place / "store")


@pytest.fixture
def document(result):
    return json.loads((result.folder / "ro-crate-metadata.json").read_bytes())


@pytest.fixture
def graph(document):
    return {entity["@id"]: entity for entity in document["@graph"]}


def ids(value):
    return [link["@id"] for link in (value if isinstance(value, list) else [value])]


def test_the_library_of_ro_crate_reads_it(result):
    crate = ROCrate(result.folder)
    (action,) = [entity for entity in crate.get_entities() if entity.type == "CreateAction"]
    assert action["instrument"]["softwareVersion"] == "1"
    assert [file.id for file in action["result"]] == ["firings.mda", "units.csv", "log.txt"]
    assert all((result.folder / file.id).is_file() for file in action["result"])
    given = {entity["name"]: entity["value"] for entity in action["object"] if entity.type == "PropertyValue"}
    assert given == {"value": "2.0", "seed": "3"}
    assert crate.root_dataset["conformsTo"].id == "https://w3id.org/ro/wfrun/process/0.5"


def test_the_document_is_flat_and_every_entity_has_an_id_and_a_type(document):
    assert document.keys() == {"@context", "@graph"}
    assert "https://w3id.org/ro/crate/1.1/context" in document["@context"]
    known = [entity["@id"] for entity in document["@graph"]]
    assert len(known) == len(set(known))
    for entity in document["@graph"]:
        assert entity["@type"]
        values = [value for name in entity.keys() - {"@id", "@type"} for value in [entity[name]]]
        leaves = [leaf for value in values for leaf in (value if isinstance(value, list) else [value])]
        assert all(not isinstance(leaf, dict) or leaf.keys() == {"@id"} for leaf in leaves)


def test_the_descriptor_and_the_root_are_what_they_must_be(graph):
    descriptor, root = graph["ro-crate-metadata.json"], graph["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"]["@id"].startswith("https://w3id.org/ro/crate/")
    assert root["@type"] == "Dataset"
    assert all(root[name] for name in ("name", "description", "license"))
    datetime.fromisoformat(root["datePublished"])
    (profile,) = ids(root["conformsTo"])
    assert profile.startswith("https://w3id.org/ro/wfrun/process/")
    assert graph[profile]["@type"] == "CreativeWork"


def test_every_file_that_is_described_is_a_part_and_is_there(result, graph):
    files = [name for name, entity in graph.items() if entity["@type"] == "File"]
    assert {*files} <= {*ids(graph["./"]["hasPart"])}
    for name in files:
        assert (result.folder / name).is_file()
        assert graph[name].get("contentSize", str((result.folder / name).stat().st_size)) == str(
            (result.folder / name).stat().st_size
        )


def test_the_action_names_its_instrument_inputs_outputs_and_times(graph):
    (action,) = [entity for entity in graph.values() if entity["@type"] == "CreateAction"]
    assert action["@id"] in ids(graph["./"]["mentions"])
    (instrument,) = ids(action["instrument"])
    assert graph[instrument]["@type"] == "SoftwareApplication"
    assert all(name in graph for name in (*ids(action["object"]), *ids(action["result"])))
    start, end = (datetime.fromisoformat(action[name]) for name in ("startTime", "endTime"))
    assert start <= end
    assert start.tzinfo is not None
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"


def test_hashes_stand_in_it_for_every_file_that_was_made(result, graph):
    for name, facts in result.record["files"].items():
        (identifier,) = ids(graph[name]["identifier"])
        assert graph[identifier]["value"] == facts["blake3"]
    samples = result.record["key_parts"]["inputs"]["recording"]["samples"]
    assert graph["#recording-samples"]["value"] == samples
