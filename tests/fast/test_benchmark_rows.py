"""A row of the benchmark's table: its spread encloses its value, in the same unit, and differences are paired."""

from __future__ import annotations

import pytest
from benchmarks import measure
from hypothesis import given
from hypothesis import strategies as st

SECONDS = st.floats(1e-4, 1e3)
ROUND = st.tuples(SECONDS, SECONDS, SECONDS, SECONDS)
NAMES = ("ours", "ours, bare", "theirs", "theirs, bare")


def difference(rounds):
    found = {name: list(values) for name, values in zip(NAMES, zip(*rounds, strict=True), strict=True)}
    return measure.difference("overhead", found, NAMES[:2], NAMES[2:], smaller=5)


def test_a_difference_is_taken_within_each_round():
    # A slow second round: unpaired, the spread would be reversed and its own median outside of it.
    row = difference([(2.0, 1.0, 12.0, 1.0), (7.0, 6.1, 17.0, 6.0), (2.1, 1.15, 12.0, 1.0)])
    assert row.ours == pytest.approx(0.95)
    assert (row.least, row.most) == (pytest.approx(0.9), pytest.approx(1.0))
    assert row.other == pytest.approx(11)
    assert row.met


@given(st.lists(ROUND, min_size=1, max_size=9))
def test_the_spread_of_a_difference_encloses_its_median(rounds):
    row = difference(rounds)
    assert row.least <= row.ours <= row.most


def test_a_difference_that_is_not_five_times_smaller_is_missed_and_says_by_how_much():
    row = difference([(2.0, 1.0, 4.0, 1.0)])
    assert not row.met
    assert row.missed_by == "400.0 ms"


def test_an_extra_time_below_nothing_meets_any_goal():
    assert difference([(1.0, 1.1, 4.0, 1.0)]).met


def test_rounds_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        measure.paired({"whole": [1.0, 2.0], "part": [1.0]}, "whole", "part")


@pytest.mark.parametrize(
    ("seconds", "value", "spread"),
    [
        ([0.9, 0.9518, 1.1], "951.8 ms", "900.0–1100.0 ms"),
        ([0.9, 1.0, 1.25], "1.00 s", "0.90–1.25 s"),
        ([0.002, 0.003, 0.004], "3.0 ms", "2.0–4.0 ms"),
    ],
)
def test_the_spread_is_in_the_unit_of_its_value(seconds, value, spread):
    found = {"ours": seconds, "theirs": [1.0] * len(seconds)}
    row = measure.at_most("start", found, "ours", "theirs", ratio=None, seconds=5)
    assert (measure.amount(row.ours, row.unit), row.spread) == (value, spread)


def test_a_rate_has_its_slowest_round_first():
    row = measure.faster("hash", {"ours": [1.0, 2.0, 4.0], "theirs": [4.0] * 3}, "ours", "theirs", size=4 * 10**9, ratio=2)  # fmt: skip
    assert (row.least, row.ours, row.most) == (1e9, 2e9, 4e9)
    assert row.spread == "1.00–4.00 GB/s"
    assert row.met


def test_a_size_is_the_same_each_time():
    assert measure.size("SIF", 126, "image", 398, ratio=0.5).spread == "the same each time"


def test_rounds_are_interleaved_in_turned_order_after_one_that_warms_up():
    calls = []
    actions = {name: lambda name=name: float(calls.append(name) or len(calls)) for name in "ab"}
    found = measure.interleaved(actions, 2)
    assert "".join(calls) == "baabba"
    assert found == {"a": [3.0, 6.0], "b": [4.0, 5.0]}
