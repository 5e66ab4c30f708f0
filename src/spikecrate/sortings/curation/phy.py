"""The folder of phy: merges, splits and labels that were made there.

phy keeps the unit of the sorter of each event in `spike_templates.npy` and writes its own to `spike_clusters.npy`, with
new numbers for the clusters that it merges or splits; `cluster_group.tsv` has their labels. Source: phylib's
`TemplateModel`, phy's `Supervisor.save`.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import CurationError
from spikecrate.sortings.curation.model import Curation, LabelDefinition, Merge, Split, listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from spikecrate.sortings.model import Sorting

TIMES: Final = "spike_times.npy"
TEMPLATES: Final = "spike_templates.npy"
CLUSTERS: Final = "spike_clusters.npy"
GROUPS: Final = ("cluster_group.tsv", "cluster_group.csv", "cluster_groups.csv", "cluster_info.tsv")
"""The first that is there has the labels; `cluster_info.tsv` is a copy that phy makes and never reads."""
OTHER: Final = "cluster_quality.tsv"
"""Labels of an export that are none of phy's groups; the clusters are `unsorted` there."""
CATEGORY: Final = "quality"
"""SpikeInterface's name of phy's groups."""
USUAL: Final = ("good", "mua", "noise")
NO_LABEL: Final = ("", "unsorted", "nan", "none")
NEXT: Final = "save in phy once more, or export the sorting again"


def is_phy(folder: Path) -> bool:
    """Return whether a folder has the files of phy.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    bool
    """
    return any((folder / name).exists() for name in (TIMES, TEMPLATES, CLUSTERS))


def read_phy(folder: Path, sorting: Sorting) -> tuple[Curation, ...]:
    """Read what was done to a sorting in phy.

    A unit whose events were merged with those of others and then split again is merged in one curation and split in the
    next. New units have phy's numbers where the folder has the units of the sorting under their own.

    Parameters
    ----------
    folder : Path
        The folder, with the events of the sorting.
    sorting : Sorting
        The sorting that was exported.

    Returns
    -------
    tuple of Curation
        Complete; labels that cannot be said of units of the sorting are in a last one.

    Raises
    ------
    CurationError
        A file is missing, incomplete, or not of this sorting; the message names it.
    """
    import numpy as np

    times, templates, clusters = (_read_array(folder / name) for name in (TIMES, TEMPLATES, CLUSTERS))
    for name, array in ((TEMPLATES, templates), (CLUSTERS, clusters)):
        if len(array) != len(times):
            message = f"{folder / name}: {len(array)} events, {TIMES} has {len(times)}"
            raise CurationError(message, next_step=NEXT)
    order = np.argsort(times, kind="stable")
    times, templates, clusters = times[order], templates[order], clusters[order]
    units = _units_of_templates(folder, sorting, times, templates)
    groups = _read_groups(folder, {*templates.tolist()}, {*clusters.tolist()})
    of_unit = {unit: clusters[templates == template] for template, unit in units.items()}
    parts = {
        unit: {int(cluster): np.flatnonzero(found == cluster) for cluster in np.unique(found)}
        for unit, found in of_unit.items()
    }
    events = {unit: len(found) for unit, found in sorted(of_unit.items())}
    own = all(template == unit for template, unit in units.items())
    steps, names = _steps(str(folder), sorting, events, parts, own=own)
    return _labelled(str(folder), steps, parts, names, groups)


def _read_array(path: Path) -> NDArray[np.int64]:
    """Read one number per event."""
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False, mmap_mode="r")
        if found.size != max(found.shape, default=0) or found.dtype.kind not in "iuf":
            message = f"{' x '.join(map(str, found.shape))} {found.dtype}, not one number per event"
            raise ValueError(message)  # noqa: TRY301 (one place for all that is wrong with the file)
        with np.errstate(invalid="ignore"):
            whole = np.array(found).reshape(-1).astype(np.int64)
        if found.dtype.kind == "f" and not np.array_equal(whole, np.ravel(found)):
            message = "a number is not whole"
            raise ValueError(message)  # noqa: TRY301
    except FileNotFoundError:
        message = f"{path}: missing"
        raise CurationError(message, next_step=NEXT) from None
    except Exception as error:  # noqa: BLE001
        # Of a damaged header numpy raises whatever Python's parser does.
        message = f"{path}: not readable: {error}"
        raise CurationError(message, next_step=NEXT) from None
    return whole


