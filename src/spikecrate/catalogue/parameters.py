"""Complete, validate and parse the parameters of a tool."""

from __future__ import annotations

import json
import math
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
    return {name: settled(schema, given.get(name, schema["default"])) for name, schema in schemas.items()}


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
    message = f"{tool.name}: parameter {name}: {error.message}"
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


def settled(schema: Mapping[str, Any], value: Any) -> Any:
    """Return a value with the number type of its schema.

    Parameters
    ----------
    schema : mapping
        The parameter's entry in sorter.json.
    value : object
        Its value; a value that is not a number is returned unchanged.

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
