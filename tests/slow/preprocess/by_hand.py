"""Preprocess by SpikeInterface and scipy alone, in the tool's environment: `CHAIN DESCRIPTION SEED OUT`.

DESCRIPTION is a recording.json with its channels in a geom.csv; OUT is a float32 file, in uV.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import probeinterface
import spikeinterface.full as si
from scipy.signal import filtfilt, iirfilter, iirnotch, sosfiltfilt

PIECES = {"chunk_duration": "1s", "n_jobs": 1, "progress_bar": False, "verbose": False}


def opened(path):
    facts = json.loads(path.read_text())
    recording = si.read_binary(
        path.parent / facts["file"],
        sampling_frequency=facts["sampling_frequency"],
        dtype=facts["dtype"],
        num_channels=facts["num_channels"],
        gain_to_uV=facts["gain_uv"],
        offset_to_uV=facts["offset_uv"],
    )
    probe = probeinterface.Probe(ndim=2, si_units="um")
    probe.set_contacts(
        np.loadtxt(path.parent / "geom.csv", delimiter=","), shapes="circle", shape_params={"radius": 5}
    )
    probe.set_device_channel_indices(np.arange(facts["num_channels"]))
    recording.set_probe(probe)
    return si.scale_to_uV(recording)


def band(recording, _seed):
    return si.common_reference(si.bandpass_filter(recording, freq_min=300, freq_max=6000))


def dense(recording, seed):
    shifts = [channel % 13 / 13 for channel in range(recording.get_num_channels())]
    shifted = si.phase_shift(recording, inter_sample_shift=shifts)
    filtered = si.highpass_filter(shifted, freq_min=400, filter_order=3)
    bad, _labels = si.detect_bad_channels(filtered, seed=seed, channel_filters={"dead", "noise"})
    return si.common_reference(
        si.interpolate_bad_channels(filtered, bad),
        reference="local",
        local_radius=(30, 90),
        min_local_neighbors=3,
    )


def groups(recording, seed):
    notched = si.notch_filter(recording, freq=50, q=30)
    bad, _labels = si.detect_bad_channels(notched, method="std", seed=seed)
    left = notched.remove_channels([*bad, recording.channel_ids[2]])
    near = left.get_channel_locations()[:, 1] < 100
    return si.common_reference(
        left, operator="average", groups=[left.channel_ids[near].tolist(), left.channel_ids[~near].tolist()]
    )


def whole(recording, *, notch=False):
    """Filter the whole recording at once by scipy, in float64."""
    rate, traces = recording.sampling_frequency, recording.get_traces().astype("float64")
    if notch:
        return filtfilt(*iirnotch(50, 30, fs=rate), traces, axis=0)
    sections = iirfilter(5, [300, 6000], btype="bandpass", ftype="butter", fs=rate, output="sos")
    return sosfiltfilt(sections, traces, axis=0)


CHAINS = {"band": band, "dense": dense, "groups": groups}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    name, path, seed, out = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    found = opened(path)
    if name in CHAINS:
        found = CHAINS[name](found, seed)
        si.write_binary_recording(found, out, dtype="float32", add_file_extension=False, **PIECES)
    else:
        whole(found, notch=name == "scipy notch").astype("float64").tofile(out)
    sys.stdout.write(f"{json.dumps(found.get_num_channels())}\n")