def _units_of_templates(
    folder: Path, sorting: Sorting, times: NDArray[np.int64], templates: NDArray[np.int64]
) -> dict[int, int]:
    """Return the unit of each template: the one with the same events, whatever either is called."""
    import numpy as np

    # Units with the same events keep their order.
    trains: dict[bytes, list[int]] = {}
    for unit, train in sorting.trains().items():
        trains.setdefault(np.round(train).astype(np.int64).tobytes(), []).append(unit)
    found = {}
    for template in np.unique(templates):
        same = trains.get(times[templates == template].tobytes())
        if not same:
            message = (
                f"{folder / TEMPLATES}: the events of template {template} are those of no unit of the sorting"
            )
            raise CurationError(message, next_step="name the sorting that was exported to this folder")
        found[int(template)] = same.pop(0)
    if left := {*chain(*trains.values())}:
        message = f"{folder / TEMPLATES}: has no template with the events of unit {listed(left)}"
        raise CurationError(message, next_step="name the sorting that was exported to this folder")
    return found


def _read_groups(folder: Path, templates: set[int], clusters: set[int]) -> dict[int, str]:
    """Return the label of each cluster that the file lists, empty where it is to have none."""
    path = next((folder / name for name in GROUPS if (folder / name).exists()), None)
    if path is None:
        return {}
    found = {}
    for line, cluster, text in _read_table(path, "group"):
        group = "" if text.lower() in NO_LABEL else text.lower()
        if cluster not in (clusters if group else clusters | templates):
            message = f"{path}: line {line}: {CLUSTERS} has no event of cluster {cluster}"
            raise CurationError(message, next_step=NEXT)
        found[cluster] = group
    other = folder / OTHER
    kept = (
        {cluster for _, cluster, text in _read_table(other, "quality") if text} if other.exists() else set()
    )
    return {
        cluster: group
        for cluster, group in found.items()
        if group or (cluster in clusters and cluster not in kept)
    }


def _read_table(path: Path, column: str) -> list[tuple[int, int, str]]:
    """Return the line, the cluster and the text of each row of a table of phy."""
    try:
        text = path.read_bytes().decode()
        rows = csv.DictReader(
            io.StringIO(text, newline=""), delimiter="\t" if "\t" in text.partition("\n")[0] else ","
        )
        names = rows.fieldnames or ()
        number = next((name for name in ("cluster_id", "id") if name in names), None)
        if number is None or column not in names:
            message = f"{path}: the columns are {', '.join(names)}, not cluster_id and {column}"
            raise CurationError(message, next_step=NEXT)
        if not text.endswith(("\n", "\r")):
            # A word that is cut would be read as another label.
            message = (
                f"{path}: not readable: its last line is cut: {text.splitlines()[-1]!r} has no end of line"
            )
            raise CurationError(message, next_step=NEXT)
        return [(rows.line_num, int(row[number]), row[column].strip()) for row in rows]
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        # A row that is cut short has no text in its last cells.
        message = f"{path}: not readable: {error}"
        raise CurationError(message, next_step=NEXT) from None


