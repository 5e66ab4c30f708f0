"""Open Ephys binary: structure.oebin and, in a folder for each stream, continuous.dat (int16, interleaved).

Source: Open Ephys' "Binary format" page, its own `BinaryRecording.py`, and neo's `openephysbinaryrawio.py` for
what an empty unit means. Tried on a recording of the GUI 0.5 and the structure files of 0.6 and 1.0.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from spikecrate.errors import ProbeError, RecordingEmptyError, RecordingFormatError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.flat_file import MAX_CHANNELS, channels_left_out, flat_recording
from spikecrate.recordings.formats.entries import Entry, numbered
from spikecrate.recordings.formats.fields import Fields
from spikecrate.recordings.formats.files import folders_below, is_file, read_json, read_text
from spikecrate.recordings.formats.sample_numbers import find_gaps, first_number
from spikecrate.recordings.probe import PUT_GEOM, Probe
from spikecrate.recordings.probe_files import read_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spikecrate.recordings.model import Recording

STRUCTURE: Final = "structure.oebin"
SAMPLES: Final = "continuous.dat"
LEVELS: Final = ("[Rr]ecord[ _][Nn]ode*", "[Ee]xperiment*", "[Rr]ecording*")
"""Folders from the root down to a structure.oebin; others are not searched."""
PROBES: Final = ("NP_PROBE", "NEUROPIXELSV")
"""Elements of a settings.xml that describe a Neuropixels probe."""
LFP_HZ: Final = 2500.0
"""Local fields of a Neuropixels probe, a stream of their own beside the one with spikes."""
SESSION_DEPTH: Final = 2
"""From the folder of a session down to the roots of its recordings."""
TYPES: Final = ("headstage", "auxiliary", "ADC")
PER_UNIT: Final = {"uV": 1.0, "µV": 1.0, "μV": 1.0, "mV": 1e3, "V": 1e6}


def entries(named: Path, source: Path) -> list[Entry]:
    """List the streams of the recordings at or below a folder.

    Parameters
    ----------
    named : Path
        As the user named it: a session, the root, a record node, an experiment, a recording, its `continuous` folder,
        a stream's folder, or a structure.oebin or continuous.dat.
    source : Path
        The first structure.oebin or continuous.dat there.

    Returns
    -------
    list of Entry
        Segments in the order of experiment and recording.

    Raises
    ------
    RecordingEmptyError
        If there is no continuous stream.
    RecordingFormatError
        If no structure.oebin describes the samples; the message names the file and the field.
    """
    folder = named.parent if named == source else named
    structures = list(structures_at(folder)) or list(dict.fromkeys(structures_below(folder)))
    if not structures:
        message = f"{named}: there is no {STRUCTURE} two folders up to describe the samples"
        raise RecordingFormatError(message, next_step=f"copy {STRUCTURE} there, or write a recording.json")
    nodes = {_node(structure) for structure in structures}
    found = []
    for structure in structures:
        streams = list(_streams(structure))
        fast = any(_has_electrodes(facts) and _rate(facts) > LFP_HZ for _place, facts in streams)
        for place, facts in streams:
            # Several record nodes record the same samples.
            entry = Entry(
                path=place,
                open=partial(open_stream, place=place, facts=facts),
                stream=f"{_node(structure) if len(nodes) > 1 else ''}{place.name}",
                segment="/".join(structure.parent.parts[-2:]),
                has_spikes=_has_electrodes(facts) and (_rate(facts) > LFP_HZ or not fast),
                clock=str(structure.parent.parent),
                first_sample=partial(first_number, place),
            )
            found.append(entry)
    # Inside a recording, only the streams at or below the named folder count.
    found = [entry for entry in found if entry.path.is_relative_to(folder)] or found
    if not found:
        message = f"{', '.join(map(str, structures))}: no continuous stream"
        raise RecordingEmptyError(message, next_step="record with a continuous stream switched on")
    return found


def open_stream(
    path: Path, place: Path, facts: Fields, *, allow_truncated: bool = False, probe: str = ""
) -> Recording:
    """Open one stream of one recording.

    Where a stream has headstage channels, its ADC, auxiliary and sync channels are left out.

    Parameters
    ----------
    path : Path
        As the user named it.
    place : Path
        The stream's folder.
    facts : Fields
        Its entry in structure.oebin.
    allow_truncated : bool
        As in `flat_recording`.
    probe : str
        As in `flat_recording`, in place of the files' own.

    Returns
    -------
    Recording

    Raises
    ------
    SpikecrateError
        A recording error that names the file, the field and the next step.
    """
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
    damage = "" if probe or found else _damage(settings)
    recording = flat_recording(
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
        no_probe=f"Open Ephys gives no locations of the channels in {settings.name}{damage}",
        channel_ids=[channels[index].text("channel_name", f"CH{index + 1}") for index in kept],
        assumptions=assumptions,
        allow_truncated=allow_truncated,
    )
    gaps, notes = find_gaps(place, recording.layout.num_samples)
    return replace(recording, gaps=gaps, assumptions=(*recording.assumptions, *notes))


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
    patterns = ("/".join((*LEVELS[-depth:], STRUCTURE)) for depth in range(1, len(LEVELS) + 1))
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    yield from sorted(found, key=lambda path: numbered(str(path)))


def structures_below(folder: Path) -> Iterator[Path]:
    """Yield the structure files of the recordings of a session.

    Parameters
    ----------
    folder : Path
        A folder that holds the roots of recordings, or folders with them.

    Yields
    ------
    Path
        A structure.oebin.
    """
    for root in folders_below(folder, SESSION_DEPTH):
        yield from structures_at(root)


def _node(structure: Path) -> str:
    """Return the name of the record node of a structure file, empty before there were any."""
    name = structure.parents[2].name
    return f"{name}/" if fnmatchcase(name, LEVELS[0]) else ""


def _rate(facts: Fields) -> float:
    """Return the sampling frequency of a stream, Hz."""
    return facts.number("sample_rate")


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
    # Importing numpy for it takes 0.05 s, so only for a file with a probe that it knows.
    text = read_text(settings) if is_file(settings) else ""
    if not any(tag in text for tag in PROBES):
        return None
    from spikecrate.recordings.formats.neuropixels import probeinterface_readers

    readers = probeinterface_readers()
    try:
        # None for a stream of another device, and for a version of the plugin that writes no locations.
        with _readable(settings, text) as path:
            probe = readers.read_openephys_neuropixels(path, stream_name=stream, raise_error=False)
            damaged = probe is None and not readers.has_neuropixels_probes(path)
    except Exception as error:  # the reader raises exceptions of any class; its message is passed on
        if "<STREAM " in text and not readers.has_neuropixels_probes(settings, stream):
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


def _damage(settings: Path) -> str:
    """Return what is wrong with a settings.xml without places, as a clause."""
    if not is_file(settings):
        return ", which does not exist"
    return "" if "</SETTINGS>" in read_text(settings) else ", which is cut short"


@contextmanager
def _readable(settings: Path, text: str) -> Iterator[Path]:
    """Yield a settings.xml; a copy in UTF-8 where it may be in another encoding than it says, by a name in it."""
    if text.isascii():
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
