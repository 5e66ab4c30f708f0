"""Match the events of two sortings one to one, for every unit of one with every unit of the other.

Two events are in reach when they are at most the tolerance apart. The matches of two units are a largest set of pairs
in reach in which no event occurs twice. Both trains are sorted and the tolerance is the same for all events, so the
greedy rule of Glover (1967, doi:10.1002/nav.3800140304) finds it: each event in turn takes the earliest free partner.

Few pairs compete: two pairs of the same two units share an event only where one of the units has two events within
twice the tolerance. Such events are crowded. A histogram counts the pairs without a crowded event, and the greedy rule
visits the others alone. Time grows linearly with the number of pairs in reach; beyond its input and the table of
counts, memory is one byte an event and a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

CHUNK: Final = 1 << 15
"""Events in one step: few enough that its arrays stay in the processor's cache."""
PAIRS: Final = 1 << 22
"""Upper limit of the pairs in one histogram, and of the pairs in reach in one step."""
SPARSE: Final = 32
"""Samples per event from which a binary search is faster than a table with one entry per sample."""
LONG_RUN: Final = 16
"""Competing candidates per run from which a loop is faster than steps over all runs at once."""
TABLE: Final = 1 << 22
"""Labels below this number, or below the number of events, are looked up in a table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """Events of a sorting with its units numbered from 0.

    Attributes
    ----------
    times : numpy.ndarray
        Float64, ascending, one per event.
    numbers : numpy.ndarray
        Unsigned, one per event: the place of its unit in `labels`.
    labels, events : numpy.ndarray
        Int64, label and number of events of each unit, by ascending label.
    """

    times: NDArray[np.float64]
    numbers: NDArray[np.unsignedinteger[Any]]
    labels: NDArray[np.int64]
    events: NDArray[np.int64]


def number_units(times: NDArray[np.float64], labels: NDArray[np.int64]) -> Units:
    """Return the events of a sorting with its units numbered from 0.

    Parameters
    ----------
    times : numpy.ndarray
        Float64, ascending, one per event.
    labels : numpy.ndarray
        Int64, one per event, 0 or more.

    Returns
    -------
    Units
    """
    import numpy as np

    if labels.max(initial=0) < max(TABLE, len(labels)):
        counts = np.bincount(labels)
        units = np.flatnonzero(counts)
        number_of = np.zeros(len(counts), dtype=np.min_scalar_type(len(units)))
        number_of[units] = np.arange(len(units))
        return Units(times=times, numbers=number_of[labels], labels=units, events=counts[units])
    units, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return Units(
        times=times, numbers=numbers.astype(np.min_scalar_type(len(units))), labels=units, events=counts
    )


def count_matches(first: Units, second: Units, tolerance: float) -> NDArray[np.int64]:
    """Count the matches of every unit of one sorting with every unit of another.

    Parameters
    ----------
    first, second : Units
        Either may be empty.
    tolerance : float
        Samples; events exactly this far apart are in reach.

    Returns
    -------
    numpy.ndarray
        Int64, units of the first x units of the second.
    """
    import numpy as np

    rows, columns = len(first.labels), len(second.labels)
    # The last row and column receive the pairs with a crowded event, and are dropped.
    table = np.zeros((rows + 1) * (columns + 1), dtype=np.int64)
    greedy, last_taken = np.zeros((2, rows * columns), dtype=np.int64)
    last_taken -= 1
    first_crowded, second_crowded = _crowded(first, tolerance), _crowded(second, tolerance)
    codes, filled = np.empty(PAIRS, dtype=np.int64), 0
    for begin, low, start, reach in _steps(first.times, second.times, tolerance):
        mine = slice(begin, begin + len(start))
        theirs = slice(low, low + int((start + reach).max()))
        row, column = first.numbers[mine].astype(np.int64), second.numbers[theirs].astype(np.int64)
        own, other = _crowded_pairs(first_crowded[mine], second_crowded[theirs], start, reach)
        pair, *_ = _take(row[own] * columns + column[other], own + begin, other + low, last_taken)
        np.add.at(greedy, pair, 1)
        row[first_crowded[mine]], column[second_crowded[theirs]] = rows, columns
        row *= columns + 1
        # Order events by reach, the longest first: those with a partner at a given place are a prefix.
        most = int(reach.max())
        order = np.argsort((most - reach).astype(np.min_scalar_type(most)), kind="stable")
        partners, row = start[order], row[order]
        with_partner = len(reach) - np.cumsum(np.bincount(reach))
        for place, count in enumerate(with_partner[:most].tolist()):
            if filled + count > PAIRS:
                table += np.bincount(codes[:filled], minlength=len(table))
                filled = 0
            code = codes[filled : filled + count]
            # No index is out of range; with "raise" numpy fills a copy of `out` first.
            np.take(column[place:], partners[:count], out=code, mode="clip")
            code += row[:count]
            filled += count
    table += np.bincount(codes[:filled], minlength=len(table))
    matches: NDArray[np.int64] = table.reshape(rows + 1, columns + 1)[:rows, :columns]
    return matches + greedy.reshape(rows, columns)


def matched_events(
    first: Units, second: Units, partner: NDArray[np.int64], tolerance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Match the events of units that are paired.

    Parameters
    ----------
    first, second : Units
        Either may be empty.
    partner : numpy.ndarray
        Int64, for each unit of the first sorting the number of its unit in the second; -1 for none. Several units
        may have the same partner; each is then matched by itself.
    tolerance : float
        Samples; events exactly this far apart are in reach.

    Returns
    -------
    own, other : numpy.ndarray
        Int64, one entry per match: the event of the first sorting, ascending, and that of the second.
    """
    import numpy as np

    last_taken = np.full(len(partner), -1, dtype=np.int64)
    found = []
    for begin, low, start, reach in _steps(first.times, second.times, tolerance):
        own, other = _ranges(start, reach)
        own += begin
        other += low
        paired = second.numbers[other] == partner[first.numbers[own]]
        own, other = own[paired], other[paired]
        _, own, other = _take(first.numbers[own].astype(np.int64), own, other, last_taken)
        order = np.argsort(own, kind="stable")
        found.append(np.stack([own[order], other[order]]))
    own, other = np.concatenate([np.empty((2, 0), dtype=np.int64), *found], axis=1)
    return own, other


