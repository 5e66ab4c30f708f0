"""Match the events of two sortings one to one, for every unit of one with every unit of the other.

Two events are in reach when they are at most the tolerance apart. The matches of two units are a largest set of pairs
in reach in which no event occurs twice. Both trains are sorted and the tolerance is the same for all events, so the
greedy rule of Glover (1967, doi:10.1002/nav.3800140304) finds it: each event in turn takes the earliest free partner.

Few pairs compete: two pairs of the same two units share an event only where one of the units has two events within
twice the tolerance. Such events are crowded. A histogram counts the pairs without a crowded event, and the greedy rule
visits the others alone. Time grows linearly with the number of events, and of the pairs in reach of them; beyond input
and counts, memory is a constant and a few bytes an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

CHUNK: Final = 1 << 16
"""Events in one step: few enough that its arrays stay in the processor's cache."""
PAIRS: Final = 1 << 22
"""Upper limit of the pairs in one histogram, and of the pairs in reach in one step."""
FULL_BUCKET: Final = 16
"""Events in one bucket from which a binary search is faster than buckets."""
LONG_RUN: Final = 16
"""Competing candidates per run from which a loop is faster than steps over all runs at once."""
BLOCK: Final = 1 << 12
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
    table = np.zeros((rows + 1) * (columns + 1), dtype=np.int64)
    greedy, last_taken = np.zeros((2, rows * columns), dtype=np.int64)
    last_taken -= 1
    crowded = _crowded(first, tolerance), _crowded(second, tolerance)
    # Crowded events are numbered past the last unit: the last row and column of the table receive their pairs.
    numbers = [
        _replaced(units.numbers, events, len(units.labels))
        for units, events in zip((first, second), crowded, strict=True)
    ]
    codes, filled = np.empty(PAIRS, dtype=np.int64), 0
    for begin, low, start, stop in _steps(first.times, second.times, tolerance):
        end, high = begin + len(start), low + int(stop[-1])
        own, other = _crowded_pairs(
            _between(crowded[0], begin, end), _between(crowded[1], low, high), start, stop
        )
        own += begin
        other += low
        pair, *_ = _take(
            first.numbers[own] * np.int64(columns) + second.numbers[other], own, other, last_taken
        )
        np.add.at(greedy, pair, 1)
        row = numbers[0][begin:end] * np.int64(columns + 1)
        column = numbers[1][low:high].astype(np.int64)
        reach = stop - start
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
    for begin, low, start, stop in _steps(first.times, second.times, tolerance):
        own, other = _ranges(start, stop - start)
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
    """Yield the first event of a step, one of the others, and counted from there `start` and `stop` in reach of each."""
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
        start, stop = _in_reach(stretch, others[low:high], tolerance)
        total = np.cumsum(stop - start)
        if total[-1] > PAIRS:
            fitting = max(1, int(np.searchsorted(total, PAIRS, side="right")))
            start, stop = start[:fitting], stop[:fitting]
        yield begin, low, start, stop
        begin += len(start)


def _in_reach(
    stretch: NDArray[np.float64], window: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each event of a stretch the first event of the window in reach, and the one after the last.

    Buckets of equal width, two per event of the window, give each event a place that is at most right; from there it
    moves up one by one. That takes a third of the time of a binary search.
    """
    import numpy as np

    low, high = stretch - tolerance, stretch + tolerance
    scale = 2 * len(window) / max(high[-1] - low[0], 1)
    counts = np.bincount(((window - low[0]) * scale).astype(np.int64))
    if counts.max(initial=0) > FULL_BUCKET:
        return np.searchsorted(window, low), np.searchsorted(window, high, side="right")
    last = 2 * len(window) + 1
    before = np.full(last + 1, len(window))
    before[0] = 0
    np.cumsum(counts, out=before[1 : len(counts) + 1])
    ended = np.append(window, np.inf)
    found = []
    for edge, precedes in ((low, np.less), (high, np.less_equal)):
        place = before[((edge - low[0]) * scale).astype(np.int64)]
        (behind,) = precedes(ended[place], edge).nonzero()
        while len(behind):
            place[behind] += 1
            behind = behind[precedes(ended[place[behind]], edge[behind])]
        found.append(place)
    return found[0], found[1]


def _crowded(units: Units, tolerance: float) -> NDArray[np.int64]:
    """Return the events with another event of their unit within twice the tolerance, and a sample against rounding."""
    import numpy as np

    distance = 2 * tolerance + 1
    crowded = np.zeros(len(units.times), dtype=bool)
    for begin in range(0, len(crowded), CHUNK):
        last = units.times[begin : begin + CHUNK][-1]
        end = int(np.searchsorted(units.times, last + distance, side="right"))
        times, numbers = units.times[begin:end], units.numbers[begin:end]
        for step in range(1, len(times)):
            # Compare small integers first: few events have a neighbour of their own unit.
            (same,) = (numbers[step:] == numbers[:-step]).nonzero()
            near = same[times[same + step] - times[same] <= distance] + begin
            crowded[near] = crowded[near + step] = True
            if step % 4 == 0 and (times[step:] - times[:-step]).min() > distance:
                break
    return np.flatnonzero(crowded)


def _crowded_pairs(
    mine: NDArray[np.int64],
    theirs: NDArray[np.int64],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the pairs in reach with a crowded event: for each its own event, and the other."""
    import numpy as np

    is_mine = np.zeros(len(start), dtype=bool)
    is_mine[mine] = True
    place, other = _ranges(start[mine], (stop - start)[mine])
    own = mine[place]
    # `start` and `stop` ascend, so the own events that reach a given one are a range, too.
    first = np.searchsorted(stop, theirs, side="right")
    place, reaching = _ranges(first, np.searchsorted(start, theirs, side="right") - first)
    new = ~is_mine[reaching]
    return np.concatenate([own, reaching[new]]), np.concatenate([other, theirs[place[new]]])


def _replaced(
    numbers: NDArray[np.unsignedinteger[Any]], events: NDArray[np.int64], number: int
) -> NDArray[np.unsignedinteger[Any]]:
    """Return a copy with another number at some events."""
    replaced = numbers.copy()
    replaced[events] = number
    return replaced


def _between(events: NDArray[np.int64], begin: int, end: int) -> NDArray[np.int64]:
    """Return the events of a stretch, counted from its start."""
    import numpy as np

    return events[slice(*np.searchsorted(events, [begin, end]))] - begin


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
    """Choose matches among pairs in reach, for each pair of units by itself; return them by unit, then own event.

    The pairs of one own event are listed by the other. `last_taken` holds for each pair of units the last event of the others that an earlier step took; own events are
    never in two steps.
    """
    import numpy as np

    free = other > last_taken[unit]
    unit, own, other = unit[free], own[free], other[free]
    order = np.argsort(unit * (own.max(initial=0) + 1) + own, kind="stable")
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
    unit_before = own_before = other_before = -1
    # Blocks, since Python's integers for all of them would not stay in the processor's cache.
    for block in np.array_split(visited, len(visited) // BLOCK + 1):
        columns = (values[block].tolist() for values in (unit, own, other))
        for place, here, mine, theirs in zip(block.tolist(), *columns, strict=True):
            if here != unit_before:
                unit_before, own_before, other_before = here, -1, -1
            if mine > own_before and theirs > other_before:
                own_before, other_before = mine, theirs
                taken[place] = True
    unit, own, other = unit[taken], own[taken], other[taken]
    np.maximum.at(last_taken, unit, other)
    return unit, own, other
