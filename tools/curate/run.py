"""Labels, merges, splits and removals of the units of a sorting, as a curation says.

The curation is complete: `spikecrate curate` reads it from any format, evaluates rules, checks it against the sorting and
gives every new unit its label. What is done with it is that of `apply_curation` in SpikeInterface 0.105.3, by which the
tests check it; here the events keep their channels, and times between samples.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from spikecrate_harness import mda, unit_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from spikecrate_harness.resources import Resources

FIRINGS: Final = "firings.mda"
CURATION: Final = "curation.json"
CHANGES: Final = "changes.csv"
NOT_COMPLETE: Final = "is not complete: spikecrate curate completes it"


class Curated(NamedTuple):
    """What a curation makes of the events.

    Attributes
    ----------
    labels : numpy.ndarray
        Unit of each event, 0 where it is left out.
    done : dict
        What was done to each new unit: `merged`, `split`, or both in order.
    """

    labels: NDArray[np.int64]
    done: dict[int, tuple[str, ...]]


def run(inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path, resources: Resources) -> None:
    """Curate a sorting, and write the new one to `out`.

    Parameters
    ----------
    inputs : mapping
        Folders: `sorting` with firings.mda, `curation` with curation.json, and perhaps `analysis` with units.csv.
    parameters : mapping
        Those of tool.json.
    out : Path
        An empty folder.
    resources : Resources
        Receives a warning where no unit is left.

    Raises
    ------
    ValueError
        The curation is not complete, or not of this sorting.
    """
    firings = mda.read(inputs["sorting"] / FIRINGS)
    firings = firings[:3, np.lexsort((firings[2], firings[1]))]
    path = inputs["curation"] / CURATION
    document = json.loads(path.read_bytes())
    steps = document if isinstance(document, list) else [document]
    before = np.round(firings[2]).astype(np.int64)
    curated = apply(steps, before)
    kept = curated.labels > 0
    after = np.stack([firings[0, kept], firings[1, kept], curated.labels[kept].astype(np.float64)])
    after = after[:, np.lexsort((after[2], after[1]))]
    mda.write(out / FIRINGS, after)
    (out / CURATION).write_bytes(path.read_bytes())
    write_csv(out / CHANGES, ("unit_before", "unit_after", "how", "events"), changes(before, curated))
    if parameters["sampling_frequency"] and parameters["num_samples"]:
        write_units(out / unit_table.NAME, after, steps, known_units(inputs), set(curated.done), parameters)
    if not kept.any():
        resources.warn("the curation leaves no unit")


def apply(steps: Iterable[Mapping[str, Any]], labels: NDArray[np.int64]) -> Curated:
    """Return the unit of each event after a curation.

    Parameters
    ----------
    steps : iterable of mapping
        Documents of SpikeInterface's curation format 2, each of the units that the one before makes.
    labels : numpy.ndarray
        Int64, unit of each event, in order of time.

    Returns
    -------
    Curated

    Raises
    ------
    ValueError
        A document is not complete, or not of these units.
    """
    labels, done = labels.copy(), dict[int, tuple[str, ...]]()
    for step in steps:
        if {*step["unit_ids"]} != {*np.unique(labels[labels > 0]).tolist()}:
            message = f"{CURATION}: unit_ids: the curation is of another sorting"
            raise ValueError(message)
        labels[np.isin(labels, step.get("removed") or [])] = 0
        for merge in step.get("merges") or ():
            units, new = merge["unit_ids"], merge.get("new_unit_id")
            if new is None:
                message = f"{CURATION}: merges: new_unit_id: {NOT_COMPLETE}"
                raise ValueError(message)
            labels[np.isin(labels, units)] = new
            done[new] = in_order([word for unit in units for word in done.pop(unit, ())], "merged")
        for split in step.get("splits") or ():
            parts, new = split.get("indices") or (), split.get("new_unit_ids") or ()
            own = np.flatnonzero(labels == split["unit_id"])
            if len(new) != len(parts) or sum(map(len, parts)) != len(own):
                message = f"{CURATION}: splits: {NOT_COMPLETE}"
                raise ValueError(message)
            words = in_order(done.pop(split["unit_id"], ()), "split")
            for part, unit in zip(parts, new, strict=True):
                labels[own[part]] = unit
                done[unit] = words
    return Curated(labels, done)


def in_order(words: Iterable[str], last: str) -> tuple[str, ...]:
    """Return each word once, with the latest at the end."""
    return (*(word for word in dict.fromkeys(words) if word != last), last)


def changes(before: NDArray[np.int64], curated: Curated) -> list[tuple[Any, ...]]:
    """Return a row for each unit before and each unit that has its events after."""
    pairs, counts = np.unique(np.stack([before, curated.labels]), axis=1, return_counts=True)
    return [
        (
            unit,
            new or None,
            ", ".join(curated.done.get(new, ("kept",))) if new else "removed",
            count,
        )
        for unit, new, count in zip(*pairs.tolist(), counts.tolist(), strict=True)
    ]


def known_units(inputs: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    """Return the row of each unit in the table of the analysis, else in that of the sorting."""
    folders = [inputs[name] for name in ("analysis", "sorting") if name in inputs]
    path = next((path for folder in folders if (path := folder / unit_table.NAME).is_file()), None)
    if path is None:
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {int(row["unit"]): row for row in csv.DictReader(file)}


def write_units(
    path: Path,
    firings: NDArray[np.float64],
    steps: Iterable[Mapping[str, Any]],
    known: Mapping[int, Mapping[str, str]],
    new: set[int],
    parameters: Mapping[str, Any],
) -> None:
    """Write units.csv; what is measured on traces is there for units that are as they were."""
    *_, last = steps
    labels = {int(unit): chosen for unit, chosen in last.get("labels_after", {}).items()}
    names = dict.fromkeys(name for step in steps for name in step.get("label_definitions") or ())
    columns, rows = unit_table.Row._fields, []
    frequency, length = parameters["sampling_frequency"], parameters["num_samples"]
    for unit, train in unit_table.spike_trains(firings).items():
        rate, violations = (
            len(train) / (length / frequency),
            unit_table.isi_violations(train, frequency, length),
        )
        row: dict[str, Any] = unit_table.Row(unit, len(train), rate, isi_violations=violations)._asdict()
        channels, counts = np.unique(firings[0, firings[2] == unit], return_counts=True)
        if (usual := int(channels[counts.argmax()])) > 0:
            row["channel"] = usual - 1
        if unit not in new:
            row |= {name: cell for name, cell in known.get(unit, {}).items() if cell and name in columns}
        chosen = [";".join(labels.get(unit, {}).get(name, ())) for name in names]
        rows.append([*(row[name] for name in columns), *chosen])
    write_csv(path, (*columns, *names), rows)


def write_csv(path: Path, names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table; a value that does not exist is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
