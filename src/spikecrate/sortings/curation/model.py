"""The model of a curation: SpikeInterface's curation format 2, complete and valid for one sorting.

Source: `spikeinterface.curation.curation_model`, 0.105.3. Two things are stricter here: every new unit has its label in
the document, and no new unit takes the label of a removed one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.nearest import nearest
from spikecrate.errors import CurationError
from spikecrate_harness.unit_table import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT_VERSION: Final = "2"
NEXT: Final = "correct the curation and name it again"


@dataclass(frozen=True, kw_only=True)
class LabelDefinition:
    """The labels of one category.

    Attributes
    ----------
    options : tuple of str
        Labels that a unit may have.
    exclusive : bool
        Whether a unit has at most one of them.
    """

    options: tuple[str, ...]
    exclusive: bool


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Units that become one.

    Attributes
    ----------
    units : tuple of int
        The units, two or more.
    new : int or None
        Label of the new unit, a new number or one of `units`; None for the next free number.
    """

    units: tuple[int, ...]
    new: int | None = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """A unit that becomes several.

    Attributes
    ----------
    unit : int
        The unit.
    parts : tuple of tuple of int
        Events of each new unit, by their place in time among the events of `unit`, from 0. Events in no part are one
        more new unit.
    new : tuple of int or None
        Labels of the new units, new numbers; None for the next free ones.
    """

    unit: int
    parts: tuple[tuple[int, ...], ...]
    new: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Curation:
    """What becomes of the units of a sorting.

    Attributes
    ----------
    events : dict
        Number of events of each unit of the sorting.
    definitions : dict
        Labels of each category.
    labels : dict
        Labels of each category, by unit of the sorting; an empty one takes away those of the category that it has.
    removed : tuple of int
        Units that are left out.
    merges, splits : tuple
        Units that become others; no unit is in two of them.
    rules : tuple of dict
        Rules that decided some of it, as the document tells them.

    Examples
    --------
    >>> curation = Curation(events={1: 10, 2: 20, 3: 5}, merges=(Merge(units=(1, 3)),)).complete("an example")
    >>> curation.merges
    (Merge(units=(1, 3), new=4),)
    >>> curation.events_after()
    {2: 20, 4: 15}
    """

    events: Mapping[int, int]
    definitions: Mapping[str, LabelDefinition] = field(default_factory=dict)
    labels: Mapping[int, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    removed: tuple[int, ...] = ()
    merges: tuple[Merge, ...] = ()
    splits: tuple[Split, ...] = ()
    rules: tuple[Mapping[str, Any], ...] = ()

    def complete(self, source: str) -> Curation:
        """Check the curation, and give every new unit its label.

        New units are numbered in order of merges, then splits, from one above the largest label of the sorting.

        Parameters
        ----------
        source : str
            Origin of the curation, for messages.

        Returns
        -------
        Curation

        Raises
        ------
        CurationError
            The curation contradicts itself or does not fit the sorting; the message names source, field and unit.
        """
        self._check_units(source)
        self._check_labels(source)
        given = {unit for merge in self.merges if (unit := merge.new) is not None}
        given |= {unit for split in self.splits for unit in split.new or ()}
        last = max([0, *self.events, *given])
        merges = []
        for merge in self.merges:
            last = last + 1 if merge.new is None else last
            merges.append(Merge(units=merge.units, new=last if merge.new is None else merge.new))
        splits = []
        for place, split in enumerate(self.splits):
            where = f"{source}: splits[{place}]"
            parts = self._parts(split, where)
            new = [*(split.new or ())]
            # SpikeInterface lets the rest have a label or not.
            missing = len(parts) - len(new)
            if missing < 0 or (split.new is not None and missing > len(parts) - len(split.parts)):
                message = f"{where}: new_unit_ids: {len(new)} labels for {len(parts)} new units"
                raise CurationError(message, next_step=NEXT)
            new += range(last + 1, last + 1 + missing)
            last += missing
            splits.append(Split(unit=split.unit, parts=parts, new=tuple(new)))
        self._check_new(source, merges, splits)
        removed = tuple(sorted(self.removed))
        return replace(self, removed=removed, merges=tuple(merges), splits=tuple(splits))

    def events_after(self) -> dict[int, int]:
        """Return the number of events of each unit after this curation.

        Returns
        -------
        dict
            Number of events by unit, ascending; the curation is complete.
        """
        left = {unit: count for unit, count in self.events.items() if unit not in self.removed}
        for merge in self.merges:
            assert merge.new is not None
            left[merge.new] = sum([left.pop(unit) for unit in merge.units])
        for split in self.splits:
            del left[split.unit]
            left.update(zip(split.new or (), map(len, split.parts), strict=True))
        return dict(sorted(left.items()))

    def as_document(self) -> dict[str, Any]:
        """Return the curation as a document of SpikeInterface's format 2.

        Returns
        -------
        dict
            JSON types; `rules` is there where rules decided.
        """
        return {
            "format_version": FORMAT_VERSION,
            "unit_ids": [*self.events],
            "label_definitions": {
                name: {"label_options": [*one.options], "exclusive": one.exclusive}
                for name, one in self.definitions.items()
            },
            "manual_labels": [
                {"unit_id": unit, "labels": {name: [*chosen] for name, chosen in labels.items()}}
                for unit, labels in sorted(self.labels.items())
            ],
            "removed": [*self.removed],
            "merges": [{"unit_ids": [*merge.units], "new_unit_id": merge.new} for merge in self.merges],
            "splits": [
                {
                    "unit_id": split.unit,
                    "mode": "indices",
                    "indices": [[*part] for part in split.parts],
                    "new_unit_ids": None if split.new is None else [*split.new],
                }
                for split in self.splits
            ],
            **({"rules": [*self.rules]} if self.rules else {}),
        }

    @property
    def changed(self) -> set[int]:
        """Units that are merged or split."""
        return {unit for merge in self.merges for unit in merge.units} | {split.unit for split in self.splits}

    def _check_units(self, source: str) -> None:
        """Refuse units that the sorting does not have, and units of which two things are said."""
        named = [
            *((f"removed[{place}]", (unit,)) for place, unit in enumerate(self.removed)),
            *((f"merges[{place}]", merge.units) for place, merge in enumerate(self.merges)),
            *((f"splits[{place}]", (split.unit,)) for place, split in enumerate(self.splits)),
        ]
        seen: dict[int, str] = {}
        for where, units in named:
            for unit in units:
                self.require_unit(unit, f"{source}: {where}")
                if unit in seen:
                    again = "twice" if seen[unit] == where else f"and in {seen[unit]}"
                    message = f"{source}: {where}: unit {unit} is here {again}"
                    raise CurationError(
                        message, next_step="say one thing of each unit, and curate the result again"
                    )
                seen[unit] = where
        for place, merge in enumerate(self.merges):
            if len(merge.units) < 2:
                message = f"{source}: merges[{place}]: one unit alone is not merged"
                raise CurationError(message, next_step=NEXT)

    def require_unit(self, unit: int, where: str) -> None:
        """Refuse a unit that the sorting does not have.

        Parameters
        ----------
        unit : int
            The unit.
        where : str
            File and field, or the option.

        Raises
        ------
        CurationError
            There is no such unit; the message suggests the nearest.
        """
        if unit not in self.events:
            message = f"{where}: the sorting has no unit {unit}{nearest(str(unit), map(str, self.events))}"
            raise CurationError(message, next_step=f"its units are {listed(self.events)}")

    def _check_labels(self, source: str) -> None:
        if taken := sorted(self.definitions.keys() & {*Row._fields}):
            message = f"{source}: label_definitions: {taken[0]!r} is a column of the table of units"
            raise CurationError(message, next_step="give these labels another name")
        for text in [text for name, one in self.definitions.items() for text in (name, *one.options)]:
            require_label(text, f"{source}: label_definitions")
        for unit, labels in self.labels.items():
            where = f"{source}: manual_labels: unit {unit}"
            self.require_unit(unit, f"{source}: manual_labels")
            for name, chosen in labels.items():
                definition = self.definitions.get(name)
                if definition is None:
                    message = (
                        f"{where}: {name!r} is not in label_definitions{nearest(name, self.definitions)}"
                    )
                    raise CurationError(message, next_step=NEXT)
                unknown = [label for label in chosen if label not in definition.options]
                if unknown:
                    near = nearest(unknown[0], definition.options)
                    message = f"{where}: {name}: {unknown[0]!r} is not one of its label_options{near}"
                    raise CurationError(message, next_step=f"they are {', '.join(definition.options)}")
                if definition.exclusive and len(chosen) > 1:
                    message = f"{where}: {name}: {', '.join(chosen)} exclude each other"
                    raise CurationError(message, next_step="keep one of them")

    def _parts(self, split: Split, where: str) -> tuple[tuple[int, ...], ...]:
        """Return the events of every new unit of a split, with one more for those that it does not name."""
        count = self.events[split.unit]
        counted = Counter(index for part in split.parts for index in part)
        if wrong := [index for index in counted if not 0 <= index < count]:
            message = f"{where}: indices: {wrong[0]} is not from 0 to {count - 1}, unit {split.unit} has {count} events"
            raise CurationError(message, next_step=NEXT)
        if counted and max(counted.values()) > 1:
            index = next(index for index, times in counted.items() if times > 1)
            message = f"{where}: indices: {index} is there twice"
            raise CurationError(message, next_step=NEXT)
        rest = tuple(index for index in range(count) if index not in counted)
        parts = (*(tuple(sorted(part)) for part in split.parts), *((rest,) if rest else ()))
        if len(parts) < 2 or not all(parts):
            what = "a part has no event" if len(parts) > 1 else f"unit {split.unit} stays whole"
            message = f"{where}: indices: {what}"
            raise CurationError(message, next_step=NEXT)
        return parts

    def _check_new(self, source: str, merges: list[Merge], splits: list[Split]) -> None:
        """Refuse new labels that a unit has already."""
        made: set[int] = set()
        named: Iterable[tuple[str, tuple[int, ...], tuple[int, ...]]] = [
            *(
                (f"merges[{n}]: new_unit_id", (merge.new or 0,), merge.units)
                for n, merge in enumerate(merges)
            ),
            *((f"splits[{n}]: new_unit_ids", split.new or (), ()) for n, split in enumerate(splits)),
        ]
        for where, units, own in named:
            for unit in units:
                if unit in made or (unit in self.events and unit not in own):
                    message = f"{source}: {where}: there is a unit {unit} already"
                    raise CurationError(message, next_step="give the new unit another number, or none")
                made.add(unit)


def require_label(text: str, where: str) -> None:
    """Refuse a text that cannot be a label: half a surrogate pair cannot be written, a `;` joins labels in units.csv.

    Parameters
    ----------
    text : str
        The text.
    where : str
        File and field, or the option.

    Raises
    ------
    CurationError
        It is no label.
    """
    if not text or not text.isprintable() or ";" in text:
        message = f"{where}: {text!r} is not a label"
        raise CurationError(message, next_step="give it a name of printable characters without ';'")


def listed(units: Iterable[int]) -> str:
    """Return units in words, the first few of many.

    Parameters
    ----------
    units : iterable of int
        The units.

    Returns
    -------
    str

    Examples
    --------
    >>> listed([3, 1]), listed(range(1, 100))
    ('1, 3', '1, 2, 3, 4, 5, 6, 7, 8 and 91 more')
    """
    known = sorted(units)
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    return ", ".join(map(str, known[:8])) + more
