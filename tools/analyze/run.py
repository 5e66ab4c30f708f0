"""Waveforms, templates, quality metrics, correlograms and locations of the units of a sorting, by SpikeInterface.

The output folder is a SortingAnalyzer (`binary_folder`) with tables beside it: `units.csv`, `metrics.csv`, and
`metrics.json` with the formula, unit and source of each metric.

Sources: spikeinterface 0.105.3 (`core.sortinganalyzer`, `postprocessing`, `metrics.quality`, `metrics.template`).
"""

from __future__ import annotations

import csv
import json
import math
import os
import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from spikecrate_harness import mda
from spikecrate_harness.spikeinterface import as_spikeinterface
from spikecrate_harness.stage_progress import StageProgress
from spikecrate_harness.workers import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

CHUNK: Final = "1s"
"""What a worker reads at once. Fixed, so that each value is always the same, however many workers there are."""


class Metric(NamedTuple):
    """What a column of `metrics.csv` means."""

    unit: str
    formula: str
    source: str


ALLEN: Final = "Allen Institute, ecephys_spike_sorting"
BOMBCELL: Final = "Fabre et al. 2023, Bombcell"
HILL: Final = "Hill, Mehta & Kleinfeld 2011, J. Neurosci. 31:8699"
IBL: Final = "International Brain Laboratory 2022, spike sorting white paper"
LLOBET: Final = "Llobet, Wyngaard & Barbour 2022, bioRxiv"
MUSALL: Final = "S. Musall and A. Buccino, in SpikeInterface"
SCHMITZER: Final = "Schmitzer-Torbert et al. 2005, Neuroscience 131:1"
CHUNG: Final = "Chung et al. 2017, Neuron 95:1381"
HRUSCHKA: Final = "Hruschka, de Castro & Campello 2004, ICDM"
SI: Final = "SpikeInterface 0.105.3"
JIA: Final = "Jia et al. 2019, J. Neurophysiol. 121:1831"

