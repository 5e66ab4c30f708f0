"""recording.json: any flat file or parts of other recordings, described and validated by a JSON Schema of ours."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import ProbeError, RecordingFormatError, UsageError
from spikecrate.recordings.flat_file import MAX_CHANNELS, flat_recording, sample_type
from spikecrate.recordings.formats.entries import Entry
from spikecrate.recordings.formats.fields import as_number, as_numbers
from spikecrate.recordings.formats.files import is_file, read_json
from spikecrate.recordings.model import Gap

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

    from spikecrate.recordings.model import Recording

SCHEMA: Final[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "recording.schema.json").read_bytes())
"""The JSON Schema (2020-12) of recording.json."""
OPENING: Final[ContextVar[tuple[Path, ...]]] = ContextVar("OPENING", default=())
"""Descriptions whose recordings are being opened: one that names itself is an error."""


def entries(named: Path, source: Path) -> list[Entry]:
    """List the one recording of a description.

    Parameters
    ----------
    named : Path
        As the user named it.
    source : Path
        The JSON file.

    Returns
    -------
    list of Entry
    """
    return [Entry(path=named, open=partial(open_source, source=source))]


def open_source(path: Path, source: Path, *, allow_truncated: bool = False, probe: str = "") -> Recording:
    """Open a flat file or the recordings that a recording.json describes.

    Parameters
    ----------
    path : Path
        As the user named it.
    source : Path
        The JSON file; its fields are those of `recording.schema.json`. Paths in it are relative to its folder.
    allow_truncated, probe
        As in `open_recording`.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingFormatError
        If it does not fit the schema, or names itself; the message names the field.
    SpikecrateError
        A recording error that names the file, the field and the next step.
    """
    data = read_json(source)
    _validate(data, source)
    given = probe or _probe(source, data.get("probe", ""))
    try:
        if "recordings" in data:
            recording = _joined(source, data, allow_truncated=allow_truncated, probe=given)
        else:
            recording = _file(path, source, data, allow_truncated=allow_truncated, probe=given)
    except ProbeError as error:
        if probe or str(source.parent) in str(error):
            raise
        message = f"{source}: {error}"
        raise ProbeError(message, next_step=error.next_step) from None
    try:
        return recording.view(**data.get("view", {}))
    except UsageError as error:
        raise _refused(source, "view", str(error), next_step=error.next_step) from None


def _joined(source: Path, data: dict[str, Any], *, allow_truncated: bool, probe: str) -> Recording:
    """Open the recordings that a description names, end to end."""
    from spikecrate.recordings.formats import open_recording
    from spikecrate.recordings.views import concatenate

    true = source.resolve()
    if true in OPENING.get():
        raise _refused(source, "recordings", "leads back to this file")
    options: dict[str, Any] = {
        name: data[name] for name in ("stream", "segment", "concatenate") if name in data
    }
    options |= {"allow_truncated": allow_truncated, "probe": probe}
    token = OPENING.set((*OPENING.get(), true))
    try:
        return concatenate([open_recording(_beside(source, name), **options) for name in data["recordings"]])
    finally:
        OPENING.reset(token)


def _file(path: Path, source: Path, data: dict[str, Any], *, allow_truncated: bool, probe: str) -> Recording:
    """Open the file that a description names."""
    file_channels = int(data["num_channels"])
    channels = [int(column) for column in data.get("channels", range(file_channels))]
    if max(channels) >= file_channels:
        raise _refused(source, "channels", f"{max(channels)} is not one of the {file_channels} columns")
    names = data.get("channel_ids")
    if names is not None and len(names) != len(channels):
        raise _refused(source, "channel_ids", f"{len(names)} names for {len(channels)} channels")
    gaps = tuple(Gap(sample=int(sample), missing=int(missing)) for sample, missing in data.get("gaps", []))
    if any(later.sample <= gap.sample for gap, later in pairwise((Gap(sample=0, missing=0), *gaps))):
        raise _refused(source, "gaps", "expected samples from 1 on, in order")
    recording = flat_recording(
        path=path,
        format="flat",
        source=source,
        sample_file=_beside(source, data["file"]),
        dtype=data["dtype"],
        offset=int(data.get("offset", 0)),
        time_axis=int(data.get("time_axis", 0)),
        file_channels=file_channels,
        channels=channels,
        num_samples=int(data["num_samples"]) if "num_samples" in data else None,
        sampling_frequency=data["sampling_frequency"],
        gains=_each(source, data, "gain_uv", len(channels)),
        offsets=_each(source, data, "offset_uv", len(channels)),
        probe=probe,
        no_probe=f"{source.name} names no probe",
        next_steps={
            "gain_uv": f"add gain_uv to {source.name}",
            "offset_uv": f"add offset_uv to {source.name}",
            "probe": f"add probe (a geom.csv: x,y in um, one row a channel) to {source.name}",
        },
        channel_ids=names,
        spike_sign=int(data["spike_sign"]) if "spike_sign" in data else None,
        allow_truncated=allow_truncated,
    )
    # A file that is cut short ends before some of them.
    return replace(recording, gaps=tuple(gap for gap in gaps if gap.sample < recording.layout.num_samples))


def _validate(data: Any, description: Path) -> None:
    """Check a description against the schema, and for numbers that a float cannot hold."""
    from jsonschema import Draft202012Validator

    try:
        error = next(iter(Draft202012Validator(SCHEMA).iter_errors(data)), None)
    except RecursionError:
        raise _refused(description, "", "nested too deeply") from None
    if error is not None:
        field = ".".join(str(part) for part in error.absolute_path)
        raise _refused(description, field, _explained(error))
    if "recordings" in data:
        return
    if sample_type(data["dtype"]) is None:
        raise _refused(description, "dtype", f"samples of type {data['dtype']!r} cannot be sorted")
    if data["num_channels"] > MAX_CHANNELS:
        raise _refused(description, "num_channels", f"{data['num_channels']} are more than any probe has")
    for field in ("offset", "num_samples", "sampling_frequency"):
        if as_number(data.get(field, 0)) is None:
            raise _refused(description, field, "too large, or not a number")


def _explained(error: ValidationError) -> str:
    """Return the problem, and for an unknown field the nearest name."""
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        from difflib import get_close_matches

        known = _fields(".".join(map(str, error.absolute_path)))
        unknown = next(name for name in error.instance if name not in known)
        near = get_close_matches(unknown, known, n=1)
        return f"unknown field {unknown!r}" + (f", did you mean {near[0]!r}?" if near else "")
    if "propertyNames" in error.schema_path:
        return f"{error.instance!r} does not go with recordings"
    if error.validator == "not":
        return "goes with recordings alone"
    text = error.message
    return text if len(text) <= 200 else text[:200] + "..."


def _each(description: Path, data: dict[str, Any], field: str, count: int) -> tuple[float, ...] | None:
    """Read one value for all channels, or one a channel; None where the field is missing."""
    if field not in data:
        return None
    values = data[field] if isinstance(data[field], list) else [data[field]] * count
    if len(values) != count:
        raise _refused(description, field, f"{len(values)} values for {count} channels")
    numbers = as_numbers(values)
    if numbers is None:
        raise _refused(description, field, "a value is too large, or not a number")
    return numbers


def _probe(description: Path, probe: str) -> str:
    """Return the probe's file by its path, a kind of probe by its name."""
    path = _beside(description, probe)
    return str(path) if probe and (path.suffix or is_file(path)) else probe


def _beside(description: Path, name: str) -> Path:
    """Return a path of a description, relative to its folder."""
    if "\0" in name:
        raise _refused(description, "file", f"{name!r} is not a path")
    return description.parent / name


def _fields(field: str) -> dict[str, Any]:
    """Return the fields that a field stands among: those of the view, else of the file."""
    owner = SCHEMA["properties"]["view"] if field.startswith("view") else SCHEMA
    return dict(owner["properties"])


def _refused(description: Path, field: str, problem: str, *, next_step: str = "") -> RecordingFormatError:
    """Return the error for a field."""
    message = f"{description}: {field}: {problem}" if field else f"{description}: {problem}"
    owner = "its view's" if field.startswith("view") else "its"
    return RecordingFormatError(
        message,
        next_step=next_step or f"correct {description.name}; {owner} fields are {', '.join(_fields(field))}",
        details={"file": str(description), "field": field},
    )
