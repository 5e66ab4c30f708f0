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
            {
                "id": "recording",
                "name": "Recording",
                "description": "A recording in any of the formats that spikecrate reads.",
                "type": "File",
                "value-key": "[RECORDING]",
                "optional": False,
            },
            {
                "id": "output",
                "name": "Output folder",
                "description": "Folder for a copy of the result.",
                "type": "String",
                "value-key": "[OUTPUT]",
                "optional": False,
            },
            *(parameter(name, schema) for name, schema in entries),
        ],
        "output-files": [
            {
                "id": "firings",
                "name": "Sorting",
                "description": "Channel, time in samples and label of each event: 3 x L float64, MDA.",
                "path-template": "[OUTPUT]/firings.mda",
                "optional": False,
            },
            {
                "id": "record",
                "name": "Run record",
                "description": "Inputs, software and output of the run.",
                "path-template": "[OUTPUT]/run.json",
                "optional": False,
            },
        ],
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
        case "integer" | "number":
            described |= {"type": "Number", "integer": schema["type"] == "integer"}
            described["default-value"] = schema["default"]
            for ours, theirs, exclusive in (
                ("minimum", "minimum", False),
                ("maximum", "maximum", False),
                ("exclusiveMinimum", "minimum", True),
                ("exclusiveMaximum", "maximum", True),
            ):
                if ours in schema:
                    described |= {theirs: schema[ours], f"exclusive-{theirs}": exclusive}
            if "enum" in schema:
                described["value-choices"] = schema["enum"]
        case "string":
            described |= {"type": "String", "default-value": schema["default"]}
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
