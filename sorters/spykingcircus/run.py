"""SpyKING CIRCUS 1 on a recording of any length: filtering, whitening, clustering, template matching, merging.

Every step is a set of MPI processes that run its own code (`circus.launch`) on this very file. MPI comes as a wheel,
speaks through shared memory, and starts processes by fork: no ssh, no network.

Sources: spyking-circus 1.1.0 (`config.params`, `parser.py`, `mpi.py`, the steps); Yger et al. 2018,
doi:10.7554/eLife.34518.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness.answer import NothingFoundError
from spikecrate_harness.stage_progress import StageProgress
from spikecrate_harness.workers import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

OPTIONS: Final = {
    "detection": (
        *("radius", "template_width", "spike_thresh", "peaks", "weird_thresh", "jitter_range"),
        *("oversampling_factor", "smoothing_factor", "hanning", "isolation", "use_barycenter"),
        *("spike_width", "rejection_threshold", "noise_time", "low_channels_thr"),
        *("matched_filter", "matched_thresh"),
    ),
    "filtering": ("filter", "butter_order", "remove_median", "sat_value"),
    "whitening": (
        *("whitening_spatial", "whitening_temporal", "whitening_max_elts", "whitening_nb_elts"),
        *("output_dim", "fudge", "whitening_safety_time", "whitening_safety_space"),
        *("ignore_spikes", "sort_waveforms"),
    ),
    "clustering": (
        *("extraction", "sub_dim", "clustering_max_elts", "clustering_nb_elts", "nb_repeats"),
        *("smart_search", "smart_search_scale", "nb_ss_bins", "nb_ss_rand", "merging_method"),
        *("merging_param", "sensitivity", "cc_merge", "dispersion", "fine_amplitude"),
        *("nb_amplitude_snippets", "max_amplitude", "fixed_amplitudes", "nb_amp_bins"),
        *("clustering_safety_time", "clustering_safety_space", "compress", "sparsify"),
        *("noise_thr", "n_abs_min", "m_ratio", "remove_mixture", "ignored_mixtures"),
        *("clustering_sparsity_limit", "bad_clusters_ratio", "halo_rejection", "nb_snippets"),
        *("templates_normalization", "clustering_two_components", "decimation", "savgol"),
        "savgol_time",
    ),
    "fitting": (
        *("amp_limits", "amp_auto", "ratio_thresh", "refractory", "fitting_two_components"),
        *("min_second_component", "sparse_thresh", "max_nb_chances"),
    ),
    "merging": (
        *("auto_merge", "cc_overlap", "cc_bin", "default_lag", "correct_lag", "remove_noise"),
        *("noise_limit", "merging_sparsity_limit", "time_rpv", "rpv_threshold", "merge_drifts"),
        *("drift_limit", "min_spikes", "clean_merging"),
    ),
}
"""The parameters that are passed on as they are, by section of the tool's parameter file. A name that is in two sections
of it has that of its own before it here."""
RENAMED: Final = {"template_width": "N_t", "matched_filter": "matched-filter", "auto_merge": "auto_mode"}
WITHOUT: Final = {
    "weird_thresh": "",
    "sat_value": "",
    "whitening_safety_time": "auto",
    "clustering_safety_time": "auto",
    "nb_ss_bins": "auto",
    "merging_param": "default",
    "max_amplitude": "auto",
    "halo_rejection": "inf",
}
"""What the tool writes for a parameter that is null."""
HIGHEST: Final = 0.95
"""Of half the sampling frequency: the upper edge of the pass band that the tool calls auto."""
MEMORY: Final = 2**32
"""Bytes that every process is taken to have: the tool makes its chunks as long as the machine at hand allows, and its
result depends on them. A tenth of this is a chunk, which takes some five times its size while it is looked at."""
BLOCK_VALUES: Final = 2**23
"""Samples x channels that are copied at once."""
OUT_OF_MEMORY: Final = 5
DISK_FULL: Final = 28
"""Exit codes of a step."""
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
FRAME: Final = re.compile(r"^-+( +\w+ +-+)?$|^\| ")
"""What the tool puts around its messages."""


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
        Scratch folder (samples x channels x 4 bytes for the filtered traces, and a copy of the samples where they
        cannot be read in place), seed, and number of processes.

    Returns
    -------
    times, labels, channels : numpy.ndarray
        Sample index, unit (from 1) and primary channel (from 1, 0 unknown) of each event.

    Raises
    ------
    NothingFoundError
        Where a step leaves nothing for the next.
    ValueError
        Where parameters contradict each other or the recording.
    """
    told = settings(recording, parameters, resources)
    print(f"settings: {json.dumps(told, sort_keys=True)}", flush=True)
    folder = resources.scratch / "circus"
    folder.mkdir()
    data = folder / "recording.dat"
    offset = 0
    if _in_place(recording, told):
        data.symlink_to(recording.files[0].resolve())
        offset = recording.layout.parts[0].offset
    else:
        _copy(recording, told, data)
    (folder / "recording.prb").write_text(_probe_text(told["probe"]))
    (folder / "recording.params").write_text(_params_text(told, offset))
    if not told["data"]["overwrite"]:
        _reserve(folder / "reserved", 4 * recording.num_channels * recording.num_samples)
    found = folder / "recording" / "recording"
    for step in told["run"]["steps"]:
        print(f"{step}: started on {told['run']['processes']} processes", flush=True)
        _run_step(step, data, told["run"])
        if not _has_result(step, found):
            message = f"the step {step} has no result"
            raise NothingFoundError(message)
    extension = "-merged" if "merging" in told["run"]["steps"] else ""
    times, labels, channels = _read(found, extension, told["probe"]["channels"])
    inside = (times >= 0) & (times < recording.num_samples)
    if not inside.all():
        print(f"left out {np.count_nonzero(~inside)} events outside the recording")
    return times[inside], labels[inside], channels[inside]


