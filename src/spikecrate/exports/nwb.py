"""What an NWB file says beyond the sorting: when the session began, who was recorded, which jobs made the units."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.nearest import nearest
from spikecrate.catalogue.parameters import worst
from spikecrate.errors import JobNotFoundError, ParameterUnknownError, ParameterValueError, UsageError
from spikecrate.recordings.origin import reopen
from spikecrate.recordings.started import local_start
from spikecrate.recordings.views import group_names, sample_at
from spikecrate.steps.resolve import find_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording
    from spikecrate.store import Store

SCHEMA: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("nwb.schema.json").read_bytes())
UNITS: Final = "units"
GROUP: Final = "ElectrodeGroup"
OF_SESSION: Final = ("NWBFile", "Subject")
"""Sections that an existing file has already."""
HDF5: Final = b"\x89HDF\r\n\x1a\n"
USER_BLOCKS: Final = (0, 512, 1024, 2048)
"""Where HDF5 may begin in a file."""
EXAMPLE: Final = "--session-start 2024-05-01T14:30:00+02:00"


def read_metadata(path: Path, groups: tuple[str, ...]) -> dict[str, Any]:
    """Read a file of metadata, and check it against `nwb.schema.json`.

    Parameters
    ----------
    path : Path
        A JSON file with the sections `NWBFile`, `Subject`, `Device` and `ElectrodeGroup`, each of them optional.
    groups : tuple of str
        The groups of the recording.

    Returns
    -------
    dict
        The sections; `ElectrodeGroup` by group.

    Raises
    ------
    ParameterUnknownError
        A section, a field or a group is not known; the message has the nearest one.
    ParameterValueError
        The file is not JSON, or a value is wrong; the message names the field.
    """
    step = "docs/export.md has an example of --metadata FILE"
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        message = f"--metadata {path}: {problem}"
        raise ParameterValueError(message, next_step=step) from None
    if isinstance(found, dict):
        for where, name, known in _unknown(found, groups):
            message = f"{path}: {where} has no {name!r}{nearest(name, known)}"
            raise ParameterUnknownError(message, next_step=step)
    if error := worst(SCHEMA, found):
        field = ".".join(map(str, error.absolute_path)) or "the file"
        message = f"{path}: {field}: {error.message}"
        raise ParameterValueError(message, next_step=step)
    told = found.pop(GROUP, [])
    if told:
        found[GROUP] = {
            group: {
                name: value
                for item in told
                if item.get("name", group) == group
                for name, value in item.items()
                if name != "name"
            }
            for group in dict.fromkeys(groups)
        }
    if birth := found.get("Subject", {}).get("date_of_birth"):
        _zoned(birth, f"{path}: Subject.date_of_birth", "write it as 2024-01-31T00:00:00+01:00")
    return found  # type: ignore[no-any-return]


def _unknown(found: dict[str, Any], groups: tuple[str, ...]) -> Iterator[tuple[str, str, list[str]]]:
    """Give every name that is not known: where it stands, the name, and the known ones."""
    sections = SCHEMA["properties"]
    for section, fields in found.items():
        if section not in sections:
            yield "NWB metadata", section, list(sections)
            continue
        schema = sections[section]
        items = fields if isinstance(fields, list) else [fields]
        known = list((schema.get("items") or schema)["properties"])
        for item in items:
            if not isinstance(item, dict):
                continue
            yield from ((section, name, known) for name in item if name not in known)
            if section == GROUP and isinstance(group := item.get("name"), str) and group not in groups:
                yield "the recording", group, list(dict.fromkeys(groups))


def session_start(word: str | None, recording: Recording) -> str:
    """Return when the session began, with its time zone.

    Parameters
    ----------
    word : str or None
        ISO 8601 with a zone; or a zone alone (`+01:00`, `Z`) where the recording's files have the time.
    recording : Recording
        The recording.

    Returns
    -------
    str
        ISO 8601.

    Raises
    ------
    UsageError
        The time or its zone is not known; the message has what the recording's files say.
    """
    known = local_start(recording)
    if word is None:
        if known is None:
            message = "NWB needs the time at which the session began, and the recording does not have it"
            raise UsageError(message, next_step=f"name it: {EXAMPLE}")
        local, source = known
        message = f"{source} says that the recording began at {local.isoformat()}, but not in which time zone"
        raise UsageError(
            message, next_step="name the zone, or the whole time: --session-start +01:00, or Z for UTC"
        )
    if known is not None and (word == "Z" or word[:1] in {"+", "-"}):
        word = f"{known[0].isoformat()}{word}"
    return _zoned(word, "--session-start", f"write it as {EXAMPLE}").isoformat()


def _zoned(text: str, where: str, step: str) -> datetime:
    """Return a time with its zone, or end with what is wrong."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        message = f"{where}: {text!r} is not a time in ISO 8601"
        raise UsageError(message, next_step=step) from None
    if time.tzinfo is None:
        message = f"{where}: {text!r} has no time zone, which NWB requires"
        raise UsageError(message, next_step=step)
    return time