METRICS: Final = {
    "num_spikes": Metric("1", "number n of events", SI),
    "firing_rate": Metric("Hz", "n / T, T the duration of the recording", SI),
    "presence_ratio": Metric("1", "fraction of whole minutes with an event; none below one minute", ALLEN),
    "snr": Metric(
        "1", "largest |template| on the primary channel / noise (1.4826 median |x - median|) there", SI
    ),
    "isi_violations_ratio": Metric(
        "1", "v T / (2 n² t), v intervals shorter than t = isi_threshold_ms; above 1 possible", HILL
    ),
    "isi_violations_count": Metric(
        "1", "v: intervals between successive events shorter than isi_threshold_ms", HILL
    ),
    "rp_contamination": Metric(
        "1", "1 - sqrt(1 - p T / (n² r)), p as in rp_violations; 1 where no root", LLOBET
    ),
    "rp_violations": Metric("1", "p: pairs of events, successive or not, at most r = 1 ms apart", LLOBET),
    "sliding_rp_violation": Metric(
        "1",
        "least contamination, 0.5 to 35 %, rejected at 90 % confidence for a refractory period of 0.5 to 10 ms",
        IBL,
    ),
    "sync_spike_2": Metric(
        "1", "fraction of events at a sample where at least 2 units have one", "Grün et al. 2002"
    ),
    "sync_spike_4": Metric("1", "the same, at least 4 units", "Grün et al. 2002"),
    "sync_spike_8": Metric("1", "the same, at least 8 units", "Grün et al. 2002"),
    "firing_range": Metric("Hz", "95th - 5th percentile of the rate in bins of 5 s", MUSALL),
    "amplitude_cv_median": Metric(
        "1",
        "median over bins of about 50 events of std(amplitude) / |mean amplitude of all|; at least 10 bins",
        MUSALL,
    ),
    "amplitude_cv_range": Metric("1", "95th - 5th percentile of the same", MUSALL),
    "amplitude_cutoff": Metric(
        "1",
        "events missing below the smallest amplitude if the histogram (100 bins) were symmetric; at least 500",
        HILL,
    ),
    "noise_cutoff": Metric(
        "1",
        "(mean count of bins in the lowest 10 % of amplitudes - that in the highest 25 %) / std of the latter",
        IBL,
    ),
    "noise_ratio": Metric(
        "1", "mean count of bins in the lowest 10 % of amplitudes / highest count of a bin", IBL
    ),
    "amplitude_median": Metric("µV", "median of the trace at the events, on the primary channel", IBL),
    "drift_ptp": Metric(
        "µm", "largest - smallest median position (y) per minute, minutes with at least 100 events", MUSALL
    ),
    "drift_std": Metric("µm", "standard deviation of the same", MUSALL),
    "drift_mad": Metric("µm", "median |position - median| of the same", MUSALL),
    "sd_ratio": Metric(
        "1", "std of successive differences of amplitude / sqrt 2 / std of the trace without the template", SI
    ),
    "isolation_distance": Metric(
        "1", "squared Mahalanobis distance of the k-th nearest foreign event, k the smaller number", SCHMITZER
    ),
    "l_ratio": Metric(
        "1", "sum over foreign events of 1 - chi²(squared Mahalanobis distance) / n", SCHMITZER
    ),
    "d_prime": Metric(
        "1", "difference of means / sqrt(mean of variances) along the linear discriminant to all others", HILL
    ),
    "nn_hit_rate": Metric("1", "fraction of the 5 nearest neighbours of own events that are own", CHUNG),
    "nn_miss_rate": Metric("1", "fraction of the 5 nearest neighbours of foreign events that are own", CHUNG),
    "silhouette": Metric(
        "1",
        "mean of (b - a) / max(a, b), a and b distances to the own and the nearest foreign centroid",
        HRUSCHKA,
    ),
    "peak_to_trough_duration": Metric("s", "from the trough of the template to the next peak", JIA),
    "trough_half_width": Metric("s", "width of the trough at half its height", JIA),
    "peak_half_width": Metric("s", "width of the peak at half its height", JIA),
    "repolarization_slope": Metric("µV/s", "slope from the trough to the return to baseline", JIA),
    "recovery_slope": Metric("µV/s", "slope in the 0.7 ms after the peak", JIA),
    "num_positive_peaks": Metric("1", "positive peaks of the template", BOMBCELL),
    "num_negative_peaks": Metric("1", "negative peaks of the template", BOMBCELL),
    "main_to_next_extremum_duration": Metric("s", "from the largest extremum to the next one", SI),
    "peak_before_to_trough_ratio": Metric("1", "|peak before the trough| / |trough|", BOMBCELL),
    "peak_after_to_trough_ratio": Metric("1", "|peak after the trough| / |trough|", BOMBCELL),
    "peak_before_to_peak_after_ratio": Metric("1", "|peak before the trough| / |peak after it|", BOMBCELL),
    "main_peak_to_trough_ratio": Metric("1", "|largest peak| / |trough|", BOMBCELL),
    "trough_width": Metric("s", "width of the trough", BOMBCELL),
    "peak_before_width": Metric("s", "width of the peak before the trough", BOMBCELL),
    "peak_after_width": Metric("s", "width of the peak after the trough", BOMBCELL),
    "waveform_baseline_flatness": Metric("1", "largest |baseline| / largest |template|", BOMBCELL),
    "velocity_above": Metric("µm/ms", "speed of the template along y, above the primary channel", JIA),
    "velocity_below": Metric("µm/ms", "the same below it", JIA),
    "exp_decay": Metric(
        "1/µm", "decay of the template's amplitude with distance from the primary channel", SI
    ),
    "spread": Metric("µm", "extent along y of the channels with at least 20 % of the largest amplitude", JIA),
}
"""The columns of `metrics.csv`; those from `isolation_distance` to `silhouette` need `pca`."""
OF_TIMES: Final = (
    *("num_spikes", "firing_rate", "presence_ratio", "isi_violations_ratio", "isi_violations_count"),
    *(
        "rp_contamination",
        "rp_violations",
        "sliding_rp_violation",
        "sync_spike_2",
        "sync_spike_4",
        "sync_spike_8",
    ),
    "firing_range",
)
"""The metrics of a unit that has no waveform; SpikeInterface takes its template for zero."""
UNIT_COLUMNS: Final = {
    "unit": Metric("", "label in firings.mda", ""),
    "events": Metric("1", "number of events", ""),
    "rate": METRICS["firing_rate"],
    "channel": Metric("", "primary channel from 0: where the template is largest", SI),
    "snr": METRICS["snr"],
    "isi_violations": METRICS["isi_violations_ratio"],
    "amplitude": METRICS["amplitude_median"],
    "x": Metric(
        "µm",
        "location by monopolar triangulation of the template's amplitudes",
        "Boussard et al. 2021, NeurIPS",
    ),
    "y": Metric("µm", "the same", "Boussard et al. 2021, NeurIPS"),
    "waveforms": Metric("1", "waveforms sampled for the template", SI),
}
"""The columns of `units.csv`."""


