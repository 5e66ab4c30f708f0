"""The RO-Crate says what the run record says, refers to nothing that it does not hold, and uses known terms."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from spikecrate.catalogue.tools import Tool
from spikecrate.recordings import identity as content
from spikecrate.recordings import open_recording
from spikecrate.recordings.toy import write_toy
from spikecrate.runtimes.contract import JOB, ContainerSpec, ExitStatus, Image, Limits, Mount
from spikecrate.steps.crate import CONTEXT, ro_crate
from spikecrate.steps.key import KeyParts
from spikecrate.steps.record import run_record
from spikecrate.steps.recording_input import RecordingInput
from spikecrate.store.file_hashes import FileState

# Terms of RO-Crate 1.1's context and of the workflow-run context. A validator refuses every other.
TERMS = {
    *("about", "actionStatus", "additionalType", "alternateName", "citation", "conformsTo", "containerImage"),
    *("contentSize", "datePublished", "description", "encodingFormat", "endTime", "environment", "hasPart"),
    *("identifier", "instrument", "license", "mentions", "name", "object", "propertyID", "registry"),
    *("resourceUsage", "result", "sha256", "softwareRequirements", "softwareVersion", "startTime", "tag"),
    *("unitCode", "url", "value", "version"),
}
TYPES = {
    *("ContainerImage", "CreateAction", "CreativeWork", "Dataset", "File", "PropertyValue"),
    *("ScholarlyArticle", "SoftwareApplication"),
}
REPORT = {
    "units": 2,
    "events": 31,
    "cpu_s": 4.5,
    "peak_memory_bytes": 10**8,
    "packages": {"numpy": "1.26.4", "Some_Package": "1.0+local"},
    "environment": {"OMP_NUM_THREADS": "1"},
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab, 50 %") / "maus #3 größe"
    return open_recording(write_toy(folder, duration_s=1, num_channels=2, num_units=1))


@pytest.fixture
def record_of(recording, tmp_path):
    """Make the run record of a finished job, as the job's own code makes it."""

    def make(runtime="docker", report=REPORT, **sorter):
        described = {
            "name": "ms4",
            "kind": "sorter",
            "inputs": {"recording": "recording"},
            "aliases": (),
            "title": "MountainSort 4",
            "version": "1.0.7",
            "license": "Apache-2.0",
            "reference": {"doi": "10.1016/j.neuron.2017.08.030"},
            "url": "https://github.com/magland/mountainsort4",
            "description": "Clusters.",
            "gpu": "none",
            "deterministic": True,
            "cores_change_result": False,
            "python": "==3.11.*",
            "entrypoint": (),
            "parameters": {"properties": {}},
            "requires": {},
            "folder": tmp_path,
        } | sorter
        parameters = {
            "detect_threshold": 3.0,
            "whiten": True,
            "band": [300, 6000],
            "label": "a b",
            "cap": None,
        }
        found = RecordingInput(
            name="recording",
            recording=recording,
            states=tuple(map(FileState.of, recording.files)),
            identity=content.identity(recording, "ef" * 32),
        )
        parts = KeyParts(
            tool="ms4",
            recipe="cd" * 32,
            parameters=parameters,
            seed=7,
            inputs={"recording": found.identity},
            cores=None,
        )
        image = (
            Image(reference="/store/environments/ms4-1", digest="12" * 32, entrypoint=("python",))
            if runtime == "host"
            else Image(
                reference="spikecrate/ms4:1.0.7-abcd", digest=f"sha256:{'12' * 32}", entrypoint=("python",)
            )
        )
        return run_record(
            SimpleNamespace(key=parts.key, tool=Tool(**described), inputs={"recording": found}, parts=parts),
            spec=ContainerSpec(
                name="spikecrate-1",
                labels={},
                image=image,
                mounts=(Mount(source=Path("/job folder"), target=JOB),),
                limits=Limits(cores=2),
                user=(1000, 1000),
            ),
            runtime=runtime,
            argv=["docker", "run", "a b"],
            started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            ended=datetime(2026, 1, 2, 3, 4, 15, tzinfo=UTC),
            ended_as=ExitStatus(code=0),
            report=report,
            facts={"units": 2, "events": 31},
            files={
                "firings.mda": {"size": 764, "blake3": "aa" * 32},
                "log.txt": {"size": 3, "blake3": "bb" * 32},
            },
        )

    return make


def graph_of(record):
    crate = json.loads(json.dumps(ro_crate(record)))
    assert crate["@context"] == CONTEXT
    return {entity["@id"]: entity for entity in crate["@graph"]}


def action_of(graph):
    return next(entity for entity in graph.values() if entity["@type"] == "CreateAction")


def ids(value):
    return [link["@id"] for link in (value if isinstance(value, list) else [value])]


def values(graph, action, term):
    return {graph[at]["name"]: graph[at]["value"] for at in ids(action[term]) if "value" in graph[at]}


