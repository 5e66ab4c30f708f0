"""The export to phy, as phylib's `TemplateModel` reads it.

The number of a cluster and of its template is the label of the unit, so that `spike_templates.npy` keeps the units while
phy changes `spike_clusters.npy`. Template 0 and those of labels that no unit has are zero; phylib 2.7 misreads a folder with
a single template, which it squeezes to a table.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sorted_units import UNIT, SortedUnits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate_harness.traces import TraceReader

BLOCK_BYTES: Final = 16 * 2**20
LARGEST_LABEL: Final = 9999
"""There is a template, and a row of similarities, for each number up to the largest label."""
QUALITY: Final = "quality"
"""Column of `units.csv` with the label that a curation gave."""
GROUPS: Final = ("good", "mua", "noise")
"""Labels that phy knows as groups; any other is shown in a column of its own."""
LEFT_OUT: Final = (
    *(UNIT, "events", "rate", "num_spikes", "firing_rate", "channel", QUALITY),
    *("isi_violations", "amplitude", "x", "y", "waveforms"),
)
"""Columns that phy computes itself, or that `metrics.csv` has under another name."""


def write_phy(inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path) -> None:
    """Write the folder that phy opens by its `params.py`.

    Without `copy_traces` it names no file of samples: the library fills that in for the user's copy.

    Parameters
    ----------
    inputs, parameters : mapping
        As `run` is given them.
    out : Path
        The folder.

    Raises
    ------
    ValueError
        There is no analysis or it is of another sorting, or phy cannot open such a sorting.
    """
    if "analysis" not in inputs:
        message = "phy shows the templates of an analysis: name one as the input analysis"
        raise ValueError(message)
    recording: TraceReader = inputs["recording"]
    sorting = SortedUnits.read(inputs, parameters)
    if len(sorting.samples) < 2:
        message = f"phy opens no sorting of fewer than 2 events; this one has {len(sorting.samples)}"
        raise ValueError(message)
    if sorting.units[-1] > LARGEST_LABEL:
        message = f"unit {sorting.units[-1]}: an export to phy has labels up to {LARGEST_LABEL}"
        raise ValueError(message)
    write_events(sorting, out)
    write_templates(inputs["analysis"], sorting, out)
    write_channels(recording, out)
    write_tables(sorting, out)
    if parameters["copy_traces"]:
        write_traces(recording, out / "recording.dat")
    fields = {
        "dat_path": "recording.dat" if parameters["copy_traces"] else [],
        "n_channels_dat": recording.num_channels,
        "dtype": np.dtype(recording.layout.dtype).name,
        "offset": 0,
        "sample_rate": recording.sampling_frequency,
        "hp_filtered": False,
    }
    text = "".join(f"{name} = {value!r}\n" for name, value in fields.items())
    (out / "params.py").write_text(text, encoding="utf-8")


def write_events(sorting: SortedUnits, out: Path) -> None:
    """Write sample, template and cluster of each event."""
    save(out / "spike_times.npy", sorting.samples)
    for name in ("spike_templates", "spike_clusters"):
        save(out / f"{name}.npy", sorting.labels.astype(np.int32))


def write_templates(folder: Path, sorting: SortedUnits, out: Path) -> None:
    """Write templates, amplitudes and what else the analysis has of the events.

    As Kilosort's, a template is to be multiplied by the amplitudes of its events, which here are in µV: |trace| at the event
    on the primary channel. The event is in the middle of the template, where phy has it in the waveforms that it cuts from
    the traces.
    """
    from spikeinterface import load_sorting_analyzer

    analyzer = load_sorting_analyzer(folder)
    spikes = analyzer.sorting.to_spike_vector()
    labels = analyzer.unit_ids[spikes["unit_index"]]
    order = np.lexsort((labels, spikes["sample_index"]))
    if not (
        np.array_equal(spikes["sample_index"][order], sorting.samples)
        and np.array_equal(labels[order], sorting.labels)
    ):
        message = (
            f"the analysis is of another sorting: {len(spikes)} events, not {len(sorting.samples)} equal ones"
        )
        raise ValueError(message)
    amplitudes = np.abs(analyzer.get_extension("spike_amplitudes").get_data()[order].astype(np.float64))
    save(out / "amplitudes.npy", amplitudes)
    extension = analyzer.get_extension("templates")
    average, before = extension.get_data(), extension.nbefore
    half = max(before, average.shape[1] - before)
    rows = int(sorting.units[-1]) + 1
    templates = np.zeros((rows, 2 * half, average.shape[2]), dtype=np.float32)
    means = (
        np.bincount(sorting.labels, weights=amplitudes)[sorting.units]
        / np.bincount(sorting.labels)[sorting.units]
    )
    means[means == 0] = 1
    templates[sorting.units, half - before : half - before + average.shape[1]] = (
        average / means[:, None, None]
    )
    save(out / "templates.npy", templates)
    similar = np.zeros((rows, rows), dtype=np.float32)
    similar[np.ix_(sorting.units, sorting.units)] = analyzer.get_extension("template_similarity").get_data()
    save(out / "similar_templates.npy", similar)
    save(out / "templates_ind.npy", np.tile(np.arange(average.shape[2]), (rows, 1)))
    if analyzer.has_extension("principal_components"):
        write_features(analyzer, order, rows, out)


def write_features(analyzer: Any, order: np.ndarray[Any, Any], rows: int, out: Path) -> None:
    """Write the principal components of the sampled events, each on the channels of its unit."""
    sampled = np.argsort(order)[analyzer.get_extension("random_spikes").get_data()]
    # phylib squeezes the table of a single event, and then misreads it.
    if len(sampled) < 2:
        return
    sequence = np.argsort(sampled)
    projections = analyzer.get_extension("principal_components").get_data()[sequence]
    save(out / "pc_feature_spike_ids.npy", sampled[sequence])
    save(out / "pc_features.npy", projections.astype(np.float32))
    columns = np.full((rows, projections.shape[2]), -1)
    for unit in analyzer.unit_ids:
        channels = np.arange(analyzer.get_num_channels())
        if analyzer.is_sparse():
            channels = analyzer.sparsity.unit_id_to_channel_indices[unit]
        columns[unit, : len(channels)] = channels
    save(out / "pc_feature_ind.npy", columns)


def write_channels(recording: TraceReader, out: Path) -> None:
    """Write the channels: their columns in a file of the recording's channels alone, and their places."""
    save(out / "channel_map.npy", np.arange(recording.num_channels, dtype=np.int32))
    save(out / "channel_positions.npy", recording.locations)
    for name in ("whitening_mat", "whitening_mat_inv"):
        save(out / f"{name}.npy", np.eye(recording.num_channels))


