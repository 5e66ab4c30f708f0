"""Open Ephys binary: structure.oebin and, in a folder for each stream, continuous.dat (int16, interleaved).

Source: Open Ephys' "Binary format" page, its own `BinaryRecording.py`, and neo's `openephysbinaryrawio.py` for
what an empty unit means. Tried on a recording of the GUI 0.5 and the structure files of 0.6 and 1.0.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from spikecrate.errors import ProbeError, RecordingEmptyError, RecordingFormatError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.formats.fields import Fields
from spikecrate.recordings.formats.files import ambiguous, is_file, read_json, read_text
from spikecrate.recordings.model import MAX_CHANNELS, Recording, channels_left_out, flat_recording
from spikecrate.recordings.probe import PUT_GEOM, Probe
from spikecrate.recordings.probe_files import read_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

STRUCTURE: Final = "structure.oebin"
SAMPLES: Final = "continuous.dat"
LEVELS: Final = ("[Rr]ecord[ _][Nn]ode*", "[Ee]xperiment*", "[Rr]ecording*")
"""Folders from the root down to a structure.oebin; others are not searched."""
PROBES: Final = ("NP_PROBE", "NEUROPIXELSV")
"""Elements of a settings.xml that describe a Neuropixels probe."""
TYPES: Final = ("headstage", "auxiliary", "ADC")
PER_UNIT: Final = {"uV": 1.0, "µV": 1.0, "μV": 1.0, "mV": 1e3, "V": 1e6}


def open_source(path: Path, source: Path, *, probe: str = "") -> Recording:
    """Open one stream of an Open Ephys binary recording, the one with electrodes where there are several.

    Where a stream has headstage channels, its ADC, auxiliary and sync channels are left out.

    Parameters
    ----------
    path : Path
        As the user named it: the root, a record node, an experiment, a recording, its `continuous` folder, a
        stream's folder, or a structure.oebin or continuous.dat.
    source : Path
        The first structure.oebin or continuous.dat there.
    probe : str
        As in `flat_recording`, in place of the files' own.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingAmbiguousError
        If there are several streams with electrodes below `path`; the message lists the folder of each.
    SpikecrateError
        A recording error that names the file, the field and the next step.
    """
    folder = path.parent if path == source else path
    structures = list(structures_at(folder))
    if not structures:
        message = f"{path}: there is no {STRUCTURE} two folders up to describe the samples"
        raise RecordingFormatError(message, next_step=f"copy {STRUCTURE} there, or write a recording.json")
    streams = [stream for structure in structures for stream in _streams(structure)]
    # Inside a recording, only the streams at or below the named folder count.
    chosen = [(place, facts) for place, facts in streams if place.is_relative_to(folder)] or streams
    if not chosen:
        message = f"{', '.join(map(str, structures))}: no continuous stream"
        raise RecordingEmptyError(message, next_step="record with a continuous stream switched on")
    if len(chosen) > 1:
        # Version 1.0 writes the use of its buffers as a stream of its own.
        chosen = [(place, facts) for place, facts in chosen if _has_electrodes(facts)] or chosen
    if len(chosen) > 1:
        raise ambiguous(folder, "streams", [place for place, _facts in chosen])
    place, facts = chosen[0]
    channels = facts.objects("channels")
    if facts.whole("num_channels", len(channels), most=MAX_CHANNELS) != len(channels):
        problem = f"{facts.data.get('num_channels')}, but {len(channels)} channels are described"
        facts.refuse("num_channels", problem)
    kinds = [_kind(channel) for channel in channels]
    kept = [index for index, kind in enumerate(kinds) if kind == "headstage"]
    kept = kept or [index for index, kind in enumerate(kinds) if kind != "sync"]
    experiment = facts.path.parent.parent
    number = experiment.name.removeprefix("experiment")
    settings = experiment.parent / ("settings.xml" if number == "1" else f"settings_{number}.xml")
    assumptions = channels_left_out(Counter(kinds) - Counter(kinds[index] for index in kept))
    found = None
    if kept and not probe:
        found = read_beside(place, len(kept)) or _neuropixels(settings, place.name, len(kept), assumptions)
    return flat_recording(
        path=path,
        format="openephys",
        source=facts.path,
        sample_file=place / SAMPLES,
        dtype="<i2",
        file_channels=len(channels),
        channels=kept,
        sampling_frequency=facts.number("sample_rate"),
        gains=[_gain(channels[index], kinds[index]) for index in kept],
        probe=probe or found,
        no_probe=f"Open Ephys gives no locations of the channels in {settings.name}",
        channel_ids=[channels[index].text("channel_name", f"CH{index + 1}") for index in kept],
        assumptions=assumptions,
    )


def structures_at(folder: Path) -> Iterator[Path]:
    """Yield the structure files at, above or below a folder.

    Parameters
    ----------
    folder : Path
        Any folder of a recording, from the root down to a stream's own.

    Yields
    ------
    Path
        A structure.oebin.
    """
    above = [part.parent for part in (folder, folder.parent) if part.name == "continuous"]
    for upper in (folder, *above):
        if is_file(upper / STRUCTURE):
            yield upper / STRUCTURE
            return
    for depth in range(1, len(LEVELS) + 1):
        pattern = "/".join((*LEVELS[-depth:], STRUCTURE))
        yield from sorted(folder.glob(pattern), key=_numbered)


def _numbered(path: Path) -> list[tuple[str, int]]:
    """Return a sort key that puts recording10 after recording9."""
    stems = [(part.rstrip("0123456789"), part) for part in path.parts]
    return [(stem, int(part[len(stem) :] or 0)) for stem, part in stems]


def _streams(structure: Path) -> Iterator[tuple[Path, Fields]]:
    """Yield the streams of a recording: the folder with continuous.dat, and the entry in structure.oebin."""
    top = Fields(read_json(structure), structure)
    for facts in top.objects("continuous"):
        name = facts.text("folder_name").rstrip("/\\")
        if not name or "/" in name or "\0" in name or name == "..":
            facts.refuse("folder_name", f"expected the name of a folder, got {name!r}")
        yield structure.parent / "continuous" / name, facts


def _has_electrodes(facts: Fields) -> bool:
    """Return whether a stream has headstage channels, in volts."""
    return any(
        _kind(channel) == "headstage" and channel.text("units", "") in ("", *PER_UNIT)
        for channel in facts.objects("channels")
    )


def _neuropixels(settings: Path, stream: str, kept: int, assumptions: list[Assumption]) -> Probe | None:
    """Read the probe of a Neuropixels stream from its experiment's settings.xml, None for another stream."""
    first = settings.with_name("settings.xml")
    if settings != first and not is_file(settings):
        probe = _neuropixels(first, stream, kept, assumptions)
        message = f"there is no {settings.name}; the electrodes are those of {first.name}, from the first experiment"
        step = "check that they were the same, or name the probe's file: --probe FILE"
        assumptions += (
            [Assumption(field="probe", message=message, next_step=step)] if probe is not None else []
        )
        return probe
    # Importing probeinterface takes 0.1 s, so only for a file with a probe that it knows.
    text = read_text(settings, errors="replace") if is_file(settings) else ""
    if not any(tag in text for tag in PROBES):
        return None
    from probeinterface.neuropixels_tools import has_neuropixels_probes, read_openephys_neuropixels

    try:
        # None for a stream of another device, and for a version of the plugin that writes no locations.
        with _readable(settings, text) as path:
            probe = read_openephys_neuropixels(path, stream_name=stream, raise_error=False)
            damaged = probe is None and not has_neuropixels_probes(path)
    except Exception as error:  # the reader raises exceptions of any class; its message is passed on
        if "<STREAM " in text and not has_neuropixels_probes(settings, stream):
            return None  # the probe is another stream's
        reason = str(error).strip() or type(error).__name__
        message = f"{settings}: probeinterface cannot read the probe of {stream} ({reason})"
        raise ProbeError(message, next_step=PUT_GEOM) from error
    if damaged:
        message = f"{settings}: not valid XML, though it names a Neuropixels probe"
        raise ProbeError(message, next_step=f"copy {settings.name} again; or {PUT_GEOM}")
    if probe is None:
        return None
    locations = tuple(map(tuple, probe.contact_positions.tolist()))
    if len(locations) != kept:
        message = f"{settings}: {len(locations)} electrodes for the {kept} channels of {stream}"
        raise ProbeError(message, next_step=PUT_GEOM)
    shanks = ["0"] * kept if probe.shank_ids is None else probe.shank_ids.tolist()
    return Probe(locations, tuple(str(shank) or "0" for shank in shanks))


