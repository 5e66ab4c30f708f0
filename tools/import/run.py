"""Read a recording of any format of SpikeInterface, in pieces, and write it as a flat file with a recording.json.

Sources: spikeinterface 0.105.3 (`extractors`, `core.baserecordingsnippets`); neo 0.14.6; probeinterface 0.4.2;
mtscomp 1.0.2.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import warnings
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from spikecrate_harness.stage_progress import StageProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from spikecrate_harness.resources import Resources

CBIN: Final = "compressedbinaryibl"
SAMPLES: Final = "traces.raw"
PROBE: Final = "probe.json"
PIECE_BYTES: Final = 64 * 2**20
"""Bytes read at once."""
USAGE, FORMAT, EMPTY, AMBIGUOUS = 2, 11, 15, 16
"""Exit codes of spikecrate's errors, which the library raises with the last line of the log."""
ELECTRODES: Final = {"intan": "amplifier channel", "spikegadgets": "trodes"}
"""Part of the name of the stream with electrodes, for the readers that name it the same in every file."""
VOLTAGES: Final = ("V", "Volt", "Volts", "mV", "uV")
"""The units that SpikeInterface converts to uV."""
MILLIVOLTS: Final = ("plexon",)
"""Readers whose gains are in mV and name no unit: neo's `plexonrawio` divides by `SlowMaxMagnitudeMV`."""


def run(inputs: Mapping[str, Path], parameters: Mapping[str, Any], out: Path, resources: Resources) -> None:
    """Write the recording's samples, its probe and its description to `out`.

    Parameters
    ----------
    inputs : mapping
        `source`: the folder that has the recording, or is one.
    parameters : mapping
        Those of tool.json.
    out : Path
        An empty folder.
    resources : Resources
        Not used: one process reads in pieces.
    """
    del resources
    # What the packages plan to change is for their developers.
    warnings.simplefilter("ignore", FutureWarning)
    reader, source = parameters["reader"], inputs["source"] / parameters["file"]
    if reader == CBIN:
        decompress(source, parameters["stream"], parameters["segment"], out)
        return
    recording = open_recording(reader, source, parameters["stream"])
    segment = choose_segment(recording, parameters["segment"])
    dtype = np.dtype(recording.get_dtype()).newbyteorder("<")
    num_channels, num_samples = recording.get_num_channels(), recording.get_num_samples(segment)
    if not num_channels or not num_samples:
        end(EMPTY, f"{num_channels} channels and {num_samples} samples; name another stream or segment")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        end(FORMAT, f"samples of type {dtype} cannot be sorted")
    description = {
        # The name of the source itself is another in a container than on the host.
        "title": f"{parameters['file']} read by SpikeInterface ({reader})".strip(),
        "file": SAMPLES,
        "dtype": dtype.str,
        "num_channels": int(num_channels),
        "num_samples": int(num_samples),
        "sampling_frequency": float(recording.get_sampling_frequency()),
        "channel_ids": [str(name) for name in recording.get_channel_ids()],
        **scale(reader, recording),
        **({"probe": PROBE} if write_probe(recording, out / PROBE) else {}),
    }
    write_samples(recording, segment, num_samples, dtype, out / SAMPLES)
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    (out / "recording.json").write_text(text, encoding="utf-8")


def open_recording(reader: str, source: Path, stream: str) -> Any:
    """Open the source with a reader of SpikeInterface.

    Returns
    -------
    spikeinterface.core.BaseRecording
    """
    from spikeinterface.extractors import recording_extractor_full_dict as readers

    if reader not in readers:
        end(USAGE, f"no reader is named {reader!r}; the readers are {', '.join(sorted(readers))}")
    open_source = readers[reader]
    try:
        return open_source(**arguments(reader, open_source, source, stream))
    except MemoryError:
        raise
    # The readers raise exceptions of any class; their text is the reason.
    except Exception as error:  # noqa: BLE001
        text = one_line(error)
        several = any(
            words in text for words in ("several streams", "Multiple ElectricalSeries", "multi-block")
        )
        end(AMBIGUOUS if several else FORMAT, f"SpikeInterface ({reader}) cannot read it: {text}")


def arguments(reader: str, open_source: Callable[..., Any], source: Path, stream: str) -> dict[str, Any]:
    """Return the arguments of a reader: the source, and where there are several the stream."""
    known = signature(open_source).parameters
    first = {next(iter(known)): source}
    if reader == "nwb":
        paths = open_source.fetch_available_electrical_series_paths(source)
        if not paths:
            end(FORMAT, "the file has no ElectricalSeries")
        # By NWB's convention raw data lie in `acquisition`, and the LFP made of them in `processing`.
        raw = [path for path in paths if path.startswith("acquisition/")]
        refuse_stream(reader, stream, paths)
        return first | {"electrical_series_path": stream or (raw[0] if len(raw) == 1 else None)}
    if not hasattr(open_source, "get_streams"):
        if stream and not known.keys() & {"stream_name", "kwargs"}:
            refuse_stream(reader, stream, [])
        return first | ({"stream_name": stream} if stream else {})
    if stream:
        names, ids = open_source.get_streams(source)
        refuse_stream(reader, stream, [*names, *ids])
        return first | {"stream_name" if stream in names else "stream_id": stream}
    if reader in ELECTRODES:
        names, _ = open_source.get_streams(source)
        electrodes = [name for name in names if ELECTRODES[reader] in name]
        return first | ({"stream_name": electrodes[0]} if len(electrodes) == 1 else {})
    return first


