"""Every parameter that a sorter describes reaches the tool: changed once, it is in what the tool is told.

The sorter is started by the contract and ended as soon as it has said so.
"""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from matrix import RUNTIMES, SORTERS, Case, runtimes

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def cheapest(sorter):
    return Case(sorter, "host" if "host" in runtimes(sorter) else RUNTIMES[0])


@pytest.fixture(scope="session")
def told_by_default(runs):
    """What each sorter's tool is told where nothing is changed, asked once."""
    known = {}

    def ask(sorter):
        if sorter not in known:
            known[sorter] = runs.told(cheapest(sorter))
        return known[sorter]

    return ask


@pytest.mark.main
def test_the_parameter_reaches_the_tool(runs, parameter, told_by_default):
    """One other value at least changes what the tool is told, and a number or a text stands in what has changed."""
    by_default, seen = told_by_default(parameter.sorter), {}
    for value in others(SORTERS[parameter.sorter].parameters["properties"][parameter.name]):
        told = runs.told(cheapest(parameter.sorter), **{parameter.name: value})
        changed = {node for _, node in dict(nodes(told)).items() - dict(nodes(by_default)).items()}
        if told != by_default and any(holds(node, value) for node in changed | {None}):
            return
        seen[repr(value)] = changed
    assert seen, f"no other legal value of {parameter.name} can be made up: it needs examples"
    pytest.fail(f"{parameter.name} does not reach the tool; what changed, by its value: {seen}")


def others(schema):
    """Give values that are allowed and not the default."""
    default, validator = schema["default"], jsonschema.Draft202012Validator(schema)
    candidates = [*schema.get("examples", ()), *schema.get("enum", ())]
    if isinstance(default, bool):
        candidates.append(not default)
    elif isinstance(default, int | float):
        step = 1 if isinstance(default, int) and "number" not in types(schema) else default / 8 or 0.125
        candidates += [default + step, default - step]
    return [value for value in candidates if frozen(value) != frozen(default) and validator.is_valid(value)]


def holds(node, value):
    """Say whether a number or a text stands in what has changed: as it is, within a text, or read as JSON.

    For the rest it is enough that something has changed: true may be told as `no`, a list of dead channels as one
    of those that live.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return True
    if node == frozen(value):
        return True
    kind, content = node or ("nothing", None)
    if kind == "str" and isinstance(value, str):
        return value in content
    if kind == "str":
        return float(value) in map(float, NUMBER.findall(content))
    try:
        return isinstance(value, str) and node == frozen(json.loads(value))
    except ValueError:
        return False


def types(schema):
    return schema["type"] if isinstance(schema["type"], list) else [schema["type"]]


def nodes(told, path=()):
    """Give every value inside what was told, the compound ones too, with where it is."""
    yield path, frozen(told)
    for name, value in items(told):
        yield from nodes(value, (*path, name))


def items(value):
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def frozen(value):
    """Make a JSON value one that can be compared and hashed: 3 is 3.0, and true is not 1."""
    if isinstance(value, dict):
        return "object", tuple((name, frozen(member)) for name, member in sorted(value.items()))
    if isinstance(value, list):
        return "array", tuple(map(frozen, value))
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return type(value).__name__, value
    return "number", float(value)