VARIANTS = {
    "docker": {},
    "host": {"runtime": "host"},
    "a sorter that tells nothing of itself": {"url": "", "reference": {}, "license": ""},
    "a report with little in it": {"report": {"units": 0, "events": 0, "packages": "none"}},
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_reference_leads_to_an_entity_and_every_entity_is_there_once(record_of, variant):
    record = record_of(**variant)
    entities = ro_crate(record)["@graph"]
    known = [entity["@id"] for entity in entities]
    assert len(set(known)) == len(known)
    outside = {"https://w3id.org/ro/crate/1.1", "https://w3id.org/ro/terms/workflow-run#DockerImage"}
    for entity in entities:
        for value in entity.values():
            for link in value if isinstance(value, list) else [value]:
                if isinstance(link, dict):
                    assert link["@id"] in {*known, *outside}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_only_terms_and_types_of_the_named_contexts_are_used(record_of, variant):
    for entity in ro_crate(record_of(**variant))["@graph"]:
        assert entity["@type"] in TYPES
        assert entity.keys() - {"@id", "@type"} <= TERMS
        assert all(value not in ("", [], None) for value in entity.values())
        assert " " not in entity["@id"]


def test_the_descriptor_points_to_the_root_and_the_root_to_its_profile(record_of):
    graph = graph_of(record_of())
    assert graph["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    root = graph["./"]
    assert root["conformsTo"]["@id"] == "https://w3id.org/ro/wfrun/process/0.5"
    assert root["datePublished"] == "2026-01-02T03:04:15.000+00:00"
    assert "31 events of 2 units" in root["description"]


def test_the_action_says_what_made_what_from_what(record_of):
    record = record_of()
    graph = graph_of(record)
    action = action_of(graph)
    assert ids(action["result"]) == ["firings.mda", "log.txt"]
    assert graph[action["instrument"]["@id"]]["softwareVersion"] == "1.0.7"
    assert (action["startTime"], action["endTime"]) == (record["started"], record["ended"])
    assert action["description"] == "docker run 'a b'"
    assert values(graph, action, "object") == {
        "detect_threshold": "3.0",
        "whiten": "true",
        "band": "[300, 6000]",
        "label": "a b",
        "cap": "null",
        "seed": "7",
    }
    assert values(graph, action, "environment") == {"OMP_NUM_THREADS": "1"}
    assert values(graph, action, "resourceUsage") == {
        "wall_s": "10.0",
        "cpu_s": "4.5",
        "peak_memory_bytes": "100000000",
    }


def test_the_recording_is_named_by_a_valid_address_and_by_its_samples(record_of, recording):
    graph = graph_of(record_of())
    source = graph[ids(action_of(graph)["object"])[0]]
    assert source["@id"] == recording.path.as_uri() + "/"
    assert source["@id"].isascii()
    assert source["@type"] == "Dataset"
    assert graph[source["identifier"]["@id"]]["value"] == "ef" * 32


def test_files_carry_size_and_hash(record_of):
    graph = graph_of(record_of())
    firings = graph["firings.mda"]
    assert firings["contentSize"] == "764"
    assert graph[firings["identifier"]["@id"]]["value"] == "aa" * 32
    assert {"firings.mda", "log.txt", "run.json", "job.json"} < {*ids(graph["./"]["hasPart"])}


def test_a_container_s_image_is_named_by_digest_and_recipe(record_of):
    graph = graph_of(record_of())
    image = graph[action_of(graph)["containerImage"]["@id"]]
    assert (image["registry"], image["name"], image["tag"]) == ("localhost", "spikecrate/ms4", "1.0.7-abcd")
    assert image["sha256"] == "12" * 32
    assert graph["#recipe"]["value"] == "cd" * 32
    assert "#lock" not in graph


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("ghcr.io/lab/ks4:2.0", ("ghcr.io", "lab/ks4", "2.0")),
        ("localhost:5000/ks4", ("localhost:5000", "ks4", None)),
        ("docker.io/lab/ks4:2@sha256:" + "34" * 32, ("docker.io", "lab/ks4", "2")),
    ],
)
def test_an_image_of_a_registry_is_taken_apart(record_of, reference, expected):
    record = record_of()
    record["image"]["reference"] = reference
    image = graph_of(record)["#image"]
    assert (image["registry"], image["name"], image.get("tag")) == expected


def test_on_the_host_the_recipe_and_the_lock_stand_in_for_the_image(record_of):
    graph = graph_of(record_of(runtime="host"))
    action = action_of(graph)
    assert "containerImage" not in action
    software = graph[action["instrument"]["@id"]]
    assert [graph[at]["value"] for at in ids(software["identifier"])] == ["cd" * 32, "12" * 32]


def test_packages_are_named_by_purl(record_of):
    graph = graph_of(record_of())
    required = ids(graph["https://github.com/magland/mountainsort4"]["softwareRequirements"])
    assert required == ["pkg:pypi/numpy@1.26.4", "pkg:pypi/some-package@1.0%2Blocal"]


def test_the_same_record_gives_the_same_crate(record_of):
    record = record_of()
    assert ro_crate(record) == ro_crate(json.loads(json.dumps(record)))
