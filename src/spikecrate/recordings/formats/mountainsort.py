"""The MountainSort folder: raw.mda (channels x samples), params.json, geom.csv."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from spikecrate.errors import RecordingFormatError
from spikecrate.recordings.flat_file import MAX_CHANNELS, extra_bytes, flat_recording
from spikecrate.recordings.formats.entries import Entry
from spikecrate.recordings.formats.fields import Fields, shown
from spikecrate.recordings.formats.files import is_file, read_json, reading, regular_file
from spikecrate.recordings.probe_files import GEOM, read_geom
from spikecrate_harness.mda import MdaError, MdaHeader, read_header

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate.recordings.model import Recording

PARAMS: Final = "params.json"
EXAMPLE: Final = '{"samplerate": 30000, "scale_factor": 0.195, "spike_sign": -1}'


def entries(named: Path, source: Path) -> list[Entry]:
    """List the one recording of a MountainSort folder.

    Parameters
    ----------
    named : Path
        As the user named it.
    source : Path
        Its raw.mda.

    Returns
    -------
    list of Entry
    """
    return [Entry(path=named, open=partial(open_source, source=source))]


def open_source(path: Path, source: Path, *, allow_truncated: bool = False, probe: str = "") -> Recording:
    """Open a MountainSort folder.

    `params.json` holds `samplerate` (Hz), and may hold `scale_factor` (uV per count, 1 by default) and
    `spike_sign` (-1, 0, 1). Without `geom.csv` one column of channels is assumed.

    Parameters
    ----------
    path : Path
        As the user named it.
    source : Path
        Its raw.mda.
    allow_truncated : bool
        As in `flat_recording`.
    probe : str
        As in `flat_recording`, in place of geom.csv.

    Returns
    -------
    Recording

    Raises
    ------
    SpikecrateError
        A recording error that names the file, the field and the next step.
    """
    size = regular_file(source).st_size
    header = _header(source)
    num_channels, num_samples = header.shape[:2]
    params = _params(source.parent)
    gain = params.number("scale_factor", positive=False) if "scale_factor" in params.data else None
    if gain == 0:
        params.refuse("scale_factor", "0 uV per count leaves no signal")
    sign = params.data.get("spike_sign")
    if isinstance(sign, bool) or sign not in (None, -1, 0, 1):
        params.refuse("spike_sign", f"expected -1, 0 or 1, got {shown(sign)}")
    longer = size > header.file_size > header.offset
    # The rows of a geom.csv are counted only where the number of channels is possible.
    geom = source.parent / GEOM
    known = is_file(geom) and 1 <= num_channels <= MAX_CHANNELS
    return flat_recording(
        path=path,
        format="mountainsort",
        source=source,
        sample_file=source,
        dtype=header.dtype,
        offset=header.offset,
        file_channels=num_channels,
        num_samples=num_samples,
        sampling_frequency=params.number("samplerate"),
        gains=gain,
        probe=probe or (read_geom(geom, num_channels) if known else None),
        no_probe=f"there is no {GEOM}",
        next_steps={
            "gain_uv": f"add scale_factor (uV per count) to {PARAMS}",
            "offset_uv": "convert the samples to int16, with 0 at 0 uV",
        },
        spike_sign=None if sign is None else int(sign),
        assumptions=[extra_bytes(source, size - header.file_size)] if longer else [],
        allow_truncated=allow_truncated,
    )


def _header(raw: Path) -> MdaHeader:
    """Read the header of raw.mda and check that it is a table of real numbers."""
    with reading(raw):
        try:
            header = read_header(raw)
        except MdaError as error:
            step = "check that the file was copied whole and is an MDA file"
            raise RecordingFormatError(str(error), next_step=step) from None
    if header.dtype == "<c8":
        message = f"{raw}: complex samples cannot be sorted"
        raise RecordingFormatError(message, next_step="write the real traces as int16 or float32")
    if len(header.shape) < 2 or any(size != 1 for size in header.shape[2:]):
        message = f"{raw}: dimensions {header.shape}, expected channels x samples"
        raise RecordingFormatError(message, next_step="write the traces as channels x samples")
    return header


def _params(folder: Path) -> Fields:
    """Read params.json."""
    path = folder / PARAMS
    if not is_file(path):
        message = f"{path} does not exist; the sampling frequency is needed"
        raise RecordingFormatError(
            message,
            next_step=f"write {PARAMS} beside raw.mda, for example {EXAMPLE}",
            details={"file": str(path), "field": "samplerate"},
        )
    return Fields(read_json(path), path)
