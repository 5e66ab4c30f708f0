"""Import: read a recording of another format once through SpikeInterface, and write it as a flat file.

SpikeInterface is the optional extra `import`. Samples are read in pieces, so that memory stays flat; channels, gains
and locations are kept.
"""

from __future__ import annotations

import json
import math
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Silent
from spikecrate.errors import (
    ExtraMissingError,
    OutputError,
    RecordingAmbiguousError,
    RecordingEmptyError,
    RecordingFormatError,
    UsageError,
)
from spikecrate.recordings.formats import absolute, open_recording
from spikecrate.recordings.formats.files import reading
from spikecrate.recordings.model import sample_type
from spikecrate.recordings.new_folder import new_folder

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.recordings.model import Recording

SAMPLES: Final = "traces.raw"
GEOM: Final = "geom.csv"
PIECE_BYTES: Final = 16 * 2**20
BY_SUFFIX: Final = {
    ".abf": "axon",
    ".brw": "biocam",
    ".continuous": "openephyslegacy",
    ".edf": "edf",
    ".mda": "mda",
    ".meta": "spikeglx",
    ".ncs": "neuralynx",
    ".nex": "neuroexplorer",
    ".nix": "nix",
    ".nwb": "nwb",
    ".oebin": "openephysbinary",
    ".pl2": "plexon2",
    ".plx": "plexon",
    ".rec": "spikegadgets",
    ".rhd": "intan",
    ".rhs": "intan",
    ".set": "axona",
    ".smr": "ced",
    ".smrx": "ced",
    ".tev": "tdt",
    ".zarr": "zarr",
    **{f".ns{number}": "blackrock" for number in range(1, 7)},
}
"""SpikeInterface's reader of each suffix that only one format has."""
BY_NAME: Final = {"binary.json": "binaryfolder", "si_folder.json": "binaryfolder"}
DEPTH: Final = 4


def import_recording(
    source: str | Path,
    destination: str | Path,
    progress: Progress | None = None,
    *,
    reader: str | None = None,
    stream: str | None = None,
    segment: int | None = None,
) -> Recording:
    """Convert a recording that SpikeInterface reads into a flat file with a recording.json.

    Parameters
    ----------
    source : str or Path
        A file or folder in any format of SpikeInterface.
    destination : str or Path
        A folder that does not exist. It is complete or absent, also after an interruption.
    progress : Progress, optional
        Shows the samples written.
    reader : str, optional
        SpikeInterface's name of the format ("intan", "nwb"); by default guessed from the file names.
    stream : str, optional
        The stream's name or id, where a source has several.
    segment : int, optional
        Number of the segment, from 0, where a source has several.

    Returns
    -------
    Recording
        The imported recording, opened in place.

    Raises
    ------
    ExtraMissingError
        If SpikeInterface is not installed.
    RecordingAmbiguousError
        If there are several streams or segments and none is named.
    RecordingFormatError
        If SpikeInterface cannot read the source, or the samples cannot be sorted.
    OutputError, DiskFullError
        If the destination exists or cannot be written.
    """
    origin, target = absolute(source), absolute(destination)
    with reading(origin):
        origin.stat()
    if os.path.lexists(target):
        message = f"{target} exists already"
        raise OutputError(message, next_step="name a folder that does not exist, or remove this one")
    extractor = _open(origin, reader, stream)
    chosen = _segment(origin, extractor, segment)
    with new_folder(target) as part:
        _write(extractor, chosen, origin, part, progress or Silent())
    return open_recording(target)


def _open(origin: Path, reader: str | None, stream: str | None) -> Any:
    """Open the source with SpikeInterface."""
    try:
        readers = import_module("spikeinterface.extractors").recording_extractor_full_dict
    except ImportError as error:
        message = f"SpikeInterface is needed to read {origin} ({error})"
        raise ExtraMissingError(message, next_step='pip install "spikecrate[import]"') from None
    name = reader or guess_reader(origin)
    if name is None or name not in readers:
        problem = f"no reader named {name!r}" if name else "its name does not tell its format"
        message = f"{origin}: {problem}"
        raise UsageError(message, next_step=f"name the reader, one of: {', '.join(sorted(readers))}")
    try:
        return _read(readers[name], origin, stream)
    # The readers raise exceptions of any class; their messages are passed on.
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        if "several streams" in text:
            message = f"{origin}: {text}"
            raise RecordingAmbiguousError(message, next_step="name one of the streams") from None
        message = f"SpikeInterface ({name}) cannot read {origin}: {text}"
        raise RecordingFormatError(message, next_step="check the files, or name another reader") from error


