"""Describe a sorter for other programs: a Boutiques descriptor.

Source: the Boutiques descriptor schema 0.5, https://boutiques.github.io; Glatard et al. 2018,
doi:10.1093/gigascience/giy016.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from spikecrate.catalogue.tools import Tool

SCHEMA: Final = "0.5"
COMMAND: Final = "spikecrate sort [RECORDING] --sorter {name} --output [OUTPUT]"

INPUT: Final = ("id", "name", "description", "type", "value-key", "optional")
RECORDING: Final = "A recording in any of the formats that spikecrate reads."
INPUTS: Final = (
    ("recording", "Recording", RECORDING, "File", "[RECORDING]", False),
    ("output", "Output folder", "Folder for a copy of the result.", "String", "[OUTPUT]", False),
)
"""The inputs of every sorter, besides its parameters."""
OUTPUT: Final = ("id", "name", "description", "path-template", "optional")
EVENTS: Final = "Channel, time in samples and label of each event: 3 x L float64, MDA."
OUTPUTS: Final = (
    ("firings", "Sorting", EVENTS, "[OUTPUT]/firings.mda", False),
    ("record", "Run record", "Inputs, software and output of the run.", "[OUTPUT]/run.json", False),
)
"""The files of every result."""
BOUNDS: Final = {
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "minimum",
    "exclusiveMaximum": "maximum",
}
"""JSON Schema's names of the bounds of a number, and Boutiques'."""


def descriptor(sorter: Tool) -> dict[str, Any]:
    """Describe a sorter, its parameters and its output files.

    The command line is spikecrate's, so that the sorter runs in its pinned image whichever program reads the descriptor.

    Parameters
    ----------
    sorter : Tool
        A sorter of the catalogue.

    Returns
    -------
    dict
        The descriptor in JSON types.
    """
    entries = sorter.parameters["properties"].items()
    return {
        "schema-version": SCHEMA,
        "name": sorter.name,
        "tool-version": sorter.version,
        "description": sorter.description,
        **({"tool-doi": sorter.reference["doi"]} if "doi" in sorter.reference else {}),
        **({"url": sorter.url} if sorter.url else {}),
        "command-line": " ".join([COMMAND.format(name=sorter.name), *(_key(name) for name, _ in entries)]),
        "inputs": [
            *(dict(zip(INPUT, values, strict=True)) for values in INPUTS),
            *(parameter(name, schema) for name, schema in entries),
        ],
        "output-files": [dict(zip(OUTPUT, values, strict=True)) for values in OUTPUTS],
        "tags": {"domain": ["spike sorting", "electrophysiology"]},
    }


def parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe one parameter.

    A type that Boutiques lacks (an array, null, a choice of types) becomes a string of JSON, which the command line
    parses.

    Parameters
    ----------
    name : str
        Name of the parameter.
    schema : dict
        Its entry in sorter.json.

    Returns
    -------
    dict
        One entry of the descriptor's `inputs`.

    Examples
    --------
    >>> described = parameter("threshold", {"type": "number", "default": 4.0, "unit": "sd", "description": "Height."})
    >>> described["type"], described["default-value"], described["description"]
    ('Number', 4.0, 'Height. In sd.')
    """
    unit = f" In {schema['unit']}." if schema.get("unit") else ""
    described = {
        "id": name,
        "name": name,
        "description": schema["description"] + unit,
        "value-key": _key(name),
        "command-line-flag": f"--param {name}",
        "command-line-flag-separator": "=",
        "optional": True,
    }
    match schema["type"]:
        case "integer" | "number" | "string" as kind:
            described |= (
                {"type": "String"} if kind == "string" else {"type": "Number", "integer": kind == "integer"}
            )
            described["default-value"] = schema["default"]
            for ours, theirs in BOUNDS.items():
                if ours in schema:
                    described |= {theirs: schema[ours], f"exclusive-{theirs}": ours != theirs}
            if "enum" in schema:
                described["value-choices"] = schema["enum"]
        case "boolean":
            # Boutiques' type Flag takes no value; --param takes true or false.
            described |= {"type": "String", "value-choices": ["true", "false"]}
            described["default-value"] = str(schema["default"]).lower()
        case _:
            import json

            described |= {"type": "String", "default-value": json.dumps(schema["default"])}
    return described


def _key(name: str) -> str:
    return f"[{name.upper()}]"
