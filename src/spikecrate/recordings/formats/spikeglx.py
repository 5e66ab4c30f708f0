"""SpikeGLX: a .bin file of int16 samples, described by a .meta file beside it.

Source: SpikeGLX's metadata guide (`Markdown/Metadata_Help.md`) and its authors' `readSGLX.py` and
`SGLXMetaToCoords.py`.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import RecordingEmptyError, RecordingFormatError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.flat_file import MAX_CHANNELS, channels_left_out, cut_short, flat_recording
from spikecrate.recordings.formats.entries import Entry, numbered
from spikecrate.recordings.formats.fields import Fields, number_in, shown
from spikecrate.recordings.formats.files import folders_below, is_file, read_text, reading, regular_file
from spikecrate.recordings.formats.neuropixels import (
    SPLIT,
    acquired_ap,
    imec_gains,
    imec_map,
    imec_shifts,
    saved_channels,
)
from spikecrate.recordings.probe import picked
from spikecrate.recordings.probe_files import read_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate.recordings.model import Recording
    from spikecrate.recordings.probe import Probe

STREAMS: Final = (".ap.bin", ".lf.bin", ".nidq.bin", ".obx.bin")
DEPTH: Final = 4
"""From the folder of a session down: the runs, each with the folders of its probes."""
META_TXT: Final = ".meta.txt"
"""What an editor of Windows makes of a .meta."""
NAME: Final = re.compile(r"(?P<run>.*_g\d+)_t(?P<trigger>\d+|cat)\.(?P<stream>.+)")
"""Run, gate, trigger and stream in the name of a .bin file."""


class Meta(Fields):
    """The fields of a .meta file, all of them text: one `name=value` a line, tables as (header)(entry)(entry).

    Names of tables start with ~, which is dropped.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        Its content.

    Raises
    ------
    RecordingFormatError
        In every method, if a field is missing or malformed; the message names the file and the field.
    """

    def __init__(self, path: Path, text: str) -> None:
        pairs = (line.partition("=") for line in text.splitlines())
        fields = {name.strip().lstrip("~"): value.strip() for name, mark, value in pairs if mark}
        super().__init__(fields, path)

    def counts(self, name: str, count: int, total: int) -> tuple[int, ...]:
        """Return the numbers of channels by kind.

        Parameters
        ----------
        name : str
            The field: whole numbers, separated by commas.
        count : int
            How many kinds there are.
        total : int
            The file's number of channels, which they add up to.

        Returns
        -------
        tuple of int
        """
        text = self.text(name)
        words = text.split(",")
        if len(words) != count or not all(re.fullmatch(r"[0-9]{1,9}", word.strip()) for word in words):
            self._refuse(name, f"{count} whole numbers", text)
        numbers = tuple(map(int, words))
        if sum(numbers) != total:
            self.refuse(name, f"{text} does not add up to nSavedChans={total}")
        return numbers

    def table(self, name: str) -> tuple[list[str], list[str]]:
        """Return a table: (header)(entry)(entry).

        Parameters
        ----------
        name : str
            The field, without its ~.

        Returns
        -------
        header : list of str
            The words between the commas.
        entries : list of str
            Empty where the field is missing.

        Examples
        --------
        >>> from pathlib import Path
        >>> Meta(Path("run.meta"), "~imroTbl=(0,2)(0 0 0 500 250 1)(1 0 0 500 250 1)").table("imroTbl")
        (['0', '2'], ['0 0 0 500 250 1', '1 0 0 500 250 1'])
        """
        header, *entries = re.findall(r"\(([^()]*)\)", self.data.get(name, "")) or [""]
        return header.split(","), entries

    def _number(self, value: Any) -> float | None:
        return number_in(str(value))


def entries(named: Path, source: Path) -> list[Entry]:
    """List the streams and segments of a run, or of the runs of a session.

    Parameters
    ----------
    named : Path
        As the user named it: a folder, or a .bin or .meta file.
    source : Path
        A file of a stream there.

    Returns
    -------
    list of Entry
        Segments in the order of run, gate and trigger.
    """
    binaries = [_binary(source)] if named == source else _binaries(named)
    found = []
    for binary in binaries:
        parts = NAME.fullmatch(binary.stem)
        stream, run, trigger = (
            (parts["stream"], parts["run"], parts["trigger"]) if parts else (binary.stem, "", "")
        )
        found.append(
            Entry(
                path=binary,
                open=partial(open_source, source=binary),
                stream=stream,
                segment=f"{run}_t{trigger}" if parts else binary.stem,
                has_spikes=binary.name.endswith(".ap.bin"),
                is_joined=trigger == "cat",
                clock=f"{binary.parent / run}",
                # How an LF file counts is not documented.
                first_sample=(lambda: None) if stream.endswith("lf") else partial(_first_sample, binary),
            )
        )
    return sorted(found, key=lambda entry: (entry.is_joined, numbered(entry.segment), numbered(entry.stream)))


def open_source(path: Path, source: Path, *, allow_truncated: bool = False, probe: str = "") -> Recording:
    """Open one SpikeGLX stream: imec (ap or lf), nidq or obx.

    Sync channels and digital words are left out; a nidq stream with multiplexed neural channels keeps only those.

    Parameters
    ----------
    path : Path
        As the user named it.
    source : Path
        The .bin file.
    allow_truncated : bool
        As in `flat_recording`.
    probe : str
        As in `flat_recording`, in place of the file's own.

    Returns
    -------
    Recording

    Raises
    ------
    SpikecrateError
        A recording error that names the file, the field and the next step.
    """
    binary, described = source, _meta_path(source)
    for file, other in ((binary, described), (described, binary)):
        if not is_file(file):
            message = f"{file} does not exist and {other.name} needs it"
            raise RecordingFormatError(message, next_step=f"copy {file.name} beside {other.name}")
    meta = Meta(described, read_text(described))
    file_channels = meta.whole("nSavedChans")
    if file_channels > MAX_CHANNELS:
        meta.refuse("nSavedChans", f"{file_channels} channels are more than any probe has")
    size = regular_file(binary, named_in=described).st_size
    promised = meta.whole("fileSizeBytes", size)
    rate, gains, left_out = _stream(meta, file_channels)
    assumptions = channels_left_out(left_out)
    if size < promised:
        assumptions.append(cut_short(binary, promised, size, allowed=allow_truncated))
    if size > promised:
        message = f"{described.name} gives fileSizeBytes={promised} bytes, {binary.name} holds {size}; all of it is read"
        next_step = "check that the two files are of one recording"
        assumptions.append(Assumption(field="samples", message=message, next_step=next_step))
    kept = len(gains)
    found, reason = (None, "") if probe else _probe(meta, kept, assumptions)
    return flat_recording(
        path=path,
        format="spikeglx",
        source=described,
        sample_file=binary,
        dtype="<i2",
        file_channels=file_channels,
        channels=range(kept),
        sampling_frequency=rate,
        gains=gains,
        probe=probe or found,
        no_probe=reason,
        channel_ids=_names(meta, kept),
        assumptions=assumptions,
        allow_truncated=allow_truncated,
    )


def _names(meta: Meta, kept: int) -> list[str]:
    """Return the names of the channels."""
    names = [entry.partition(";")[0] for entry in meta.table("snsChanMap")[1]]
    places = saved_channels(meta, kept, SPLIT) if SPLIT in meta.data else range(kept)
    if len(names) <= max(places):
        return [f"CH{index}" for index in range(kept)]
    return [names[place] for place in places]


def _stream(meta: Meta, file_channels: int) -> tuple[float, list[float], dict[str, int]]:
    """Return the rate, the gains of the channels that are kept (the file's first ones), and those left out."""
    match meta.text("typeThis", "imec"):
        case "imec":
            ap, lf, sync = meta.counts("snsApLfSy", 3, file_channels)
            rate = meta.number("imSampRate")
            gains = imec_gains(meta, saved_channels(meta, ap or lf)) if ap or lf else []
            left_out = {"LF": lf if ap else 0, "sync": sync}
        case "nidq":
            mn, ma, xa, digital = meta.counts("snsMnMaXaDw", 4, file_channels)
            rate, uv = meta.number("niSampRate"), _uv_per_count(meta, "ni")
            gains = [uv / meta.number("niMNGain")] * mn if mn else []
            left_out = {"auxiliary": ma + xa if mn else 0, "digital": digital}
            if not mn:
                gains = ([uv / meta.number("niMAGain")] * ma if ma else []) + [uv] * xa
        case "obx":
            xa, digital, sync = meta.counts("snsXaDwSy", 3, file_channels)
            rate, gains = meta.number("obSampRate"), [_uv_per_count(meta, "ob")] * xa
            left_out = {"digital": digital, "sync": sync}
        case other:
            meta.refuse("typeThis", f"expected imec, nidq or obx, got {shown(other)}")
    if not gains:
        message = f"{meta.path}: no analog channels among the {file_channels} that were saved"
        raise RecordingEmptyError(message, next_step="name another stream of this run")
    return rate, gains, left_out


def _uv_per_count(meta: Meta, device: str) -> float:
    """Return the uV per count of an NI-DAQ ("ni") or OneBox ("ob") before the gain of its channels."""
    return 1e6 * (meta.number(f"{device}AiRangeMax") / meta.number(f"{device}MaxInt", 32768.0))


def _probe(meta: Meta, kept: int, assumptions: list[Assumption]) -> tuple[Probe | None, str]:
    """Return the probe, or why there are none; add an assumption of channels that are not in use."""
    beside = read_beside(meta.path.parent, kept)
    if beside is not None:
        return beside, ""
    if meta.text("typeThis", "imec") != "imec":
        return None, f"{meta.path.name} gives no locations of the channels"
    probe, unused = imec_map(meta, saved_channels(meta, kept))
    if probe is None:
        probe = _of_ap_channels(meta, kept)
    if unused:
        message = (
            "channels that the probe's map marks as not in use (a reference or a dead site) are sorted: "
            f"{unused} of {kept}"
        )
        assumptions.append(Assumption(field="channels", message=message))
    return probe, f"{meta.path.name} has no map of this probe"


def _of_ap_channels(meta: Meta, kept: int) -> Probe | None:
    """Return the probe of an LF file by the map of the AP file beside it, None where that does not have all channels."""
    path = meta.path.with_name(re.sub(r"\.lf\.(meta|meta\.txt)$", r".ap.\1", meta.path.name))
    if path == meta.path or not is_file(path):
        return None
    beside = Meta(path, read_text(path))
    num_ap, num_lf, _sync = beside.counts("snsApLfSy", 3, beside.whole("nSavedChans"))
    saved = saved_channels(beside, num_ap or num_lf)
    probe, _unused = imec_map(beside, saved)
    acquired = acquired_ap(meta)
    wanted = [channel - acquired for channel in saved_channels(meta, kept)]
    if probe is None or not set(wanted) <= set(saved):
        return None
    return picked(probe, [saved.index(channel) for channel in wanted])


def sample_shifts(binary: Path, columns: Sequence[int]) -> list[float] | None:
    """Return when some channels of a file are sampled: a converter samples those that share it one after the other.

    Parameters
    ----------
    binary : Path
        A .bin file with its .meta beside it.
    columns : sequence of int
        Columns of the file, from 0.

    Returns
    -------
    list of float or None
        In samples, one a column; None where the file is not of a known Neuropixels probe.

    Raises
    ------
    SpikecrateError
        The .meta file cannot be read.
    """
    meta = Meta(_meta_path(binary), read_text(_meta_path(binary)))
    if meta.text("typeThis", "imec") != "imec":
        return None
    saved = saved_channels(meta, max(columns) + 1, *((SPLIT,) if SPLIT in meta.data else ()))
    return imec_shifts(meta, [saved[column] for column in columns])


def is_stream(path: Path) -> bool:
    """Return whether a file is half of a SpikeGLX stream by its name, also where the other half is missing.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
    """
    return (
        path.suffix == ".meta"
        or path.name.endswith((*STREAMS, META_TXT))
        or (path.suffix == ".bin" and is_file(_meta_path(path)))
    )


def find_stream(folder: Path) -> Path | None:
    """Return a file of a SpikeGLX stream at or below a folder.

    Parameters
    ----------
    folder : Path
        Folder of a probe, a run or a session.

    Returns
    -------
    Path or None
        A .bin file, which may not exist; None where there is no stream.
    """
    return next(iter(_binaries(folder)), None)


def _binaries(folder: Path) -> list[Path]:
    """Return the .bin files of SpikeGLX, also where only the .meta file exists.

    Those further down than the folders of a run's probes count where there are none above.
    """
    # Folders of a run's probes are named RUN_g0_imec0.
    probes = [inner for inner in folders_below(folder, 1) if "_imec" in inner.name]
    found = [binary for place in (folder, *probes) for binary in _binaries_in(place)]
    return found or [binary for place in folders_below(folder, DEPTH) for binary in _binaries_in(place)]


def _binaries_in(folder: Path) -> list[Path]:
    """Return the .bin files of SpikeGLX of one folder, in order."""
    with reading(folder), os.scandir(folder) as found:
        # DirEntry.is_dir raises at a link to itself.
        paths = [path for entry in found if is_stream(path := Path(entry.path)) and not path.is_dir()]
    return sorted({_binary(path) for path in paths})


def _binary(path: Path) -> Path:
    """Return the .bin file of a .bin or .meta file."""
    return path.with_name(path.name.removesuffix(".txt")).with_suffix(".bin")


def _meta_path(binary: Path) -> Path:
    """Return the .meta file of a .bin file."""
    meta, text = binary.with_suffix(".meta"), binary.with_suffix(META_TXT)
    return text if is_file(text) and not is_file(meta) else meta


def _first_sample(binary: Path) -> int | None:
    """Return the count of the acquisition's clock at the first sample of a file."""
    meta = Meta(_meta_path(binary), read_text(_meta_path(binary)))
    return meta.whole("firstSample") if "firstSample" in meta.data else None
