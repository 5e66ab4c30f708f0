"""Kilosort 4 on a recording of any length: its own stages in its own order, on a processor or on a GPU.

Kilosort reads the traces from the user's file, in uV, a batch at a time. Its plots and its files for Phy are not made.

Sources: kilosort 4.1.7 (`run_kilosort.py`, `io.py`, `parameters.py`, and its page on parameters);
Pachitariu et al. 2024, doi:10.1038/s41592-024-02232-7.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness.answer import NothingFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

FEW_CHANNELS: Final = 64
SPARSE_UM: Final = 50
"""Up to so many channels, or contacts so far apart, Kilosort's documentation advises against drift correction."""
REFERENCE_CHANNELS: Final = 16
"""The median of fewer channels holds the spikes themselves."""
OWN_SEED: Final = 1
"""What Kilosort seeds itself with."""
ARGUMENTS: Final = ("bad_channels", "do_CAR", "invert_sign")
"""Parameters that Kilosort takes beside its settings."""
INFINITE: Final = ("artifact_threshold", "tmax")
"""Settings whose default, infinity, JSON has no number for: left out, Kilosort's own default holds."""
NOTHING_FOUND: Final = (
    "No spikes detected",
    "`get_data_cpu` never found suitable channels",
    "Wall is empty",
)
"""How Kilosort's errors begin where it has no spikes to go on with."""


def sort(
    recording: TraceReader, parameters: Mapping[str, Any], resources: Resources
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort a recording.

    Parameters
    ----------
    recording : TraceReader
        Raw traces.
    parameters : mapping
        Every parameter of sorter.json.
    resources : Resources
        Whether to use a GPU, and the seed. One core is used.

    Returns
    -------
    times, labels, channels : numpy.ndarray
        Sample index, unit (from 1) and the channel (from 1) on which the unit is largest, of each event.

    Raises
    ------
    NothingFoundError
        Where there are too few spikes for Kilosort to go on.
    ValueError
        Where a parameter does not fit the recording.
    """
    told = settings(recording, parameters, resources)
    print(f"settings: {json.dumps(told, sort_keys=True)}", flush=True)
    _require(recording, told)
    times, units, channels = _kilosort(recording, told)
    inside = (times >= 0) & (times < recording.num_samples)
    if not inside.all():
        print(f"left out {np.count_nonzero(~inside)} events that lie outside the recording")
    return times[inside], units[inside] + 1, channels[units[inside]] + 1


def settings(recording: TraceReader, parameters: Mapping[str, Any], resources: Resources) -> dict[str, Any]:
    """Return what Kilosort is told: its settings, the arguments beside them, device, threads and seed."""
    inner = {
        name: value
        for name, value in parameters.items()
        if name not in ARGUMENTS and not (name in INFINITE and value is None)
    }
    inner |= {"fs": recording.sampling_frequency, "n_chan_bin": recording.num_channels}
    if inner["nblocks"] is None:
        inner["nblocks"] = int(recording.num_channels > FEW_CHANNELS and spacing(recording) < SPARSE_UM)
    # Whitening is computed from all batches but the last: one batch would be none.
    if (length := _length(recording, parameters)) <= inner["batch_size"]:
        inner["batch_size"] = max(1, math.ceil(length / 2))
    arguments = {name: parameters[name] for name in ARGUMENTS}
    if arguments["do_CAR"] is None:
        arguments["do_CAR"] = recording.num_channels >= REFERENCE_CHANNELS
    device = "cuda" if resources.gpu else "cpu"
    threads = 1 if resources.gpu else resources.cores
    return {
        "settings": inner,
        **arguments,
        "device": device,
        "threads": threads,
        "seed": resources.seed + OWN_SEED,
    }


def spacing(recording: TraceReader) -> float:
    """Return the median distance of a contact from its nearest neighbour, in um; infinite for a single one."""
    places = recording.locations
    nearest = [
        np.delete(np.linalg.norm(places - place, axis=1), index).min(initial=np.inf)
        for index, place in enumerate(places)
    ]
    return float(np.median(nearest))


class Traces:
    """A recording as Kilosort reads it: sliced in time, samples x channels, float32, uV.

    Parameters
    ----------
    recording : TraceReader
        On disk; nothing is kept of it.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, recording: TraceReader) -> None:
        self.recording = recording
        self.shape = (recording.num_samples, recording.num_channels)
        self._gains = recording.gains.astype(np.float32)
        self._offsets = recording.offsets.astype(np.float32)

    def __getitem__(self, samples: slice) -> np.ndarray:
        """Read a range of samples; what lies outside the recording is left out."""
        start, stop, _ = samples.indices(self.shape[0])
        counts = self.recording.traces(start, max(start, stop)).astype(np.float32)
        return counts * self._gains + self._offsets


class StageProgress:
    """Prints how far a stage is, at every tenth of it; Kilosort calls `emit` with a percentage."""

    def __init__(self) -> None:
        self.stage, self.told = "", 0

    def start(self, stage: str) -> None:
        """Name what begins."""
        self.stage, self.told = stage, 0
        print(stage, flush=True)

    def emit(self, percent: int) -> None:
        """Take note of how far it is; a stage of several passes begins anew with each."""
        tenth = percent // 10
        if tenth != self.told:
            self.told = tenth
            print(f"{self.stage}: {10 * tenth}%", flush=True)


def _length(recording: TraceReader, parameters: Mapping[str, Any]) -> int:
    """Count the samples between tmin and tmax, as Kilosort does."""
    rate, last = recording.sampling_frequency, parameters["tmax"]
    end = recording.num_samples if last is None else min(int(last * rate), recording.num_samples)
    return end - int(parameters["tmin"] * rate)


