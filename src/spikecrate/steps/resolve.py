"""Resolve an argument to a finished job, a key in the store or a result folder anywhere, and check it in full."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import JobNotFoundError, ResultCorruptError
from spikecrate.recordings.origin import is_origin
from spikecrate.steps.key import KeyParts
from spikecrate.steps.kinds import KINDS
from spikecrate.steps.listing import find_key
from spikecrate.steps.paths import CRATE, JOINED, RECORD, RESULTS
from spikecrate.steps.record import SCHEMA
from spikecrate.store import result_manifest as seal
from spikecrate.store import results
from spikecrate.store.results import Stored
from spikecrate_harness.layout import Layout

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.store import Store

KEY: Final = re.compile(r"[0-9a-fA-F]{1,64}")
DIGITS: Final = re.compile(r"[0-9a-f]{64}")
NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
LIMIT_BYTES: Final = 64 * 2**20
"""More bytes than any record, manifest or crate has."""
MAX_DEPTH: Final = 50
NEXT: Final = "copy the folder again from its origin, or run the job again: spikecrate job.rerun"
FIELDS: Final[dict[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("key", "recipe", "runtime", "started", "spikecrate"), str),
    **dict.fromkeys(
        ("tool", "parameters", "key_parts", "inputs", "limits", "files", "inside", "engine"), dict
    ),
    "seed": int,
    "wall_s": (int, float),
    "mounts": list,
    **dict.fromkeys(("image", "environment"), (dict, NoneType)),
}
"""Fields of a run record that spikecrate reads again, and their types."""
TOOL_FIELDS: Final = ("name", "kind", "version", "title")
KEY_FIELDS: Final = {"tool": str, "recipe": str, "parameters": dict, "seed": int, "inputs": dict}


def is_key(word: str) -> bool:
    """Return whether an argument is a key rather than a path; `./0123abcd` is always a path.

    Parameters
    ----------
    word : str
        The argument.

    Returns
    -------
    bool
    """
    return KEY.fullmatch(word) is not None


def find_job(word: str, store: Store, progress: Progress) -> Stored:
    """Return a finished job by the first digits of its key, or by its result folder.

    Parameters
    ----------
    word : str
        The key or the folder.
    store : Store
        The store.
    progress : Progress
        Receives a note about a corrupt result.

    Returns
    -------
    Stored

    Raises
    ------
    JobNotFoundError
        There is no such job, or the job has no result.
    ResultCorruptError
        The folder does not match its manifest. A corrupt result in the store is set aside.
    """
    if not is_key(word):
        return read_folder(Path(word))
    key = find_key(store, word)
    stored = results.find(store, key, progress.note)
    if stored is None:
        message = f"job {key[:12]} has no result in the store"
        raise JobNotFoundError(message, next_step=f"spikecrate job.show {key[:12]} shows its status")
    _require_schema(stored.record, stored.folder / RECORD)
    return stored


def read_folder(path: Path) -> Stored:
    """Read a result folder and check the hash of every file in its manifest; ignore files added since.

    Parameters
    ----------
    path : Path
        The folder, or one of the files that describe it: `run.json`, `ro-crate-metadata.json`.

    Returns
    -------
    Stored

    Raises
    ------
    JobNotFoundError
        There is no such folder.
    ResultCorruptError
        A file is missing, changed or unreadable; the message names it.
    """
    folder = path.parent if path.name in (RECORD, CRATE, seal.NAME) else path
    if not folder.is_dir():
        message = f"{path} is neither a job key nor a result folder"
        raise JobNotFoundError(message)
    if (folder / JOINED).is_file():
        folder = _joined(folder)
    try:
        if (folder / seal.NAME).is_file():
            _limit(folder / seal.NAME)
        found = seal.read(folder)
        seal.check(folder, found, sorted({RECORD, CRATE, *found.files}))
    except (seal.BrokenSealError, OSError) as broken:
        message = f"{folder}: {broken}"
        raise ResultCorruptError(message, next_step=NEXT) from None
    record = read_record(folder / RECORD)
    if missing := record["files"].keys() - found.files.keys():
        raise _broken(folder / seal.NAME, "files", f"no {', '.join(sorted(missing))}")
    check_crate(folder / CRATE, {name: str(facts["blake3"]) for name, facts in found.files.items()})
    return Stored(folder, record, found.hash)


def _joined(folder: Path) -> Path:
    """Return the one result below a joined sorting; the recordings of a day are one job, groups are several."""
    results = sorted(path.parent for path in (folder / RESULTS).glob(f"*/{seal.NAME}"))
    if len(results) == 1:
        return results[0]
    message = f"{folder} is a joined sorting of {len(results)} groups, each with a job of its own"
    named = ", ".join(str(path) for path in results[:8])
    raise JobNotFoundError(message, next_step=f"name the result of one group: {named}")


def read_record(path: Path) -> dict[str, Any]:
    """Read a run record; check its fields, their types, and that its parts give its key.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict

    Raises
    ------
    ResultCorruptError
        The record is invalid; the message names the file and the field.
    """
    record = _object(path)
    _require_schema(record, path)
    for name, kind in FIELDS.items():
        value = record.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _broken(path, name, "missing" if name not in record else f"a {type(value).__name__}")
    _check_tool(path, record)
    _check_inputs(path, record["inputs"])
    try:
        parts = KeyParts(**record["key_parts"])
        key = parts.key
    except (TypeError, ValueError, RecursionError) as error:
        raise _broken(path, "key_parts", str(error)[:200]) from None
    if key != record["key"]:
        raise _broken(path, "key", "not the hash of key_parts")
    for name, kind in KEY_FIELDS.items():
        if not isinstance(record["key_parts"][name], kind):
            raise _broken(path, f"key_parts.{name}", "of another type")
    if not all(isinstance(identity, dict) for identity in record["key_parts"]["inputs"].values()):
        raise _broken(path, "key_parts.inputs", "not a table of tables")
    # Both become parts of paths.
    if DIGITS.fullmatch(parts.recipe) is None or NAME.fullmatch(parts.tool) is None:
        raise _broken(path, "key_parts.recipe", "not a recipe of a tool")
    if not all(isinstance(facts, dict) for facts in record["files"].values()):
        raise _broken(path, "files", "not a table of files")
    mounts = record["mounts"]
    if not all(isinstance(mount, dict) and isinstance(mount.get("source"), str) for mount in mounts):
        raise _broken(path, "mounts", "not a list of mounts")
    return record


def _require_schema(record: dict[str, Any], path: Path) -> None:
    """Refuse the run record of another version of spikecrate, whose job keys have other parts."""
    if record.get("schema") != SCHEMA:
        message = f"{path}: schema: is {record.get('schema')!r}, this spikecrate reads {SCHEMA}"
        raise ResultCorruptError(
            message,
            next_step="sort the recording again, or use the version of spikecrate that the record names",
            details={"file": str(path), "field": "schema"},
        )


def _check_tool(path: Path, record: dict[str, Any]) -> None:
    """Check the entry of the tool in a run record, and the facts of its kind."""
    tool = record["tool"]
    for name in TOOL_FIELDS:
        if not isinstance(tool.get(name), str):
            raise _broken(path, f"tool.{name}", "missing, or of another type")
    if tool["kind"] not in KINDS:
        raise _broken(path, "tool.kind", f"{tool['kind']!r} is unknown")
    for name in KINDS[tool["kind"]].facts:
        if not isinstance(record.get(name), int) or isinstance(record[name], bool):
            raise _broken(path, name, "missing, or of another type")


def _check_inputs(path: Path, inputs: dict[str, Any]) -> None:
    """Check the entries of the inputs in a run record."""
    for name, facts in inputs.items():
        place = f"inputs.{name}"
        if not isinstance(facts, dict) or facts.get("kind") not in ("recording", "folder", "folders"):
            raise _broken(path, place, "neither a recording nor a folder")
        if not isinstance(facts.get("path"), str) or not isinstance(facts.get("identity"), dict):
            raise _broken(path, place, "path or identity is missing, or of another type")
        if facts["kind"] == "folders":
            if not isinstance(facts.get("folders"), list):
                raise _broken(path, f"{place}.folders", "missing, or of another type")
            _check_inputs(path, {f"{name}.{number}": one for number, one in enumerate(facts["folders"], 1)})
        elif facts["kind"] == "folder" and "recording" in facts:
            _check_inputs(path, {f"{name}.recording": facts["recording"]})
        elif facts["kind"] == "recording":
            if not is_origin(facts.get("origin")):
                raise _broken(path, f"{place}.origin", "does not say how the recording was opened")
            if not isinstance(facts.get("files"), list):
                raise _broken(path, f"{place}.files", "missing, or of another type")
            try:
                Layout.from_dict(facts.get("layout"))
            except ValueError as error:
                raise _broken(path, f"{place}.layout", str(error)[:200]) from None


def check_crate(path: Path, hashes: dict[str, str]) -> None:
    """Check the hashes in a crate against those of the files in its folder.

    Parameters
    ----------
    path : Path
        The crate's file.
    hashes : dict
        BLAKE3 of every file by its name.

    Raises
    ------
    ResultCorruptError
        A hash differs; the message names the file.
    """
    graph = _object(path).get("@graph")
    if not isinstance(graph, list) or not all(isinstance(entity, dict) for entity in graph):
        raise _broken(path, "@graph", "not a list of entities")
    entities = {str(entity.get("@id")): entity for entity in graph}
    if "./" not in entities:
        raise _broken(path, "@graph", "has no root entity")
    for name, blake3 in hashes.items():
        recorded = entities.get(f"#blake3/{name}", {}).get("value", blake3)
        if recorded != blake3:
            raise _broken(path, f"#blake3/{name}", f"is not the hash of {name}")


def _object(path: Path) -> dict[str, Any]:
    try:
        _limit(path)
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise _broken(path, "", error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise _broken(path, "", f"not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise _broken(path, "", "not a JSON object")
    if _is_deep(found):
        raise _broken(path, "", f"nested more than {MAX_DEPTH} deep")
    return found


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        tables = [item for item in level if isinstance(item, dict | list)]
        level = [inner for item in tables for inner in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return False
    return True


def _limit(path: Path) -> None:
    if not path.is_file() or path.stat().st_size > LIMIT_BYTES:
        raise _broken(path, "", f"missing, not a file, or more than {LIMIT_BYTES} bytes")


def _broken(path: Path, field: str, problem: str) -> ResultCorruptError:
    message = f"{path}: {field}: {problem}" if field else f"{path}: {problem}"
    return ResultCorruptError(message, next_step=NEXT, details={"file": str(path), "field": field})
