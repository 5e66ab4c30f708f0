"""Complete, validate and parse the parameters of a tool."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from spikecrate._util.nearest import nearest
from spikecrate.errors import ParameterUnknownError, ParameterValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema.exceptions import ValidationError

    from spikecrate.catalogue.tools import Tool


def complete(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters, with defaults for the missing ones, so that the job key covers every value.

    Numbers take the parameter's type: `4` and `4.0` are the same threshold and give the same key.

    Parameters
    ----------
    tool : Tool
        A tool of the catalogue.
    given : mapping
        Name to value of the parameters that differ from their defaults.

    Returns
    -------
    dict
        Name to value, in the order of sorter.json.

    Raises
    ------
    ParameterUnknownError
        If the tool has no such parameter; the message has the nearest name.
    ParameterValueError
        If a number is infinite or NaN.

    Examples
    --------
    >>> from spikecrate.catalogue.tools import find
    >>> complete(find("ms4"), {"detect_treshold": 4})
    Traceback (most recent call last):
    spikecrate.errors.ParameterUnknownError: ms4 has no parameter 'detect_treshold'; did you mean 'detect_threshold'?
    """
    schemas = tool.parameters["properties"]
    for name in given:
        if name not in schemas:
            message = f"{tool.name} has no parameter {name!r}{nearest(name, schemas)}"
            raise ParameterUnknownError(
                message,
                next_step=f"run spikecrate sorters.show {tool.name} for its parameters",
                details={"parameter": name, "known": list(schemas)},
            )
    return {name: _complete(tool, name, schema, given) for name, schema in schemas.items()}


