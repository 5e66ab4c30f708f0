"""Consensus over all sortings: the units that they share, and events by vote."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trains import RATE, TRAIN, largest_matching, sorting_of

from spikecrate.errors import UsageError
from spikecrate.sortings import Sorting, compare
from spikecrate.sortings.comparison.consensus import find_consensus

ONE_UNIT = st.lists(st.integers(0, 60), min_size=1, max_size=15)


def voted_one_by_one(trains, least, tolerance):
    """Take events in order of time by the rule of the documentation."""
    free = sorted((time, voter) for voter, train in enumerate(trains) for time in train)
    events = []
    while free:
        first = free[0][0]
        voters = {}
        for time, voter in free:
            if time - first <= tolerance:
                voters.setdefault(voter, time)
        if len(voters) < least:
            free.pop(0)
            continue
        for voter, time in voters.items():
            free.remove((time, voter))
        events.append((float(np.median(list(voters.values()))), len(voters)))
    return events


def most_common_events(trains, tolerance):
    """Try all ways to make events of one spike of each train within the tolerance, for the most events."""

    @cache
    def most(*left):
        if not all(left):
            return 0
        first = min(left, key=lambda train: train[0])
        counts = [most(*(train[1:] if train is first else train for train in left))]
        others = [train for train in left if train is not first]

        def choose(chosen, rest):
            if not rest:
                remaining = [first[1:]]
                remaining += [
                    train[:place] + train[place + 1 :] for train, place in zip(others, chosen, strict=True)
                ]
                counts.append(1 + most(*remaining))
                return
            for place, time in enumerate(rest[0]):
                if time - first[0] <= tolerance:
                    choose([*chosen, place], rest[1:])

        choose([], others)
        return max(counts)

    return most(*(tuple(sorted(train)) for train in trains))


def consensus_of(trains, tolerance, least):
    """Return the consensus of sortings of one unit each; any agreement groups them."""
    sortings = {str(number): sorting_of(train) for number, train in enumerate(trains)}
    return find_consensus(sortings, tolerance_ms=tolerance, match_score=0, least_votes=least)


@given(ONE_UNIT, ONE_UNIT, st.integers(0, 12))
def test_two_sortings_have_as_many_events_in_common_as_can_be_matched(one, other, tolerance):
    consensus = consensus_of([one, other], tolerance, 2)
    assert len(consensus.sorting) == largest_matching(one, other, tolerance)
    assert set(consensus.votes.tolist()) <= {2}


@given(
    st.lists(st.lists(st.integers(0, 25), min_size=1, max_size=5), min_size=3, max_size=3), st.integers(0, 8)
)
def test_no_rule_finds_more_events_that_all_three_have(trains, tolerance):
    consensus = consensus_of(trains, tolerance, 3)
    expected = most_common_events(trains, tolerance) if consensus.units else 0
    assert len(consensus.sorting) == expected


@given(st.lists(ONE_UNIT, min_size=2, max_size=4), st.integers(1, 4), st.integers(0, 12))
def test_events_are_voted_on_by_the_rule_of_the_documentation(trains, least, tolerance):
    least = min(least, len(trains))
    consensus = consensus_of(trains, tolerance, least)
    expected = []
    for unit in consensus.units:
        voted = voted_one_by_one([trains[int(name)] for name in unit.members], least, tolerance)
        assert unit.events == len(voted)
        expected += [(time, unit.unit, votes) for time, votes in voted]
    found = zip(consensus.sorting.times, consensus.sorting.labels, consensus.votes, strict=True)
    assert sorted(found) == sorted(expected)


def test_a_spike_that_two_sortings_report_apart_is_one_event():
    times = np.arange(1, 300) * 300
    one, other = (
        Sorting.from_events(times + shift, np.ones(299), sampling_frequency=30000) for shift in (0, 8)
    )
    for least in (1, 2):
        consensus = find_consensus({"a": one, "b": other}, least_votes=least)
        assert len(consensus.sorting) == 299
        assert set(consensus.votes.tolist()) == {2}
        assert (consensus.sorting.times == times + 4).all()


def test_every_sorting_votes_not_only_the_two_that_agree_most():
    times = np.arange(100) * 100.0
    sortings = {
        "a": sorting_of(times),
        "b": sorting_of(times[:90]),
        "c": sorting_of(times[10:]),
        "d": sorting_of(times + 50),
    }
    consensus = find_consensus(sortings, least_votes=2)
    (unit,) = consensus.units
    assert unit.members == {"a": 1, "b": 1, "c": 1}
    assert consensus.votes.tolist() == [2] * 10 + [3] * 80 + [2] * 10
    assert unit.agreement == pytest.approx((0.9 + 0.9 + 0.8) / 3)
    assert find_consensus(sortings, least_votes=3).sorting.times.tolist() == times[10:90].tolist()


@given(st.lists(st.lists(TRAIN, max_size=4), min_size=2, max_size=4), st.integers(0, 6))
def test_a_unit_has_one_member_of_a_sorting_and_a_member_one_unit(trains_of, tolerance):
    sortings = {str(number): sorting_of(*trains) for number, trains in enumerate(trains_of)}
    consensus = find_consensus(sortings, tolerance_ms=tolerance, match_score=0.3, least_votes=2)
    members = [member for unit in consensus.units for member in unit.members.items()]
    assert len(set(members)) == len(members)
    for unit in consensus.units:
        assert len(unit.members) >= 2
        scores = []
        for (one, mine), (other, theirs) in combinations(unit.members.items(), 2):
            result = compare(sortings[one], sortings[other], tolerance)
            row, column = result.true_units.tolist().index(mine), result.found_units.tolist().index(theirs)
            scores.append(result.agreement[row, column])
        assert unit.agreement == pytest.approx(np.mean(scores))
        assert max(scores) >= 0.3
    assert [unit.unit for unit in consensus.units] == list(range(1, len(consensus.units) + 1))
    assert sum(unit.events for unit in consensus.units) == len(consensus.sorting) == len(consensus.votes)


def test_the_higher_agreement_decides_which_unit_of_a_sorting_joins():
    times = np.arange(100) * 100.0
    sortings = {
        "a": sorting_of(times),
        "b": sorting_of(times[:95], times[:60] + 2),
        "c": sorting_of(times[:55]),
    }
    consensus = find_consensus(sortings, tolerance_ms=5, least_votes=2)
    assert [unit.members for unit in consensus.units] == [{"a": 1, "b": 1}, {"b": 2, "c": 1}]


def test_sortings_without_a_unit_in_common_have_an_empty_consensus():
    consensus = find_consensus({"a": sorting_of([1, 2]), "b": sorting_of(), "c": sorting_of([500])})
    assert consensus.units == ()
    assert len(consensus.sorting) == len(consensus.votes) == 0
    assert consensus.sorting.sampling_frequency == RATE


@pytest.mark.parametrize("least", [0, 3])
def test_votes_that_nobody_can_reach_are_refused(least):
    with pytest.raises(UsageError, match="least_votes"):
        find_consensus({"a": sorting_of([1]), "b": sorting_of([1])}, least_votes=least)


def test_one_sorting_has_no_consensus():
    with pytest.raises(UsageError, match="a consensus of 1 sortings"):
        find_consensus({"a": sorting_of([1])})