def _read(open_source: Any, origin: Path, stream: str | None) -> Any:
    """Call a reader with the name of a stream, or else its id."""
    if stream is None:
        return open_source(origin)
    try:
        return open_source(origin, stream_name=stream)
    except (ValueError, AssertionError, KeyError):
        return open_source(origin, stream_id=stream)


def guess_reader(origin: Path) -> str | None:
    """Guess SpikeInterface's reader from the name of a file, or the names in a folder.

    Parameters
    ----------
    origin : Path
        The source.

    Returns
    -------
    str or None
        None where the names fit no reader, or several.
    """
    known = BY_SUFFIX.get(origin.suffix.lower()) or BY_NAME.get(origin.name)
    if known is not None or not origin.is_dir():
        return known
    folders = [origin]
    for _level in range(DEPTH):
        entries = [entry for folder in folders for entry in sorted(folder.iterdir())]
        found = {BY_NAME.get(entry.name) or BY_SUFFIX.get(entry.suffix.lower()) for entry in entries} - {None}
        if found:
            return found.pop() if len(found) == 1 else None
        folders = [entry for entry in entries if entry.is_dir()]
    return None


def _segment(origin: Path, extractor: Any, segment: int | None) -> int:
    """Choose the segment."""
    count = int(extractor.get_num_segments())
    if segment is None and count > 1:
        message = f"{origin} holds {count} segments"
        raise RecordingAmbiguousError(message, next_step=f"name one, from 0 to {count - 1}, and import each")
    chosen = segment or 0
    if not 0 <= chosen < count:
        message = f"{origin} has no segment {chosen}, it holds {count}"
        raise UsageError(message, next_step=f"name one from 0 to {count - 1}")
    return chosen


def _write(extractor: Any, segment: int, origin: Path, part: Path, progress: Progress) -> None:
    """Write samples, description and locations."""
    import numpy as np

    num_channels = int(extractor.get_num_channels())
    num_samples = int(extractor.get_num_samples(segment_index=segment))
    dtype = np.dtype(extractor.get_dtype()).newbyteorder("<")
    if num_samples < 1 or num_channels < 1:
        message = f"{origin}: {num_channels} channels and {num_samples} samples"
        raise RecordingEmptyError(message, next_step="name another stream or segment")
    if sample_type(dtype.str) is None:
        message = f"{origin}: samples of type {dtype} cannot be sorted"
        raise RecordingFormatError(message, next_step="convert the samples to int16 or float32")
    description: dict[str, Any] = {
        "title": f"Imported from {origin.name}",
        "file": SAMPLES,
        "dtype": dtype.str,
        "num_channels": num_channels,
        "num_samples": num_samples,
        "sampling_frequency": float(extractor.get_sampling_frequency()),
        "channel_ids": [str(name) for name in extractor.get_channel_ids()],
    }
    if extractor.has_scaleable_traces():
        description["gain_uv"] = [float(gain) for gain in extractor.get_channel_gains()]
        description["offset_uv"] = [float(offset) for offset in extractor.get_channel_offsets()]
    if extractor.has_channel_location():
        rows = [[float(value) for value in row] for row in extractor.get_channel_locations()]
        if all(math.isfinite(value) for row in rows for value in row):
            description["probe"] = GEOM
            lines = [",".join(map(repr, row)) for row in rows]
            (part / GEOM).write_text("\n".join(lines) + "\n", encoding="utf-8")
    step = max(1, PIECE_BYTES // (num_channels * dtype.itemsize))
    with (
        (part / SAMPLES).open("wb") as file,
        progress.bar(f"importing {origin.name}", num_samples) as advance,
    ):
        for start in range(0, num_samples, step):
            stop = min(start + step, num_samples)
            traces = _piece(extractor, segment, start, stop, origin)
            file.write(np.ascontiguousarray(traces, dtype=dtype).data)
            advance(stop - start)
    (part / "recording.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _piece(extractor: Any, segment: int, start: int, stop: int, origin: Path) -> Any:
    """Read one piece: samples x channels."""
    try:
        return extractor.get_traces(segment_index=segment, start_frame=start, end_frame=stop)
    except Exception as error:  # as in _open
        message = f"SpikeInterface cannot read samples {start} to {stop} of {origin}: {error}"
        raise RecordingFormatError(message, next_step="check that the file was copied whole") from error
