"""SpikeInterface's curation format, versions 1 and 2, as JSON.

Source: `spikeinterface.curation.curation_model`, 0.105.3; what it accepts is read here: units as numbers or as texts of
digits, merges and splits as lists or as mappings, labels below `labels` or beside `unit_id`.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.nearest import nearest
from spikecrate.errors import CurationError
from spikecrate.sortings.curation.combine import labels_after
from spikecrate.sortings.curation.model import NEXT, Curation, LabelDefinition, Merge, Split, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSIONS: Final = ("1", "2")
CHANGES: Final = {"1": ("merge_unit_groups", "removed_units"), "2": ("merges", "removed")}
"""Fields with the merges and the removals, by version."""
FIELDS: Final = (
    *("format_version", "supported_versions", "unit_ids", "label_definitions", "manual_labels", "splits"),
    *("rules", "labels_after"),
)
"""The other fields of a document; the last two are spikecrate's own."""
DEFINITION: Final = ("name", "label_options", "exclusive", "auto_exclusive")
LABELS: Final = ("unit_id", "labels")
MERGE: Final = ("unit_ids", "new_unit_id")
SPLIT: Final = ("unit_id", "mode", "indices", "labels", "new_unit_ids")


def parse(document: Any, source: str, events: Mapping[int, int]) -> tuple[Curation, ...]:
    """Read a curation, or a list of curations of which each is of the units that the one before makes.

    Parameters
    ----------
    document : object
        The JSON document.
    source : str
        Its file, for messages.
    events : mapping
        Number of events of each unit of the sorting.

    Returns
    -------
    tuple of Curation
        Complete.

    Raises
    ------
    CurationError
        The document is not valid or not of this sorting; the message names file and field.
    """
    if not isinstance(document, list):
        return (_parse_one(document, source, events),)
    found: list[Curation] = []
    for place, one in enumerate(document):
        found.append(_parse_one(one, f"{source}: [{place}]", found[-1].events_after() if found else events))
    if not found:
        message = f"{source}: the list of curations is empty"
        raise CurationError(message, next_step=NEXT)
    return tuple(found)


def _parse_one(document: Any, source: str, events: Mapping[int, int]) -> Curation:
    fields = as_object(document, source)
    version = str(fields.get("format_version"))
    if version not in VERSIONS:
        message = f"{source}: format_version: {version!r} is not 1 or 2"
        raise CurationError(message, next_step=NEXT)
    if "unit_ids" not in fields:
        message = f"{source}: unit_ids: missing"
        raise CurationError(message, next_step=NEXT)
    _require_same_units(as_units(fields["unit_ids"], f"{source}: unit_ids"), source, events)
    # What SpikeInterface reads in format 1, it writes with the fields of format 2.
    merges, removed = CHANGES["2" if {*CHANGES["2"]} & fields.keys() else version]
    _require_known(fields, (*FIELDS, merges, removed), source)
    definitions = _definitions(fields.get("label_definitions"), f"{source}: label_definitions")
    return Curation(
        events=dict(sorted(events.items())),
        definitions=definitions,
        labels=_labels(fields.get("manual_labels"), f"{source}: manual_labels"),
        removed=as_units(fields.get(removed), f"{source}: {removed}"),
        merges=_merges(fields.get(merges), f"{source}: {merges}"),
        splits=_splits(fields.get("splits"), f"{source}: splits", events),
        rules=tuple(as_list(fields.get("rules"), f"{source}: rules")),
    ).complete(source)


