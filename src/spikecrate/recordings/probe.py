"""Locations of the channels: geom.csv, probeinterface JSON, and one column where none are given."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, Literal

from spikecrate.errors import ProbeError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.formats.fields import Fields, as_numbers, number_in, shown
from spikecrate.recordings.formats.files import is_file, read_json, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Locations = tuple[tuple[float, ...], ...]
    Order = Literal["wires", "ranks", "given"]

GEOM: Final = "geom.csv"
PROBE: Final = "probe.json"
PITCH_UM: Final = 20.0
PUT_GEOM: Final = "put a geom.csv (x,y in um, one row a channel) beside the samples"
PER_UM: Final = {"um": 1.0, "mm": 1e3, "m": 1e6}


def assumed_column(num_channels: int, reason: str, next_step: str) -> tuple[Locations, Assumption]:
    """Return the locations that are assumed where none are given: one column of contacts 20 um apart.

    Parameters
    ----------
    num_channels : int
        Channels of the recording.
    reason : str
        Why there are no locations.
    next_step : str
        How to give them.

    Returns
    -------
    locations : tuple of tuple of float
        um, one row a channel.
    assumption : Assumption
        What to tell the user.
    """
    message = f"{reason}; the {num_channels} channels are assumed in one column, {PITCH_UM:g} um apart"
    if num_channels == 1:
        message, next_step = f"{reason}; the one channel is put at (0, 0)", ""
    locations = tuple((0.0, PITCH_UM * index) for index in range(num_channels))
    return locations, Assumption(field="probe", message=message, next_step=next_step)


def read_beside(folder: Path, num_channels: int) -> Locations | None:
    """Read the locations that a user put beside the samples.

    Parameters
    ----------
    folder : Path
        Folder with a geom.csv or a probe.json (probeinterface).
    num_channels : int
        Channels of the recording.

    Returns
    -------
    tuple of tuple of float, or None
        um, one row a channel; None where neither file exists.
    """
    geom, probe = folder / GEOM, folder / PROBE
    if is_file(geom):
        return read_geom(geom, num_channels)
    return read_probeinterface(probe, num_channels) if is_file(probe) else None


def read_geom(path: Path, num_channels: int) -> Locations:
    """Read a MountainSort geom.csv: one row a channel, x and y in um (a third number is z).

    Parameters
    ----------
    path : Path
        The file. Empty lines and lines that start with # are ignored.
    num_channels : int
        Number of rows.

    Returns
    -------
    tuple of tuple of float
        um, one row a channel.

    Raises
    ------
    ProbeError
        If a line is not numbers, or there are more or fewer rows than channels.
    """
    rows: list[tuple[float, ...]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        words = re.split(r"[\s,]+", text.rstrip(","))
        row = tuple(value for word in words if (value := number_in(word)) is not None)
        if len(row) not in (2, 3) or len(row) != len(words):
            raise _refused(path, f"line {number}: expected x,y in um, got {shown(text)}")
        if rows and len(row) != len(rows[0]):
            raise _refused(path, f"line {number}: {len(row)} numbers, the lines before have {len(rows[0])}")
        rows.append(row)
    if len(rows) != num_channels:
        step = f"write one row a channel to {path.name}, in the channels' order"
        raise _refused(path, f"{len(rows)} rows for {num_channels} channels", next_step=step)
    return tuple(rows)


def read_probeinterface(path: Path, num_channels: int, *, order: Order = "wires") -> Locations:
    """Read a probe or a group of probes in probeinterface's JSON.

    Parameters
    ----------
    path : Path
        The file. Source of the format: probeinterface's `io.py` and `probegroup.py`.
    num_channels : int
        Channels of the recording.
    order : {"wires", "ranks", "given"}
        How contacts map to channels. "wires": `device_channel_indices` is the channel, as probeinterface defines
        it. "ranks": only the order of the indices counts (SpikeInterface's probe.json, before 0.105). "given":
        contacts are in the channels' order (its probegroup.json, since 0.105). A file without indices is in the
        channels' order.

    Returns
    -------
    tuple of tuple of float
        um, one row a channel.

    Raises
    ------
    ProbeError
        If the contacts do not fit the channels.
    RecordingFormatError
        If the file is not one of probeinterface's.
    """
    top = Fields(read_json(path), path)
    rows: list[tuple[float, ...]] = []
    wires: list[int | None] = []
    for probe in top.objects("probes"):
        contacts, indices = _contacts(probe)
        # Several probes without wiring follow one another.
        rows += contacts
        wires += indices
    places = top.data.get("global_contact_order")
    if places is not None:
        if not isinstance(places, list) or sorted(map(str, places)) != sorted(map(str, range(len(rows)))):
            raise _refused(path, "global_contact_order does not name every contact once")
        rows, wires = [rows[int(place)] for place in places], [wires[int(place)] for place in places]
    if len({len(row) for row in rows}) > 1:
        raise _refused(path, "some probes have 2 coordinates, others 3")
    if order != "given" and any(wire is not None for wire in wires):
        rows = _by_wire(path, rows, wires, num_channels if order == "wires" else None)
    if len(rows) != num_channels:
        raise _refused(path, f"{len(rows)} contacts for {num_channels} channels")
    return tuple(rows)


def _contacts(probe: Fields) -> tuple[list[tuple[float, ...]], list[int | None]]:
    """Read one probe: its contacts in um and the channel of each (None: not given)."""
    unit = probe.text("si_units", "um")
    if unit not in PER_UM:
        probe.refuse("si_units", f"expected um, mm or m, got {unit!r}")
    contacts: list[tuple[float, ...]] = []
    for position in probe.items("contact_positions"):
        row = tuple(value * PER_UM[unit] for value in as_numbers(position) or ())
        if len(row) not in (2, 3) or not all(map(math.isfinite, row)):
            probe.refuse(f"contact_positions[{len(contacts)}]", f"expected x and y, got {shown(position)}")
        contacts.append(row)
    wires: list[Any] = probe.items("device_channel_indices", [None] * len(contacts))
    if len(wires) != len(contacts) or not all(wire is None or type(wire) is int for wire in wires):
        probe.refuse("device_channel_indices", f"expected {len(contacts)} whole numbers, got {shown(wires)}")
    return contacts, wires


def _by_wire(
    path: Path, rows: list[tuple[float, ...]], wires: list[int | None], num_channels: int | None
) -> list[tuple[float, ...]]:
    """Return the contacts in the order of their wires, without those that are not recorded (-1)."""
    place = {wire: row for wire, row in zip(wires, rows, strict=True) if wire is not None and wire >= 0}
    channels = sorted(place) if num_channels is None else range(num_channels)
    for channel in channels:
        if channel not in place:
            raise _refused(path, f"device_channel_indices: no contact is wired to channel {channel}")
    return [place[channel] for channel in channels]


def _refused(path: Path, problem: str, *, next_step: str = "") -> ProbeError:
    """Return the error for a probe file that does not fit."""
    message = f"{path}: {problem}"
    return ProbeError(message, next_step=next_step or f"correct {path.name}", details={"file": str(path)})


def groups_by_distance(locations: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """WIP until the probes branch lands."""
    return ("0",) * len(locations)
