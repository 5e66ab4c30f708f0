"""job.json: what the library asks of the harness. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate_harness.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT: Final = 3
"""Of job.json; an image refuses one that it does not know."""


class JobError(ValueError):
    """job.json or an input is not what the contract says."""


@dataclass(frozen=True)
class Job:
    """job.json, read.

    Attributes
    ----------
    key : str
        The job key.
    tool, kind : str
        Name of the tool and its kind; `sorter` is a kind.
    parameters : dict
        Every parameter of the tool.
    inputs : dict
        Every input by name: the layout of a recording, None for a folder, the number of several folders.
    seed, cores, memory_bytes, gpu
        What the tool may use, see `Resources`.
    """

    key: str
    tool: str
    kind: str
    parameters: dict[str, Any]
    inputs: dict[str, Layout | int | None]
    seed: int
    cores: int
    memory_bytes: int | None
    gpu: bool


def read_job(path: Path) -> Job:
    """Read job.json.

    Raises
    ------
    JobError
        Naming the file and the field.
    """
    try:
        fields = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path}: {error}"
        raise JobError(message) from None
    if not isinstance(fields, dict):
        message = f"{path}: not an object"
        raise JobError(message)
    if fields.get("contract") != CONTRACT:
        message = (
            f"{path}: contract: is {fields.get('contract')!r}, this image keeps {CONTRACT}; build it anew"
        )
        raise JobError(message)

    def field(name: str, kinds: tuple[type, ...], least: int | None = None) -> Any:
        value = fields.get(name)
        wrong = not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        if name not in fields or wrong or (least is not None and value is not None and value < least):
            problem = repr(value) if name in fields else "missing"
            message = f"{path}: {name}: {problem}"
            raise JobError(message)
        return value

    nothing = type(None)
    return Job(
        key=field("key", (str,)),
        tool=field("tool", (str,)),
        kind=field("kind", (str,)),
        parameters=field("parameters", (dict,)),
        inputs={name: _layout(path, name, entry) for name, entry in field("inputs", (dict,)).items()},
        seed=field("seed", (int,), 0),
        cores=field("cores", (int,), 1),
        memory_bytes=field("memory_bytes", (int, nothing), 1),
        gpu=field("gpu", (bool,)),
    )


def _layout(path: Path, name: str, entry: Any) -> Layout | int | None:
    """Return the layout of an input that is a recording, None for a folder, the number of several folders."""
    try:
        match entry:
            case {"kind": "recording", "layout": dict(fields)}:
                return Layout.from_dict(fields)
            case {"kind": "folder"}:
                return None
            case {"kind": "folders", "count": int(count)}:
                return count
            case _:
                message = "neither a recording with its layout nor a folder, nor a number of folders"
                raise ValueError(message)  # noqa: TRY301
    except ValueError as error:
        message = f"{path}: inputs.{name}: {error}"
        raise JobError(message) from None
