"""Consensus of several sortings of one recording: units that they agree on, and spikes by vote.

Units are grouped as in consensus sorting (Buccino et al. 2020, doi:10.7554/eLife.61834), over all sortings at once.
The spikes are voted on one by one, with the tolerance of the comparison: a spike that two sorters report a few samples
apart is one event with two votes, not two events.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from spikecrate.errors import UsageError
from spikecrate.sortings.comparison.compare import MATCH_SCORE, TOLERANCE_MS, compare
from spikecrate.sortings.model import Sorting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from spikecrate.sortings.comparison.compare import Comparison

    Member = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class ConsensusUnit:
    """A unit that several sortings have.

    Attributes
    ----------
    unit : int
        Label in the consensus, from 1.
    members : dict
        Name of each sorting that has the unit, to its label there.
    agreement : float
        Mean agreement of its members, over all pairs of them.
    events : int
        Events with enough votes.
    """

    unit: int
    members: dict[str, int]
    agreement: float
    events: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Consensus:
    """Units and events that several sortings agree on.

    Attributes
    ----------
    sorting : Sorting
        The events; the time of each is the median of its voters' times.
    votes : numpy.ndarray
        Int64, for each event of `sorting` the number of sortings that have it.
    units : tuple of ConsensusUnit
        By label: the most members first, then the highest agreement. A unit may be without events.
    least_votes : int
        Sortings that had to have an event.
    comparisons : dict
        Comparison of each pair of sortings, by their names in order.
    """

    sorting: Sorting
    votes: NDArray[np.int64]
    units: tuple[ConsensusUnit, ...]
    least_votes: int
    comparisons: dict[tuple[str, str], Comparison]


def find_consensus(
    sortings: Mapping[str, Sorting],
    *,
    tolerance_ms: float = TOLERANCE_MS,
    match_score: float = MATCH_SCORE,
    least_votes: int | None = None,
) -> Consensus:
    """Find the units that several sortings have, and vote on their events.

    All pairs of sortings are compared, and their assigned units joined to groups, the highest agreement first; a join
    that would put two units of one sorting into a group is left out. A group of at least `least_votes` members is a
    unit. Its events are taken in order of time: where at least `least_votes` members have a free event within the
    tolerance from the earliest free one on, the earliest of each become one event; else that one is dropped.
    Where every member has to vote, no rule finds more events.

    Parameters
    ----------
    sortings : mapping
        Name to sorting, two or more of the same recording.
    tolerance_ms, match_score : float
        As in `compare`. The votes for one event lie within the tolerance.
    least_votes : int, optional
        Sortings that must have an event; more than half of them by default.

    Returns
    -------
    Consensus

    Raises
    ------
    UsageError
        If there are fewer than two sortings, their sampling frequencies differ, or a parameter is out of its range.

    Examples
    --------
    >>> one, two, three = (
    ...     Sorting.from_events(times, [1] * len(times), sampling_frequency=30000)
    ...     for times in ([100, 200, 300], [102, 203, 900], [101, 299, 400])
    ... )
    >>> consensus = find_consensus({"a": one, "b": two, "c": three}, match_score=0.4)
    >>> consensus.sorting.times.tolist(), consensus.votes.tolist()
    ([101.0, 201.5, 299.5], [3, 2, 2])
    """
    import numpy as np

    if len(sortings) < 2:
        message = f"a consensus of {len(sortings)} sortings"
        raise UsageError(message, next_step="pass two sortings or more")
    least = len(sortings) // 2 + 1 if least_votes is None else least_votes
    if not 1 <= least <= len(sortings):
        message = f"least_votes is {least} with {len(sortings)} sortings"
        raise UsageError(message, next_step=f"pass a number from 1 to {len(sortings)}")
    comparisons = {
        (one, two): compare(sortings[one], sortings[two], tolerance_ms, match_score=match_score)
        for one, two in combinations(sortings, 2)
    }
    groups = [group for group in _groups(sortings, comparisons) if len(group) >= least]
    found = [(group, _mean_agreement(group, comparisons)) for group in groups]
    found.sort(key=lambda entry: (-len(entry[0]), -entry[1]))
    first = next(iter(sortings.values()))
    tolerance = round(tolerance_ms * first.sampling_frequency / 1000, 6)
    trains = {name: sorting.trains() for name, sorting in sortings.items()}
    voted = [_vote([trains[name][unit] for name, unit in group], least, tolerance) for group, _ in found]
    times, votes = np.concatenate([np.empty((2, 0)), *voted], axis=1)
    labels = np.repeat(np.arange(1, len(found) + 1), [len(events[0]) for events in voted])
    # The order of `Sorting.from_events`.
    order = np.lexsort((labels, times))
    return Consensus(
        sorting=Sorting.from_events(
            times[order],
            labels[order],
            sampling_frequency=first.sampling_frequency,
            num_samples=first.num_samples,
            source="the consensus",
        ),
        votes=votes[order].astype(np.int64),
        units=tuple(
            ConsensusUnit(unit=unit, members=dict(group), agreement=agreement, events=len(events[0]))
            for unit, ((group, agreement), events) in enumerate(zip(found, voted, strict=True), start=1)
        ),
        least_votes=least,
        comparisons=comparisons,
    )


def _groups(
    sortings: Mapping[str, Sorting], comparisons: Mapping[tuple[str, str], Comparison]
) -> list[list[Member]]:
    """Join assigned units, the highest agreement first; no group has two units of one sorting."""
    joins = [
        (-match.accuracy, (one, match.unit), (two, match.found))
        for (one, two), comparison in comparisons.items()
        for match in comparison.assigned
        if match.found is not None
    ]
    place = {name: number for number, name in enumerate(sortings)}
    group_of = {
        (name, unit): {name: unit} for name, sorting in sortings.items() for unit in sorting.unit_ids.tolist()
    }
    # Equal agreements go by the order of the sortings, then by label.
    for _, one, two in sorted(
        joins, key=lambda join: (join[0], place[join[1][0]], join[1][1], place[join[2][0]])
    ):
        mine, theirs = group_of[one], group_of[two]
        if mine is not theirs and not mine.keys() & theirs.keys():
            mine.update(theirs)
            group_of.update(dict.fromkeys(theirs.items(), mine))
    unique = {id(group): group for group in group_of.values()}
    return [sorted(group.items(), key=lambda member: place[member[0]]) for group in unique.values()]


def _mean_agreement(group: Sequence[Member], comparisons: Mapping[tuple[str, str], Comparison]) -> float:
    import numpy as np

    agreements = []
    for (one, unit), (two, other) in combinations(group, 2):
        comparison = comparisons[one, two]
        row, column = (
            np.searchsorted(comparison.true_units, unit),
            np.searchsorted(comparison.found_units, other),
        )
        agreements.append(comparison.agreement[row, column])
    return float(np.mean(agreements)) if agreements else 1.0


def _vote(trains: Sequence[NDArray[np.float64]], least: int, tolerance: float) -> NDArray[np.float64]:
    """Return two rows: the times of the events that at least so many trains have, and their votes."""
    import numpy as np

    times = np.concatenate(trains)
    voters = np.repeat(np.arange(len(trains)), [len(train) for train in trains])
    order = np.argsort(times, kind="stable")
    times, voters = times[order], voters[order]
    # Cut where no event of one part can share a vote with one of the next.
    starts = np.flatnonzero(np.diff(times, prepend=-np.inf) > tolerance)
    stops = np.append(starts[1:], len(times))
    part = np.repeat(np.arange(len(starts)), stops - starts)
    again = np.lexsort((voters, part))
    twice = np.flatnonzero((np.diff(part[again]) == 0) & (np.diff(voters[again]) == 0))
    simple = times[stops - 1] - times[starts] <= tolerance
    simple[part[again[twice]]] = False
    sizes = (stops - starts)[simple]
    middle = starts[simple] + sizes // 2
    medians = np.where(sizes % 2, times[middle], (times[middle - 1] + times[middle]) / 2)
    events = [np.stack([medians, sizes])[:, sizes >= least]]
    for start, stop in zip(starts[~simple].tolist(), stops[~simple].tolist(), strict=True):
        events += _vote_in_turn(times[start:stop].tolist(), voters[start:stop].tolist(), least, tolerance)
    return np.concatenate(events, axis=1)


def _vote_in_turn(
    times: list[float], voters: list[int], least: int, tolerance: float
) -> list[NDArray[np.float64]]:
    import numpy as np

    events, used = [], [False] * len(times)
    for earliest, time in enumerate(times):
        if used[earliest]:
            continue
        votes: dict[int, int] = {}
        for place in range(earliest, len(times)):
            if times[place] - time > tolerance:
                break
            if not used[place]:
                votes.setdefault(voters[place], place)
        if len(votes) >= least:
            for place in votes.values():
                used[place] = True
            events.append(np.array([[np.median([times[place] for place in votes.values()])], [len(votes)]]))
    return events
