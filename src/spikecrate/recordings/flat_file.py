"""A recording of one flat file: the file is checked against its description."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.errors import RecordingEmptyError, RecordingFormatError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.formats.files import regular_file, truncated
from spikecrate.recordings.model import Recording
from spikecrate.recordings.probe import PUT_GEOM, Probe, settled
from spikecrate_harness.layout import DTYPE, Layout, Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_CHANNELS: Final = 2**17
"""Twice the largest array known; more means that rows and columns of the file are mixed up."""


def flat_recording(
    *,
    path: Path,
    format: str,
    source: Path,
    sample_file: Path,
    dtype: str,
    file_channels: int,
    sampling_frequency: float,
    offset: int = 0,
    time_axis: int = 0,
    channels: Sequence[int] | None = None,
    num_samples: int | None = None,
    gains: float | Sequence[float] | None = None,
    offsets: Sequence[float] | None = None,
    probe: Probe | str | None = None,
    no_probe: str = "the recording gives no locations of its channels",
    next_steps: Mapping[str, str] | None = None,
    channel_ids: Sequence[str] | None = None,
    spike_sign: int | None = None,
    assumptions: Sequence[Assumption] = (),
    allow_truncated: bool = False,
) -> Recording:
    """Check a flat file against its description, and return the recording.

    Parameters
    ----------
    path : Path
        As the user named it, absolute.
    format : str
        Name of the format.
    source : Path
        The file with the description, for messages.
    sample_file : Path
        The file with the samples, absolute.
    dtype : str
        As `sample_type` takes it.
    file_channels, sampling_frequency, offset, time_axis
        As in `Layout`.
    channels : sequence of int, optional
        Columns of the file that are the recording's; by default all.
    num_samples : int, optional
        The number in a header; by default as many as the file holds.
    gains : float or sequence of float, optional
        uV per count, one for all channels or one a channel; by default 1 is assumed.
    offsets : sequence of float, optional
        uV at count 0, one a channel; by default 0 is assumed.
    probe : Probe or str, optional
        Places and groups of the channels, or how a user names them (`read_probe`); by default one column is assumed.
    no_probe : str
        Reason of that assumption.
    next_steps : mapping, optional
        How to give what is assumed: "gain_uv", "offset_uv", "probe".
    channel_ids : sequence of str, optional
        By default 1, 2, 3 and so on, by the columns of the file.
    spike_sign, assumptions
        As in `Recording`.
    allow_truncated : bool
        Whether a file that is shorter than `num_samples` needs is read as far as it goes.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingEmptyError
        If there are no channels or no samples.
    RecordingTruncatedError
        If the file is shorter than `num_samples` needs, and that is not allowed.
    RecordingFormatError
        If a value does not fit.
    SpikecrateError
        As `regular_file`.
    """
    if ".." in sample_file.parts:
        # After a link, only the file system resolves ".."; a job gets the folder by its true name.
        sample_file = Path(os.path.realpath(sample_file.parent)) / sample_file.name
    kind = sample_type(dtype)
    if kind is None:
        message = f"{source}: samples of type {dtype!r} cannot be sorted"
        raise RecordingFormatError(message, next_step="convert the samples to int16 or float32")
    size = regular_file(sample_file, named_in=None if source == sample_file else source).st_size
    if file_channels > MAX_CHANNELS:
        message = f"{source}: {file_channels} channels are more than any probe has"
        raise RecordingFormatError(message, next_step="check that samples and channels are not mixed up")
    if file_channels < 1 or (channels is not None and not channels):
        message = f"{source}: no channels"
        raise RecordingEmptyError(message, next_step="record at least one channel")
    columns = tuple(range(file_channels)) if channels is None else tuple(channels)
    steps = {"gain_uv": "", "offset_uv": "", "probe": PUT_GEOM} | dict(next_steps or {})
    assumed = list(assumptions)
    frame_bytes = file_channels * int(kind[2:])
    num_samples, cut = _length(
        sample_file,
        source,
        size,
        num_samples,
        offset,
        frame_bytes,
        time_axis,
        allow_truncated=allow_truncated,
    )
    assumed += cut
    if num_samples < 1:
        message = f"{sample_file}: no samples ({file_channels} channels, {size} bytes)"
        raise RecordingEmptyError(
            message, next_step="check that the recording was copied and closed properly"
        )
    no_gain = "the recording gives no gain; a count is taken as 1 uV"
    no_offset = "samples are unsigned and the recording gives no offset; count 0 is taken as 0 uV"
    assumed += [
        Assumption(field=field, message=message, next_step=steps[field])
        for field, message, missing in (
            ("gain_uv", no_gain, gains is None),
            ("offset_uv", no_offset, offsets is None and kind[1] == "u"),
        )
        if missing
    ]
    ids = tuple(str(index + 1) for index in columns) if channel_ids is None else tuple(channel_ids)
    placed, notes = settled(probe, ids, no_probe, steps["probe"])
    assumed += notes
    gains = 1.0 if gains is None else gains
    each_gain = (gains,) * len(columns) if isinstance(gains, float) else tuple(gains)
    each_offset = (0.0,) * len(columns) if offsets is None else tuple(offsets)
    if (kept := placed.channels) is not None:
        columns, ids = tuple(columns[index] for index in kept), tuple(ids[index] for index in kept)
        each_gain, each_offset = (tuple(each[index] for index in kept) for each in (each_gain, each_offset))
    try:
        part = Part(
            file=sample_file.name,
            dtype=kind,
            offset=offset,
            time_axis=time_axis,
            file_channels=file_channels,
            file_samples=num_samples,
            channels=columns,
            start=0,
            num_samples=num_samples,
        )
        layout = Layout(
            parts=(part,),
            sampling_frequency=float(sampling_frequency),
            gains=each_gain,
            offsets=each_offset,
            locations=placed.locations,
        )
    except ValueError as error:
        message = f"{source}: {error}"
        raise RecordingFormatError(message, next_step=f"correct {source.name}") from None
    if 0 in layout.gains:
        message = f"{source}: a gain of 0 uV per count leaves no signal"
        raise RecordingFormatError(message, next_step=f"correct the gains in {source.name}")
    return Recording(
        path=path,
        format=format,
        files=(sample_file,),
        layout=layout,
        channel_ids=ids,
        groups=placed.groups,
        spike_sign=spike_sign,
        assumptions=tuple(assumed),
        origin={"path": str(path)},
    )


def _length(
    sample_file: Path,
    source: Path,
    size: int,
    promised: int | None,
    offset: int,
    frame_bytes: int,
    time_axis: int,
    *,
    allow_truncated: bool,
) -> tuple[int, list[Assumption]]:
    """Return the samples per channel that are read, with a note where the file does not end with its last one."""
    if promised is None:
        num_samples, extra = divmod(max(0, size - offset), frame_bytes)
        if extra and time_axis == 1:
            message = f"{source}: {size - offset} bytes of samples do not divide into channels, {frame_bytes} bytes a sample"
            raise RecordingFormatError(message, next_step="check dtype, offset and number of channels")
        return num_samples, [extra_bytes(sample_file, extra)] if extra else []
    needed = offset + promised * frame_bytes
    if promised < 1 or size >= needed:
        return promised, []
    if time_axis == 1 or size < offset + frame_bytes:
        # Of a file with one channel after the other, whole channels are missing.
        raise truncated(sample_file, needed, size)
    note = cut_short(sample_file, needed, size, allowed=allow_truncated)
    return (size - offset) // frame_bytes, [note]


def sample_type(name: str) -> str | None:
    """Return numpy's name with byte order for a type of real samples, or None for any other.

    Parameters
    ----------
    name : str
        A type as numpy names it.

    Returns
    -------
    str or None

    Examples
    --------
    >>> sample_type("int16"), sample_type(">f4"), sample_type("u1"), sample_type("complex64")
    ('<i2', '>f4', '|u1', None)
    """
    long = re.fullmatch(r"(int|uint|float)(8|16|32|64)", name)
    text = f"{long[1][0]}{int(long[2]) // 8}" if long is not None else name
    order = text[0] if text[:1] in ("<", ">", "|", "=") else "="
    kind = text.lstrip("<>|=")
    if order in "=|":
        order = "<" if sys.byteorder == "little" else ">"
    result = f"|{kind}" if kind[1:] == "1" else f"{order}{kind}"
    return result if DTYPE.fullmatch(result) is not None else None


def cut_short(path: Path, needed: int, found: int, *, allowed: bool) -> Assumption:
    """Return the assumption that a sample file may be read as far as it goes.

    Parameters
    ----------
    path : Path
        The sample file.
    needed, found : int
        Bytes.
    allowed : bool
        Whether the user allows it.

    Returns
    -------
    Assumption

    Raises
    ------
    RecordingTruncatedError
        If the user does not.
    """
    if not allowed:
        raise truncated(path, needed, found, next_step=", or read what is there with --allow-truncated")
    return Assumption(
        field="samples",
        message=f"{path.name} is cut short: {needed - found} of {needed} bytes "
        f"({1 - found / needed:.3%}) are missing; what is there is read",
        next_step="copy the file again from where it was recorded",
    )


def extra_bytes(path: Path, extra: int) -> Assumption:
    """Return the assumption that bytes after the last sample are not samples.

    Parameters
    ----------
    path : Path
        The sample file.
    extra : int
        Bytes.

    Returns
    -------
    Assumption
    """
    return Assumption(
        field="samples",
        message=f"{path.name} has {extra} bytes after its last sample, which are left out",
        next_step="check dtype, offset and number of channels, and that the file was copied whole",
    )


def channels_left_out(counts: Mapping[str, int]) -> list[Assumption]:
    """Return the assumption that channels of the file carry no spikes; none where none are left out.

    Parameters
    ----------
    counts : mapping
        Kind to number of channels.

    Returns
    -------
    list of Assumption
    """
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return [Assumption(field="channels", message=f"channels of the file not in use: {text}")] if text else []
