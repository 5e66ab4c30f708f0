"""The catalogue: every tool is a folder with a sorter.json or tool.json.

A lab's folders, in `SPIKECRATE_TOOLS` and `SPIKECRATE_SORTERS`, come first; then the repository's `sorters/` and
`tools/`, which the wheel contains. The help, the defaults and the checks of the parameters come from this one file.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.data import data_path
from spikecrate._util.nearest import nearest
from spikecrate.catalogue.parameters import complete, worst
from spikecrate.errors import (
    ProbeError,
    RecordingTooSmallError,
    SorterInvalidError,
    SorterNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA: Final = Path(__file__).with_name("sorter.schema.json")
HARNESS_ENTRYPOINT: Final = ("/opt/sorter/bin/python", "-I", "/opt/spikecrate")
"""Entry point of an image whose tool names none."""
DESCRIPTIONS: Final = ("sorter.json", "tool.json")
"""Names of the file that describes a tool; the kind of a sorter.json is `sorter` by default."""
SORTER: Final = "sorter"


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool of the catalogue, as its sorter.json or tool.json describes it; most are sorters.

    Attributes
    ----------
    name : str
        Name of the tool and of its folder.
    kind : str
        Kind of its output, see `spikecrate.steps.kinds`.
    inputs : dict
        Kind of each input by its name: `recording`, `folder` or `folders`; a `?` ends that of one that may be missing.
    aliases : tuple of str
        Other names.
    title, description : str
        Readable name, and one sentence on its use.
    version : str
        Version of the tool.
    license : str
        SPDX expression.
    reference : dict
        `doi` of the paper; may be empty.
    url : str
        Page of the tool; may be empty.
    gpu : str
        `none`, `optional` or `required`.
    deterministic : bool
        Whether equal input gives equal bytes.
    cores_change_result : bool
        Whether the number of cores can change the result; then it is part of the job key.
    python : str
        Version specifier of the Pythons that its lock supports.
    entrypoint : tuple of str
        Command that the image runs.
    requires : dict
        What it needs of a recording; each may be missing: at least so many `channels`, so many seconds (`duration_s`),
        and, where `distinct_places` is true, a place of its own for each channel.
    parameters : dict
        A JSON Schema object; each property has type, default and description.
    folder : Path
        Folder of the tool.
    image : str
        Reference of a prebuilt image, `registry/name@sha256:…`; empty where spikecrate builds the image.
    """

    name: str
    kind: str = SORTER
    inputs: dict[str, str] = field(default_factory=lambda: {"recording": "recording"})
    aliases: tuple[str, ...] = ()
    title: str
    version: str
    license: str
    reference: dict[str, str] = field(default_factory=dict)
    url: str = ""
    description: str
    gpu: str
    deterministic: bool
    cores_change_result: bool
    python: str
    entrypoint: tuple[str, ...] = HARNESS_ENTRYPOINT
    requires: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any]
    folder: Path
    image: str = ""

    @property
    def defaults(self) -> dict[str, Any]:
        """Default of every parameter, in the order of sorter.json."""
        return complete(self, {})


def catalogue(*, kind: str = SORTER) -> dict[str, Tool]:
    """Read every tool of a kind.

    Parameters
    ----------
    kind : str
        The kind; empty for all.

    Returns
    -------
    dict
        Name to tool, in alphabetical order.

    Raises
    ------
    SorterInvalidError
        If a description cannot be read.
    """
    first = {folder.name: folder for folder in reversed(_folders())}
    tools = [read(folder) for _name, folder in sorted(first.items())]
    return {tool.name: tool for tool in tools if kind in ("", tool.kind)}


def find(name: str, *, kind: str = "") -> Tool:
    """Find a tool by its name or one of its aliases.

    Parameters
    ----------
    name : str
        The name or alias.
    kind : str
        The required kind; by default any.

    Returns
    -------
    Tool

    Raises
    ------
    SorterNotFoundError
        If there is no such tool, or it is of another kind; the message has the nearest name, or the kind.

    Examples
    --------
    >>> find("ms4").title
    'MountainSort 4'
    >>> find("ms44")
    Traceback (most recent call last):
    spikecrate.errors.SorterNotFoundError: no tool is named 'ms44'; did you mean 'ms4'?
    """
    # Look by folder first, so that a cache hit reads only one description.
    for folder in _folders():
        if folder.name == name:
            tool = read(folder)
            if kind and tool.kind != kind:
                message = f"{name} is a {tool.kind} tool, not a {kind}"
                raise SorterNotFoundError(message)
            return tool
    tools = catalogue(kind=kind)
    for tool in tools.values():
        if name in tool.aliases:
            return tool
    known = [*tools, *(alias for tool in tools.values() for alias in tool.aliases)]
    message = f"no {kind or 'tool'} is named {name!r}{nearest(name, known)}"
    raise SorterNotFoundError(message, details={"sorter": name, "known": sorted(tools)})


