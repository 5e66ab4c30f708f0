"""Compare two sortings with SpikeInterface alone, as a user would: TRUTH FOUND FREQUENCY TOLERANCE_MS."""

import json
import sys
from pathlib import Path

import numpy as np
from spikeinterface import NumpySorting
from spikeinterface.comparison import compare_sorter_to_ground_truth


def sorting(path, frequency):
    data = Path(path).read_bytes()
    table = np.frombuffer(data, "<f8", offset=20).reshape(3, -1, order="F")
    times, labels = table[1:].round().astype(np.int64)
    return NumpySorting.from_samples_and_labels([times], [labels], frequency)


truth, found, frequency, tolerance = sys.argv[1:]
result = compare_sorter_to_ground_truth(
    sorting(truth, float(frequency)),
    sorting(found, float(frequency)),
    delta_time=float(tolerance),
    exhaustive_gt=True,
)
classes = {
    "well_detected": result.get_well_detected_units(well_detected_score=0.8),
    "false_positive": result.get_false_positive_units(redundant_score=0.2),
    "redundant": result.get_redundant_units(redundant_score=0.2),
    "overmerged": result.get_overmerged_units(overmerged_score=0.2),
    "bad": result.get_bad_units(),
}
sys.stdout.write(
    json.dumps(
        {
            "units": [int(unit) for unit in result.match_event_count.index],
            "found": [int(unit) for unit in result.match_event_count.columns],
            "matches": result.match_event_count.to_numpy().tolist(),
            "assigned": [int(unit) for unit in result.hungarian_match_12],
            "performance": result.get_performance()[["accuracy", "precision", "recall"]].to_numpy().tolist(),
            "classes": {name: sorted(map(int, units)) for name, units in classes.items()},
        }
    )
)
