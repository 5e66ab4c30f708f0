"""Spikes, classes, pieces and lags of units against ground truth, each equal to trying everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trains import RATE, TRAIN, largest_matching, sorting_of

from spikecrate.errors import UsageError
from spikecrate.sortings import Sorting, compare
from spikecrate.sortings.comparison.lag import estimate_lags
from spikecrate.sortings.comparison.truth import classify, find_splits, label_spikes

TRAINS = st.lists(TRAIN, max_size=4)
TOLERANCE = st.integers(0, 8)


@given(TRAINS, TRAINS, TOLERANCE, st.sampled_from([0, 0.3, 0.5]), st.integers(-3, 3))
def test_the_labelled_spikes_are_the_matches_of_assigned_units(
    true_trains, found_trains, tolerance, match_score, offset
):
    truth, found = sorting_of(*true_trains), sorting_of(*found_trains)
    result = compare(truth, found, tolerance, match_score=match_score, truth_offset_ms=offset)
    labels = label_spikes(truth, found, result)
    distance = found.times[labels.found_event] - truth.times[labels.true_event] - offset
    assert (np.abs(distance) <= tolerance).all()
    for events in (labels.true_event.tolist(), labels.found_event.tolist()):
        assert len(events) == len(set(events))
    partner = {unit.unit: unit.found for unit in result.assigned}
    assert [partner[unit] for unit in truth.labels[labels.true_event].tolist()] == found.labels[
        labels.found_event
    ].tolist()
    for unit in result.assigned:
        of_unit = labels.truth[truth.labels == unit.unit].tolist()
        assert (of_unit.count("TP"), of_unit.count("FN")) == (unit.matches, unit.misses)
        of_found = labels.found[found.labels == unit.found].tolist()
        assert (of_found.count("TP"), of_found.count("FP")) == (unit.matches, unit.false_positives)
    for unit in result.unassigned:
        assert set(labels.found[found.labels == unit].tolist()) == {"FP"}


def classes_one_by_one(result):
    """Return the classes from their definitions, unit by unit."""
    assigned = {unit.found: unit.accuracy for unit in result.assigned if unit.found is not None}
    classes = {"well_detected": [], "overmerged": [], "redundant": [], "false_positive": [], "bad": []}
    for column, unit in enumerate(result.found_units.tolist()):
        scores = result.agreement[:, column].tolist()
        if assigned.get(unit, 0) >= 0.8:
            classes["well_detected"].append(unit)
        if sum(score > 0.2 for score in scores) > 1:
            classes["overmerged"].append(unit)
        if unit in assigned:
            continue
        classes["bad"].append(unit)
        if max(scores, default=0) < 0.2:
            classes["false_positive"].append(unit)
        else:
            row = result.agreement[scores.index(max(scores))].tolist()
            if row.index(max(row)) != column:
                classes["redundant"].append(unit)
    return classes


@given(TRAINS, TRAINS, TOLERANCE)
def test_each_unit_is_in_the_classes_of_its_definitions(true_trains, found_trains, tolerance):
    result = compare(sorting_of(*true_trains), sorting_of(*found_trains), tolerance)
    classes = classify(result, exhaustive=True)
    assert {name: list(getattr(classes, name)) for name in vars(classes)} == classes_one_by_one(result)


def test_a_merged_a_doubled_and_a_made_up_unit_are_told_apart():
    one, two, three = (list(range(start, 3000, 30)) for start in (0, 10, 20))
    found = sorting_of(one, one[:60], [*two, *three], [5, 15, 25])
    classes = classify(compare(sorting_of(one, two, three), found, 0), exhaustive=True)
    assert classes.well_detected == (1,)
    assert classes.redundant == (2,)
    assert classes.overmerged == (3,)
    assert classes.false_positive == (4,)
    assert classes.bad == (2, 4)


def test_without_all_true_units_only_well_detected_ones_are_known():
    train = list(range(0, 1000, 10))
    classes = classify(compare(sorting_of(train), sorting_of(train, [5])), exhaustive=False)
    assert classes.well_detected == (1,)
    assert (classes.overmerged, classes.redundant, classes.false_positive, classes.bad) == (None,) * 4


@given(TRAINS, TRAINS, TOLERANCE)
def test_merging_the_pieces_gives_the_recall_that_is_reported(true_trains, found_trains, tolerance):
    truth, found = sorting_of(*true_trains), sorting_of(*found_trains)
    result = compare(truth, found, tolerance)
    true, other = truth.trains(), found.trains()
    expected = {unit: [] for unit in true}
    for unit, train in other.items():
        counts = {label: largest_matching(events, train, tolerance) for label, events in true.items()}
        owner = max(counts, key=counts.get, default=None)
        if counts and counts[owner] >= max(1, len(train) / 2, 0.05 * len(true[owner])):
            expected[owner].append((unit, counts[owner]))
    for split in find_splits(truth, found, result):
        pieces = expected[split.unit]
        assert sorted(split.pieces) == sorted(unit for unit, _ in pieces)
        events = true[split.unit]
        merged = [time for unit, _ in pieces for time in other[unit]]
        matched = largest_matching(events, merged, tolerance) if merged else 0
        assert split.merged_recall == pytest.approx(matched / len(events))
        assert split.merged_accuracy == pytest.approx(matched / (len(events) + len(merged) - matched))
        assert split.largest_recall == pytest.approx(
            max((count for _, count in pieces), default=0) / len(events)
        )
        assert 0 <= split.oversplit < 1


def test_a_unit_in_three_pieces_is_oversplit_by_what_the_largest_lacks():
    train = list(range(0, 1000, 10))
    found = sorting_of(train[:50], train[50:80], train[80:])
    truth = sorting_of(train)
    (split,) = find_splits(truth, found, compare(truth, found))
    assert (split.pieces, split.oversplit, split.merged_accuracy) == ((1, 2, 3), 0.5, 1)


def test_a_doubled_unit_is_not_oversplit():
    train = list(range(0, 1000, 10))
    truth, found = sorting_of(train), sorting_of(train, train)
    (split,) = find_splits(truth, found, compare(truth, found))
    assert (split.pieces, split.oversplit) == ((1, 2), 0)


def test_a_comparison_of_other_sortings_is_refused():
    truth, found = sorting_of([1, 2]), sorting_of([1])
    with pytest.raises(UsageError, match=r"found: .* not those of the comparison"):
        label_spikes(truth, sorting_of([1, 2]), compare(truth, found))


SPACED = st.lists(st.integers(30, 60), min_size=3, max_size=12).map(lambda gaps: np.cumsum(gaps).tolist())


@given(SPACED, st.integers(-12, 12), st.sampled_from([1, 2, 3]))
def test_a_shift_of_a_whole_unit_is_its_lag(train, shift, tolerance):
    truth, found = sorting_of(train), sorting_of([time + shift for time in train])
    (lag,) = estimate_lags(truth, found, tolerance, max_lag_ms=12)
    assert (lag.found, lag.lag_ms, lag.agreement) == (1, shift, 1)
    aligned = compare(truth, found, tolerance, truth_offset_ms=lag.lag_ms)
    assert aligned.matches.sum() == len(train)


@given(SPACED, st.integers(-8, 8), st.lists(st.integers(-1, 1), min_size=12, max_size=12))
def test_the_lag_of_a_jittered_unit_is_the_median_of_its_distances(train, shift, jitter):
    distances = [shift + step for step, _ in zip(jitter, train, strict=False)]
    found = [time + distance for time, distance in zip(train, distances, strict=True)]
    (lag,) = estimate_lags(sorting_of(train), sorting_of(found), 4, max_lag_ms=12)
    assert lag.lag_ms == np.median(distances)


@given(TRAINS, TRAINS, st.integers(1, 4))
def test_no_lag_that_is_tried_agrees_more_than_that_of_the_unit_found(true_trains, found_trains, tolerance):
    """The window around the lag is centred anew on the median; where no event is jittered it loses none."""
    truth, found = sorting_of(*true_trains), sorting_of(*found_trains)
    unshifted = compare(truth, found, tolerance)
    for row, lag in enumerate(estimate_lags(truth, found, tolerance, max_lag_ms=2 * tolerance)):
        tried = [
            compare(truth, found, tolerance, truth_offset_ms=step * tolerance).agreement[row]
            for step in range(-2, 3)
        ]
        assert (lag.found is None) == (not np.any(tried))
        if lag.found is not None:
            column = found.unit_ids.tolist().index(lag.found)
            assert np.max([agreement[column] for agreement in tried]) == np.max(tried)
            assert lag.unshifted_agreement == unshifted.agreement[row, column]
            again = compare(truth, found, tolerance, truth_offset_ms=lag.lag_ms)
            assert lag.agreement == pytest.approx(again.agreement[row, column])


def test_each_unit_has_a_lag_of_its_own_and_nothing_is_shifted():
    one, two = [100, 300, 500, 800], [150, 370, 590, 910]
    found = sorting_of([time - 3 for time in two], [time + 2 for time in one])
    truth = sorting_of(one, two, [50_000])
    lags = estimate_lags(truth, found, 1)
    assert [(lag.unit, lag.found, lag.lag_ms) for lag in lags] == [(1, 2, 2), (2, 1, -3), (3, None, None)]
    assert [lag.unshifted_agreement for lag in lags] == [0, 0, 0]
    assert compare(truth, found, 1).matches.sum() == 0


@pytest.mark.parametrize("given", [{"tolerance_ms": 0}, {"max_lag_ms": -1}, {"max_lag_ms": float("inf")}])
def test_a_lag_needs_a_tolerance_and_an_end(given):
    with pytest.raises(UsageError, match="max_lag_ms"):
        estimate_lags(sorting_of([1]), sorting_of([1]), **given)


PUBLISHED = [
    ("MountainSort4", 1029, 719, 102, 310, 0.636, 0.876, 0.699),
    ("MountainSort4", 210, 125, 9, 85, 0.571, 0.933, 0.595),
    ("IronClust", 6451, 5812, 171, 639, 0.878, 0.971, 0.901),
    ("KiloSort", 188, 118, 5497, 70, 0.021, 0.021, 0.628),
    ("KiloSort2", 3527, 3442, 68, 85, 0.957, 0.981, 0.976),
]
"""Units of SpikeForest's study paired_boyden32c, as published on 2019-12-11 (flatironinstitute/spike-front, commit
3abe3a6c): sorter, true events, matches, false positives, false negatives; accuracy, precision and recall to three
digits."""


@pytest.mark.parametrize(
    ("sorter", "events", "matches", "extra", "misses", "accuracy", "precision", "recall"), PUBLISHED
)
def test_published_counts_give_the_published_ratios(
    sorter, events, matches, extra, misses, accuracy, precision, recall
):
    true = np.arange(events) * 50
    found = np.concatenate([true[:matches] + 3, 25 + 50 * np.arange(extra)])
    sorting = Sorting.from_events(found, np.ones(len(found)), sampling_frequency=RATE)
    (unit,) = compare(sorting_of(true), sorting, 3).best
    assert (unit.matches, unit.misses, unit.false_positives) == (matches, misses, extra), sorter
    assert [round(ratio, 3) for ratio in (unit.accuracy, unit.precision, unit.recall)] == [
        accuracy,
        precision,
        recall,
    ]