def settings(
    recording: TraceReader, parameters: Mapping[str, Any], resources: Resources
) -> dict[str, dict[str, Any]]:
    """Return what SpyKING CIRCUS is told, by the sections and names of its own parameter file.

    Beside them are the probe, the steps that are run, and the processes that run them.

    Raises
    ------
    ValueError
        Where the pass band is empty, or a channel is named that the recording does not have.
    """
    _hold(recording, parameters)
    told: dict[str, dict[str, Any]] = {
        section: {
            RENAMED.get(name, name.removeprefix(f"{section}_")): (
                WITHOUT[name] if parameters[name] is None else parameters[name]
            )
            for name in names
        }
        for section, names in OPTIONS.items()
    }
    dead = {channel - 1 for channel in parameters["dead_channels"]}
    ground = parameters["common_ground"]
    told["filtering"]["cut_off"] = _cut_off(recording.sampling_frequency, parameters)
    told["filtering"]["common_ground"] = "" if ground is None else f"{{1: {ground - 1}}}"
    edited = parameters["remove_median"] or ground is not None
    steps = ["whitening", "clustering", "fitting"]
    if parameters["filter"] or edited:
        steps.insert(0, "filtering")
    if parameters["auto_merge"] < 1:
        steps.append("merging")
    # Unfiltered traces are changed where they lie: in a copy, of a type that keeps fractions.
    gain, offset = (None, 0) if edited and not parameters["filter"] else _scale(recording)
    told["data"] = {
        "file_format": "raw_binary",
        "data_dtype": "float32" if gain is None else np.dtype(recording.layout.dtype).name,
        "dtype_offset": 0 if gain is None else offset,
        "gain": 1.0 if gain is None else gain,
        "sampling_rate": recording.sampling_frequency,
        "stream_mode": "None",
        "suffix": "",
        # Filtered traces go to a file of their own: written over what is read, a chunk would see its neighbour's
        # filtered samples or not, depending on which process came first. Unfiltered ones it refuses to write anew.
        "overwrite": not parameters["filter"],
        # Without shared memory its clustering fails.
        "shared_memory": True,
        "auto_cluster": False,
        "parallel_hdf5": False,
    }
    told["probe"] = {
        "total_nb_channels": recording.num_channels,
        "channels": [channel for channel in range(recording.num_channels) if channel not in dead],
        "geometry": recording.locations.tolist(),
    }
    told["run"] = {
        "steps": steps,
        "processes": resources.cores,
        "seed": resources.seed,
        "microvolts": gain is None,
    }
    return told


def _hold(recording: TraceReader, parameters: Mapping[str, Any]) -> None:
    """Raise a ValueError where parameters contradict each other or the recording."""
    if parameters["matched_filter"] and parameters["weird_thresh"] is not None:
        message = "weird_thresh cannot be used together with matched_filter"
        raise ValueError(message)
    dead, ground = parameters["dead_channels"], parameters["common_ground"]
    for name, numbers in (("dead_channels", dead), ("common_ground", [] if ground is None else [ground])):
        for number in numbers:
            if not 1 <= number <= recording.num_channels:
                message = f"{name}: {number} is not a channel of 1 to {recording.num_channels}"
                raise ValueError(message)
    left = recording.num_channels - len(set(dead))
    if left < 1:
        message = "dead_channels names every channel of the recording"
        raise ValueError(message)
    if ground in dead:
        message = f"common_ground: channel {ground} is one of dead_channels"
        raise ValueError(message)
    if left == 1 and (parameters["remove_median"] or ground is not None):
        message = "remove_median and common_ground would leave nothing of a single channel"
        raise ValueError(message)