def _steps(
    times: NDArray[np.float64], others: NDArray[np.float64], tolerance: float
) -> Iterator[tuple[int, int, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the first event of a step, an event of the others, and from there `start` and number in reach of each."""
    import numpy as np

    begin = low = 0
    while begin < len(times):
        low += int(np.searchsorted(others[low:], times[begin] - tolerance))
        end = begin + CHUNK
        if low + CHUNK < len(others):
            # Neither side of a step is much longer than a chunk.
            end = max(begin + 1, min(end, int(np.searchsorted(times, others[low + CHUNK]))))
        stretch = times[begin:end]
        high = low + int(np.searchsorted(others[low:], stretch[-1] + tolerance, side="right"))
        start, reach = _in_reach(stretch, others[low:high], tolerance)
        total = np.cumsum(reach)
        if total[-1] > PAIRS:
            fitting = max(1, int(np.searchsorted(total, PAIRS, side="right")))
            start, reach = start[:fitting], reach[:fitting]
        yield begin, low, start, reach
        begin += len(start)


def _in_reach(
    stretch: NDArray[np.float64], window: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each event of a stretch the first event of the window in reach, and how many there are."""
    import numpy as np

    slack = int(tolerance)
    span = int(stretch[-1] - stretch[0]) + 2 * slack + 1
    if span < SPARSE * len(stretch) and _whole(stretch) and _whole(window):
        place = (stretch - stretch[0]).astype(np.int64)
        offset = (window - stretch[0]).astype(np.int64) + slack
        before = np.zeros(span + 1, dtype=np.int64)
        np.cumsum(np.bincount(offset, minlength=span), out=before[1:])
        start, stop = before[place], before[place + (2 * slack + 1)]
    else:
        start = np.searchsorted(window, stretch - tolerance)
        stop = np.searchsorted(window, stretch + tolerance, side="right")
    return start, stop - start


def _whole(times: NDArray[np.float64]) -> bool:
    import numpy as np

    return bool((times == np.floor(times)).all())


def _crowded(units: Units, tolerance: float) -> NDArray[np.bool_]:
    """Mark the events with another event of their unit within twice the tolerance, and a sample against rounding."""
    import numpy as np

    distance = 2 * tolerance + 1
    crowded = np.zeros(len(units.times), dtype=bool)
    for begin in range(0, len(crowded), CHUNK):
        last = units.times[min(begin + CHUNK, len(crowded)) - 1]
        end = int(np.searchsorted(units.times, last + distance, side="right"))
        order = np.argsort(units.numbers[begin:end], kind="stable")
        times, numbers = units.times[begin:end][order], units.numbers[begin:end][order]
        near = np.flatnonzero((times[1:] - times[:-1] <= distance) & (numbers[1:] == numbers[:-1]))
        crowded[begin + order[near]] = True
        crowded[begin + order[near + 1]] = True
    return crowded


def _crowded_pairs(
    mine: NDArray[np.bool_], theirs: NDArray[np.bool_], start: NDArray[np.int64], reach: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the pairs in reach with a crowded event, by own event, then the other."""
    import numpy as np

    # A crowded event pairs with all events in reach; another one with the crowded events only.
    crowded = np.flatnonzero(theirs)
    before = np.concatenate([[0], np.cumsum(theirs)])
    own, other = _ranges(
        np.where(mine, start, before[start]), np.where(mine, reach, before[start + reach] - before[start])
    )
    among = ~mine[own]
    other[among] = crowded[other[among]]
    return own, other


def _ranges(
    start: NDArray[np.int64], length: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the members of ranges: for each the place of its range, and its value."""
    import numpy as np

    nonempty = np.flatnonzero(length)
    length = length[nonempty]
    shift = start[nonempty] - np.cumsum(length) + length
    return np.repeat(nonempty, length), np.arange(length.sum()) + np.repeat(shift, length)


def _take(
    unit: NDArray[np.int64], own: NDArray[np.int64], other: NDArray[np.int64], last_taken: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Choose matches among pairs that are listed by own event, then the other, for each pair of units by itself.

    `last_taken` holds for each pair of units the last event of the others that an earlier step took; own events are
    never in two steps.
    """
    import numpy as np

    free = other > last_taken[unit]
    unit, own, other = unit[free], own[free], other[free]
    order = np.argsort(unit, kind="stable")
    unit, own, other = unit[order], own[order], other[order]
    # Neighbours compete where they share their own event, or the later one reaches back to the other's.
    linked = (unit[1:] == unit[:-1]) & ((own[1:] == own[:-1]) | (other[1:] <= other[:-1]))
    competing = np.zeros(len(unit), dtype=bool)
    competing[1:] |= linked
    competing[:-1] |= linked
    taken = ~competing
    visited = np.flatnonzero(competing)
    # Candidates that compete, directly or through others, lie together. The first of each such run is taken: all runs
    # advance at once while most are short, and the loop below finishes the long ones.
    run = np.cumsum(np.concatenate([[True], ~linked]))[: len(unit)]
    while len(visited):
        first = np.diff(run[visited], prepend=-1) > 0
        head = visited[first]
        if len(head) * LONG_RUN < len(visited):
            break
        taken[head] = True
        head = head[np.cumsum(first) - 1]
        visited = visited[(own[visited] > own[head]) & (other[visited] > other[head])]
    columns = (values[visited].tolist() for values in (unit, own, other))
    unit_before = own_before = other_before = -1
    for place, here, mine, theirs in zip(visited.tolist(), *columns, strict=True):
        if here != unit_before:
            unit_before, own_before, other_before = here, -1, -1
        if mine > own_before and theirs > other_before:
            own_before, other_before = mine, theirs
            taken[place] = True
    unit, own, other = unit[taken], own[taken], other[taken]
    np.maximum.at(last_taken, unit, other)
    return unit, own, other
