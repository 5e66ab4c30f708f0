"""The catalogue: every sorter is a folder with a sorter.json.

The repository's `sorters/` (data_path in the wheel too) and the folders named in `SPIKECRATE_SORTERS`, a lab's
own, which come first. All that the library knows of a sorter stands in its sorter.json; the parameter help,
the defaults and the checks are made from that one place.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.data import data_path
from spikecrate.errors import (
    ParameterUnknownError,
    ParameterValueError,
    RecordingTooSmallError,
    SorterInvalidError,
    SorterNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA: Final = Path(__file__).with_name("sorter.schema.json")
HARNESS_ENTRYPOINT: Final = ("/opt/sorter/bin/python", "-I", "/opt/spikecrate")
"""What an image runs where its sorter names no entrypoint of its own."""


@dataclass(frozen=True, kw_only=True)
class Sorter:
    """One sorter of the catalogue, as its sorter.json describes it.

    Attributes
    ----------
    folder : Path
        Where everything it needs lies.
    parameters : dict
        A JSON Schema object; each property has type, default and description.
    deterministic : bool
        Whether equal input gives equal bytes.
    cores_change_result : bool
        Whether the number of cores can change the result; then it is part of the job key.
    python : str
        The Python versions that its lock is made for, as a version specifier.
    entrypoint : tuple of str
        What the image runs.
    requires : dict
        The least recording that it can sort: `channels`, `duration_s`; both may be missing.
    image : str
        A prebuilt image by its digest, `registry/name@sha256:…`; empty where a Dockerfile makes it.
    """

    name: str
    aliases: tuple[str, ...]
    title: str
    version: str
    license: str
    reference: dict[str, str]
    url: str
    description: str
    gpu: str
    deterministic: bool
    cores_change_result: bool
    python: str
    entrypoint: tuple[str, ...]
    requires: dict[str, float]
    parameters: dict[str, Any]
    folder: Path
    image: str = ""

    @property
    def defaults(self) -> dict[str, Any]:
        """Default of every parameter, in the order of sorter.json."""
        return {
            name: settled(schema, schema["default"]) for name, schema in self.parameters["properties"].items()
        }


def catalogue() -> dict[str, Sorter]:
    """Read all sorters, by name, in alphabetical order.

    Raises
    ------
    SorterInvalidError
        Where a sorter.json cannot be read.
    """
    found: dict[str, Sorter] = {}
    for folder in _folders():
        if folder.name not in found:
            found[folder.name] = read(folder)
    return dict(sorted(found.items()))


def find(name: str) -> Sorter:
    """Find a sorter by its name or one of its aliases.

    Raises
    ------
    SorterNotFoundError
        With the nearest names.
    """
    # By folder first: reading one sorter.json is all that a cache hit should cost.
    for folder in _folders():
        if folder.name == name:
            return read(folder)
    sorters = catalogue()
    for sorter in sorters.values():
        if name in sorter.aliases:
            return sorter
    known = [*sorters, *(alias for sorter in sorters.values() for alias in sorter.aliases)]
    message = f"no sorter is named {name!r}{_nearest(name, known)}"
    raise SorterNotFoundError(message, details={"sorter": name, "known": sorted(sorters)})


def read(folder: Path) -> Sorter:
    """Read one sorter's sorter.json.

    A well-formed file is taken as it is; `check` holds it to the schema, which every run does before it starts
    anything. Where a field is missing, the schema's own message tells which.

    Raises
    ------
    SorterInvalidError
        Naming the file and the field.
    """
    path = folder / "sorter.json"
    try:
        fields = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path}: {error}"
        raise SorterInvalidError(message, next_step="mend the file; docs/add-a-sorter.md shows one") from None
    try:
        sorter = Sorter(
            name=fields["name"],
            aliases=tuple(fields.get("aliases", ())),
            title=fields["title"],
            version=fields["version"],
            license=fields["license"],
            reference=fields.get("reference", {}),
            url=fields.get("url", ""),
            description=fields["description"],
            gpu=fields["gpu"],
            deterministic=fields["deterministic"],
            cores_change_result=fields["cores_change_result"],
            python=fields["python"],
            entrypoint=tuple(fields.get("entrypoint", HARNESS_ENTRYPOINT)),
            requires=fields.get("requires", {}),
            parameters=fields["parameters"],
            folder=folder,
            image=fields.get("image", {}).get("reference", ""),
        )
        _ = sorter.defaults
    except (KeyError, TypeError, AttributeError):
        check(folder)
        raise
    if sorter.name != folder.name:
        message = f"{path}: name is {sorter.name!r} but the folder is {folder.name!r}"
        raise SorterInvalidError(message, next_step="give both the same name")
    return sorter


def check(folder: Path) -> None:
    """Hold a sorter.json to the schema, and its defaults to its own parameter schema.

    Raises
    ------
    SorterInvalidError
        Naming the file and the field.
    """
    import jsonschema

    path = folder / "sorter.json"
    fields = json.loads(path.read_bytes())
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_bytes()))
    error = jsonschema.exceptions.best_match(validator.iter_errors(fields))
    if error is None:
        schema = fields["parameters"]
        defaults = {name: entry["default"] for name, entry in schema["properties"].items()}
        error = jsonschema.exceptions.best_match(
            jsonschema.Draft202012Validator(schema).iter_errors(defaults)
        )
    if error is not None:
        message = f"{path}: {error.json_path}: {error.message}"
        raise SorterInvalidError(
            message, next_step="mend the field; sorter.schema.json says what each must be"
        )
    if "image" in fields and (folder / "Dockerfile").exists():
        message = f"{path}: $.image: it names a prebuilt image, and a Dockerfile is beside it"
        raise SorterInvalidError(message, next_step="take one of the two out")


def complete(sorter: Sorter, given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the defaults, so that what is hashed says everything.

    Numbers are settled to the parameter's type: `4` and `4.0` are the same threshold and get the same key.

    Raises
    ------
    ParameterUnknownError
        With the nearest name: nothing is ignored.
    """
    schemas = sorter.parameters["properties"]
    for name in given:
        if name not in schemas:
            message = f"{sorter.name} has no parameter {name!r}{_nearest(name, schemas)}"
            raise ParameterUnknownError(
                message,
                next_step=f"spikecrate sorters.show {sorter.name} lists its parameters",
                details={"parameter": name, "known": list(schemas)},
            )
    return {name: settled(schema, given.get(name, schema["default"])) for name, schema in schemas.items()}


