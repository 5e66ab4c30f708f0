"""The user's copy of an export: phy's parameters name the files of samples, and what the user changed stays."""

from __future__ import annotations

import json
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from spikecrate._util.files import disk_full_named, entries
from spikecrate.errors import OutputError
from spikecrate.steps.kinds import EXPORT, KINDS
from spikecrate.steps.output import copy_folder, replace
from spikecrate.store import result_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate.recordings import Recording
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

MARK: Final = "spikecrate.json"
"""The job keys of an export and its sorting, and the hash of each file as it was written."""
PIECE_BYTES: Final = 2**20
FILLED: Final = ("params.py", "channel_map.npy")
"""Files of phy that depend on where the samples are: the same samples in another file have the same job key."""
PHY_SUFFIXES: Final = (".dat", ".bin", ".raw", ".mda")
"""Names of flat files that phylib 2.7 opens; it ignores others."""


def phy_files(recording: Recording) -> dict[str, Any] | str:
    """Return how phy reads the samples of a recording where they lie.

    Parameters
    ----------
    recording : Recording
        The recording.

    Returns
    -------
    dict or str
        `dat_path`, `n_channels_dat` and `offset` of `params.py`, and the `channels` of `channel_map.npy`; or the reason
        why phy cannot: it reads flat files with the channels of a sample side by side, whole from one offset on, one
        after the other.
    """
    layout, first = recording.layout, recording.parts[0]
    if any(part.time_axis == 1 for part in layout.parts):
        return "its files hold one channel after the other"
    if any(part.dtype[0] == ">" for part in layout.parts):
        return "its samples are big-endian"
    if other := next((file for file in recording.files if file.suffix not in PHY_SUFFIXES), None):
        return f"phy opens {', '.join(PHY_SUFFIXES)} alone, not {other.name}"
    row = first.file_channels * first.itemsize

    def shape(place: int) -> tuple[int, int, tuple[int, ...]]:
        part = layout.parts[place]
        return part.offset + part.start * row, part.file_channels, part.channels

    if any(shape(place) != shape(0) for place in range(len(layout.parts))):
        return "its files differ in their channels or in where their samples begin"
    offset = shape(0)[0]
    for file, part in list(zip(recording.files, layout.parts, strict=True))[:-1]:
        if (file.stat().st_size - offset) // row != part.num_samples:
            return f"only a part of {file.name} belongs to it"
    return {
        "dat_path": list(map(str, recording.files)),
        "n_channels_dat": first.file_channels,
        "offset": offset,
        "channels": list(first.channels),
    }


def require_unchanged(output: Path, *, key: str = "", force: bool) -> None:
    """Refuse to replace a folder that holds anything but an export as it was written.

    Parameters
    ----------
    output : Path
        The folder; it may be missing or empty.
    key : str
        Job key of an export that may have changed, since it is not replaced by itself.
    force : bool
        Whether an export may have changed: what the user changed in it is lost.

    Raises
    ------
    OutputError
        The folder must be left as it is.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    mark = read_mark(output)
    if mark is None:
        message = f"{output} exists and is not an export of spikecrate, so it is left untouched"
        raise OutputError(message, next_step="name another folder: --output DIR")
    changed = None if force or mark["key"] == key else _first_change(output, mark["files"])
    if changed is not None:
        message = f"{output} has changed since it was exported ({changed}), so it is left untouched"
        raise OutputError(
            message, next_step="name another folder: --output DIR, or lose the changes: --force"
        )


def put_export(
    stored: Stored, output: Path, store: Store, *, sorting: str, traces: dict[str, Any], force: bool
) -> None:
    """Copy an export to a folder of the user's, complete or not at all; leave the same export alone, changed or not.

    Parameters
    ----------
    stored : Stored
        The result of the step.
    output : Path
        Absolute path of the folder.
    store : Store
        The store, which has the lock.
    sorting : str
        The job key of the sorting.
    traces : dict
        Where phy finds the samples, as `phy_files` returns it; empty where the export names no files.
    force : bool
        Whether to replace an export that the user has changed.

    Raises
    ------
    OutputError
        The folder must be left as it is, or cannot be written.
    DiskFullError
        The disk is full.
    """
    source = stored.folder / KINDS[EXPORT].folder
    facts = {"key": stored.record["key"], "sorting": sorting, "traces": traces}

    def is_current() -> bool:
        mark = read_mark(output)
        return not force and mark is not None and {**facts, "files": mark["files"]} == mark

    def fill(staging: Path) -> None:
        copy_folder(source, staging)
        sealed = result_manifest.read(stored.folder).files
        with disk_full_named(staging):
            if traces:
                _name_traces(staging, traces)
            files = {
                name: _hash(staging / name) if name in FILLED else sealed[f"{source.name}/{name}"]["blake3"]
                for name in sorted(_names(staging))
            }
            text = json.dumps({**facts, "files": files}, indent=1) + "\n"
            (staging / MARK).write_text(text, encoding="utf-8")

    replace(
        output,
        store,
        fill=fill,
        is_current=is_current,
        require_replaceable=partial(require_unchanged, output, force=force),
        kept=source,
    )


def changes_in(output: Path) -> list[str]:
    """Return what the user has changed in an export since it was written.

    Only files that are younger than the export are read: traces may be gigabytes.

    Parameters
    ----------
    output : Path
        The folder of the export.

    Returns
    -------
    list of str
        Files that were changed, added or removed; hidden ones, as phy's cache, come last.
    """
    mark = read_mark(output)
    if mark is None:
        return []
    files, written = mark["files"], (output / MARK).stat().st_mtime_ns
    found = set(_names(output))
    young = {name for name in found if (output / name).stat().st_mtime_ns >= written}
    changed = {name for name in young if name not in files or _hash(output / name) != files[name]}
    return sorted(changed | (files.keys() - found), key=lambda name: (name.startswith("."), name))


def read_mark(folder: Path) -> dict[str, Any] | None:
    """Return what an export says of itself.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    dict or None
        `key`, `sorting`, `traces` and `files`; None where the folder is no export.
    """
    try:
        mark = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(mark, dict) and mark.keys() == {"key", "sorting", "traces", "files"}
    return mark if whole and isinstance(mark["files"], dict) else None


def _name_traces(folder: Path, traces: dict[str, Any]) -> None:
    """Name the files of the samples, and the columns of the channels in them."""
    import numpy as np

    params, channel_map = (folder / name for name in FILLED)
    fields = dict(line.split(" = ", 1) for line in params.read_text(encoding="utf-8").splitlines())
    fields |= {name: ascii(value) for name, value in traces.items() if name in fields}
    text = "".join(f"{name} = {value}\n" for name, value in fields.items())
    params.write_text(text, encoding="utf-8")
    written = BytesIO()
    np.save(written, np.array(traces["channels"], dtype=np.int32))
    channel_map.write_bytes(written.getvalue())


def _first_change(folder: Path, files: dict[str, str]) -> str | None:
    """Return the first file that was changed, added or removed; None where there is none."""
    found = {name: _hash(folder / name) for name in _names(folder)}
    changed = sorted(name for name in {*found, *files} if found.get(name) != files.get(name))
    return changed[0] if changed else None


def _hash(path: Path) -> str:
    """Return the BLAKE3 of a file that its user may be writing, so that it is not mapped."""
    hasher = blake3()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            hasher.update(piece)
    return str(hasher.hexdigest())


def _names(folder: Path) -> list[str]:
    """Return the paths of the files in a folder."""
    paths = (path for path in entries(folder) if path.is_file())
    return [name for name in (path.relative_to(folder).as_posix() for path in paths) if name != MARK]
