"""The results and failures of the store, one row each, for lists: from the index, unchecked."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from spikecrate._util.progress import Silent
from spikecrate.store import result_manifest as seal
from spikecrate.store.index import Index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.store.place import Store


class Summary(NamedTuple):
    """The row of a finished result.

    Attributes
    ----------
    key, sorter, recording, runtime, started, recipe : str
        From its run record; `sorter` is the tool, `recording` the paths of its inputs.
    units, events : int or None
        Numbers of units and events of a sorting.
    wall_s : float
        Duration of the run.
    size_bytes : int
        Size of all its files.
    """

    key: str
    sorter: str
    recording: str
    runtime: str
    units: int | None
    events: int | None
    wall_s: float
    started: str
    recipe: str
    size_bytes: int


class Failed(NamedTuple):
    """The row of a job's last failure.

    Attributes
    ----------
    key, sorter, recording : str
        The job's key, its tool and the paths of its inputs.
    at : str
        Time of the failure, in UTC.
    error : str
        Class of the error.
    size_bytes : int
        Size of its files.
    """

    key: str
    sorter: str
    recording: str
    at: str
    error: str
    size_bytes: int


def results(store: Store, progress: Progress | None = None) -> Iterator[Summary]:
    """Return the rows of all readable results, in no order.

    Parameters
    ----------
    store : Store
        The store.
    progress : Progress, optional
        Receives the number of read shards.
    """
    return map(Summary._make, rows(store, progress))


def rows(store: Store, progress: Progress | None = None) -> Iterator[tuple[Any, ...]]:
    """Return the rows of `results` as plain tuples, which Python makes in half the time.

    Parameters
    ----------
    store, progress
        As in `results`.
    """
    return _results(store).rows(progress or Silent())


def failures(store: Store, progress: Progress | None = None) -> Iterator[Failed]:
    """Return the rows of all readable failures, in no order.

    Parameters
    ----------
    store, progress
        As in `results`.
    """
    index = Index(store.failures, store.index / store.failures.name, _read_failure)
    return map(Failed._make, index.rows(progress or Silent()))


def history(store: Store, progress: Progress | None = None) -> Iterator[dict[str, Any]]:
    """Yield the parts of all results' run records that tell how near two jobs are: `key`, `started`, `key_parts`.

    Parameters
    ----------
    store, progress
        As in `results`.
    """
    for row, parts in _results(store).full_rows(progress or Silent()):
        summary = Summary._make(row)
        yield {"key": summary.key, "started": summary.started, "key_parts": parts}


def told_maker(facts: dict[str, Any]) -> str:
    """Return the tool and the first 12 digits of the key of the job that made an input; empty where none did.

    Parameters
    ----------
    facts : dict
        The run record's entry of the input.

    Returns
    -------
    str
    """
    made = facts.get("made_by") or {}
    key = facts.get("key") or made.get("key")
    return " ".join(filter(None, (made.get("tool"), key[:12]))) if key else ""


def told_input(facts: dict[str, Any]) -> str:
    """Return an input in words: the job that made it, with its recording, or its path and the view of it.

    Parameters
    ----------
    facts : dict
        The run record's entry of the input.

    Returns
    -------
    str
    """
    if "folders" in facts:
        return ", ".join(map(told_input, facts["folders"]))
    if facts.get("kind") == "folder":
        return told_maker(facts) or str(facts["path"])
    told = _told(str(facts["path"]), facts.get("origin", {}))
    made = facts.get("made_by")
    # Of a copy, the user knows the path.
    if made is None or made["key"] not in str(facts["path"]):
        return told
    return told.replace(str(facts["path"]), f"{told_maker(facts)} of {told_source(made)}")


def told_source(made: dict[str, Any]) -> str:
    """Return the recording of which a job made another one, in words.

    Parameters
    ----------
    made : dict
        That job, as the run record of a later job names it.

    Returns
    -------
    str
    """
    return _told(str(made["inputs"].get("recording", "")), made.get("origin", {}))


def _told(path: str, origin: dict[str, Any]) -> str:
    # Most recordings are read whole, and a list of many needs no more imports.
    if origin.keys() <= {"path"}:
        return path
    from spikecrate.recordings.origin import told_origin

    return told_origin(origin)


def _results(store: Store) -> Index:
    return Index(store.results, store.index / store.results.name, _read_result)


def _read_result(folder: Path) -> tuple[Summary, dict[str, Any]]:
    record = json.loads((folder / "run.json").read_bytes())
    manifest = (folder / seal.NAME).read_bytes()
    parts = dict(record["key_parts"])
    # `job.explain` compares these. A record of an earlier key schema has no inputs and is compared with nothing.
    if not all(isinstance(parts.get(name, {}), dict) for name in ("parameters", "inputs")):
        message = f"{folder}: key_parts"
        raise TypeError(message)
    # Until schema 2 of the run record, every tool was a sorter.
    tool = record.get("tool") or record["sorter"]
    sizes = [int(facts["size"]) for facts in json.loads(manifest)["files"].values()]
    summary = Summary(
        key=folder.name,
        sorter=str(tool["name"]),
        recording=_paths(record),
        runtime=str(record["runtime"]),
        units=record.get("units"),
        events=record.get("events"),
        wall_s=float(record["wall_s"]),
        started=str(record["started"]),
        recipe=str(record["recipe"]),
        size_bytes=sum(sizes) + len(manifest),
    )
    return summary, parts


def _read_failure(folder: Path) -> tuple[Failed, None]:
    what = json.loads((folder / "failure.json").read_bytes())
    with os.scandir(folder) as files:
        size = sum(file.stat(follow_symlinks=False).st_size for file in files)
    failed = Failed(
        key=folder.name,
        sorter=str(what["key_parts"]["tool"]),
        recording=_paths(what),
        at=str(what["at"]),
        error=str(what["error"]),
        size_bytes=size,
    )
    return failed, None


def _paths(record: dict[str, Any]) -> str:
    """Return the paths of a job's inputs, with the view of a recording.

    Until schema 2 of the run record, a job had a recording and no other input.
    """
    if "inputs" in record:
        inputs = record["inputs"].values()
        told = ", ".join(map(told_input, inputs))
        of = (
            None
            if any(facts.get("kind", "recording") == "recording" for facts in inputs)
            else _recording(inputs)
        )
        return told if of is None else f"{told} of {told_input(of)}"
    recording = record["recording"]
    return str(recording["path"] if isinstance(recording, dict) else recording)


def _recording(inputs: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the recording that the first of the inputs with one is of."""
    every = [one for facts in inputs for one in facts.get("folders", [facts])]
    return next((one["recording"] for one in every if one.get("recording")), None)
