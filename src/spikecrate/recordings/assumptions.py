"""What a user should know before a recording is sorted: facts the reader assumed, parameters that do not fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spikecrate.recordings.model import Recording

MAX_NEIGHBORHOOD: Final = 32
"""Clustering slows down beyond this many channels in one neighbourhood."""
NEIGHBORHOOD_UM: Final = 100.0
"""A spike reaches the channels within about this distance."""
SIGNS: Final[tuple[dict[Any, int], ...]] = (
    {-1: -1, 0: 0, 1: 1},
    {"neg": -1, "both": 0, "pos": 1},
    {"-": -1, "+": 1},
)
"""The ways in which sorters spell a sign."""
DIRECTIONS: Final = {-1: "negative", 0: "of either sign", 1: "positive"}
PEAKS: Final = {-1: "negative peaks", 0: "peaks of either sign", 1: "positive peaks"}


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """A fact that the files do not give and the reader assumes, or a part of the file it leaves out.

    Attributes
    ----------
    field : str
        What it is about: "probe", "samples", "channels", "gain_uv", "offset_uv", "filter", or a parameter's name.
    message : str
        What is assumed or does not fit.
    next_step : str
        What the user can do about it; empty where nothing is needed.
    """

    field: str
    message: str
    next_step: str = ""

    def __str__(self) -> str:
        """Return the message with its next step."""
        return f"{self.message}; {self.next_step}" if self.next_step else self.message


def sort_warnings(
    recording: Recording, parameters: Mapping[str, Any], *, tool: str
) -> tuple[Assumption, ...]:
    """Return everything a user should know before this recording is sorted.

    Parameters
    ----------
    recording : Recording
        The recording.
    parameters : mapping
        The complete parameters of the sorter.
    tool : str
        The sorter's name, for the messages.

    Returns
    -------
    tuple of Assumption
        What the reader assumed, then the parameters that do not fit the recording.
    """
    found = (_spike_sign(recording, parameters, tool), _neighborhood(recording, parameters, tool))
    return recording.assumptions + tuple(misfit for misfit in found if misfit is not None)


def gaps_note(recording: Recording) -> list[Assumption]:
    """Return what a user should know of the gaps of a recording; nothing where there are none.

    Parameters
    ----------
    recording : Recording
        The recording.

    Returns
    -------
    list of Assumption
    """
    if not recording.gaps:
        return []
    rate, told, missing = recording.layout.sampling_frequency, [], 0
    for gap in recording.gaps[:3]:
        what = "missing" if gap.missing > 0 else "counted twice"
        length = f"{abs(gap.missing)} samples ({abs(gap.missing) / rate:.6g} s) {what}"
        told.append(f"{length} before sample {gap.sample} ({(gap.sample + missing) / rate:.6g} s)")
        missing += gap.missing
    count = len(recording.gaps)
    more = f" and {count - 3} more" if count > 3 else ""
    message = (
        f"the samples have {count} gap{'s' if count > 1 else ''}: {'; '.join(told)}{more}; "
        "times in seconds count them, a sorter sees the samples without them"
    )
    return [Assumption(field="gaps", message=message)]


def smallest_distance(locations: Sequence[Sequence[float]]) -> float | None:
    """Return the distance in um of the two nearest channels that are not at one place.

    Parameters
    ----------
    locations : sequence
        um, one row a channel.

    Returns
    -------
    float or None
        None where all channels are at one place.

    Examples
    --------
    >>> smallest_distance([(0, 0), (0, 25), (3, 4)])
    5.0
    """
    places = {tuple(row) for row in locations}
    if len(places) < 2:
        return None
    # Along the axis with the most places, few channels lie within reach of one another.
    axis = max(range(len(next(iter(places)))), key=lambda axis: len({place[axis] for place in places}))
    ordered = sorted(places, key=lambda place: place[axis])
    least = math.inf
    for index, place in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if other[axis] - place[axis] >= least:
                break
            least = min(least, math.dist(place, other))
    return least


def _spike_sign(recording: Recording, parameters: Mapping[str, Any], tool: str) -> Assumption | None:
    """Return the misfit of a sorter that looks for peaks of another sign than the recording's spikes have."""
    sign = recording.spike_sign
    for name in ("detect_sign", "peak_sign"):
        value = parameters.get(name)
        spellings = next((signs for signs in SIGNS if value in signs), {})
        fitting = next((spelling for spelling, number in spellings.items() if number == sign), None)
        if sign is not None and fitting is not None and fitting != value:
            return Assumption(
                field=name,
                message=f"this recording's spikes are {DIRECTIONS[sign]} "
                f"but {tool} is set to detect {PEAKS[spellings[value]]}",
                next_step=f"pass --param {name}={fitting}",
            )
    return None


def _neighborhood(recording: Recording, parameters: Mapping[str, Any], tool: str) -> Assumption | None:
    """Return the misfit of a sorter that takes all channels of a large probe as one neighbourhood."""
    radius, count = parameters.get("adjacency_radius"), recording.layout.num_channels
    if not isinstance(radius, (int, float)) or radius >= 0 or count <= MAX_NEIGHBORHOOD:
        return None
    pitch = smallest_distance(recording.layout.locations)
    if pitch is None or pitch > NEIGHBORHOOD_UM:
        return None
    return Assumption(
        field="adjacency_radius",
        message=f"adjacency_radius={radius:g} makes {tool} treat all {count} channels as one neighbourhood, "
        f"which is slow beyond {MAX_NEIGHBORHOOD}",
        next_step=f"pass --param adjacency_radius={NEIGHBORHOOD_UM:g}",
    )