def _steps(
    source: str,
    sorting: Sorting,
    events: Mapping[int, int],
    parts: Mapping[int, Mapping[int, NDArray[np.int64]]],
    *,
    own: bool,
) -> tuple[list[Curation], dict[int, int]]:
    """Return the merges and splits, and the unit that each cluster is after them."""
    components = _components(parts)
    made_in_phy = {
        cluster for members, found in components for cluster in found if len(members) + len(found) > 2
    }
    # A label of the sorting would be ambiguous.
    own = own and not made_in_phy & {0, *events}
    top = max([0, *events, *(made_in_phy if own else ())])
    merges: list[Merge] = []
    splits: list[Split] = []
    again: list[tuple[int, tuple[int, ...]]] = []
    made: list[tuple[int, ...]] = []
    names: dict[int, int] = {}
    for members, found in components:
        if len(found) == len(members) == 1:
            names[found[0]] = members[0]
        elif len(members) == 1:
            indices = tuple(tuple(parts[members[0]][cluster].tolist()) for cluster in found)
            splits.append(Split(unit=members[0], parts=indices, new=found if own else None))
            made.append(found)
        elif len(found) == 1:
            top += not own
            names[found[0]] = found[0] if own else top
            merges.append(Merge(units=members, new=names[found[0]]))
        else:
            top += 1
            merges.append(Merge(units=members, new=top))
            again.append((top, found))
    steps = [Curation(events=events, merges=tuple(merges), splits=tuple(splits)).complete(source)]
    if again:
        merged = {merge.new: merge.units for merge in merges}
        apart = [
            Split(
                unit=unit,
                parts=_parts_of_merged(sorting, parts, merged[unit], found),
                new=found if own else None,
            )
            for unit, found in again
        ]
        steps.append(Curation(events=steps[0].events_after(), splits=tuple(apart)).complete(source))
    new = [split.new or () for step in steps for split in step.splits]
    for found, units in zip([*made, *(found for _, found in again)], new, strict=True):
        names.update(zip(found, units, strict=True))
    return steps, names


def _parts_of_merged(
    sorting: Sorting,
    parts: Mapping[int, Mapping[int, NDArray[np.int64]]],
    members: tuple[int, ...],
    found: tuple[int, ...],
) -> tuple[tuple[int, ...], ...]:
    """Return the events of each cluster by their place among those of some units: by time, then unit."""
    import numpy as np

    clusters = np.zeros(len(sorting), dtype=np.int64)
    for unit in members:
        own = np.flatnonzero(sorting.labels == unit)
        for cluster, indices in parts[unit].items():
            clusters[own[indices]] = cluster
    clusters = clusters[np.isin(sorting.labels, members)]
    return tuple(tuple(np.flatnonzero(clusters == cluster).tolist()) for cluster in found)


def _components(
    parts: Mapping[int, Mapping[int, Any]],
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the units and clusters that share events, directly or by others; in order of their first unit."""
    of_cluster: dict[int, set[int]] = {}
    for unit, found in parts.items():
        for cluster in found:
            of_cluster.setdefault(cluster, set()).add(unit)
    components, done = [], set[int]()
    for unit in sorted(parts):
        members: set[int] = set()
        waiting = [] if unit in done else [unit]
        while waiting:
            one = waiting.pop()
            members.add(one)
            waiting += [
                other for cluster in parts[one] for other in of_cluster[cluster] if other not in members
            ]
        if members:
            done |= members
            clusters = {cluster for one in members for cluster in parts[one]}
            components.append((tuple(sorted(members)), tuple(sorted(clusters))))
    return components


def _labelled(
    source: str,
    steps: list[Curation],
    parts: Mapping[int, Mapping[int, Any]],
    names: Mapping[int, int],
    groups: Mapping[int, str],
) -> tuple[Curation, ...]:
    """Add the labels: to the first curation, or in one more where the parts of a unit differ."""
    if not groups:
        return tuple(steps)
    options = tuple(dict.fromkeys([*USUAL, *sorted(filter(None, groups.values()))]))
    definitions = {CATEGORY: LabelDefinition(options=options, exclusive=True)}
    of_unit = {unit: {groups.get(cluster) for cluster in found} for unit, found in parts.items()}
    if all(len(labels) == 1 for labels in of_unit.values()):
        labels = {unit: {CATEGORY: _chosen(label)} for unit, (label,) in of_unit.items() if label is not None}
        first = replace(steps[0], definitions=definitions, labels=labels)
        return (first.complete(source), *steps[1:])
    labels = {names[cluster]: {CATEGORY: _chosen(label)} for cluster, label in groups.items()}
    last = Curation(events=steps[-1].events_after(), definitions=definitions, labels=labels)
    return (*steps, last.complete(source))


def _chosen(label: str) -> tuple[str, ...]:
    """Return the labels of a unit, none for an empty text: they replace those that the unit has."""
    return (label,) if label else ()