def _require(recording: TraceReader, told: Mapping[str, Any]) -> None:
    """Name what Kilosort would fail at without saying so."""
    inner, rate = told["settings"], recording.sampling_frequency
    least = 3 * inner["nt"]
    if _length(recording, {"tmax": None, **inner}) < 2 * least:
        message = f"between tmin and tmax there must be {2 * least} samples or more (6 x nt)"
        raise ValueError(message)
    if inner["batch_size"] < least:
        message = f"batch_size must be {least} or more (3 x nt)"
        raise ValueError(message)
    if inner["highpass_cutoff"] >= rate / 2:
        message = f"highpass_cutoff must be below half the sampling frequency ({rate / 2:g} Hz)"
        raise ValueError(message)
    bad = set(told["bad_channels"])
    if any(channel >= recording.num_channels for channel in bad) or len(bad) == recording.num_channels:
        message = f"bad_channels must be some of 0 to {recording.num_channels - 1}, and leave one"
        raise ValueError(message)


def _kilosort(recording: TraceReader, told: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run Kilosort's stages as `kilosort.run_kilosort._sort` does; give times, units, and each unit's channel."""
    stages, device = _load(told["device"], told["seed"], told["threads"])
    import torch
    from kilosort.io import remove_bad_channels
    from kilosort.parameters import DEFAULT_SETTINGS
    from kilosort.postprocessing import remove_duplicates

    probe: dict[str, Any] = {
        "chanMap": np.arange(recording.num_channels),
        "xc": recording.locations[:, 0].astype(np.float32),
        "yc": recording.locations[:, 1].astype(np.float32),
        "kcoords": np.zeros(recording.num_channels, np.float32),
        "n_chan": recording.num_channels,
    }
    if told["bad_channels"]:
        probe = remove_bad_channels(probe, told["bad_channels"])
    traces, tell = Traces(recording), StageProgress()
    complete = {**DEFAULT_SETTINGS, **told["settings"], "filename": list(recording.files)}
    ops, _ = stages.initialize_ops(
        complete, probe, str(traces.dtype), told["do_CAR"], told["invert_sign"], device, False
    )
    tell.start("whitening")
    ops = stages.compute_preprocessing(ops, device, file_object=traces)
    np.random.seed(told["seed"])
    torch.manual_seed(told["seed"])
    tell.start("estimating drift" if ops["nblocks"] else "no drift correction")
    ops, batches, _ = stages.compute_drift_correction(ops, device, progress_bar=tell, file_object=traces)
    # 4.1.7 forgets it here.
    batches.invert_sign = told["invert_sign"]
    try:
        tell.start("detecting and first clustering")
        spikes, features, _, _ = stages.detect_spikes(ops, device, batches, progress_bar=tell)
        tell.start("clustering")
        units, templates, spikes, _ = stages.cluster_spikes(
            spikes, features, ops, device, batches, progress_bar=tell
        )
    except ValueError as error:
        if str(error).startswith(NOTHING_FOUND):
            raise NothingFoundError(error) from None
        raise
    times, units, _ = remove_duplicates(
        spikes[:, 0].astype(np.int64) + int(batches.imin),
        units.astype(np.int32),
        dt=ops["duplicate_spike_bins"],
    )
    largest = (templates**2).sum(-1).argmax(1).numpy()
    return times, units.astype(np.int64), probe["chanMap"][largest]


def _load(name: str, seed: int, threads: int) -> tuple[Any, Any]:
    """Import Kilosort, ready to be repeated, and to run where there is neither a network nor `ps`."""
    # Where the templates are that it would fetch otherwise: with the package.
    package = importlib.util.find_spec("kilosort")
    assert package is not None
    os.environ["KILOSORT_LOCAL_DOWNLOADS_PATH"] = str(Path(str(package.origin)).parent)
    os.environ["TQDM_DISABLE"] = "1"
    # Without it cuBLAS has no reproducible way.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    import torch

    device = torch.cuda.get_device_name() if name == "cuda" else name
    print(f"device: {device}, PyTorch {torch.__version__}", flush=True)
    torch.set_num_threads(threads)
    # Some of what Kilosort does has no reproducible way on a GPU: it warns there.
    torch.use_deterministic_algorithms(True, warn_only=name == "cuda")
    torch.manual_seed(seed)
    np.random.seed(seed)
    # By its path: the package hides the module behind the function of the same name.
    stages = importlib.import_module("kilosort.run_kilosort")
    stages.log_thread_count = lambda *_: None
    _guard_learning()
    return stages, torch.device(name)


def _guard_learning() -> None:
    """Have Kilosort say so where it finds too few events to learn its templates from."""
    from kilosort import spikedetect

    extract, snippets = spikedetect.extract_wPCA_wTEMP, spikedetect.extract_snippets
    found = 0

    def count(*words: Any, **named: Any) -> Any:
        nonlocal found
        clips = snippets(*words, **named)
        found += len(clips)
        return clips

    def learn(ops: dict[str, Any], *words: Any, **named: Any) -> Any:
        nonlocal found
        found, needed = 0, max(ops["settings"]["n_templates"], ops["settings"]["n_pcs"])
        try:
            return extract(ops, *words, **named)
        except ValueError:
            if found >= needed:
                raise
            message = (
                f"of {found} isolated events above Th_single_ch no templates can be learned, {needed} are needed; "
                "templates_from_data=false does without"
            )
            raise NothingFoundError(message) from None

    spikedetect.extract_snippets, spikedetect.extract_wPCA_wTEMP = count, learn
