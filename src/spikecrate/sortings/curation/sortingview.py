"""The curation of sortingview: labels of units, and groups of units to merge.

Source: `SortingCuration` in sortingview and figpack; `convert_old_format` of SpikeInterface 0.105.3, which names the
category `all_labels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spikecrate.sortings.curation.document import as_list, as_object, as_texts, as_unit, as_units
from spikecrate.sortings.curation.model import Curation, LabelDefinition, Merge

if TYPE_CHECKING:
    from collections.abc import Mapping

CATEGORY: Final = "all_labels"
USUAL: Final = ("accept", "reject", "noise", "artifact", "mua")
"""Labels that sortingview offers; SpikeInterface wants two or more in a category."""
FIELDS: Final = {"labelsByUnit", "mergeGroups"}


def is_sortingview(document: Any) -> bool:
    """Return whether a JSON document is a curation of sortingview.

    Parameters
    ----------
    document : object
        The document.

    Returns
    -------
    bool
    """
    return isinstance(document, dict) and bool(FIELDS & document.keys()) and "format_version" not in document


def read_sortingview(document: Any, source: str, events: Mapping[int, int]) -> tuple[Curation, ...]:
    """Read a curation of sortingview.

    Parameters
    ----------
    document : object
        The JSON document, with `labelsByUnit`, `mergeGroups` and `labelChoices`; each may be missing.
    source : str
        Its file, for messages.
    events : mapping
        Number of events of each unit of the sorting.

    Returns
    -------
    tuple of Curation
        One, complete.

    Raises
    ------
    CurationError
        The document is not valid or not of this sorting; the message names file and field.
    """
    fields = as_object(document, source)
    labels = {}
    for name, chosen in as_object(fields.get("labelsByUnit") or {}, f"{source}: labelsByUnit").items():
        where = f"{source}: labelsByUnit: {name}"
        # What a click adds and a second one takes away leaves an empty list.
        if texts := as_texts(chosen, where):
            labels[as_unit(name, where)] = {CATEGORY: tuple(dict.fromkeys(texts))}
    groups = as_list(fields.get("mergeGroups"), f"{source}: mergeGroups")
    merges = tuple(
        Merge(units=as_units(group, f"{source}: mergeGroups[{place}]")) for place, group in enumerate(groups)
    )
    used = {label for one in labels.values() for label in one[CATEGORY]}
    choices = as_texts(fields.get("labelChoices"), f"{source}: labelChoices") or USUAL
    options = tuple(dict.fromkeys([*choices, *sorted(used), *(USUAL if len({*choices, *used}) < 2 else ())]))
    definitions = {CATEGORY: LabelDefinition(options=options, exclusive=False)} if labels else {}
    found = Curation(
        events=dict(sorted(events.items())), definitions=definitions, labels=labels, merges=merges
    )
    return (found.complete(source),)
