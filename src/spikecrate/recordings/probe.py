"""Places and groups of the channels: what a probe is, what is assumed without one, groups by distance."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.recordings.assumptions import Assumption

if TYPE_CHECKING:
    from collections.abc import Sequence

    Locations = tuple[tuple[float, ...], ...]

PITCH_UM: Final = 20.0
PUT_GEOM: Final = (
    "put a geom.csv (x,y in um, one row a channel) beside the samples, or name one: --probe FILE"
)
MAKE_DISTINCT: Final = "give the places with --probe FILE, --probe tetrode or --probe column"
SUFFIXES: Final = (".csv", ".json", ".prb", ".mat")
"""Of the files that hold a probe."""
GROUP_UM: Final = 100.0
"""Channels that are further apart than this are on different shanks, tetrodes or wires."""


@dataclass(frozen=True)
class Probe:
    """Where the channels of a recording are.

    Attributes
    ----------
    locations : tuple of tuple of float
        um, one row a channel.
    groups : tuple of str or None
        Name of the shank, tetrode or probe of each channel; None where it is not given.
    channels : tuple of int or None
        Channels of the recording that the rows are, in order, where the probe leaves some out; None: all.
    """

    locations: Locations
    groups: tuple[str, ...] | None = None
    channels: tuple[int, ...] | None = None


def assumed_column(num_channels: int, reason: str, next_step: str) -> tuple[Probe, Assumption]:
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
    probe : Probe
        The column, without groups.
    assumption : Assumption
        What to tell the user.
    """
    message = f"{reason}; the {num_channels} channels are assumed in one column, {PITCH_UM:g} um apart"
    if num_channels == 1:
        message, next_step = f"{reason}; the one channel is put at (0, 0)", ""
    locations = tuple((0.0, PITCH_UM * index) for index in range(num_channels))
    return Probe(locations), Assumption(field="probe", message=message, next_step=next_step)


def absolute_probe(word: str) -> str:
    """Return a probe as a user names it, its file by its absolute path.

    Parameters
    ----------
    word : str
        As in `read_probe`.

    Returns
    -------
    str
    """
    return str(Path(word).absolute()) if Path(word).suffix.lower() in SUFFIXES else word


def picked(probe: Probe, rows: Sequence[int]) -> Probe:
    """Return the probe of some channels.

    Parameters
    ----------
    probe : Probe
        A probe.
    rows : sequence of int
        Rows of its locations.

    Returns
    -------
    Probe
        In the order of `rows`.
    """
    groups = None if probe.groups is None else tuple(probe.groups[row] for row in rows)
    return Probe(tuple(probe.locations[row] for row in rows), groups)


def settled(
    probe: Probe | str | None, channel_ids: Sequence[str], no_probe: str, next_step: str
) -> tuple[Probe, list[Assumption]]:
    """Return the probe that a recording gets, in two dimensions where its channels lie in a plane.

    Parameters
    ----------
    probe : Probe, str or None
        The files' own, a user's words for one (`read_probe`), or None.
    channel_ids : sequence of str
        Names of the recording's channels.
    no_probe, next_step : str
        Reason of a missing probe, and how to give one.

    Returns
    -------
    probe : Probe
        It has every field.
    assumptions : list of Assumption
        What to tell the user.

    Raises
    ------
    SpikecrateError
        As `read_probe`.
    """
    notes: list[Assumption] = []
    if not probe:
        probe, assumed = assumed_column(len(channel_ids), no_probe, next_step)
        notes.append(assumed)
    elif isinstance(probe, str):
        from spikecrate.recordings.named_probe import read_probe

        probe, notes = read_probe(probe, len(channel_ids), channel_ids)
    locations, flattened = in_plane(probe.locations)
    notes += [flattened] if flattened is not None else []
    shared = at_shared_places(locations)
    if shared:
        verb = "is" if len(shared) == 1 else "are"
        message = (
            f"{len(shared)} of the {len(locations)} channels {verb} at the same place as another channel"
        )
        notes.append(Assumption(field="probe", message=message, next_step=MAKE_DISTINCT))
    return replace(probe, locations=locations), notes


def in_plane(locations: Locations) -> tuple[Locations, Assumption | None]:
    """Return places of three coordinates in the plane that they lie in.

    Parameters
    ----------
    locations : tuple of tuple of float
        um, one row a channel of two or three coordinates.

    Returns
    -------
    locations : tuple of tuple of float
        Without an axis on which all channels are equal; as they are where all three axes vary.
    assumption : Assumption or None
        What to tell the user: sorters see two axes.

    Examples
    --------
    >>> in_plane(((0.0, 5.0, 0.0), (10.0, 5.0, 20.0)))[0]
    ((0.0, 0.0), (10.0, 20.0))
    """
    if len(locations[0]) == 2:
        return locations, None
    varying = [axis for axis in range(3) if len({row[axis] for row in locations}) > 1]
    if len(varying) == 3:
        message = "the channels differ in x, y and z; sorters see x and y alone"
        step = "give the two axes along the probe with --probe FILE"
        return locations, Assumption(field="probe", message=message, next_step=step)
    axes = sorted((varying + [axis for axis in range(3) if axis not in varying])[:2])
    planar = tuple(tuple(row[axis] for axis in axes) for row in locations)
    if axes == [0, 1]:
        return planar, None
    first, second = ("xyz"[axis] for axis in axes)
    message = f"all channels have one {'xyz'[3 - sum(axes)]}; {first} and {second} are taken as x and y"
    return planar, Assumption(field="probe", message=message)


def at_shared_places(locations: Sequence[Sequence[float]]) -> list[int]:
    """Return the channels that are, in x and y, at the place of an earlier channel.

    Parameters
    ----------
    locations : sequence
        um, one row a channel.

    Returns
    -------
    list of int

    Examples
    --------
    >>> at_shared_places([(0, 0), (0, 0), (0, 20)])
    [1]
    """
    seen: set[tuple[float, ...]] = set()
    shared = []
    for channel, row in enumerate(locations):
        place = tuple(row[:2])
        shared += [channel] if place in seen else []
        seen.add(place)
    return shared


def groups_by_distance(locations: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """Return the group of each channel: channels within 100 um of one another are of one group.

    Parameters
    ----------
    locations : sequence
        um, one row a channel.

    Returns
    -------
    tuple of str
        "0", "1" and so on, in the order of the groups' first channels.

    Examples
    --------
    >>> groups_by_distance([(0, 0), (0, 900), (0, 60), (0, 120)])
    ('0', '1', '0', '0')
    """
    # In squares as wide as a group's reach, the neighbours of a channel are in the squares around its own.
    squares: dict[tuple[int, ...], set[int]] = {}
    for channel, place in enumerate(locations):
        squares.setdefault(_square(place), set()).add(channel)
    names: dict[int, str] = {}
    count = 0
    for first, start in enumerate(locations):
        if first in names:
            continue
        squares[_square(start)].discard(first)
        group = [first]
        for channel in group:
            place = locations[channel]
            for around in product(*((value - 1, value, value + 1) for value in _square(place))):
                inside = squares.get(around, set())
                near = [other for other in inside if math.dist(place, locations[other]) <= GROUP_UM]
                inside.difference_update(near)
                group += near
        names |= dict.fromkeys(group, str(count))
        count += 1
    return tuple(names[channel] for channel in range(len(locations)))


def _square(place: Sequence[float]) -> tuple[int, ...]:
    """Return the square that a place is in."""
    return tuple(int(value // GROUP_UM) for value in place)
