"""Read an export as others do: phy by phylib's own model, a sorting by SpikeInterface. Prints JSON.

`python read_back.py phy FOLDER TRACES`, TRACES a .npy file with the samples of the recording;
`python read_back.py features FOLDER EVENTS PLACE`, which saves the principal components of some events;
`python read_back.py merge FOLDER`, which saves a merge as phy does; `python read_back.py FORMAT FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def phy(folder, traces):
    from phylib.io.model import load_model

    model = load_model(folder / "params.py")
    templates = {int(template): model.get_template(template) for template in model.template_ids}
    expected = np.load(traces)
    seen = None if model.traces is None else model.traces[: len(expected)]
    _amplitudes, physical, largest = model.get_amplitudes_true()
    features = model.get_features(
        np.arange(model.n_spikes), model.get_template(model.template_ids[0]).channel_ids
    )
    return {
        "samples": model.spike_samples.tolist(),
        "units": model.spike_clusters.tolist(),
        "templates": model.spike_templates.tolist(),
        "shown": model.traces is not None,
        "equal": bool(seen is not None and seen.dtype == expected.dtype and np.array_equal(seen, expected)),
        "best": {unit: int(found.best_channel) for unit, found in templates.items()},
        "peaks": {unit: float(np.abs(physical[unit]).max()) for unit in templates},
        "middle": {unit: int(np.abs(physical[unit]).max(axis=1).argmax()) for unit in templates},
        "length": model.n_samples_waveforms,
        "largest": {unit: float(largest[unit]) for unit in templates},
        "waveforms": list(model.get_cluster_spike_waveforms(model.cluster_ids[0]).shape)
        if seen is not None
        else None,
        "features": None if features is None else int(np.isfinite(features).all(axis=(1, 2)).sum()),
        "positions": model.channel_positions.tolist(),
        "metadata": {
            name: {str(unit): value for unit, value in of.items()} for name, of in model.metadata.items()
        },
    }


def features(folder, numbers, place):
    """Save the principal components of some events on every channel."""
    from phylib.io.model import load_model

    model = load_model(folder / "params.py")
    np.save(place, model.get_features(np.load(numbers), np.arange(model.n_channels)))
    return {"pcs": model.n_features_per_channel}


def merge(folder):
    from phylib.io.model import load_model

    model = load_model(folder / "params.py")
    first, second, *_ = model.cluster_ids
    clusters = model.spike_clusters.copy()
    clusters[np.isin(clusters, [first, second])] = clusters.max() + 1
    model.save_spike_clusters(clusters)
    model.save_metadata("group", {int(clusters.max()): "good"})
    again = load_model(folder / "params.py")
    return {"clusters": again.cluster_ids.tolist(), "templates": again.template_ids.tolist()}


def sorting(found):
    spikes = found.to_spike_vector()
    return {
        "samples": spikes["sample_index"].tolist(),
        "units": found.unit_ids[spikes["unit_index"]].tolist(),
        "rate": float(found.sampling_frequency),
        "properties": {name: found.get_property(name).tolist() for name in found.get_property_keys()},
    }


def spikeinterface(folder):
    from spikeinterface import load

    return sorting(load(folder))


def npz(folder):
    from spikeinterface.core import read_npz_sorting

    return sorting(read_npz_sorting(folder / "sorting.npz"))


def from_phy(folder):
    from spikeinterface.extractors import read_phy

    return sorting(read_phy(folder))


what, *words = sys.argv[1:]
sys.stdout.write(json.dumps(globals()[what](*map(Path, words))) + "\n")