def run(inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path, resources: Resources) -> None:
    """Analyze a sorting of a recording, and write the analysis to `out`.

    Parameters
    ----------
    inputs : mapping
        `recording`, a TraceReader, and `sorting`, a folder with `firings.mda` or `firings_true.mda`.
    parameters : mapping
        Those of tool.json.
    out : Path
        An empty folder.
    resources : Resources
        Seed, and number of worker processes.

    Raises
    ------
    ValueError
        The pass band is empty, or the events are not of the recording.
    """
    from spikeinterface import create_sorting_analyzer
    from spikeinterface.core import job_tools
    from spikeinterface.postprocessing import principal_component

    job_tools.tqdm = principal_component.tqdm = StageProgress
    os.register_at_fork(after_in_child=end_with_parent)
    # What the packages plan to change is for their developers.
    for category in (FutureWarning, DeprecationWarning):
        warnings.simplefilter("ignore", category)
    # SpikeInterface leaves a metric out that cannot be computed for whatever reason, want of memory included.
    warnings.filterwarnings("error", message="Error computing metric")
    traces = filtered(inputs["recording"], parameters)
    sorting = read_sorting(inputs["sorting"], inputs["recording"])
    jobs = {
        "n_jobs": resources.cores,
        "mp_context": "fork",
        "pool_engine": "process",
        "chunk_duration": CHUNK,
    }
    analyzer = create_sorting_analyzer(
        sorting,
        traces,
        format="binary_folder",
        folder=out / "analyzer",
        seed=resources.seed,
        # One worker: a sum over several would be rounded differently.
        job_kwargs={**jobs, "n_jobs": 1, "progress_bar": False},
    )
    if len(sorting.unit_ids):
        compute(analyzer, parameters, resources.seed, {**jobs, "progress_bar": True})
    write_tables(analyzer, out)
    settle(out / "analyzer")
    for path in (out / "analyzer").iterdir():
        path.rename(out / path.name)
    (out / "analyzer").rmdir()


def filtered(recording: TraceReader, parameters: Mapping[str, Any]) -> Any:
    """Return a recording as one of SpikeInterface, band-passed where wanted.

    Returns
    -------
    spikeinterface.core.BaseRecording

    Raises
    ------
    ValueError
        The pass band is empty.
    """
    from spikeinterface import preprocessing

    traces = as_spikeinterface(recording)
    if not parameters["filter"]:
        return traces
    low, high, nyquist = parameters["freq_min"], parameters["freq_max"], recording.sampling_frequency / 2
    if low >= min(high, nyquist):
        message = f"freq_min ({low:g} Hz) must be below freq_max ({high:g} Hz) and {nyquist:g} Hz"
        raise ValueError(message)
    if high >= nyquist:
        print(f"freq_max is not below half the sampling frequency: a high-pass at {low:g} Hz")
        return preprocessing.highpass_filter(traces, freq_min=low, dtype="float32")
    return preprocessing.bandpass_filter(traces, freq_min=low, freq_max=high, dtype="float32")


def read_sorting(folder: Path, recording: TraceReader) -> Any:
    """Return firings.mda, or the ground truth in firings_true.mda, as a sorting of SpikeInterface.

    Returns
    -------
    spikeinterface.core.NumpySorting

    Raises
    ------
    ValueError
        An event lies outside the recording.
    """
    from spikeinterface import NumpySorting

    named = folder / "firings.mda"
    firings = mda.read(named if named.is_file() else folder / "firings_true.mda")
    times, labels = (np.round(row).astype(np.int64) for row in firings[1:3])
    if len(times) and not 0 <= times.min() <= times.max() < recording.num_samples:
        message = f"the sorting has events up to sample {times.max()}, the recording {recording.num_samples} samples"
        raise ValueError(message)
    units = np.unique(labels)
    return NumpySorting.from_samples_and_labels(
        [times], [labels], recording.sampling_frequency, unit_ids=units
    )