def validate(sorter: Sorter, parameters: Mapping[str, Any]) -> None:
    """Hold complete parameters to the sorter's schema.

    Raises
    ------
    ParameterValueError
        Naming the parameter, the value and what it must be.
    """
    import jsonschema

    validator = jsonschema.Draft202012Validator(sorter.parameters)
    error = jsonschema.exceptions.best_match(validator.iter_errors(dict(parameters)))
    if error is None:
        return
    name = str(error.absolute_path[0]) if error.absolute_path else "parameters"
    message = f"{sorter.name}: parameter {name}: {error.message}"
    raise ParameterValueError(
        message,
        next_step=f"spikecrate sorters.show {sorter.name} gives the range of {name}",
        details={"parameter": name, "value": error.instance},
    )


def require(sorter: Sorter, *, channels: int, duration_s: float) -> None:
    """Hold a recording to the least that the sorter can sort.

    Parameters
    ----------
    sorter : Sorter
        Of the catalogue.
    channels : int
        Of the recording.
    duration_s : float
        Of the recording, in seconds.

    Raises
    ------
    RecordingTooSmallError
        Saying what the recording has and what is needed.
    """
    least_channels, least_s = sorter.requires.get("channels", 1), sorter.requires.get("duration_s", 0)
    if channels >= least_channels and duration_s >= least_s:
        return
    needed = f"{least_channels} channels" if channels < least_channels else f"{least_s:g} s"
    message = (
        f"{sorter.name} needs at least {needed}; the recording has {channels} channels and {duration_s:g} s"
    )
    raise RecordingTooSmallError(
        message,
        next_step="choose another sorter: spikecrate sorters lists them",
        details={"channels": channels, "duration_s": duration_s, "requires": sorter.requires},
    )


def parse_assignments(sorter: Sorter, assignments: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` words of the command line.

    A value is JSON (`4`, `true`, `[1, 2]`) except where the parameter is a text: then it is the word itself.

    Raises
    ------
    ParameterValueError
        For a word without `=`.
    """
    given: dict[str, Any] = {}
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals or not name:
            message = f"--param {word!r} is not of the form name=value"
            raise ParameterValueError(message, next_step="write it as --param detect_threshold=4")
        schema = sorter.parameters["properties"].get(name, {})
        given[name] = text if schema.get("type") == "string" else _json_or_text(text)
    return given


def settled(schema: Mapping[str, Any], value: Any) -> Any:
    """Give a number the type that the schema names: 3 is 3.0 for `number`, 3.0 is 3 for `integer`.

    Raises
    ------
    ParameterValueError
        For infinity, NaN, and a whole number that no float holds.
    """
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        message = f"{str(value)[:20]} is not a number that can be given to a sorter"
        raise ParameterValueError(message, next_step="give a finite number")
    if "number" in types:
        return number
    if "integer" in types and number.is_integer():
        return int(value)
    return value


def _folders() -> list[Path]:
    own = [Path(part) for part in os.environ.get("SPIKECRATE_SORTERS", "").split(os.pathsep) if part]
    for root in own:
        if not root.is_dir():
            message = f"SPIKECRATE_SORTERS names {root}, which is not a folder"
            raise SorterInvalidError(message, next_step="mend or unset SPIKECRATE_SORTERS")
    return [
        path.parent for root in [*own, data_path("sorters")] for path in sorted(root.glob("*/sorter.json"))
    ]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
