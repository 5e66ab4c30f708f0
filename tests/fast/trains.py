"""Spike trains for the tests of comparison, and the largest matching of two as scipy finds it."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from spikecrate.sortings import Sorting

RATE = 1000.0
"""One sample is one millisecond."""
TRAIN = st.lists(st.integers(0, 60), max_size=25)


def sorting_of(*trains, rate=RATE):
    times = [time for train in trains for time in train]
    labels = [label for label, train in enumerate(trains, start=1) for _ in train]
    return Sorting.from_events(times, labels, sampling_frequency=rate)


def largest_matching(true_train, found_train, tolerance):
    near = np.abs(np.subtract.outer(true_train, found_train)) <= tolerance
    return int((maximum_bipartite_matching(csr_matrix(near), perm_type="column") >= 0).sum())