def compute(analyzer: Any, parameters: Mapping[str, Any], seed: int, jobs: Mapping[str, Any]) -> None:
    """Compute every extension of the analyzer."""
    from spikeinterface.core import get_noise_levels

    # Beyond the borders of the recording there is no waveform: without a margin half of it would be zeros.
    margin = math.ceil(
        max(parameters["ms_before"], parameters["ms_after"]) * analyzer.sampling_frequency / 1000
    )
    most = parameters["max_waveforms"]
    analyzer.compute("random_spikes", max_spikes_per_unit=most, margin_size=margin, seed=seed)
    counts = waveform_counts(analyzer)
    for unit in analyzer.unit_ids[counts == 0]:
        print(f"unit {unit} has no waveform: its events are at the borders of the recording")
    # SpikeInterface 0.105.3 computes no metric of principal components where a unit has none.
    pca = parameters["pca"] and bool(counts.all())
    slices, window = {"seed": seed}, {name: parameters[name] for name in ("ms_before", "ms_after")}
    # `sd_ratio` would measure it on slices without a seed; it takes what the recording remembers.
    get_noise_levels(analyzer.recording, return_in_uV=True, method="std", random_slices_kwargs=slices, **jobs)
    extensions: dict[str, dict[str, Any]] = {
        "waveforms": window,
        "templates": window,
        "noise_levels": {"random_slices_kwargs": slices},
        "spike_amplitudes": {},
        "spike_locations": {"method": "center_of_mass"},
        "unit_locations": {"method": "monopolar_triangulation"},
        "correlograms": {},
        "template_similarity": {},
        **({"principal_components": {}} if pca else {}),
        "template_metrics": {},
        "quality_metrics": {
            "metric_params": {"isi_violation": {"isi_threshold_ms": parameters["isi_threshold_ms"]}},
            "skip_pc_metrics": not pca,
        },
    }
    analyzer.compute(extensions, **jobs)


def waveform_counts(analyzer: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return how many waveforms of each unit are sampled."""
    sampled = analyzer.get_extension("random_spikes").get_random_spikes()["unit_index"]
    return np.bincount(sampled, minlength=len(analyzer.unit_ids))


def write_tables(analyzer: Any, out: Path) -> None:
    """Write `units.csv`, `metrics.csv` and `metrics.json`."""
    units = analyzer.unit_ids.tolist()
    metrics: dict[str, list[Any]] = {}
    rows: list[tuple[Any, ...]] = []
    if units:
        counts = waveform_counts(analyzer)

        def known(values: Iterable[Any]) -> list[Any]:
            return [value if count else None for value, count in zip(values, counts, strict=True)]

        for name in ("quality_metrics", "template_metrics"):
            table = analyzer.get_extension(name).get_data()
            for column in table:
                values = table[column].tolist()
                metrics[column] = values if column in OF_TIMES else known(values)
        places = analyzer.get_extension("unit_locations").get_data()
        columns = (
            units,
            metrics["num_spikes"],
            metrics["firing_rate"],
            known(analyzer.get_main_channels(outputs="index", with_dict=False).tolist()),
            metrics["snr"],
            metrics["isi_violations_ratio"],
            metrics["amplitude_median"],
            known(places[:, 0].tolist()),
            known(places[:, 1].tolist()),
            counts.tolist(),
        )
        rows = list(zip(*columns, strict=True))
    write_csv(out / "units.csv", UNIT_COLUMNS, rows)
    write_csv(out / "metrics.csv", ["unit", *metrics], zip(units, *metrics.values(), strict=True))
    told = {
        "units.csv": {name: meaning._asdict() for name, meaning in UNIT_COLUMNS.items()},
        "metrics.csv": {name: METRICS[name]._asdict() for name in metrics},
    }
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    (out / "metrics.json").write_text(text, encoding="utf-8")


def write_csv(path: Path, names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table; a value that does not exist is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(
            [value if value is not None and math.isfinite(value) else None for value in row] for row in rows
        )


def settle(folder: Path) -> None:
    """Remove from an analyzer's folder what differs from run to run: times, paths, pickled models.

    `recording.json` names the recording by the path that it has in the container; whoever needs the traces opens the
    folder with a recording.
    """
    for name in ("recording.json", "recording.pickle"):
        (folder / name).unlink(missing_ok=True)
    for path in [*folder.glob("extensions/*/*.pkl"), *folder.glob("extensions/*/runtime_s.json")]:
        path.unlink()
    for path in folder.glob("extensions/*/run_info.json"):
        facts = json.loads(path.read_bytes()) | {"runtime_s": None}
        path.write_text(json.dumps(facts, indent=4), encoding="utf-8")
