"""One sorting of several: of the groups of a probe; and several of one: of the recordings that were joined."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.sortings.model import Sorting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spikecrate.sortings.units import Unit
    from spikecrate_harness.layout import Layout

LEAST_FACTOR: Final = 1000
SAME: Final = ("events", "rate", "snr", "isi_violations", "amplitude")
"""What a unit of a group keeps in the joined sorting."""
WHOLE: Final = re.compile("0|[1-9][0-9]{0,8}")


@dataclass(frozen=True, kw_only=True)
class GroupUnit:
    """A unit of a sorting that was joined of groups.

    Attributes
    ----------
    unit : int
        Its label in the joined sorting.
    group : str
        Name of its group.
    unit_in_group : int
        Its label in the sorting of the group.
    events : int
        Number of its events.
    rate, channel, snr, isi_violations, amplitude
        As of `Unit`; the channel is one of the whole recording.
    """

    unit: int
    group: str
    unit_in_group: int
    events: int
    rate: float
    channel: int | None
    snr: float | None
    isi_violations: float | None
    amplitude: float | None


def join_groups(
    sortings: Mapping[str, Sorting],
    units: Mapping[str, Sequence[Unit]],
    channels: Mapping[str, Sequence[int]],
) -> tuple[Sorting, tuple[GroupUnit, ...]]:
    """Join the sortings of the groups of one recording.

    The label of a unit is the number of its group times 1000 (or the next power of ten above every label) plus its label
    in the group. The number is the group's name where all names are whole numbers, else its place, from 1.

    Parameters
    ----------
    sortings : mapping
        The sorting of each group by its name; there is at least one.
    units : mapping
        The units of each of these.
    channels : mapping
        For each group the channels of the whole recording, from 0, that its channels are.

    Returns
    -------
    sorting : Sorting
        All events; channels are those of the whole recording.
    units : tuple of GroupUnit
        In the order of their labels.

    Examples
    --------
    >>> from spikecrate.sortings.units import count_units
    >>> facts = {"sampling_frequency": 30000, "num_samples": 30000}
    >>> one = Sorting.from_events([5, 9], [1, 2], channels=[0, 1], **facts)
    >>> other = Sorting.from_events([7], [1], channels=[1], **facts)
    >>> tables = {"2": count_units(one), "3": count_units(other)}
    >>> joined, units = join_groups({"2": one, "3": other}, tables, {"2": [0, 1], "3": [2, 3]})
    >>> joined.labels.tolist(), joined.channels.tolist(), units[2].group
    ([2001, 3001, 2002], [0, 3, 1], '3')
    """
    import numpy as np

    most = max((int(sorting.labels.max(initial=0)) for sorting in sortings.values()), default=0)
    factor = max(LEAST_FACTOR, 10 ** len(str(most)))
    numbers = {name: place for place, name in enumerate(sortings, start=1)}
    if all(map(WHOLE.fullmatch, sortings)):
        numbers = {name: int(name) for name in sortings}
    times, labels, primary = [], [], []
    joined_units = []
    for name, sorting in sortings.items():
        # An unknown channel, -1, is the last entry.
        known = np.array([*channels[name], -1], dtype=np.int64)
        times.append(sorting.times)
        labels.append(sorting.labels + factor * numbers[name])
        primary.append(known[sorting.channels])
        joined_units += [
            GroupUnit(
                unit=unit.unit + factor * numbers[name],
                group=name,
                unit_in_group=unit.unit,
                channel=None if unit.channel is None else channels[name][unit.channel],
                **{same: getattr(unit, same) for same in SAME},
            )
            for unit in units[name]
        ]
    first = next(iter(sortings.values()))
    joined = Sorting.from_events(
        np.concatenate(times),
        np.concatenate(labels),
        channels=np.concatenate(primary),
        sampling_frequency=first.sampling_frequency,
        num_samples=first.num_samples,
    )
    return joined, tuple(sorted(joined_units, key=lambda entry: entry.unit))


def split(sorting: Sorting, layout: Layout) -> list[Sorting]:
    """Split the sorting of a joined recording: the events of each part, with times in the samples of its file.

    Parameters
    ----------
    sorting : Sorting
        Times count from the start of the joined recording.
    layout : Layout
        Layout of the joined recording.

    Returns
    -------
    list of Sorting
        One for each part of the layout; labels mean the same unit in all of them.
    """
    found, begin = [], 0
    for part in layout.parts:
        inside = (sorting.times >= begin) & (sorting.times < begin + part.num_samples)
        found.append(
            Sorting.from_events(
                sorting.times[inside] - begin + part.start,
                sorting.labels[inside],
                channels=sorting.channels[inside],
                sampling_frequency=sorting.sampling_frequency,
                num_samples=part.file_samples,
            )
        )
        begin += part.num_samples
    return found
