"""SpikeGLX: a .bin file of int16 samples, described by a .meta file beside it.

Source: SpikeGLX's metadata guide (`Markdown/Metadata_Help.md`) and its authors' `readSGLX.py` and
`SGLXMetaToCoords.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.errors import RecordingEmptyError, RecordingFormatError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.formats.fields import shown
from spikecrate.recordings.formats.files import is_file, read_text, regular_file
from spikecrate.recordings.formats.neuropixels import imec_gains, imec_locations, map_assumptions
from spikecrate.recordings.formats.spikeglx_meta import Meta
from spikecrate.recordings.model import MAX_CHANNELS, Recording, channels_left_out, flat_recording, truncated
from spikecrate.recordings.probe import read_beside

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate.recordings.probe import Locations

SAMPLE_BYTES: Final = 2


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Facts of the samples in a .meta file.

    Attributes
    ----------
    rate : float
        Hz.
    kept : int
        Channels of the recording; the file's first ones.
    names : tuple of str
        Of the kept channels.
    gains : tuple of float
        uV per count, of the kept channels.
    left_out : str
        Channels of the file that are not the recording's.
    """

    rate: float
    kept: int
    names: tuple[str, ...]
    gains: tuple[float, ...]
    left_out: str


def open_spikeglx(path: Path, binary: Path) -> Recording:
    """Open one SpikeGLX stream: imec (ap or lf), nidq or obx.

    Sync channels and digital words are left out; a nidq stream with multiplexed neural channels keeps only those.

    Parameters
    ----------
    path : Path
        As the user named it.
    binary : Path
        The .bin file.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingTruncatedError
        If the file is shorter than `fileSizeBytes`.
    SpikecrateError
        A recording error that names the file, the field and the next step.
    """
    source = binary.with_suffix(".meta")
    meta = Meta(source, read_text(source, named_in=None))
    file_channels = meta.whole("nSavedChans")
    if file_channels > MAX_CHANNELS:
        meta.refuse("nSavedChans", f"{file_channels} channels are more than any probe has")
    stream = _stream(meta, file_channels)
    size = regular_file(binary, named_in=source).st_size
    promised = meta.whole("fileSizeBytes") if "fileSizeBytes" in meta.values else size
    if size < promised:
        raise truncated(binary, promised, size)
    assumptions = channels_left_out(stream.left_out) if stream.left_out else []
    if size > promised:
        message = f"{source.name} gives fileSizeBytes={promised} bytes, {binary.name} holds {size}; all of it is read"
        next_step = "check that the two files are of one recording"
        assumptions.append(Assumption(field="samples", message=message, next_step=next_step))
    assumptions += map_assumptions(meta, stream.kept)
    locations, reason = _locations(meta, binary.parent, stream.kept)
    return flat_recording(
        path=path,
        format="spikeglx",
        source=source,
        sample_file=binary,
        dtype="<i2",
        file_channels=file_channels,
        channels=range(stream.kept),
        sampling_frequency=stream.rate,
        gains=stream.gains,
        locations=locations,
        no_locations=reason,
        channel_ids=stream.names,
        assumptions=assumptions,
    )


def _stream(meta: Meta, file_channels: int) -> Stream:
    """Read rate, channels and gains, by the kind of stream."""
    match meta.values.get("typeThis", "imec"):
        case "imec":
            stream = _imec(meta, file_channels)
        case "nidq":
            stream = _nidq(meta, file_channels)
        case "obx":
            stream = _obx(meta, file_channels)
        case other:
            meta.refuse("typeThis", f"expected imec, nidq or obx, got {shown(other)}")
    if stream.kept == 0:
        message = f"{meta.path}: no analog channels among the {file_channels} that were saved"
        raise RecordingEmptyError(message, next_step="name another stream of this run")
    return stream


def _imec(meta: Meta, file_channels: int) -> Stream:
    """Read a Neuropixels stream: the AP channels, or the LF channels where only those were saved."""
    ap, lf, sync = meta.counts("snsApLfSy", 3, file_channels)
    kept = ap or lf
    left = [f"{lf} LF"] * bool(ap and lf) + [f"{sync} sync"] * bool(sync)
    return Stream(
        rate=meta.number("imSampRate"),
        kept=kept,
        names=_names(meta, kept),
        gains=imec_gains(meta, kept),
        left_out=", ".join(left),
    )


def _nidq(meta: Meta, file_channels: int) -> Stream:
    """Read an NI-DAQ stream: the multiplexed neural channels, or all analog ones where there are none."""
    mn, ma, xa, digital = meta.counts("snsMnMaXaDw", 4, file_channels)
    volts = meta.number("niAiRangeMax") / meta.number("niMaxInt", 32768.0)
    gains = [1e6 * volts / meta.number("niMNGain")] * mn if mn else []
    left = [f"{digital} digital"] * bool(digital)
    if mn:
        left = [f"{ma + xa} auxiliary"] * bool(ma + xa) + left
    else:
        gains = [1e6 * volts / meta.number("niMAGain")] * ma if ma else []
        gains += [1e6 * volts] * xa
    return Stream(
        rate=meta.number("niSampRate"),
        kept=len(gains),
        names=_names(meta, len(gains)),
        gains=tuple(gains),
        left_out=", ".join(left),
    )


def _obx(meta: Meta, file_channels: int) -> Stream:
    """Read a OneBox stream: its analog channels."""
    xa, digital, sync = meta.counts("snsXaDwSy", 3, file_channels)
    volts = meta.number("obAiRangeMax") / meta.number("obMaxInt", 32768.0)
    left = [f"{digital} digital"] * bool(digital) + [f"{sync} sync"] * bool(sync)
    return Stream(
        rate=meta.number("obSampRate"),
        kept=xa,
        names=_names(meta, xa),
        gains=(1e6 * volts,) * xa,
        left_out=", ".join(left),
    )


def _names(meta: Meta, kept: int) -> tuple[str, ...]:
    """Read the names of the kept channels from ~snsChanMap: (AP0;0:0)(AP1;1:1)..."""
    entries = meta.entries("snsChanMap")
    if len(entries) < kept:
        return tuple(f"CH{index}" for index in range(kept))
    return tuple(entry.partition(";")[0] for entry in entries[:kept])


def _locations(meta: Meta, folder: Path, kept: int) -> tuple[Locations | None, str]:
    """Return the locations, or why there are none."""
    beside = read_beside(folder, kept)
    if beside is not None:
        return beside, ""
    if meta.values.get("typeThis", "imec") != "imec":
        return None, f"{meta.path.name} gives no locations of the channels"
    return imec_locations(meta, kept), f"{meta.path.name} has no map of this probe"


def binary_of(path: Path) -> Path:
    """Return the .bin file that belongs to a .bin or .meta file.

    Parameters
    ----------
    path : Path
        Either of the two.

    Returns
    -------
    Path

    Raises
    ------
    RecordingFormatError
        If the other one does not exist.
    """
    binary, meta = path.with_suffix(".bin"), path.with_suffix(".meta")
    for file, other in ((binary, meta), (meta, binary)):
        if not is_file(file):
            message = f"{file} does not exist and {other.name} needs it"
            raise RecordingFormatError(message, next_step=f"copy {file.name} beside {other.name}")
    return binary
