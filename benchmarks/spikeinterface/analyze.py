"""Analyze a sorting by SpikeInterface alone, with the calls of tools/analyze: `RECORDING FIRINGS GAIN OUT CORES`."""

import math
import sys
import warnings
from pathlib import Path

import spikeinterface.extractors as se
from spikeinterface.core import create_sorting_analyzer, get_noise_levels
from spikeinterface.preprocessing import bandpass_filter

MS_BEFORE, MS_AFTER, SEED = 1.0, 2.0, {"seed": 0}


def analyze(folder: str, firings: str, gain: float, out: Path, cores: int) -> None:
    """Write an analyzer, and its metrics beside it."""
    recording = se.read_mda_recording(folder)
    recording.set_channel_gains(gain)
    recording.set_channel_offsets(0.0)
    traces = bandpass_filter(recording, freq_min=300, freq_max=6000, dtype="float32")
    sorting = se.read_mda_sorting(firings, recording.sampling_frequency)
    jobs = {"chunk_duration": "1s", "mp_context": "fork", "pool_engine": "process", "progress_bar": False}
    analyzer = create_sorting_analyzer(
        sorting,
        traces,
        format="binary_folder",
        folder=out / "analyzer",
        seed=0,
        job_kwargs={**jobs, "n_jobs": 1},
    )
    jobs["n_jobs"] = cores
    margin = math.ceil(max(MS_BEFORE, MS_AFTER) * recording.sampling_frequency / 1000)
    analyzer.compute("random_spikes", max_spikes_per_unit=500, margin_size=margin, **SEED)
    get_noise_levels(traces, return_in_uV=True, method="std", random_slices_kwargs=SEED, **jobs)
    window = {"ms_before": MS_BEFORE, "ms_after": MS_AFTER}
    extensions = {
        "waveforms": window,
        "templates": window,
        "noise_levels": {"random_slices_kwargs": SEED},
        "spike_amplitudes": {},
        "spike_locations": {"method": "center_of_mass"},
        "unit_locations": {"method": "monopolar_triangulation"},
        "correlograms": {},
        "template_similarity": {},
        "template_metrics": {},
        "quality_metrics": {
            "metric_params": {"isi_violation": {"isi_threshold_ms": 1.5}},
            "skip_pc_metrics": True,
        },
    }
    analyzer.compute(extensions, **jobs)
    for name in ("quality_metrics", "template_metrics"):
        analyzer.get_extension(name).get_data().to_csv(out / f"{name}.csv")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    recording_folder, firings_file, gain_uv, out_folder, num_cores = sys.argv[1:]
    analyze(recording_folder, firings_file, float(gain_uv), Path(out_folder), int(num_cores))