def write_tables(sorting: SortedUnits, out: Path) -> None:
    """Write a table for each column of phy's list of clusters: the group, other labels, and every metric.

    Every cluster has a row in each: SpikeInterface's `read_phy` drops one that is missing in any.
    """
    labels = sorting.table.get(QUALITY, [""] * len(sorting.units))
    groups = [label.lower() if label.lower() in GROUPS else "unsorted" for label in labels]
    others = [label if group == "unsorted" else "" for label, group in zip(labels, groups, strict=True)]
    columns = {name: cells for name, cells in sorting.table.items() if name not in LEFT_OUT}
    for name, cells in {**columns, QUALITY: others, "group": groups}.items():
        # A curation gives its categories of labels any name.
        safe = re.sub(r"\W", "_", name)
        if name in columns or any(cells):
            with (out / f"cluster_{safe}.tsv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, delimiter="\t", lineterminator="\n")
                writer.writerow(("cluster_id", safe))
                writer.writerows(zip(sorting.units.tolist(), cells, strict=True))


def write_traces(recording: TraceReader, path: Path) -> None:
    """Write the traces sample after sample, block by block."""
    step = max(1, BLOCK_BYTES // (recording.num_channels * recording.layout.itemsize))
    with path.open("wb") as file:
        for start in range(0, recording.num_samples, step):
            file.write(recording.traces(start, min(start + step, recording.num_samples)).data)


def save(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array as `numpy.save` does, whose error on a full disk does not name the reason."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
