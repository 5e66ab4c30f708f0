"""Write the run record as an RO-Crate, which other programs can read.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) with the profile Process Run Crate 0.5
(https://w3id.org/ro/wfrun/process/0.5): one CreateAction links the software, its inputs and its output files.
Packages are named by their purl (https://github.com/package-url/purl-spec).
"""

from __future__ import annotations

import json
import shlex
import uuid
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from spikecrate._util.quantities import counted

CONTEXT: Final = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
UNITS: Final = {"wall_s": "SEC", "cpu_s": "SEC", "peak_memory_bytes": "BYTE"}
"""Resource fields of the run record, and the QUDT names of their units."""
PROFILE: Final = "https://w3id.org/ro/wfrun/process/0.5"
TERMS: Final = "https://w3id.org/ro/terms/workflow-run#"
BYTES: Final = "application/octet-stream"
FILE_KINDS: Final = {
    "firings.mda": ("The sorting: channel, time in samples and unit of every event", BYTES),
    "units.csv": ("The units: events, rate, channel, SNR, ISI violations and amplitude", "text/csv"),
    "log.txt": ("The log of the tool", "text/plain"),
    "job.json": ("Parameters, inputs and limits given to the tool", "application/json"),
    "run.json": ("The run record, from which this crate is made", "application/json"),
}

Entity = dict[str, Any]


def ro_crate(record: dict[str, Any]) -> dict[str, Any]:
    """Return a run record in RO-Crate terms.

    Parameters
    ----------
    record : dict
        The run record of a finished job, as in `run.json`.

    Returns
    -------
    dict
        The content of `ro-crate-metadata.json`, JSON types only; the same record gives the same content.
    """
    tool = record["tool"]
    sources = [source for name, facts in record["inputs"].items() for source in _inputs(name, facts)]
    parameters = [
        *(_value("parameter", name, value) for name, value in record["parameters"].items()),
        _value("setting", "seed", record["seed"]),
    ]
    inputs = [*(source[0] for source in sources), *parameters]
    outputs = [_file(name, facts["size"]) for name, facts in record["files"].items()]
    hashes = [
        _hash(f"#blake3/{quote(name)}", f"BLAKE3 of {name}", facts["blake3"])
        for name, facts in record["files"].items()
    ]
    packages = [_package(name, version) for name, version in _inside(record, "packages").items()]
    settings = [_value("environment", name, value) for name, value in _inside(record, "environment").items()]
    usage = [
        _value("usage", name, record[name]) | {"unitCode": f"http://qudt.org/vocab/unit/{unit}"}
        for name, unit in UNITS.items()
        if record[name] is not None
    ]
    image = _image(record)
    pins = {"recipe": record["recipe"]}
    if record["environment"]:
        pins["lock"] = record["environment"]["lock"]
    made_from = [_hash(f"#{name}", f"BLAKE3 of the tool's {name}", value) for name, value in pins.items()]
    software = _tool(tool, packages, made_from)
    name = f"{tool['title']} on {', '.join(source[0]['name'] for source in sources)}"
    found = (
        f"{counted(record['events'], 'event')} of {counted(record['units'], 'unit')}"
        if "units" in record
        else "Output"
    )

    action: Entity = {
        "@id": uuid.uuid5(uuid.NAMESPACE_URL, f"{record['key']} {record['started']}").urn,
        "@type": "CreateAction",
        "name": name,
        "description": shlex.join(record["argv"]),
        "startTime": record["started"],
        "endTime": record["ended"],
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "instrument": _link(software),
        "object": _links(inputs),
        "result": _links(outputs),
    }
    for term, entities in (("environment", settings), ("resourceUsage", usage)):
        if entities:
            action[term] = _links(entities)
    if image:
        action["containerImage"] = _link(image[0])
    records = [_file(name) for name in ("run.json", "job.json")]
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": {"@id": PROFILE},
        "name": name,
        "description": (
            f"{found}, made by {tool['title']} {tool['version']} and run by spikecrate {record['spikecrate']}. Job key {record['key']}."
        ),
        "identifier": f"urn:blake3:{record['key']}",
        "datePublished": record["ended"],
        "license": {"@id": "#licence"},
        "hasPart": _links([*outputs, *records, *(source[0] for source in sources)]),
        "mentions": _link(action),
    }
    licence: Entity = {
        "@id": "#licence",
        "@type": "CreativeWork",
        "name": "No licence given",
        "description": "The owner of the inputs decides on the terms of use of the output.",
    }
    descriptor: Entity = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": _link(root),
    }
    profile: Entity = {
        "@id": PROFILE,
        "@type": "CreativeWork",
        "name": "Process Run Crate",
        "version": "0.5",
    }
    return {
        "@context": CONTEXT,
        "@graph": [
            *(descriptor, root, profile, licence, action, software),
            *(*image, *made_from),
            *(entity for source in sources for entity in source),
            *parameters,
            *(*outputs, *records, *hashes),
            *(*settings, *usage, *packages),
            *_citation(tool),
        ],
    }


def _inputs(name: str, facts: dict[str, Any]) -> list[list[Entity]]:
    """Describe an input; of several folders, each."""
    if facts["kind"] == "folders":
        numbered = enumerate(facts["folders"], start=1)
        return [_input(f"{name}-{number}", folder) for number, folder in numbered]
    return [_input(name, facts)]


