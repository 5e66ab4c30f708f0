"""Run by the interpreter of SpikeInterface's own environment: `compare.py EVENTS`; prints seconds."""

import sys
import time

import numpy as np
from spikeinterface.comparison import compare_sorter_to_ground_truth
from spikeinterface.core import NumpySorting


def main() -> None:
    """Time one comparison with ground truth; it is compiled, and the spikes are in order, before."""
    events = np.load(sys.argv[1])
    rate = float(events["sampling_frequency"])
    truth, found = (
        NumpySorting.from_samples_and_labels([events[f"{side}_times"]], [events[f"{side}_labels"]], rate)
        for side in ("truth", "found")
    )
    warm = NumpySorting.from_samples_and_labels([np.array([10, 20])], [np.array([1, 2])], rate)
    compare_sorter_to_ground_truth(warm, warm, exhaustive_gt=False)
    for sorting in (truth, found):
        sorting.to_spike_vector()
    started = time.perf_counter()
    compare_sorter_to_ground_truth(truth, found, exhaustive_gt=False)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