def whole_recording(recording: Recording, opener: Callable[..., Recording]) -> tuple[Recording, float]:
    """Return the recording that a view is of, and how long after its start the view begins.

    Parameters
    ----------
    recording : Recording
        A view, several recordings joined, or neither.
    opener : callable
        Opens a path with the options of `open_recording`.

    Returns
    -------
    Recording
        Of joined ones the first.
    float
        s, the time of gaps included.
    """
    import numpy as np

    match recording.origin:
        case {"of": inner, "view": chosen}:
            viewed = reopen(inner, opener=opener)
            first = sample_at(chosen.get("start", 0), viewed, "--start")
            whole, before = whole_recording(viewed, opener)
            return whole, before + float(viewed.seconds(np.array(first)))
        case {"recordings": [inner, *_]}:
            return whole_recording(reopen(inner, opener=opener), opener)
        case _:
            return recording, 0.0


def require_hdf5(path: Path) -> None:
    """Refuse what cannot be an NWB file in HDF5, before a job is made of it.

    Parameters
    ----------
    path : Path
        What the user named.

    Raises
    ------
    UsageError
        It is missing, a folder, or another file.
    """
    step = "name an NWB file: --append-to FILE.nwb"
    if not path.is_file():
        what = "is a folder, not an NWB file in HDF5" if path.is_dir() else "does not exist"
        message = f"--append-to {path} {what}"
        raise UsageError(message, next_step=step)
    with path.open("rb") as file:
        for start in USER_BLOCKS:
            file.seek(start)
            if file.read(len(HDF5)) == HDF5:
                return
    message = f"--append-to {path} is not an NWB file in HDF5"
    raise UsageError(message, next_step=step)


def provenance(records: Mapping[str, dict[str, Any]], store: Store, progress: Progress) -> dict[str, Any]:
    """Return which jobs made the units of an NWB file.

    Parameters
    ----------
    records : mapping
        The run records of the `sorting`, and perhaps of the `analysis`.
    store : Store
        Has the records of the jobs that they were made of, as the sorting of a curated one.
    progress : Progress
        Receives a note about a corrupt result.

    Returns
    -------
    dict
        `description` of the table of units, `software` as pairs of name and version, and `jobs`, each with key, tool,
        DOI, recipe, parameters and seed; no path and no time of running.
    """
    jobs: dict[str, dict[str, Any]] = {}
    made_by = []

    def tell(name: str, record: dict[str, Any]) -> None:
        tool = record["tool"]
        keys = {given: facts["key"] for given, facts in record["inputs"].items() if facts.get("key")}
        fields = ("name", "version", "title", "license", "reference", "url")
        parts = record["key_parts"]
        jobs[name] = {
            "key": record["key"],
            "tool": {field: tool.get(field) for field in fields},
            "spikecrate": record["spikecrate"],
            **{field: parts[field] for field in ("recipe", "parameters", "seed")},
            # Of the content of a recording its hash and shape, without a list a channel.
            "inputs": {
                given: {field: value for field, value in identity.items() if not isinstance(value, list)}
                for given, identity in parts["inputs"].items()
            },
            "made_of": keys,
        }
        if name.startswith("sorting"):
            made_by.append(f"{tool['title']} {tool['version']}, spikecrate job {record['key']}")
            for given, key in keys.items():
                try:
                    tell(f"{name} of {given}", find_job(key, store, progress).record)
                except JobNotFoundError:
                    made_by.append(f"job {key}")

    for name, record in records.items():
        tell(name, record)
    software = {(job["tool"]["title"], job["tool"]["version"]) for job in jobs.values()}
    versions = {("spikecrate", job["spikecrate"]) for job in jobs.values()}
    return {
        "description": f"units of {'; made of '.join(made_by)}",
        "software": [list(pair) for pair in (*sorted(versions), *sorted(software))],
        "jobs": jobs,
    }


def nwb_facts(
    recording: Recording,
    records: Mapping[str, dict[str, Any]],
    *,
    start: str | None,
    metadata: Path | str | None,
    append_to: Path | str | None,
    units_name: str,
    opener: Callable[..., Recording],
    store: Store,
    progress: Progress,
) -> dict[str, Any]:
    """Return the parameter `nwb` of the tool `export`.

    Parameters
    ----------
    recording : Recording
        The recording that was sorted.
    records : mapping
        The run records of the `sorting`, and perhaps of the `analysis`.
    start, metadata, append_to, units_name
        As for `spikecrate.export`.
    opener : callable
        Opens a path with the options of `open_recording`.
    store, progress
        As for `provenance`.

    Returns
    -------
    dict
        JSON types.

    Raises
    ------
    UsageError, ParameterUnknownError, ParameterValueError
        An option is missing or wrong; the message names it.
    """
    groups = group_names(recording)
    told = {} if metadata is None else read_metadata(Path(metadata), groups)
    if not units_name or set(units_name) & set("/:"):
        message = f"--units-name {units_name!r}: a name in NWB has no slash and no colon"
        raise UsageError(message, next_step="choose another: --units-name units_ms5")
    if append_to is not None:
        require_hdf5(Path(append_to))
        given = ["--session-start"] if start is not None else [name for name in OF_SESSION if name in told]
        if given:
            message = f"{append_to} has its own session and subject, so {given[0]} cannot be given"
            raise UsageError(message, next_step="leave it out; Device and ElectrodeGroup may be given")
    elif units_name != UNITS:
        message = "--units-name is for a file that has units already"
        raise UsageError(message, next_step="name the file: --append-to FILE.nwb")
    whole, before = whole_recording(recording, opener)
    return {
        **(
            {"session_start_time": session_start(start, whole)}
            if append_to is None
            else {"file": Path(append_to).resolve().name}
        ),
        "start_s": before,
        "groups": list(groups),
        "units_name": units_name,
        "metadata": told,
        "provenance": provenance(records, store, progress),
    }