def _input(name: str, facts: dict[str, Any]) -> list[Entity]:
    """Describe an input by its path and the hash of its content."""
    if facts["kind"] == "recording":
        return _recording(name, facts)
    path = PurePosixPath(facts["path"])
    over = "Over the path and the BLAKE3 of every file"
    content = _hash(f"#{name}-content", "BLAKE3 of the content", facts["identity"]["content"], over)
    entity: Entity = {
        "@id": path.as_uri() + "/",
        "@type": "Dataset",
        "name": path.name,
        "description": f"Output of job {facts['key']}" if facts["key"] else "A folder or file",
        "identifier": _link(content),
    }
    return [entity, content]


def _recording(name: str, recording: dict[str, Any]) -> list[Entity]:
    """Describe the recording by its path and the hash of its samples."""
    path, files = PurePosixPath(recording["path"]), list(map(PurePosixPath, recording["files"]))
    is_folder = path not in files and path.suffix != ".json"
    identity = recording["identity"]
    over = "Little-endian, interleaved, only the channels that were sorted"
    samples = _hash(f"#{name}-samples", "BLAKE3 of the samples", identity["samples"], over)
    entity: Entity = {
        "@id": path.as_uri() + ("/" if is_folder else ""),
        "@type": "Dataset" if is_folder else "File",
        "name": path.name,
        "description": (
            f"Recording in {recording['format']} format: {identity['num_channels']} channels, "
            f"{identity['num_samples']} samples at {identity['sampling_frequency']:g} Hz, {identity['dtype']}"
        ),
        "identifier": _link(samples),
    }
    return [entity, samples]


def _image(record: dict[str, Any]) -> list[Entity]:
    """Describe the container image; the host runtime has none."""
    image = record["image"]
    if image is None:
        return []
    # The first part of a reference names a registry only if it looks like a host name; other images are local.
    first, _, rest = image["reference"].partition("/")
    has_registry = bool(rest) and (first == "localhost" or "." in first or ":" in first)
    registry, path = (first, rest) if has_registry else ("localhost", image["reference"])
    name, _, tag = path.partition("@")[0].partition(":")
    entity: Entity = {
        "@id": "#image",
        "@type": "ContainerImage",
        "additionalType": {
            "@id": TERMS + ("SIFImage" if record["runtime"] == "apptainer" else "DockerImage")
        },
        "registry": registry,
        "name": name,
    }
    if tag:
        entity["tag"] = tag
    algorithm, _, digest = (image["digest"] or "").partition(":")
    if algorithm == "sha256":
        entity["sha256"] = digest
    return [entity]


def _tool(tool: dict[str, Any], packages: list[Entity], made_from: list[Entity]) -> Entity:
    """Describe the tool."""
    entity: Entity = {
        "@id": tool["url"] or f"#{quote(tool['name'])}",
        "@type": "SoftwareApplication",
        "name": tool["title"],
        "alternateName": tool["name"],
        "softwareVersion": tool["version"],
        "identifier": _links(made_from),
    }
    entity |= {term: tool[term] for term in ("url", "license") if tool[term]}
    if packages:
        entity["softwareRequirements"] = _links(packages)
    citation = _citation(tool)
    if citation:
        entity["citation"] = _links(citation)
    return entity


def _citation(tool: dict[str, Any]) -> list[Entity]:
    """Describe the article on the tool, if the tool names its DOI."""
    doi = tool["reference"].get("doi")
    if not doi:
        return []
    url = f"https://doi.org/{quote(doi)}"
    return [{"@id": url, "@type": "ScholarlyArticle", "name": f"The article on {tool['title']}", "url": url}]


def _package(name: str, version: Any) -> Entity:
    """Describe one Python package by its purl."""
    purl = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(str(version))}"
    return {"@id": purl, "@type": "SoftwareApplication", "name": name, "softwareVersion": str(version)}


def _file(name: str, size: int | None = None) -> Entity:
    """Describe a file in the folder of the crate."""
    description, kind = FILE_KINDS.get(name, ("Written by the tool", BYTES))
    entity: Entity = {
        "@id": quote(name),
        "@type": "File",
        "name": name,
        "description": description,
        "encodingFormat": kind,
    }
    if size is not None:
        entity["contentSize"] = str(size)
        entity["identifier"] = {"@id": f"#blake3/{quote(name)}"}
    return entity


def _hash(place: str, name: str, blake3: str, description: str = "") -> Entity:
    """Describe a BLAKE3 hash, for which RO-Crate has no term."""
    return {
        "@id": place,
        "@type": "PropertyValue",
        "name": name,
        **({"description": description} if description else {}),
        "propertyID": "blake3",
        "value": blake3,
    }


def _value(kind: str, name: str, value: Any) -> Entity:
    """Describe a value: text unchanged, other values as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return {"@id": f"#{kind}/{quote(name, safe='')}", "@type": "PropertyValue", "name": name, "value": text}


def _inside(record: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a table of the harness's report; a tool with its own entry point may have none."""
    table = record["inside"].get(name)
    return table if isinstance(table, dict) else {}


def _link(entity: Entity) -> Entity:
    return {"@id": entity["@id"]}


def _links(entities: list[Entity]) -> Entity | list[Entity]:
    """Return references to entities; RO-Crate has a single one without a list."""
    links = [_link(entity) for entity in entities]
    return links[0] if len(links) == 1 else links