def refuse_stream(reader: str, stream: str, known: list[str]) -> None:
    """End with the known names if a stream is named and is not one of them."""
    if stream and stream not in known:
        has = (
            f"the streams are {', '.join(map(repr, known))}" if known else f"{reader} has no streams to name"
        )
        end(USAGE, f"no stream is named {stream!r}; {has}")


def decompress(source: Path, stream: str, segment: int | None, out: Path) -> None:
    """Write the .bin and the .meta that a .cbin was made of: a recording of SpikeGLX, which is read in place.

    Its places, gains and channels are then those of the recording before it was compressed. SpikeInterface 0.105.3
    puts the probe elsewhere, and leaves out the last channel of every file, sync channel or not (`cbin_ibl`).
    """
    import mtscomp

    if stream and not source.name.endswith(f".{stream}.cbin"):
        end(USAGE, f"no stream is named {stream!r}; {source.name} has one")
    if segment:
        end(USAGE, f"there is no segment {segment}; {source.name} has one, 0")
    hashed = hashlib.sha1(usedforsecurity=False)
    try:
        reader = mtscomp.Reader()
        reader.open(source, source.with_suffix(".ch"))
        shutil.copyfile(source.with_suffix(".meta"), out / source.with_suffix(".meta").name)
        progress = StageProgress(desc="importing", total=reader.n_chunks)
        with (out / source.with_suffix(".bin").name).open("wb") as file:
            for chunk in reader.iter_chunks():
                # Of the class: the reader's own keeps the last ten pieces.
                samples = mtscomp.Reader.read_chunk(reader, *chunk)
                file.write(samples.data)
                hashed.update(samples.data)
                progress.update()
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        end(FORMAT, f"mtscomp cannot read {source.name}: {one_line(error)}")
    if hashed.hexdigest() != reader.cmeta["sha1_uncompressed"]:
        end(
            FORMAT,
            f"{source.name} is damaged: its samples have not the SHA-1 in {source.with_suffix('.ch').name}",
        )


def choose_segment(recording: Any, segment: int | None) -> int:
    """Return the number of the segment."""
    count = int(recording.get_num_segments())
    if segment is None and count > 1:
        end(AMBIGUOUS, f"{count} segments; name one, from 0 to {count - 1}")
    if not 0 <= (segment or 0) < count:
        end(USAGE, f"there is no segment {segment}; the segments are 0 to {count - 1}")
    return segment or 0


def scale(reader: str, recording: Any) -> dict[str, list[float]]:
    """Return gains and offsets in uV, where the reader knows them.

    SpikeInterface 0.105.3 takes any unit that it does not know for uV (`neobaseextractor`).
    """
    units = recording.get_property("physical_unit")
    known = units is None or np.isin(units, VOLTAGES).all()
    if not recording.has_scaleable_traces() or not (known or reader in MILLIVOLTS):
        return {}
    found = {"gain_uv": recording.get_channel_gains(), "offset_uv": recording.get_channel_offsets()}
    if not all(np.isfinite(values).all() for values in found.values()):
        return {}
    factor = 1.0 if known else 1e3
    return {name: [factor * float(value) for value in values] for name, values in found.items()}


def write_probe(recording: Any, path: Path) -> bool:
    """Write the probe with its shanks in probeinterface's format; return whether the recording has one."""
    if not recording.has_probe():
        return False
    from probeinterface import write_probeinterface

    probes = recording.get_probegroup().copy()
    if not np.isfinite(probes.get_global_contact_positions()).all():
        return False
    probes.set_global_device_channel_indices(np.arange(recording.get_num_channels()))
    write_probeinterface(path, probes)
    return True


def write_samples(recording: Any, segment: int, num_samples: int, dtype: np.dtype, path: Path) -> None:
    """Write the samples piece by piece, sample after sample."""
    step = max(1, PIECE_BYTES // (dtype.itemsize * recording.get_num_channels()))
    # Zarr and .cbin are compressed in pieces of a second: whole seconds decompress none of them twice.
    second = round(recording.get_sampling_frequency())
    step -= step % second if step > second else 0
    progress = StageProgress(desc="importing", total=num_samples)
    with path.open("wb") as file:
        for start in range(0, num_samples, step):
            stop = min(start + step, num_samples)
            try:
                traces = recording.get_traces(segment_index=segment, start_frame=start, end_frame=stop)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001  (as in open_recording)
                end(FORMAT, f"SpikeInterface cannot read samples {start} to {stop}: {one_line(error)}")
            expected = stop - start, recording.get_num_channels()
            if traces.shape != expected:
                end(FORMAT, f"samples {start} to {stop} have the shape {traces.shape}, not {expected}")
            file.write(np.ascontiguousarray(traces, dtype=dtype).data)
            progress.update(stop - start)


def one_line(error: Exception) -> str:
    """Return the text of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def end(code: int, reason: str) -> NoReturn:
    """End the step with an exit code and a last line; the harness would print a traceback after it."""
    print(reason, file=sys.stderr, flush=True)
    os._exit(code)
