"""The folder of a sorting by group, or of a joined recording: one sorting, and the results that it is made of."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.files import disk_full_named, write_atomically
from spikecrate.errors import OutputError
from spikecrate.sortings.join import GroupUnit, split
from spikecrate.sortings.model import write_firings
from spikecrate.steps.output import put, require_usable
from spikecrate.steps.paths import FIRINGS, JOINED, RESULTS, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from spikecrate.recordings import Recording
    from spikecrate.sortings import Sorting
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

EACH: Final = "recordings"
STRETCHES: Final = "recordings.csv"


def require_joinable(output: Path) -> None:
    """Refuse, before a job runs, a folder that cannot take a joined sorting.

    Parameters
    ----------
    output : Path
        Absolute path of the folder.

    Raises
    ------
    OutputError
        The folder holds other files, or cannot be made or written.
    """
    if not output.is_dir():
        require_usable(output)
    elif others := {path.name for path in output.iterdir()} - {
        FIRINGS,
        JOINED,
        RESULTS,
        EACH,
        UNITS,
        STRETCHES,
    }:
        message = (
            f"{output} exists and holds {min(others)}, which no joined sorting has, so it is left untouched"
        )
        raise OutputError(message, next_step="name another folder: --output DIR")


def put_joined(
    output: Path,
    results: Mapping[str, Stored],
    sorting: Sorting,
    units: Sequence[GroupUnit],
    recording: Recording,
    store: Store,
) -> None:
    """Write a joined sorting to a folder.

    The folder has `firings.mda` with all units, `units.csv` with the group, rate, channel, SNR and so on of each, `results/GROUP/` with the result of
    each job, and of a joined recording `recordings/N/firings.mda` with the times of each file, listed in
    `recordings.csv`. `joined.json` comes last: where it is, the folder is complete.

    Parameters
    ----------
    output : Path
        Absolute path of the folder; an earlier joined sorting in it is replaced.
    results : mapping
        The result of each group by its name.
    sorting : Sorting
        All events, channels of the whole recording.
    units : sequence of GroupUnit
        The units of `sorting`; empty where there are no groups.
    recording : Recording
        The whole recording.
    store : Store
        The store with the results.

    Raises
    ------
    OutputError, DiskFullError
        The folder holds other files, or cannot be written.
    """
    require_joinable(output)
    description, begin = output / JOINED, 0
    stretches: list[dict[str, Any]] = []
    for file, part in zip(recording.files, recording.parts, strict=True):
        stretches.append(
            {"file": str(file), "start": part.start, "num_samples": part.num_samples, "begins_at": begin}
        )
        begin += part.num_samples
    try:
        with disk_full_named(output):
            description.unlink(missing_ok=True)
            for place, (name, stored) in enumerate(results.items(), start=1):
                put(stored, output / RESULTS / folder_name(place, name), store)
            write_firings(output / FIRINGS, sorting)
            if units:
                names = [field.name for field in fields(GroupUnit)]
                _write_table(output / UNITS, names, map(astuple, units))
            if len(stretches) > 1:
                for number, one in enumerate(split(sorting, recording.layout), start=1):
                    (output / EACH / str(number)).mkdir(parents=True, exist_ok=True)
                    write_firings(output / EACH / str(number) / FIRINGS, one)
                rows = [(number, *row.values()) for number, row in enumerate(stretches, start=1)]
                _write_table(output / STRETCHES, ["recording", *stretches[0]], rows)
            told = {
                "groups": {name: stored.record["key"] for name, stored in results.items()},
                "recordings": stretches,
                "origin": recording.origin,
            }
            write_atomically(description, json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        message = f"{output} cannot be written: {error.strerror}; the results are in the store"
        raise OutputError(message, next_step="name another folder: --output DIR, or --output -") from None


def folder_name(place: int, group: str) -> str:
    """Return the name of a group's folder: the group's, where that is a plain word.

    Parameters
    ----------
    place : int
        Place of the group, from 1.
    group : str
        Its name, which comes from a file.

    Returns
    -------
    str

    Examples
    --------
    >>> folder_name(2, "shank1"), folder_name(2, "../x")
    ('shank1', '2-___x')
    """
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", group):
        return group
    return f"{place}-{re.sub('[^A-Za-z0-9_-]', '_', group)[:60]}"


def _write_table(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows(rows)
    write_atomically(path, text.getvalue().encode())
