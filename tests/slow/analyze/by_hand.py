"""Analyze and open by SpikeInterface alone, in the tool's environment: `metrics RECORDING FIRINGS GAIN`, `open FOLDER`."""

import json
import sys
import warnings

import numpy as np
import spikeinterface.extractors as se
import spikeinterface.full as si

CALLS = {
    "random_spikes": {"max_spikes_per_unit": 500, "margin_size": None, "seed": 0},
    "waveforms": {"ms_before": 1.0, "ms_after": 2.0},
    "templates": {"ms_before": 1.0, "ms_after": 2.0},
    "noise_levels": {"random_slices_kwargs": {"seed": 0}},
    "spike_amplitudes": {},
    "spike_locations": {"method": "center_of_mass"},
    "unit_locations": {"method": "monopolar_triangulation"},
    "principal_components": {},
    "template_metrics": {},
    "quality_metrics": {},
}


def metrics(folder, firings, gain):
    recording = se.read_mda_recording(folder)
    recording.set_channel_gains(float(gain))
    recording.set_channel_offsets(0.0)
    sorting = se.read_mda_sorting(firings, recording.sampling_frequency)
    filtered = si.bandpass_filter(recording, freq_min=300, freq_max=6000, dtype="float32")
    jobs = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}
    analyzer = si.create_sorting_analyzer(sorting, filtered, seed=0, job_kwargs=jobs)
    slices = {"seed": 0}
    si.get_noise_levels(filtered, return_in_uV=True, method="std", random_slices_kwargs=slices, **jobs)
    CALLS["random_spikes"]["margin_size"] = int(np.ceil(0.002 * recording.sampling_frequency))
    analyzer.compute(CALLS, **jobs)
    table = {"unit": analyzer.unit_ids.tolist()}
    for name in ("quality_metrics", "template_metrics"):
        found = analyzer.get_extension(name).get_data()
        table |= {column: found[column].tolist() for column in found}
    places = analyzer.get_extension("unit_locations").get_data()
    main = analyzer.get_main_channels(outputs="index", with_dict=False).tolist()
    return {"metrics": table, "x": places[:, 0].tolist(), "y": places[:, 1].tolist(), "channel": main}


def opened(folder):
    analyzer = si.load_sorting_analyzer(folder)
    names = analyzer.get_loaded_extension_names()
    shapes = {
        f"{name}/{part}": list(np.shape(value))
        for name in names
        for part, value in analyzer.get_extension(name).data.items()
    }
    return {
        "units": analyzer.unit_ids.tolist(),
        "events": int(analyzer.sorting.to_spike_vector().size),
        "channels": analyzer.get_num_channels(),
        "extensions": sorted(names),
        "shapes": shapes,
        "computed": all(analyzer.get_extension(name).run_info["run_completed"] for name in names),
        "main": analyzer.get_main_channels(outputs="index", with_dict=False).tolist() if names else [],
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    call, *words = sys.argv[1:]
    answer = {"metrics": metrics, "open": opened}[call](*words)
    # A value that is not finite is null, as it is an empty cell in the table.
    finite = (
        json.dumps(answer).replace("NaN", "null").replace("-Infinity", "null").replace("Infinity", "null")
    )
    sys.stdout.write(f"{finite}\n")
