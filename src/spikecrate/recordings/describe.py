"""A recording in full as JSON, and in a few lines for people: `spikecrate recording.info`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from spikecrate.recordings.assumptions import smallest_distance
from spikecrate.recordings.identity import dtype_name
from spikecrate.recordings.probe import groups_by_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate.recordings.model import Recording
    from spikecrate_harness.layout import Layout

CHANNEL: Final = ("id", "column", "location_um", "group", "gain_uv", "offset_uv")
"""The facts of a channel; the column is that of the first file."""
PART: Final = ("file", "start", "num_samples", "time_axis", "offset", "file_channels", "file_samples")
"""The facts of a part."""


def summarize(
    layout: Layout, channel_ids: Sequence[str], groups: Sequence[str] | None = None
) -> dict[str, str]:
    """Return the channels of a recording in a few numbers, one short line of text a fact.

    Parameters
    ----------
    layout : Layout
        Layout of the recording.
    channel_ids : sequence of str
        Names of its channels.
    groups : sequence of str, optional
        Shank, tetrode or probe of each channel; by default channels within 100 um of one another are one group.

    Returns
    -------
    dict
        In the order to print them. The pitch is the distance of the two nearest channels.
    """
    first, last = channel_ids[0], channel_ids[-1]
    count, pitch = layout.num_channels, smallest_distance(layout.locations)
    extents = [max(axis) - min(axis) for axis in zip(*layout.locations, strict=True)]
    sizes = Counter(groups or groups_by_distance(layout.locations))
    return {
        "channels": f"{count} ({first} to {last})" if count > 1 else f"1 ({first})",
        "pitch": "none" if pitch is None else f"{pitch:.4g} µm",
        "span": " × ".join(f"{extent:.6g}" for extent in extents) + " µm",
        "groups": "1" if len(sizes) == 1 else f"{len(sizes)} of {_range(list(sizes.values()))} channels",
        "gain": f"{_range(layout.gains)} µV per count",
        "count_0": f"{_range(layout.offsets)} µV",
    }


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
        "files": list(map(str, recording.files)),
        "num_channels": layout.num_channels,
        "num_samples": layout.num_samples,
        "sampling_frequency": layout.sampling_frequency,
        "duration_s": recording.duration_s,
        "dtype": dtype_name(layout),
        "byte_order": "big" if layout.dtype[0] == ">" else "little",
        "size_bytes": recording.size_bytes,
        "gaps": [{"sample": gap.sample, "missing": gap.missing} for gap in recording.gaps],
        "parts": [
            {**{name: getattr(part, name) for name in PART}, "file": str(file)}
            for part, file in zip(layout.parts, recording.files, strict=True)
        ],
        "spike_sign": recording.spike_sign,
        "samples_hash": samples_hash,
        "notes": list(recording.notes),
        "channels": [
            dict(zip(CHANNEL, facts, strict=True))
            for facts in zip(
                recording.channel_ids,
                layout.parts[0].channels,
                map(list, layout.locations),
                recording.groups or groups_by_distance(layout.locations),
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
    missing = sum(gap.missing for gap in recording.gaps)
    facts["gaps"] = f"{len(recording.gaps)} ({missing} samples missing)" if recording.gaps else "none"
    del facts["channels"], facts["parts"]
    return {**facts, **summarize(recording.layout, recording.channel_ids, recording.groups), "notes": notes}


def _range(values: Sequence[float]) -> str:
    """Return the least and the largest of the values, or one number where they are equal."""
    return " to ".join(dict.fromkeys(f"{value:.6g}" for value in (min(values), max(values))))