def _require_known(fields: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuse a field that is not read: what it says would be lost."""
    for name in fields:
        if name not in known:
            near = nearest(name, known)
            message = f"{where}: there is no field {name!r}{near}"
            step = NEXT if near else f"leave it out; the fields are {', '.join(known)}"
            raise CurationError(message, next_step=step)


def _require_same_units(units: tuple[int, ...], source: str, events: Mapping[int, int]) -> None:
    """Refuse a curation of another sorting."""
    if len(set(units)) < len(units):
        unit = next(unit for unit, after in pairwise(sorted(units)) if unit == after)
        message = f"{source}: unit_ids: {unit} is there twice"
        raise CurationError(message, next_step=NEXT)
    unknown, missing = set(units) - events.keys(), events.keys() - set(units)
    if unknown or missing:
        told = [
            *([f"the sorting has no {listed(unknown)}"] if unknown else []),
            *([f"{listed(missing)} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []),
        ]
        message = f"{source}: unit_ids: the curation is of another sorting: {'; '.join(told)}"
        raise CurationError(message, next_step="name the sorting that was curated")


def _definitions(value: Any, where: str) -> dict[str, LabelDefinition]:
    found = {}
    for name, one in as_object(value or {}, where).items():
        fields = as_object(one, f"{where}: {name}")
        _require_known(fields, DEFINITION, f"{where}: {name}")
        options = as_texts(fields.get("label_options"), f"{where}: {name}: label_options")
        exclusive = fields.get("exclusive", fields.get("auto_exclusive"))
        if not isinstance(exclusive, bool):
            message = f"{where}: {name}: exclusive: not true or false"
            raise CurationError(message, next_step=NEXT)
        found[name] = LabelDefinition(options=options, exclusive=exclusive)
    return found


def _labels(value: Any, where: str) -> dict[int, dict[str, tuple[str, ...]]]:
    found: dict[int, dict[str, tuple[str, ...]]] = {}
    for place, one in enumerate(as_list(value, where)):
        inside = f"{where}[{place}]"
        fields = as_object(one, inside)
        unit = as_unit(fields.get("unit_id"), f"{inside}: unit_id")
        if "labels" in fields:
            _require_known(fields, LABELS, inside)
        labels = fields.get("labels", {name: label for name, label in fields.items() if name != "unit_id"})
        if unit in found:
            message = f"{inside}: unit {unit} has labels already"
            raise CurationError(message, next_step=NEXT)
        found[unit] = {
            name: as_texts(labels, f"{inside}: {name}") for name, labels in as_object(labels, inside).items()
        }
    return {unit: labels for unit, labels in found.items() if labels}


def _merges(value: Any, where: str) -> tuple[Merge, ...]:
    if isinstance(value, dict):
        value = [{"unit_ids": units, "new_unit_id": new} for new, units in value.items()]
    found = []
    for place, one in enumerate(as_list(value, where)):
        inside = f"{where}[{place}]"
        fields = {"unit_ids": one} if isinstance(one, list) else as_object(one, inside)
        _require_known(fields, MERGE, inside)
        new = fields.get("new_unit_id")
        units = as_units(fields.get("unit_ids"), f"{inside}: unit_ids")
        found.append(Merge(units=units, new=None if new is None else as_unit(new, f"{inside}: new_unit_id")))
    return tuple(found)


def _splits(value: Any, where: str, events: Mapping[int, int]) -> tuple[Split, ...]:
    if isinstance(value, dict):
        value = [
            {"unit_id": unit, "indices": parts}
            if isinstance(parts, list) and parts and isinstance(parts[0], list)
            else {"unit_id": unit, "mode": "labels", "labels": parts}
            for unit, parts in value.items()
        ]
    found = []
    for place, one in enumerate(as_list(value, where)):
        inside = f"{where}[{place}]"
        fields = as_object(one, inside)
        _require_known(fields, SPLIT, inside)
        unit = as_unit(fields.get("unit_id"), f"{inside}: unit_id")
        mode = fields.get("mode", "indices")
        if mode == "labels":
            parts = _parts_of_labels(fields.get("labels"), f"{inside}: labels", unit, events.get(unit))
        elif mode == "indices":
            if not fields.get("indices"):
                message = f"{inside}: indices: missing or empty"
                raise CurationError(message, next_step=NEXT)
            lists = as_list(fields["indices"], f"{inside}: indices")
            parts = tuple(as_indices(part, f"{inside}: indices") for part in lists)
        else:
            message = f"{inside}: mode: {mode!r} is not indices or labels"
            raise CurationError(message, next_step=NEXT)
        new = fields.get("new_unit_ids")
        units = None if new is None else as_units(new, f"{inside}: new_unit_ids")
        found.append(Split(unit=unit, parts=parts, new=units))
    return tuple(found)


def _parts_of_labels(value: Any, where: str, unit: int, count: int | None) -> tuple[tuple[int, ...], ...]:
    labels = as_indices(value, where)
    if count is not None and len(labels) != count:
        message = f"{where}: {len(labels)} labels, unit {unit} has {count} events"
        raise CurationError(message, next_step="give each event of the unit a label")
    parts: dict[int, list[int]] = {label: [] for label in sorted(set(labels))}
    for index, label in enumerate(labels):
        parts[label].append(index)
    return tuple(map(tuple, parts.values()))


def as_object(value: Any, where: str) -> dict[str, Any]:
    """Return a JSON object, or refuse another value.

    Parameters
    ----------
    value : object
        The value.
    where : str
        File and field.

    Returns
    -------
    dict

    Raises
    ------
    CurationError
        It is no object.
    """
    if not isinstance(value, dict):
        message = f"{where}: not a JSON object"
        raise CurationError(message, next_step=NEXT)
    return value


def as_list(value: Any, where: str) -> list[Any]:
    """Return a JSON list, empty for null; the arguments are those of `as_object`.

    Raises
    ------
    CurationError
        It is no list.
    """
    if value is not None and not isinstance(value, list):
        message = f"{where}: not a list"
        raise CurationError(message, next_step=NEXT)
    return value or []


def as_texts(value: Any, where: str) -> tuple[str, ...]:
    """Return a JSON list of texts; the arguments are those of `as_object`.

    Raises
    ------
    CurationError
        It is no such list.
    """
    texts = as_list(value, where)
    if not all(isinstance(text, str) for text in texts):
        message = f"{where}: not a list of texts"
        raise CurationError(message, next_step=NEXT)
    return tuple(texts)


def as_indices(value: Any, where: str) -> tuple[int, ...]:
    """Return a JSON list of whole numbers; the arguments are those of `as_object`.

    Raises
    ------
    CurationError
        It is no such list.
    """
    numbers = as_list(value, where)
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        message = f"{where}: not a list of whole numbers"
        raise CurationError(message, next_step=NEXT)
    return tuple(numbers)


def as_units(value: Any, where: str) -> tuple[int, ...]:
    """Return a JSON list of units, none for null; the arguments are those of `as_object`.

    Raises
    ------
    CurationError
        It is no such list.
    """
    return tuple(as_unit(unit, where) for unit in as_list(value, where))


def as_unit(value: Any, where: str) -> int:
    """Return the label of a unit, a number from 1 or a text of digits; the arguments are those of `as_object`.

    Raises
    ------
    CurationError
        It is no such label.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    # Beyond that firings.mda would round it.
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**53:
        message = f"{where}: {value!r} is not a unit, a whole number from 1"
        raise CurationError(message, next_step=NEXT)
    return value


def labels_of(document: Any, source: str, events: Mapping[int, int]) -> Curation:
    """Return the labels that the units of a curated sorting have.

    Parameters
    ----------
    document : object
        The JSON document, as `as_text` wrote it.
    source : str
        Its file, for messages.
    events : mapping
        Number of events of each unit of the curated sorting.

    Returns
    -------
    Curation
        Of labels alone.

    Raises
    ------
    CurationError
        The document is not valid or not of this sorting; the message names file and field.
    """
    fields = [as_object(one, source) for one in (document if isinstance(document, list) else [document])]
    where = f"{source}: label_definitions"
    definitions = [_definitions(one.get("label_definitions"), where) for one in fields]
    found = as_object(fields[-1].get("labels_after", {}) if fields else {}, f"{source}: labels_after")
    labels = [{"unit_id": unit, "labels": chosen} for unit, chosen in found.items()]
    return Curation(
        events=dict(events),
        definitions={name: one for each in definitions for name, one in each.items()},
        labels=_labels(labels, f"{source}: labels_after"),
    ).complete(source)


def as_text(steps: Sequence[Curation]) -> str:
    """Return a curation as a JSON text, a line for each field.

    Parameters
    ----------
    steps : sequence of Curation
        One, or several of which each is of the units that the one before makes: a list of documents.

    Returns
    -------
    str
        The last document has the labels of the new units as `labels_after`, which SpikeInterface does not read.
    """
    documents = [step.as_document() for step in steps]
    after = labels_after(steps)
    if after:
        documents[-1]["labels_after"] = {
            str(unit): {name: [*chosen] for name, chosen in labels.items()} for unit, labels in after.items()
        }
    texts = [
        "{\n" + ",\n".join(f" {json.dumps(name)}: {_json(value)}" for name, value in one.items()) + "\n}"
        for one in documents
    ]
    return (texts[0] if len(texts) == 1 else "[\n" + ",\n".join(texts) + "\n]") + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
