"""Events are matched one to one and as many as can be; units are paired as scipy would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from trains import RATE, TRAIN, largest_matching, sorting_of

from spikecrate.errors import UsageError
from spikecrate.sortings import Sorting, compare
from spikecrate.sortings.comparison import matching
from spikecrate.sortings.comparison.assignment import assign


def count(true_train, found_train, tolerance):
    matches = compare(sorting_of(true_train), sorting_of(found_train), tolerance).matches
    return int(matches.sum())


def test_chained_events_are_counted_in_full():
    assert count([100, 120], [105, 125], 30) == 2


def test_an_event_is_matched_once_at_most():
    assert count([100], [99, 100, 101], 5) == 1
    assert count([99, 100, 101], [100], 5) == 1


def test_the_tolerance_itself_still_matches():
    assert count([100], [105], 5) == 1
    assert count([100], [106], 5) == 0


@pytest.mark.parametrize(
    ("rate", "apart", "matches"), [(30000, 12, 1), (30000, 13, 0), (10000, 4, 1), (10000, 5, 0)]
)
def test_the_tolerance_is_in_milliseconds_whatever_the_rate(rate, apart, matches):
    truth, found = sorting_of([1000], rate=rate), sorting_of([1000 + apart], rate=rate)
    assert compare(truth, found).matches.sum() == matches


@pytest.mark.parametrize("tolerance_ms", [0.1, 0.2, 0.3, 0.7])
def test_a_tolerance_that_is_no_binary_fraction_still_reaches_its_last_sample(tolerance_ms):
    apart = round(tolerance_ms * 30)
    assert (
        compare(
            sorting_of([50], rate=30000), sorting_of([50 + apart], rate=30000), tolerance_ms
        ).matches.sum()
        == 1
    )


@given(TRAIN, TRAIN, st.integers(0, 12))
def test_as_many_events_are_matched_as_can_be(true_train, found_train, tolerance):
    if true_train and found_train:
        assert count(true_train, found_train, tolerance) == largest_matching(
            true_train, found_train, tolerance
        )


@given(TRAIN, TRAIN, st.integers(0, 12))
def test_the_number_of_matches_does_not_depend_on_which_is_the_truth(one, other, tolerance):
    assert count(one, other, tolerance) == count(other, one, tolerance)


@given(st.lists(TRAIN, max_size=4), st.lists(TRAIN, max_size=4), st.integers(0, 6))
def test_many_units_at_once_give_what_each_pair_gives_alone(true_trains, found_trains, tolerance):
    together = compare(sorting_of(*true_trains), sorting_of(*found_trains), tolerance)
    for row, unit in enumerate(together.true_units):
        for column, other in enumerate(together.found_units):
            alone = largest_matching(true_trains[unit - 1], found_trains[other - 1], tolerance)
            assert together.matches[row, column] == alone


def test_the_ratios_are_spikeforests():
    true_train = range(0, 1000, 10)
    found_train = [*range(0, 800, 10), *range(5, 205, 10)]
    (unit,) = compare(sorting_of(true_train), sorting_of(found_train)).best
    assert (unit.matches, unit.misses, unit.false_positives) == (80, 20, 20)
    assert unit.accuracy == pytest.approx(80 / 120)
    assert unit.precision == pytest.approx(80 / 100)
    assert unit.recall == pytest.approx(80 / 100)


def test_a_perfect_sorting_has_accuracy_1_under_other_labels():
    truth = sorting_of([1, 30, 60], [10, 40])
    found = Sorting.from_events(truth.times, 9 - truth.labels, sampling_frequency=RATE)
    result = compare(truth, found)
    assert [(unit.found, unit.accuracy) for unit in result.assigned] == [(8, 1.0), (7, 1.0)]
    assert result.unassigned == ()


def test_the_best_match_may_serve_twice_and_the_assignment_may_not():
    one, two = list(range(0, 1000, 20)), list(range(10, 600, 20))
    merged = sorted([*one, *two])
    result = compare(sorting_of(one, two), sorting_of(merged))
    assert [unit.found for unit in result.best] == [1, 1]
    assert [unit.found for unit in result.assigned] == [1, None]
    assert result.assigned[1].accuracy == 0
    assert result.assigned[1].misses == len(two)


def test_nothing_found_is_accuracy_0_and_no_error():
    result = compare(sorting_of([1, 2], [3]), sorting_of())
    for units in (result.best, result.assigned):
        assert [(unit.events, unit.found, unit.accuracy, unit.precision, unit.recall) for unit in units] == [
            (2, None, 0, 0, 0),
            (1, None, 0, 0, 0),
        ]


def test_no_truth_leaves_every_found_unit_unassigned():
    result = compare(sorting_of(), sorting_of([1], [2]))
    assert result.best == result.assigned == ()
    assert result.unassigned == (1, 2)


def test_units_with_no_event_in_common_are_not_matched():
    result = compare(sorting_of([10], [20]), sorting_of([500], [600]))
    assert [unit.found for unit in (*result.best, *result.assigned)] == [None] * 4


def test_sortings_of_different_rates_are_refused():
    with pytest.raises(UsageError, match="1000 Hz and 2000 Hz"):
        compare(sorting_of([1]), sorting_of([1], rate=2000.0))


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_length_of_time_is_refused(tolerance):
    with pytest.raises(UsageError, match="tolerance_ms"):
        compare(sorting_of([1]), sorting_of([1]), tolerance)


def test_the_comparison_is_json():
    import json

    given = json.loads(json.dumps(compare(sorting_of([1, 2]), sorting_of([1], [2])).as_dict()))
    assert given["best"][0]["matches"] == 1
    assert given["unassigned"] == [2]


@settings(max_examples=200)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 1000]))
def test_the_assignment_is_as_good_as_scipys(rows, columns, seed, values):
    # Few different values make many ties, which is where such a method goes wrong.
    gain = np.random.default_rng(seed).integers(-values, values + 1, (rows, columns)) / values
    mine, theirs = assign(gain), linear_sum_assignment(gain, maximize=True)
    assert gain[mine].sum() == pytest.approx(gain[theirs].sum())
    assert len(mine[0]) == min(rows, columns)
    assert len(set(mine[0].tolist())) == len(set(mine[1].tolist())) == len(mine[0])
    assert mine[0].tolist() == sorted(mine[0].tolist())


def most_by_trying_all(true_train, found_train, tolerance):
    """Leave the first true event out, or give it each found event in reach, and take the best."""
    if not true_train:
        return 0
    first, *rest = true_train
    counts = [most_by_trying_all(rest, found_train, tolerance)]
    for place, found_time in enumerate(found_train):
        if abs(found_time - first) <= tolerance:
            left = found_train[:place] + found_train[place + 1 :]
            counts.append(1 + most_by_trying_all(rest, left, tolerance))
    return max(counts)


SHORT = st.lists(st.integers(0, 20), min_size=1, max_size=5)


@given(SHORT, SHORT, st.integers(0, 6))
def test_the_matches_are_the_most_of_all_that_could_be_tried(true_train, found_train, tolerance):
    assert count(true_train, found_train, tolerance) == most_by_trying_all(true_train, found_train, tolerance)


@given(
    st.lists(TRAIN, min_size=1, max_size=4),
    st.lists(TRAIN, min_size=1, max_size=4),
    st.sampled_from([0, 0.2, 0.5, 1]),
)
def test_the_assigned_units_are_those_of_scipy_s_assignment(true_trains, found_trains, match_score):
    result = compare(sorting_of(*true_trains), sorting_of(*found_trains), 2, match_score=match_score)
    gain = np.where(result.agreement >= match_score, result.agreement, 0)
    expected = gain[linear_sum_assignment(gain, maximize=True)].sum()
    assert sum(unit.accuracy for unit in result.assigned) == pytest.approx(expected)
    assert all(unit.accuracy >= match_score for unit in result.assigned if unit.found is not None)
    assert [unit.accuracy for unit in result.best] == pytest.approx(
        result.agreement.max(axis=1, initial=0).tolist()
    )


def test_a_few_common_events_do_not_displace_a_good_match():
    """Found unit 1 and its near duplicate agree with the truth; found unit 1 shares 4 events with a noisy unit."""
    true = np.arange(1000) * 100
    noise = np.arange(1000) * 100 + 50
    found = [*true[:804], *noise[:4]]
    duplicate = true[:799]
    truth, sorting = sorting_of(true, noise), sorting_of(found, duplicate)
    raw = compare(truth, sorting, match_score=0)
    assert [unit.found for unit in raw.assigned] == [2, 1]
    first, second = compare(truth, sorting).assigned
    assert (first.found, first.accuracy) == (1, 804 / 1004)
    assert (second.found, second.accuracy) == (None, 0)
    assert raw.best == compare(truth, sorting).best


def test_the_best_match_has_a_floor_where_one_is_asked_for():
    result = compare(sorting_of(range(0, 100, 10)), sorting_of(range(0, 30, 10)))
    assert [unit.found for unit in result.best] == [unit.found for unit in result.best_from(0.3)] == [1]
    assert [unit.found for unit in result.best_from(0.31)] == [None]


@pytest.mark.parametrize("match_score", [-0.1, 1.1, float("nan")])
def test_a_match_score_that_is_no_agreement_is_refused(match_score):
    with pytest.raises(UsageError, match="match_score"):
        compare(sorting_of([1]), sorting_of([1]), match_score=match_score)


def test_the_truth_is_shifted_by_its_offset_alone():
    truth, found = sorting_of([1, 40, 90]), sorting_of([4, 43, 93])
    assert compare(truth, found).matches.sum() == 0
    assert compare(truth, found, truth_offset_ms=3).matches.sum() == 3
    assert compare(found, truth, truth_offset_ms=-3).matches.sum() == 3
    with pytest.raises(UsageError, match="truth_offset_ms"):
        compare(truth, found, truth_offset_ms=float("nan"))


BURSTS = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 160).map(lambda time: time / 4)), max_size=20)


@pytest.mark.parametrize(("chunk", "pairs", "bucket"), [(2, 3, 16), (3, 1000, 0), (5, 7, 10**6)])
@given(trains=st.tuples(BURSTS, BURSTS, BURSTS, BURSTS), tolerance=st.sampled_from([0, 0.25, 1, 2.5, 6, 40]))
def test_no_border_of_a_step_changes_a_count(chunk, pairs, bucket, trains, tolerance):
    first, second = sorting_of(*trains[:2]), sorting_of(*trains[2:])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CHUNK", chunk), ("PAIRS", max(pairs, chunk)), ("FULL_BUCKET", bucket)):
            patch.setattr(matching, name, value)
        result = compare(first, second, tolerance)
    expected = [
        [largest_matching(first.trains()[one], second.trains()[two], tolerance) for two in result.found_units]
        for one in result.true_units
    ]
    assert result.matches.tolist() == expected


@given(TRAIN, TRAIN)
def test_labels_may_be_any_whole_numbers(one, other):
    first, second = sorting_of(one, other), sorting_of(other, one)
    far = Sorting.from_events(first.times, first.labels * 2**45, sampling_frequency=RATE)
    assert compare(far, second).matches.tolist() == compare(first, second).matches.tolist()
    assert compare(far, second).true_units.tolist() == [2**45 * unit for unit in first.unit_ids.tolist()]


@pytest.mark.parametrize("chunk", [2, 5, 1 << 15])
@given(
    true_trains=st.lists(TRAIN, min_size=1, max_size=3),
    found_trains=st.lists(TRAIN, min_size=1, max_size=3),
    tolerance=st.integers(0, 12),
)
def test_the_matched_events_are_as_many_as_counted_and_each_occurs_once(
    chunk, true_trains, found_trains, tolerance
):
    first, second = (
        matching.number_units(sorting.times, sorting.labels)
        for sorting in (sorting_of(*true_trains), sorting_of(*found_trains))
    )
    counts = matching.count_matches(first, second, tolerance)
    partner = np.full(len(first.labels), -1)
    pairs = range(min(counts.shape))
    partner[pairs] = pairs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "CHUNK", chunk)
        own, other = matching.matched_events(first, second, partner, tolerance)
    assert (np.abs(first.times[own] - second.times[other]) <= tolerance).all()
    assert (first.numbers[own] == second.numbers[other]).all()
    assert len(set(own.tolist())) == len(set(other.tolist())) == len(own)
    assert own.tolist() == sorted(own.tolist())
    assert (
        np.bincount(first.numbers[own], minlength=len(partner))[pairs].tolist() == counts.diagonal().tolist()
    )


def test_a_long_chain_of_events_is_counted_in_full():
    chain = np.arange(100_000) * 2.0
    assert compare(sorting_of(chain), sorting_of(chain + 3), 4).matches[0, 0] == 100_000
