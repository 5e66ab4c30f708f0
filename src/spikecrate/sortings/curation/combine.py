"""Add merges, removals and rules to a curation that was read, or to none."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.nearest import nearest
from spikecrate.errors import CurationError
from spikecrate.sortings.curation.model import Curation, LabelDefinition, Merge, listed, require_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spikecrate.sortings.curation.rules import Rule, Table

CATEGORY: Final = "quality"
USUAL: Final = ("good", "mua", "noise")
"""The category of labels by rule, and its usual labels: those of phy, by SpikeInterface's name."""
SOURCE: Final = "the options"


def add(
    steps: Sequence[Curation],
    *,
    merges: Sequence[Sequence[int | str]] = (),
    removed: Sequence[int | str] = (),
) -> tuple[Curation, ...]:
    """Add merges and removals of units of the sorting.

    Parameters
    ----------
    steps : sequence of Curation
        The curation; the first is of the units of the sorting.
    merges : sequence of sequence of int or str
        Units to merge; a text is the first and the last unit of a range, such as `3-8`.
    removed : sequence of int or str
        Units to leave out.

    Returns
    -------
    tuple of Curation

    Raises
    ------
    CurationError
        The sorting has no such unit, or two things are said of it; the message names the option.
    """
    first, *later = steps
    options = [
        *((f"--merge {','.join(map(str, words))}", words) for words in merges),
        *((f"--remove {word}", [word]) for word in removed),
    ]
    named = [(where, _units_of(first, words, where)) for where, words in options]
    seen = dict.fromkeys([*first.removed, *first.changed], "the curation")
    for where, units in named:
        for unit in units:
            if unit in seen:
                again = "twice" if seen[unit] == where else f"and in {seen[unit]}"
                message = f"{where}: unit {unit} is here {again}"
                raise CurationError(
                    message, next_step="say one thing of each unit, and curate the result again"
                )
            seen[unit] = where
    merged, left_out = named[: len(merges)], named[len(merges) :]
    for where, units in merged:
        if len(units) < 2:
            message = f"{where}: one unit alone is not merged"
            raise CurationError(message, next_step="write it as --merge 3,7")
    added = replace(
        first,
        merges=(*first.merges, *(Merge(units=units) for _, units in merged)),
        removed=(*first.removed, *(unit for _, units in left_out for unit in units)),
    ).complete(SOURCE)
    return _followed(added, later)


def _units_of(curation: Curation, words: Sequence[int | str], where: str) -> tuple[int, ...]:
    """Return the units that numbers and ranges name; those that a range runs over may be missing."""
    found: list[int] = []
    for word in words:
        ends = [int(end) for end in (word.split("-") if isinstance(word, str) else [word])]
        for end in ends:
            curation.require_unit(end, where)
        found += [unit for unit in curation.events if min(ends) <= unit <= max(ends)]
    return tuple(found)


def inherit(steps: Sequence[Curation], earlier: Curation) -> tuple[Curation, ...]:
    """Add the labels that the units have from an earlier curation; those of this one win.

    Parameters
    ----------
    steps : sequence of Curation
        The curation.
    earlier : Curation
        The labels of the units of the sorting, from `document.labels_of`.

    Returns
    -------
    tuple of Curation
    """
    first, *later = steps
    definitions = dict(earlier.definitions)
    for name, one in first.definitions.items():
        had = definitions.get(name, one).options
        definitions[name] = replace(one, options=tuple(dict.fromkeys([*one.options, *had])))
    labels = {}
    for unit in sorted(first.labels.keys() | earlier.labels.keys()):
        before, own = earlier.labels.get(unit, {}), first.labels.get(unit, {})
        # Where there is no label, none is taken away.
        if chosen := {**before, **{name: mine for name, mine in own.items() if mine or name in before}}:
            labels[unit] = chosen
    inherited = replace(first, definitions=definitions, labels=labels)
    return _followed(inherited.complete(SOURCE), later)


