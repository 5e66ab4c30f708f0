"""A recording in full as JSON, and in a few lines for people: `spikecrate recording.info`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from spikecrate.recordings.assumptions import smallest_distance
from spikecrate.recordings.identity import dtype_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate.recordings.model import Recording
    from spikecrate_harness.layout import Layout

GROUP_UM: Final = 100.0
"""Channels that are further apart than this are on different shanks, tetrodes or wires."""


@dataclass(frozen=True, kw_only=True)
class RecordingSummary:
    """The channels of a recording in a few numbers.

    Attributes
    ----------
    num_channels : int
        Channels of the recording.
    ids : tuple of str
        Names of the first and the last channel.
    pitch_um : float or None
        Distance of the two nearest channels; None where all are at one place.
    span_um : tuple of float
        Extent of the probe along each axis.
    group_sizes : tuple of int
        Channels of each shank, tetrode or wire: channels within 100 um of one another are one group.
    gain_uv, offset_uv : tuple of float
        Least and largest of all channels, uV per count and uV at count 0.
    """

    num_channels: int
    ids: tuple[str, str]
    pitch_um: float | None
    span_um: tuple[float, ...]
    group_sizes: tuple[int, ...]
    gain_uv: tuple[float, float]
    offset_uv: tuple[float, float]

    def as_text(self) -> dict[str, str]:
        """Return one short line of text a fact.

        Returns
        -------
        dict
            In the order to print them.
        """
        first, last = self.ids
        count, groups = self.num_channels, len(self.group_sizes)
        sizes = sorted(set(self.group_sizes))
        each = " to ".join(str(size) for size in dict.fromkeys((sizes[0], sizes[-1])))
        return {
            "channels": f"{count} ({first} to {last})" if count > 1 else f"1 ({first})",
            "pitch": "none" if self.pitch_um is None else f"{self.pitch_um:.4g} µm",
            "span": " × ".join(f"{extent:.6g}" for extent in self.span_um) + " µm",
            "groups": "1" if groups == 1 else f"{groups} of {each} channels",
            "gain": f"{_range(self.gain_uv)} µV per count",
            "count_0": f"{_range(self.offset_uv)} µV",
        }


def summarize(layout: Layout, channel_ids: Sequence[str]) -> RecordingSummary:
    """Return the channels of a recording in a few numbers.

    Parameters
    ----------
    layout : Layout
        Layout of the recording.
    channel_ids : sequence of str
        Names of its channels.

    Returns
    -------
    RecordingSummary
    """
    axes = list(zip(*layout.locations, strict=True))
    return RecordingSummary(
        num_channels=layout.num_channels,
        ids=(channel_ids[0], channel_ids[-1]),
        pitch_um=smallest_distance(layout.locations),
        span_um=tuple(max(axis) - min(axis) for axis in axes),
        group_sizes=_group_sizes(layout.locations),
        gain_uv=(min(layout.gains), max(layout.gains)),
        offset_uv=(min(layout.offsets), max(layout.offsets)),
    )


def describe(recording: Recording, samples_hash: str | None = None) -> dict[str, Any]:
    """Return every fact of a recording.

    Parameters
    ----------
    recording : Recording
        The recording.
    samples_hash : str, optional
        The hash that `hash_samples` returned; None where it was not computed.

    Returns
    -------
    dict
        JSON types only, the most telling first.
    """
    layout = recording.layout
    return {
        "format": recording.format,
        "path": str(recording.path),
        "folder": str(recording.folder),
        "sample_file": str(recording.sample_file),
        "num_channels": layout.num_channels,
        "num_samples": layout.num_samples,
        "sampling_frequency": layout.sampling_frequency,
        "duration_s": recording.duration_s,
        "dtype": dtype_name(layout),
        "byte_order": "big" if layout.dtype[0] == ">" else "little",
        "time_axis": layout.time_axis,
        "offset": layout.offset,
        "file_channels": layout.file_channels,
        "size_bytes": recording.size_bytes,
        "spike_sign": recording.spike_sign,
        "samples_hash": samples_hash,
        "notes": list(recording.notes),
        "channels": [
            {
                "id": name,
                "column": column,
                "location_um": list(location),
                "gain_uv": gain,
                "offset_uv": offset,
            }
            for name, column, location, gain, offset in zip(
                recording.channel_ids,
                layout.channels,
                layout.locations,
                layout.gains,
                layout.offsets,
                strict=True,
            )
        ],
    }


def overview(recording: Recording, samples_hash: str | None = None) -> dict[str, Any]:
    """Return the facts of a recording with its channels summarized.

    Parameters
    ----------
    recording, samples_hash
        As in `describe`.

    Returns
    -------
    dict
        JSON types only, in the order to print them.
    """
    facts = describe(recording, samples_hash)
    notes = facts.pop("notes")
    del facts["channels"]
    return {**facts, **summarize(recording.layout, recording.channel_ids).as_text(), "notes": notes}


def _range(values: tuple[float, float]) -> str:
    """Return one number, or two where they differ."""
    return " to ".join(dict.fromkeys(f"{value:.6g}" for value in values))


def _group_sizes(locations: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Return the number of channels of each group, in the order of the groups' first channels."""
    # In squares as wide as a group's reach, the neighbours of a channel are in the squares around its own.
    squares: dict[tuple[int, ...], set[int]] = {}
    for channel, place in enumerate(locations):
        squares.setdefault(_square(place), set()).add(channel)
    sizes = []
    for first in range(len(locations)):
        if first not in squares[_square(locations[first])]:
            continue
        squares[_square(locations[first])].remove(first)
        group = [first]
        for channel in group:
            group += _take_neighbors(squares, locations, channel)
        sizes.append(len(group))
    return tuple(sizes)


def _square(place: Sequence[float]) -> tuple[int, ...]:
    """Return the square that a place is in."""
    return tuple(int(value // GROUP_UM) for value in place)


def _take_neighbors(
    squares: dict[tuple[int, ...], set[int]], locations: Sequence[Sequence[float]], channel: int
) -> list[int]:
    """Remove the neighbours of a channel from their squares, and return them."""
    taken = []
    for around in product(*((value - 1, value, value + 1) for value in _square(locations[channel]))):
        inside = squares.get(around, set())
        near = [other for other in inside if math.dist(locations[channel], locations[other]) <= GROUP_UM]
        inside.difference_update(near)
        taken += near
    return taken
