"""Views of recordings, described and never copied: a stretch of time, some channels, several recordings end to end."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.nearest import nearest
from spikecrate._util.quantities import parse_seconds
from spikecrate.errors import RecordingFormatError, UsageError
from spikecrate.recordings.assumptions import gaps_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from spikecrate.recordings.model import Gap, Recording

SAMPLES: Final = re.compile(r"(\d{1,15})\s*samples?")


@dataclass(frozen=True, kw_only=True)
class View:
    """What is kept of a recording.

    Attributes
    ----------
    start, end : float, str or None
        From and to (exclusive): seconds, or text such as `90s`, `10m`, `1h` or `30000samples`.
    channels, exclude_channels : tuple of str
        Names of the channels to keep (none: all) and to leave out, or ranges such as `3-8`.
    group : str or None
        The shank, tetrode or probe whose channels are kept.
    """

    start: float | str | None = None
    end: float | str | None = None
    channels: tuple[str, ...] = ()
    exclude_channels: tuple[str, ...] = ()
    group: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that choose something, as JSON types."""
        chosen: dict[str, Any] = {}
        for name, value in asdict(self).items():
            match value:
                case None | ():
                    pass
                case tuple():
                    chosen[name] = list(value)
                case str() | int() | float():
                    chosen[name] = value
                case _:
                    # A number of numpy's is a number, too.
                    chosen[name] = float(value)
        return chosen


def apply(view: View, recording: Recording) -> Recording:
    """Return a view of a recording.

    Parameters
    ----------
    view : View
        What is kept.
    recording : Recording
        The recording.

    Returns
    -------
    Recording
        The recording itself where the view chooses nothing.

    Raises
    ------
    UsageError
        A channel or group is not known, or the times leave no samples.
    """
    chosen = view.as_dict()
    if not chosen:
        return recording
    layout, total = recording.layout, recording.layout.num_samples
    start = 0 if view.start is None else sample_at(view.start, recording, "--start")
    stop = total if view.end is None else min(total, sample_at(view.end, recording, "--end"))
    if start >= stop:
        message = (
            f"{recording.path}: samples {start} to {stop} are none of the recording's {total} "
            f"({recording.duration_s:g} s)"
        )
        raise UsageError(message, next_step="choose an earlier --start, or a later --end")
    kept = _kept_channels(view, recording)
    stretches = [
        (replace(part, start=part.start + first, num_samples=last - first), file)
        for part, file, begin in zip(recording.parts, recording.files, _begins(recording), strict=True)
        if (first := max(start - begin, 0)) < (last := min(stop - begin, part.num_samples))
    ]
    pick = _picker(kept)
    part_of = replace(
        recording,
        files=tuple(file for _part, file in stretches),
        layout=replace(
            layout,
            parts=tuple(replace(part, channels=pick(part.channels)) for part, _file in stretches),
            gains=pick(layout.gains),
            offsets=pick(layout.offsets),
            locations=pick(layout.locations),
        ),
        channel_ids=pick(recording.channel_ids),
        groups=None if recording.groups is None else pick(recording.groups),
        gaps=tuple(
            replace(gap, sample=gap.sample - start) for gap in recording.gaps if start < gap.sample < stop
        ),
        origin={"of": recording.origin, "view": chosen},
    )
    return _renoted(part_of, [recording])


def concatenate(recordings: Iterable[Recording]) -> Recording:
    """Return several recordings end to end as one.

    Parameters
    ----------
    recordings : iterable of Recording
        One or more, of equal channels, gains, locations, sampling frequency and type of samples.

    Returns
    -------
    Recording
        The time between the recordings is not known: the second one follows the first without a gap.

    Raises
    ------
    RecordingFormatError
        Two recordings differ; the message names them and the difference.
    UsageError
        There are none.
    """
    recordings = tuple(recordings)
    if not recordings:
        message = "there are no recordings to join"
        raise UsageError(message, next_step="name at least one")
    first, *others = recordings
    if not others:
        return first
    for other in others:
        for what, (mine, theirs) in _comparable(first, other).items():
            if mine != theirs:
                message = f"{first.path} and {other.path} cannot be joined: {what} {_told(mine)} and {_told(theirs)}"
                step = (
                    "name recordings of one probe and one setting, or choose equal channels with --channels"
                )
                raise RecordingFormatError(message, next_step=step)
    begins = accumulate((found.layout.num_samples for found in recordings), initial=0)
    joined = replace(
        first,
        files=tuple(file for found in recordings for file in found.files),
        layout=replace(first.layout, parts=tuple(part for found in recordings for part in found.parts)),
        gaps=tuple(
            replace(gap, sample=gap.sample + begin)
            for found, begin in zip(recordings, begins, strict=False)
            for gap in found.gaps
        ),
        assumptions=tuple(dict.fromkeys(note for found in recordings for note in found.assumptions)),
        origin={"recordings": [found.origin for found in recordings]},
    )
    return _renoted(joined, recordings)