def read(folder: Path) -> Tool:
    """Read the description of one tool.

    `read` does not validate a file that has all fields; every run calls `check` before it starts a container. Where a
    field is missing, `read` calls `check`, whose message names the field.

    Parameters
    ----------
    folder : Path
        The tool's folder.

    Returns
    -------
    Tool

    Raises
    ------
    SorterInvalidError
        If the file cannot be read or a field is wrong; the message names both.
    """
    path = description(folder)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        message, step = f"{path}: {error}", "fix the file; docs/add-a-sorter.md has an example"
        raise SorterInvalidError(message, next_step=step) from None
    try:
        given = {name: value for name, value in content.items() if name in Tool.__dataclass_fields__}
        given |= {name: tuple(content[name]) for name in ("aliases", "entrypoint") if name in content}
        image = content.get("image", {}).get("reference", "")
        tool = Tool(**{**given, "folder": folder, "image": image})
        _ = tool.defaults
    except (KeyError, TypeError, AttributeError):
        check(folder)
        raise
    if tool.name != folder.name:
        message = f"{path}: name is {tool.name!r} but the folder is {folder.name!r}"
        raise SorterInvalidError(message, next_step="give both the same name")
    return tool


def check(folder: Path) -> None:
    """Validate the description of a tool against the schema, and its defaults against its parameters.

    Parameters
    ----------
    folder : Path
        The tool's folder.

    Raises
    ------
    SorterInvalidError
        If a field is wrong; the message names the file and the field.
    """
    path = description(folder)
    fields = json.loads(path.read_bytes())
    error = worst(json.loads(SCHEMA.read_bytes()), fields)
    if error is None:
        schema = fields["parameters"]
        error = worst(schema, {name: entry["default"] for name, entry in schema["properties"].items()})
    if error is not None:
        message = f"{path}: {error.json_path}: {error.message}"
        raise SorterInvalidError(message, next_step="fix the field; sorter.schema.json describes each")
    if "image" in fields and (folder / "Dockerfile").exists():
        message = f"{path}: $.image: the folder has a prebuilt image and a Dockerfile"
        raise SorterInvalidError(message, next_step="remove one of the two")


def require(tool: Tool, *, channels: int, duration_s: float, same_place: Sequence[str] = ()) -> None:
    """Refuse a recording that is too small for the tool, or has places that the tool cannot take.

    Parameters
    ----------
    tool : Tool
        A tool of the catalogue.
    channels : int
        Number of channels of the recording.
    duration_s : float
        Length of the recording in seconds.
    same_place : sequence of str
        Names of the channels that are at the place of another channel.

    Raises
    ------
    ProbeError
        If the tool needs distinct places and channels share one; the message names these.
    RecordingTooSmallError
        If the recording has too few channels or is too short; the message has both sizes.
    """
    if same_place and tool.requires.get("distinct_places"):
        named = ",".join(same_place[:8]) + ("…" if len(same_place) > 8 else "")
        message = (
            f"{tool.name} needs a place of its own for each channel; {len(same_place)} of the recording's {channels} "
            f"channels are at the place of another: {named}"
        )
        step = (
            "give the places with --probe tetrode, --probe column or --probe FILE, leave channels out with "
            f"--exclude-channels {named}, or choose another sorter"
        )
        raise ProbeError(message, next_step=step, details={"channels": list(same_place)})
    least_channels, least_s = tool.requires.get("channels", 1), tool.requires.get("duration_s", 0)
    if channels >= least_channels and duration_s >= least_s:
        return
    needed = f"{least_channels} channels" if channels < least_channels else f"{least_s:g} s"
    found = f"{channels} channels and {duration_s:g} s"
    message = f"{tool.name} needs at least {needed}; the recording has {found}"
    raise RecordingTooSmallError(
        message,
        next_step="choose another sorter; spikecrate sorters lists them",
        details={"channels": channels, "duration_s": duration_s, "requires": tool.requires},
    )


def description(folder: Path) -> Path:
    """Return the file that describes a tool: its sorter.json, else its tool.json.

    Parameters
    ----------
    folder : Path
        The tool's folder.

    Returns
    -------
    Path
    """
    first, second = (folder / name for name in DESCRIPTIONS)
    return second if second.is_file() and not first.is_file() else first


def _folders() -> list[Path]:
    roots = []
    for variable in ("SPIKECRATE_TOOLS", "SPIKECRATE_SORTERS"):
        for root in (Path(part) for part in os.environ.get(variable, "").split(os.pathsep) if part):
            if not root.is_dir():
                message = f"{variable} names {root}, which is not a folder"
                raise SorterInvalidError(message, next_step=f"fix or unset {variable}")
            roots.append(root)
    return [
        folder
        for root in [*roots, data_path("sorters"), data_path("tools")]
        for folder in sorted(root.iterdir())
        if description(folder).is_file()
    ]