def _cut_off(sampling_frequency: float, parameters: Mapping[str, Any]) -> str:
    """Return the pass band in the tool's words."""
    low, high, nyquist = parameters["freq_min"], parameters["freq_max"], sampling_frequency / 2
    if high is not None and low >= high:
        message = f"freq_min ({low:g} Hz) must be below freq_max ({high:g} Hz)"
        raise ValueError(message)
    if low >= HIGHEST * nyquist:
        highest = HIGHEST * nyquist
        message = f"freq_min ({low:g} Hz) must be below 0.95 of half the sampling frequency ({highest:g} Hz)"
        raise ValueError(message)
    return f"{low}, {'auto' if high is None or high >= nyquist else high}"


def _scale(recording: TraceReader) -> tuple[float | None, int]:
    """Return the gain in uV and the count of 0 uV that all channels share; a gain of None where they share none."""
    gains, offsets = recording.gains, recording.offsets
    if gains[0] == 0 or (gains != gains[0]).any() or (offsets != offsets[0]).any():
        return None, 0
    zero = -offsets[0] / gains[0]
    if zero != round(zero):
        return None, 0
    return float(gains[0]), int(zero)


def _in_place(recording: TraceReader, told: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether SpyKING CIRCUS can read the user's own file: it does not write to it then."""
    part, *others = recording.layout.parts
    return (
        not others
        and not told["run"]["microvolts"]
        and part.time_axis == 0
        and part.channels == tuple(range(part.file_channels))
        and np.dtype(part.dtype).isnative
        and part.num_samples == part.file_samples
        and recording.files[0].stat().st_size == part.file_bytes
    )


def _copy(recording: TraceReader, told: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the samples so that SpyKING CIRCUS can read them: samples x channels, counts or uV."""
    dtype = np.dtype(told["data"]["data_dtype"])
    size = max(1, BLOCK_VALUES // recording.num_channels)
    starts = range(0, recording.num_samples, size)
    tell = StageProgress(starts, desc="copying")
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, dtype.itemsize * recording.num_channels * recording.num_samples)
        for start in tell:
            block = recording.traces(start, min(start + size, recording.num_samples))
            if told["run"]["microvolts"]:
                block = block * recording.gains + recording.offsets
            file.write(block.astype(dtype).tobytes())


def _reserve(path: Path, size: int) -> None:
    """Fail now, with ENOSPC, where the scratch folder is too small: a mapped file that grows would crash later."""
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    finally:
        path.unlink()


def _probe_text(probe: Mapping[str, Any]) -> str:
    """Write the probe file: Python, as the tool reads it."""
    geometry = dict(enumerate(probe["geometry"]))
    group = {"channels": probe["channels"], "geometry": geometry, "graph": []}
    return f"total_nb_channels = {len(geometry)}\nradius = 0\nchannel_groups = {{1: {group!r}}}\n"


def _params_text(told: Mapping[str, Mapping[str, Any]], offset: int) -> str:
    """Write the parameter file."""
    lines = []
    for section, options in told.items():
        if section in ("probe", "run"):
            continue
        lines.append(f"[{section}]")
        if section == "data":
            lines += ["mapping = recording.prb", f"data_offset = {offset}"]
        for option, value in options.items():
            text = f"({', '.join(map(str, value))})" if isinstance(value, list) else str(value)
            lines.append(f"{option} = {text}")
    # The filtering step edits this section.
    flags = ("filter_done", "artefacts_done", "median_done", "ground_done")
    return "\n".join([*lines, "[noedits]", *(f"{flag} = False" for flag in flags), ""])


def _run_step(step: str, data: Path, run: Mapping[str, Any]) -> None:
    """Run one step in MPI processes, and pass on what they print.

    Raises
    ------
    MemoryError, OSError, RuntimeError
        Where it ran out of memory, of disk space, or failed otherwise.
    """
    count, seed = str(run["processes"]), str(run["seed"])
    argv = [
        *(str(Path(sys.executable).parent / "mpiexec"), "-launcher", "fork", "-n", count),
        *(sys.executable, "-s", "-W", "ignore", __file__, step, data.name, count, seed),
    ]
    with subprocess.Popen(
        argv,
        # Paths are given from here: its parameter file cannot hold any character of a path.
        cwd=data.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"MPLBACKEND": "Agg"},
        text=True,
        errors="replace",
        preexec_fn=end_with_parent,  # noqa: PLW1509  (this process has one thread)
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if text := FRAME.sub("", COLOUR.sub("", line).rstrip()):
                print(text, flush=True)
    if process.returncode == OUT_OF_MEMORY:
        raise MemoryError(step)
    if process.returncode == DISK_FULL:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if process.returncode:
        message = f"{step} ended with code {process.returncode}"
        raise RuntimeError(message)


def _has_result(step: str, found: Path) -> bool:
    """Return whether a step found anything to go on with: the tool ends with code 0 where it did not, too.

    Raises
    ------
    RuntimeError
        Where it did not even come as far as that.
    """
    import h5py

    if step == "filtering":
        return True
    names = {"whitening": "basis", "clustering": "templates", "fitting": "result", "merging": "result-merged"}
    path = found.with_name(f"{found.name}.{names[step]}.hdf5")
    if step == "fitting" and not path.exists():
        return False
    if not path.exists():
        message = f"{step} gave up; the log says why"
        raise RuntimeError(message)
    with h5py.File(path, "r") as file:
        if step == "whitening":
            return "proj" in file or "proj_pos" in file
        if step == "clustering":
            return len(file["norms"]) > 0
        return len(file["spiketimes"]) > 0


def _read(found: Path, extension: str, channels: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the events of every template, and the channel on which each template was found."""
    import h5py

    with h5py.File(found.with_name(f"{found.name}.clusters{extension}.hdf5"), "r") as file:
        electrodes = file["electrodes"][:].ravel().astype(np.int64)
    with h5py.File(found.with_name(f"{found.name}.result{extension}.hdf5"), "r") as file:
        trains = [
            file["spiketimes"][f"temp_{index}"][:].ravel().astype(np.int64)
            for index in range(len(file["spiketimes"]))
        ]
    sizes = [len(train) for train in trains]
    primary = np.array(channels, dtype=np.int64)[electrodes] + 1
    return np.concatenate(trains), np.repeat(np.arange(len(trains)) + 1, sizes), np.repeat(primary, sizes)


def _work(step: str, data: str, processes: int, seed: int) -> None:
    """Run one step as one of its MPI processes.

    The tool's own files are as they were published. What is replaced here is what a machine, a missing screen or a
    file system would otherwise change: see each line.
    """
    import uuid

    import psutil
    import tqdm

    # It identifies machines by their network card, and without one by a random number.
    uuid.getnode = lambda: 0
    # The lengths of its chunks follow from the machine's memory.
    psutil.virtual_memory = lambda: SimpleNamespace(total=MEMORY * processes)
    tqdm.tqdm = functools.partial(StageProgress, desc=step)
    # It seeds with constants, each step and process with its own.
    plant = np.random.seed
    np.random.seed = lambda number: plant((number + seed) % 2**32)
    if step == "merging":
        _without_screen()
    _unname_shared_memory()

    import circus

    circus.launch(step, data, processes, 0, False)


def _unname_shared_memory() -> None:
    """Take away the name of MPI's shared memory once every process has it: killed, they would leave it behind."""
    import mpi4py

    mpi4py.rc.threads = False
    from mpi4py import MPI

    MPI.COMM_WORLD.Barrier()
    named = set(re.findall(r"/dev/shm/mpich_shm_\S+", Path("/proc/self/maps").read_text()))
    MPI.COMM_WORLD.Barrier()
    if MPI.COMM_WORLD.rank == 0:
        for name in named:
            Path(name).unlink(missing_ok=True)


def _without_screen() -> None:
    """Let the merging step be imported without Qt: on its own it opens no window."""
    window = type("QMainWindow", (), {})
    stand_ins: dict[str, dict[str, Any]] = {
        "PyQt5": {"uic": None},
        "PyQt5.QtCore": {"Qt": None},
        "PyQt5.QtGui": {"QCursor": None},
        "PyQt5.QtWidgets": {"QMainWindow": window},
        "matplotlib.backends.backend_qt5agg": {"NavigationToolbar2QT": None},
    }
    for name, content in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module


def _main(step: str, data: str, processes: str, seed: str) -> None:
    """Run `_work`, and end every process of the step where it fails in this one."""
    end_with_parent()
    try:
        _work(step, data, int(processes), int(seed))
    except BaseException as error:  # noqa: BLE001  (whatever it is, the other processes must not wait for this one)
        # The tool ends a step with code 0 where it finds nothing, and where it gives up.
        if isinstance(error, SystemExit) and not error.code:
            return
        from mpi4py import MPI

        traceback.print_exc()
        full = getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)
        memory = isinstance(error, MemoryError)
        MPI.COMM_WORLD.Abort(OUT_OF_MEMORY if memory else DISK_FULL if full else 1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