def _complete(tool: Tool, name: str, schema: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Return the value of a parameter, each operation of a list of them with its own parameters."""
    value = given.get(name, schema["default"])
    known = operations(schema)
    if not known or not isinstance(value, list):
        return settled(schema, value)
    return [_complete_operation(tool, f"{name}[{place}]", known, one) for place, one in enumerate(value)]


def operations(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations of a parameter that is a list of them: `items.allOf` has an `if` and a `then` for each.

    Parameters
    ----------
    schema : mapping
        The parameter's entry in tool.json.

    Returns
    -------
    dict
        `description` and `properties` (the schema of each parameter) by the name of the operation; empty for any other
        parameter.
    """
    kinds = schema.get("items", {}).get("allOf", ())
    return {
        kind["if"]["properties"]["operation"]["const"]: {
            "description": kind["then"]["description"],
            "properties": {
                name: entry for name, entry in kind["then"]["properties"].items() if name != "operation"
            },
        }
        for kind in kinds
    }


def _complete_operation(tool: Tool, place: str, known: Mapping[str, Any], value: Any) -> Any:
    """Return one operation with all of its parameters; what is no operation is left to `validate`."""
    step = f"run spikecrate sorters.show {tool.name} for the operations and their parameters"
    if isinstance(value, dict) and "operation" not in value:
        given = ", ".join(map(repr, value)) or "nothing"
        message = f"{tool.name}: {place}: no operation is named: it has {given}, and no 'operation'"
        raise ParameterValueError(message, next_step=f'write it as {{"operation": NAME, ...}}; {step}')
    if not isinstance(value, dict) or not isinstance(name := value["operation"], str):
        return value
    if name not in known:
        message = f"{tool.name}: {place}: there is no operation {name!r}{nearest(name, known)}"
        raise ParameterUnknownError(message, next_step=step, details={"known": list(known)})
    schemas = known[name]["properties"]
    for field in value.keys() - schemas.keys() - {"operation"}:
        message = f"{tool.name}: {place}: {name} has no parameter {field!r}{nearest(field, schemas)}"
        raise ParameterUnknownError(message, next_step=step, details={"known": list(schemas)})
    filled = {field: settled(entry, value.get(field, entry["default"])) for field, entry in schemas.items()}
    return {"operation": name, **filled}


def validate(tool: Tool, parameters: Mapping[str, Any]) -> None:
    """Validate parameters against the tool's schema.

    Parameters
    ----------
    tool : Tool
        A tool of the catalogue.
    parameters : mapping
        Name to value of every parameter, as `complete` returns them.

    Raises
    ------
    ParameterValueError
        If a value is wrong; the message has the parameter, the value and the rule.
    """
    error = worst(tool.parameters, dict(parameters))
    if error is None:
        return
    name = str(error.absolute_path[0]) if error.absolute_path else "parameters"
    inside = "".join(
        f".{part}" if isinstance(part, str) else f"[{part}]" for part in list(error.absolute_path)[1:]
    )
    message = f"{tool.name}: parameter {name}{inside}: {error.message}"
    raise ParameterValueError(
        message,
        next_step=f"run spikecrate sorters.show {tool.name} for the range of {name}",
        details={"parameter": name, "value": error.instance},
    )


def worst(schema: Mapping[str, Any], value: Any) -> ValidationError | None:
    """Return the error of a value that says most about what is wrong with it.

    Parameters
    ----------
    schema : mapping
        A JSON Schema (2020-12).
    value : object
        A JSON value.

    Returns
    -------
    ValidationError or None
        None where the value fits the schema.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error: ValidationError | None = best_match(Draft202012Validator(schema).iter_errors(value))
    return error


def parse_assignments(tool: Tool, assignments: Iterable[str]) -> dict[str, Any]:
    """Parse the `name=value` arguments of `--param`.

    A value is JSON (`4`, `true`, `[1, 2]`), except for a parameter of type string, which takes the text as it is.

    Parameters
    ----------
    tool : Tool
        A tool of the catalogue.
    assignments : iterable of str
        The arguments.

    Returns
    -------
    dict
        Name to value.

    Raises
    ------
    ParameterValueError
        If an argument has no `=`.

    Examples
    --------
    >>> from spikecrate.catalogue.tools import find
    >>> parse_assignments(find("ms4"), ["detect_threshold=4", "whiten=false"])
    {'detect_threshold': 4, 'whiten': False}
    """
    given: dict[str, Any] = {}
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals or not name:
            message = f"--param {word!r} is not of the form name=value"
            raise ParameterValueError(message, next_step="write it as --param detect_threshold=4")
        schema = tool.parameters["properties"].get(name, {})
        given[name] = text
        if schema.get("type") != "string":
            with suppress(ValueError):
                given[name] = json.loads(text)
    return given


def parse_operation(tool: Tool, parameter: str, word: str) -> dict[str, Any]:
    """Parse an operation as the command line has it: NAME, or NAME:PARAMETER=VALUE,PARAMETER=VALUE.

    Parameters
    ----------
    tool : Tool
        A tool of the catalogue.
    parameter : str
        Its parameter that is a list of operations.
    word : str
        The operation; a value is JSON, or text, and that of a list may be its entries with commas between them.

    Returns
    -------
    dict
        `operation` and the parameters that are given.

    Raises
    ------
    ParameterValueError
        There is no `=` in what should be a parameter.

    Examples
    --------
    >>> from spikecrate.catalogue.tools import find
    >>> parse_operation(find("preprocess"), "steps", "bandpass_filter:freq_min=500,order=3")
    {'operation': 'bandpass_filter', 'freq_min': 500, 'order': 3}
    >>> parse_operation(find("preprocess"), "steps", "remove_channels:channels=7,12")
    {'operation': 'remove_channels', 'channels': ['7', '12']}
    """
    name, _, rest = word.partition(":")
    known = operations(tool.parameters["properties"][parameter]).get(name, {})
    parsed: dict[str, Any] = {"operation": name}
    # A comma ends a value only where the next parameter follows.
    for assignment in re.split(r",(?=\w+=)", rest) if rest else ():
        field, equals, text = assignment.partition("=")
        if not equals or not field:
            message = f"{word!r}: {assignment!r} is not of the form name=value"
            raise ParameterValueError(message, next_step=f"write it as {name}:name=value,name=value")
        parsed[field] = _parsed(known.get("properties", {}).get(field, {}), text)
    return parsed


def _parsed(schema: Mapping[str, Any], text: str) -> Any:
    """Return the value of a parameter of an operation."""
    if schema.get("type") == "string":
        return text
    if schema.get("type") == "array" and not text.startswith("["):
        return [_parsed(schema["items"], entry) for entry in text.split(",")]
    try:
        return json.loads(text)
    except ValueError:
        return text


def settled(schema: Mapping[str, Any], value: Any) -> Any:
    """Return a value with the number type of its schema.

    Parameters
    ----------
    schema : mapping
        The parameter's entry in sorter.json.
    value : object
        Its value, or a list of values; a value that is not a number is returned unchanged.

    Returns
    -------
    object

    Raises
    ------
    ParameterValueError
        If the number is infinite, NaN, or an integer too large for a float.

    Examples
    --------
    >>> settled({"type": "number"}, 3), settled({"type": "integer"}, 3.0)
    (3.0, 3)
    """
    if isinstance(value, list) and "type" in schema.get("items", {}):
        return [settled(schema["items"], entry) for entry in value]
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        message = f"{str(value)[:20]} is not a finite number"
        raise ParameterValueError(message, next_step="pass a finite number")
    if "number" in types:
        return number
    return int(value) if "integer" in types and number.is_integer() else value
