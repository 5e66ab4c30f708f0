"""What a sorter answers, checked and put in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate_harness.answer import SortingError, as_firings

events = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 5), st.integers(0, 4)), max_size=30)


@given(events, st.randoms())
def test_the_order_in_which_a_sorter_tells_events_is_of_no_effect(rows, random):
    shuffled = random.sample(rows, len(rows))
    told, again = ([np.array(column) for column in zip(*some, strict=True)] for some in (rows, shuffled))
    empty = (np.array([]),) * 3
    firings = as_firings(tuple(told) or empty, 100, 4)
    assert np.array_equal(firings, as_firings(tuple(again) or empty, 100, 4))
    assert firings.shape == (3, len(rows))
    assert sorted(rows) == [(int(time), int(label), int(channel)) for channel, time, label in firings.T]


def test_no_events_are_a_sorting():
    firings = as_firings(([], []), 100, 4)
    assert firings.shape == (3, 0)
    assert firings.dtype == np.float64


def test_channels_that_are_not_told_are_zero():
    assert as_firings(([5], [1]), 100, 4).tolist() == [[0], [5], [1]]


def test_times_between_samples_are_kept():
    assert as_firings(([5.25], [1]), 100, 4)[1, 0] == 5.25


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "NoneType"),
        (([1],), "tuple"),
        (([1, 2], [1]), "2 times, 1 labels"),
        (([1], [1], [1, 2]), "2 channels"),
        (([[1]], [[1]]), "2 dimensions"),
        ((["a"], [1]), "times"),
        (([np.nan], [1]), "times: nan"),
        (([np.inf], [1]), "times: inf"),
        (([-1], [1]), "times: -1"),
        (([5, 100], [1, 1]), r"times: 100 \(event 1"),
        (([1], [0]), "labels: 0"),
        (([1], [1.5]), "labels: 1.5"),
        (([1], [np.nan]), "labels: nan"),
        (([1], [1], [5]), "channels: 5"),
        (([1], [1], [-1]), "channels: -1"),
        (([1], [1], [0.5]), "channels: 0.5"),
    ],
)
def test_what_is_not_a_sorting_is_refused_and_named(answer, words):
    with pytest.raises(SortingError, match=words):
        as_firings(answer, 100, 4)