@contextmanager
def _readable(settings: Path, text: str) -> Iterator[Path]:
    """Yield a settings.xml; a copy of its text where it has bytes that are not UTF-8, in a name that a user gave."""
    if "\ufffd" not in text:
        yield settings
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder, settings.name)
        copy.write_text(re.sub('encoding="[^"]*"', 'encoding="UTF-8"', text, count=1), encoding="utf-8")
        yield copy


def _kind(channel: Fields) -> str:
    """Return the kind of a channel: by its type, written since 1.0, or by its description and name."""
    name, description = channel.text("channel_name", "").upper(), channel.text("description", "").upper()
    if "SYNC" in f"{name} {description}":
        return "sync"
    if channel.data.get("type") in (1, 2):
        return TYPES[channel.whole("type")]
    # Users rename channels, so a name such as AuxCortex1 does not count against the description; ADC1 does.
    renamed = "HEADSTAGE" in description and not re.fullmatch("(ADC|AUX)[0-9]+", name)
    text = description if renamed else f"{name} {description}"
    if any(word in text for word in ("ADC", "NIDAQ", "ANALOG INPUT")):
        return "ADC"
    return "auxiliary" if "AUX" in text else "headstage"


def _gain(channel: Fields, kind: str) -> float:
    """Read the uV per count; `bit_volts` is in the channel's units, despite its name."""
    # Without a unit, headstage channels are in uV and all others in V.
    unit = channel.text("units", "") or ("uV" if kind == "headstage" else "V")
    if unit not in PER_UNIT:
        channel.refuse("units", f"expected uV, mV or V, got {unit!r}")
    return channel.number("bit_volts", positive=False) * PER_UNIT[unit]
