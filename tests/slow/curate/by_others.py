"""Curate as others do: SpikeInterface by a curation, phy by its own model class. Prints JSON.

`python by_others.py apply FIRINGS CURATION`; `python by_others.py phy FOLDER`, which merges, splits and labels clusters;
`python by_others.py to_phy ANALYZER FOLDER`, SpikeInterface's own export; `python by_others.py save FIRINGS FILE`, a curation
that SpikeInterface writes.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np

FREQUENCY = 32000.0


def read(firings):
    from spikeinterface import NumpySorting

    data = Path(firings).read_bytes()
    rows, columns = np.frombuffer(data, "<i4", 2, 12)
    table = np.frombuffer(data, "<f8", rows * columns, 20).reshape(columns, rows)
    times, labels = np.round(table[:, 1:3].T).astype(np.int64)
    return NumpySorting.from_samples_and_labels([times], [labels], FREQUENCY, unit_ids=np.unique(labels))


def apply(firings, curation):
    from spikeinterface.curation import apply_curation

    found = apply_curation(read(firings), json.loads(Path(curation).read_text()))
    quality = found.get_property("quality")
    return {
        "trains": {str(unit): found.get_unit_spike_train(unit).tolist() for unit in found.unit_ids},
        "quality": None
        if quality is None
        else dict(zip(map(str, found.unit_ids), quality.tolist(), strict=True)),
    }


def phy(folder):
    from phylib.io.model import load_model

    model = load_model(Path(folder) / "params.py")
    clusters, sizes = model.spike_clusters.copy(), np.bincount(model.spike_clusters)
    first, second, third, *others = np.argsort(-sizes, kind="stable").tolist()
    groups = {others[0]: "mua", others[1]: "noise"}

    def change(events, *parts):
        for part in parts:
            clusters[events[part]] = clusters.max() + 1
            yield int(clusters.max())

    every = slice(None)
    (merged,) = change(np.flatnonzero(np.isin(clusters, [first, second])), every)
    # Half of the merged cluster is split off again, and the other one half.
    halves = [*change(np.flatnonzero(clusters == merged), slice(None, None, 2), slice(1, None, 2))]
    groups |= {halves[0]: "good", halves[1]: "noise"}
    [*change(np.flatnonzero(clusters == third), slice(0, 50), slice(50, None))]
    model.save_spike_clusters(clusters)
    groups = {int(cluster): groups.get(int(cluster), "unsorted") for cluster in np.unique(clusters)}
    model.save_metadata("group", groups)
    again = load_model(Path(folder) / "params.py")
    return {
        "samples": again.spike_samples.tolist(),
        "clusters": again.spike_clusters.tolist(),
        "groups": {str(cluster): group for cluster, group in again.metadata["group"].items()},
    }


def to_phy(analyzer, folder):
    from spikeinterface import load_sorting_analyzer
    from spikeinterface.exporters import export_to_phy

    loaded = load_sorting_analyzer(analyzer)
    export_to_phy(loaded, folder, compute_pc_features=False, copy_binary=False, verbose=False)
    return {}


def save(firings, file):
    from spikeinterface.curation.curation_model import Curation

    units = read(firings).unit_ids.tolist()
    quality = {"label_options": ["good", "noise"], "exclusive": True}
    made = Curation(
        format_version="2",
        unit_ids=units,
        label_definitions={"quality": quality},
        manual_labels=[{"unit_id": unit, "labels": {"quality": ["good"]}} for unit in units[:3]],
        merges=[units[:2]],
        splits={units[2]: [0, 1] * 10**6},
        removed=[units[-2]],
    )
    made.splits[0].labels = made.splits[0].labels[: len(read(firings).get_unit_spike_train(units[2]))]
    Path(file).write_text(made.model_dump_json())
    return {}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.stdout.write(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