def decide(
    steps: Sequence[Curation],
    table: Table,
    *,
    keep: Rule | None = None,
    labels: Mapping[str, Rule] | None = None,
) -> tuple[Curation, ...]:
    """Add what rules say of the units of the sorting.

    A rule speaks of units as they were measured: units that are merged, split or removed otherwise are left to that, and
    a unit that has a label keeps it. Of several labels of which the rules are true, a unit gets the first.

    Parameters
    ----------
    steps : sequence of Curation
        The curation; the first is of the units of the sorting.
    table : Table
        Metrics of the units.
    keep : Rule, optional
        Units of which it is false are left out.
    labels : mapping, optional
        Rule of each label.

    Returns
    -------
    tuple of Curation
        The first tells the rules and what they decided.

    Raises
    ------
    CurationError
        The table lacks a metric, or a text is no label.
    """
    first, *later = steps
    open_units = [unit for unit in first.events if unit not in first.changed | {*first.removed}]
    told: list[dict[str, Any]] = []
    removed: tuple[int, ...] = ()
    for label in labels or ():
        require_label(label, f"--label {label}")
    if keep is not None:
        decision = keep.decide(table)
        removed = tuple(unit for unit in open_units if unit not in decision.units)
        told.append({"keep": keep.text, "removed": [*removed], "missing": _lists(decision.missing)})
    had = first.definitions.get(CATEGORY, LabelDefinition(options=USUAL, exclusive=True))
    chosen = dict(first.labels)
    for label, rule in (labels or {}).items():
        decision = rule.decide(table)
        units = [
            unit
            for unit in open_units
            if unit in decision.units
            and unit not in removed
            and not (had.exclusive and chosen.get(unit, {}).get(CATEGORY))
        ]
        for unit in units:
            before = chosen.get(unit, {})
            chosen[unit] = {
                **before,
                CATEGORY: tuple(dict.fromkeys([*before.get(CATEGORY, ()), label])),
            }
        told.append({"label": label, "rule": rule.text, "units": units, "missing": _lists(decision.missing)})
    options = tuple(dict.fromkeys([*had.options, *(labels or ())]))
    definitions = (
        {**first.definitions, CATEGORY: replace(had, options=options)} if labels else first.definitions
    )
    added = replace(
        first,
        removed=(*first.removed, *removed),
        labels=chosen,
        definitions=definitions,
        rules=(*first.rules, *told),
    ).complete(SOURCE)
    return _followed(added, later)


def leave_out(steps: Sequence[Curation], labels: Sequence[str]) -> tuple[Curation, ...]:
    """Leave out the units that end with one of some labels.

    Parameters
    ----------
    steps : sequence of Curation
        The curation.
    labels : sequence of str
        The labels.

    Returns
    -------
    tuple of Curation
        With one more curation where such a unit is new.

    Raises
    ------
    CurationError
        No unit may have such a label; the message suggests the nearest.
    """
    *earlier, last = steps
    definitions = [one for step in steps for one in step.definitions.values()]
    known = [*dict.fromkeys(chain(*(one.options for one in definitions)))]
    for label in labels:
        if label not in known:
            message = f"--remove-label {label}: there is no such label{nearest(label, known)}"
            step = f"the labels are {', '.join(known)}" if known else "name a curation with labels first"
            raise CurationError(message, next_step=step)
    units = {
        unit
        for unit, chosen in labels_after(steps).items()
        if any(label in labels for label in chain(*chosen.values()))
    }
    if not units:
        return tuple(steps)
    if units <= last.events.keys() - last.changed:
        return (*earlier, replace(last, removed=(*last.removed, *sorted(units))).complete(SOURCE))
    return (*steps, Curation(events=last.events_after(), removed=tuple(sorted(units))).complete(SOURCE))


def labels_after(steps: Sequence[Curation]) -> dict[int, dict[str, tuple[str, ...]]]:
    """Return the labels of the units after a curation.

    A merged unit has a label of an exclusive category where all of its units have it, else every label that one of them
    has; the units of a split have those of the unit. Source: `apply_curation_labels` of SpikeInterface 0.105.3.

    Parameters
    ----------
    steps : sequence of Curation
        The curation.

    Returns
    -------
    dict
        Labels of each category by unit.
    """
    labels: dict[int, dict[str, tuple[str, ...]]] = {}
    exclusive: dict[str, bool] = {}
    for step in steps:
        exclusive |= {name: one.exclusive for name, one in step.definitions.items()}
        for unit, chosen in step.labels.items():
            both = {**labels.get(unit, {}), **chosen}
            labels[unit] = {name: mine for name, mine in both.items() if mine}
        for unit in step.removed:
            labels.pop(unit, None)
        for merge in step.merges:
            before = [labels.pop(unit, {}) for unit in merge.units]
            merged = {}
            for name in dict.fromkeys(chain(*before)):
                each = [one.get(name, ()) for one in before]
                alike = len(set(each)) == 1
                merged[name] = (
                    (each[0] if alike else ()) if exclusive[name] else tuple(dict.fromkeys(chain(*each)))
                )
            labels[merge.new or 0] = {name: chosen for name, chosen in merged.items() if chosen}
        for split in step.splits:
            before_split = labels.pop(split.unit, {})
            labels.update(dict.fromkeys(split.new or (), before_split))
    return {unit: chosen for unit, chosen in sorted(labels.items()) if chosen}


def _followed(first: Curation, later: Sequence[Curation]) -> tuple[Curation, ...]:
    """Return the steps of a curation of which the first has changed: units that it leaves out are in none."""
    steps = [first]
    for step in later:
        events = steps[-1].events_after()
        gone = step.events.keys() - events.keys()
        if events.keys() - step.events.keys() or gone & step.changed:
            message = f"{SOURCE}: a later step of the curation is of unit {listed(step.events.keys() ^ events.keys())}"
            raise CurationError(
                message, next_step="curate by the file first, and the result by these options"
            )
        left = replace(
            step,
            events=events,
            labels={unit: chosen for unit, chosen in step.labels.items() if unit not in gone},
            removed=tuple(unit for unit in step.removed if unit not in gone),
        )
        steps.append(left.complete(SOURCE))
    return tuple(steps)


def _lists(missing: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    return {name: [*units] for name, units in missing.items()}