def seconds(
    samples: np.ndarray[Any, Any], sampling_frequency: float, gaps: Sequence[Gap]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the times of samples from the recording's start, the time of gaps included.

    Parameters
    ----------
    samples : numpy.ndarray
        Sample indices.
    sampling_frequency : float
        Hz.
    gaps : sequence of Gap
        Where samples are missing, in order.

    Returns
    -------
    numpy.ndarray
        float64, s, of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> from spikecrate.recordings.model import Gap
    >>> seconds(np.array([0, 99, 100]), 100.0, [Gap(sample=100, missing=50)]).tolist()
    [0.0, 0.99, 1.5]
    """
    import numpy as np

    missing = np.concatenate([[0], np.cumsum([gap.missing for gap in gaps])])
    before = np.searchsorted([gap.sample for gap in gaps], samples, side="right")
    clock: np.ndarray[Any, np.dtype[np.float64]] = np.asarray(samples, dtype=np.float64) + missing[before]
    return clock / sampling_frequency


def sample_at(time: float | str, recording: Recording, option: str) -> int:
    """Return the first sample that the clock, in whole samples, puts at a time or later.

    Parameters
    ----------
    time : float or str
        Seconds, or text such as `90s`, `10m`, `1h` or `30000samples`.
    recording : Recording
        The recording; the time of its gaps counts.
    option : str
        Name of the option, for messages.

    Returns
    -------
    int
        It may lie beyond the end.

    Raises
    ------
    UsageError
        The time is negative or not a time.
    """
    text = time.strip() if isinstance(time, str) else ""
    if counted := SAMPLES.fullmatch(text):
        return int(counted[1])
    try:
        amount = parse_seconds(text) if text else float(time)
        if not 0 <= amount < math.inf:
            raise ValueError  # noqa: TRY301
    except (UsageError, ValueError, OverflowError):
        message = f"{option} {_told(time)!r} is not a time"
        raise UsageError(message, next_step=f"{option} 60, {option} 10m or {option} 30000samples") from None
    clock = round(amount * recording.layout.sampling_frequency)
    begin = missing = 0
    for gap in recording.gaps:
        if clock < gap.sample + missing:
            break
        begin, missing = gap.sample, missing + gap.missing
    # A time in a gap is before the first sample after it.
    return max(begin, clock - missing)


def group_names(recording: Recording) -> tuple[str, ...]:
    """Return the group of each channel: as the files name it, else by distance.

    Parameters
    ----------
    recording : Recording
        The recording.

    Returns
    -------
    tuple of str
        A name a channel.
    """
    from spikecrate.recordings.probe import groups_by_distance

    return recording.groups or groups_by_distance(recording.layout.locations)


def _renoted(made: Recording, sources: Sequence[Recording]) -> Recording:
    """Return a recording with the notes on its own gaps in place of those on the gaps of its sources."""
    stale = [note for source in sources for note in gaps_note(source)]
    kept = [note for note in made.assumptions if note not in stale]
    return replace(made, assumptions=(*kept, *gaps_note(made)))


def _begins(recording: Recording) -> list[int]:
    """Return the recording's sample at which each part begins."""
    return list(accumulate((part.num_samples for part in recording.parts[:-1]), initial=0))


def _picker(kept: Sequence[int]) -> Any:
    """Return a function that picks the entries of the kept channels."""
    return lambda entries: tuple(entries[index] for index in kept)


def _kept_channels(view: View, recording: Recording) -> list[int]:
    """Return the channels that a view keeps, in the recording's order."""
    ids = recording.channel_ids
    kept = (
        named_channels(view.channels, ids, "--channels", recording) if view.channels else set(range(len(ids)))
    )
    kept -= named_channels(view.exclude_channels, ids, "--exclude-channels", recording)
    if view.group is not None:
        groups = group_names(recording)
        if view.group not in groups:
            known = list(dict.fromkeys(groups))
            message = f"{recording.path} has no group {view.group!r}{nearest(view.group, known)}"
            raise UsageError(message, next_step=f"--group with one of: {_told(known)}")
        kept &= {index for index, name in enumerate(groups) if name == view.group}
    if not kept:
        message = f"{recording.path}: the options leave none of its {len(ids)} channels"
        raise UsageError(message, next_step="name fewer channels with --exclude-channels")
    return sorted(kept)


def named_channels(words: Sequence[str], ids: Sequence[str], option: str, recording: Recording) -> set[int]:
    """Return the channels that words name: an id, or the first and last id of a range.

    Parameters
    ----------
    words : sequence of str
        Names, or ranges such as `3-8`.
    ids : sequence of str
        The names of the channels.
    option : str
        What the words are given for, for messages.
    recording : Recording
        The recording, for messages.

    Returns
    -------
    set of int
        Channels from 0.

    Raises
    ------
    UsageError
        A channel is not known; the message has the nearest name.
    """
    found: set[int] = set()
    for word in words:
        if word in ids:
            found |= {index for index, name in enumerate(ids) if name == word}
            continue
        # A name may have a hyphen of its own.
        pairs = ((word[: mark.start()], word[mark.end() :]) for mark in re.finditer("[-:]", word))
        ends = next((pair for pair in pairs if pair[0] in ids and pair[1] in ids), None)
        if ends is None:
            message = f"{recording.path} has no channel {word!r}{nearest(word, ids)}"
            step = f"{option} with names or ranges of: {_told(ids)}"
            raise UsageError(message, next_step=step)
        first, last = sorted(map(ids.index, ends))
        found |= set(range(first, last + 1))
    return found


def _comparable(first: Recording, other: Recording) -> dict[str, tuple[Any, Any]]:
    """Return what recordings must share to be joined, of both."""
    mine, theirs = first.layout, other.layout
    return {
        "their sampling frequencies are": (mine.sampling_frequency, theirs.sampling_frequency),
        "their types of samples are": (mine.dtype[1:], theirs.dtype[1:]),
        "their channels are": (first.channel_ids, other.channel_ids),
        "their gains in uV per count are": (mine.gains, theirs.gains),
        "their offsets in uV are": (mine.offsets, theirs.offsets),
        "their locations in um are": (mine.locations, theirs.locations),
    }


def _told(value: Any) -> str:
    """Return a value as short text."""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
