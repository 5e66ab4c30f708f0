"""The streams and segments that a path holds: which of them is meant, and how segments are joined."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spikecrate._util.nearest import nearest
from spikecrate.errors import RecordingAmbiguousError, UsageError
from spikecrate.recordings.assumptions import Assumption, gaps_note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from spikecrate.recordings.model import Recording


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One segment of one stream.

    Attributes
    ----------
    path : Path
        What a user may name in place of the options.
    open : callable
        Takes the path as the user named it and the options of `open_recording`, returns the recording.
    stream : str
        Name of the stream; empty where the format has one alone.
    segment : str
        Name of the segment.
    has_spikes : bool
        Whether the stream is of electrodes, at a rate that shows spikes.
    is_joined : bool
        Whether a program made it of other segments.
    clock : str
        Name of the clock that counts the samples; segments of one clock have a known time between them.
    first_sample : callable
        Returns the clock's count at the first sample, or None where it is not known.
    """

    path: Path
    open: Callable[..., Recording]
    stream: str = ""
    segment: str = ""
    has_spikes: bool = True
    is_joined: bool = False
    clock: str = ""
    first_sample: Callable[[], int | None] = lambda: None


def choose(
    named: Path, entries: Sequence[Entry], *, stream: str, segment: int | None, concatenate: bool
) -> list[Entry]:
    """Return the segments that are meant: one, or several to join.

    Parameters
    ----------
    named : Path
        As the user named it, for messages.
    entries : sequence of Entry
        All that it holds, one or more, in order.
    stream, segment, concatenate
        As in `open_recording`.

    Returns
    -------
    list of Entry

    Raises
    ------
    RecordingAmbiguousError
        If the options leave several streams or segments; the message lists them and names the option.
    UsageError
        If there is no such stream or segment.
    """
    if segment is not None and concatenate:
        message = "--segment chooses one segment, --concatenate joins all"
        raise UsageError(message, next_step="pass one of the two")
    chosen = _of_stream(named, entries, stream)
    if concatenate:
        # What a program joined already has the samples of the others.
        return [entry for entry in chosen if not entry.is_joined] or chosen
    if segment is not None and not 0 <= segment < len(chosen):
        message = f"{named} has no segment {segment}; it has {len(chosen)}, counted from 0"
        step = f"pass --segment 0 to {len(chosen) - 1}" if len(chosen) > 1 else "leave out --segment"
        raise UsageError(message, next_step=step)
    if segment is not None:
        return [chosen[segment]]
    if len(chosen) > 1:
        which = f"--segment N (0 to {len(chosen) - 1}, in this order)"
        step = f"name one of these, pass {which}, or join them with --concatenate"
        raise ambiguous(named, "segments", [str(entry.path) for entry in chosen], step)
    return chosen


def join(entries: Sequence[Entry], recordings: Sequence[Recording]) -> Recording:
    """Return segments end to end; the time between segments of one clock becomes a gap.

    Parameters
    ----------
    entries : sequence of Entry
        The segments.
    recordings : sequence of Recording
        What they opened as.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingFormatError
        As `concatenate`.
    """
    from spikecrate.recordings.model import Gap
    from spikecrate.recordings.views import concatenate

    joined, gaps, unknown = concatenate(recordings), [], 0
    begin = 0
    pairs = zip(entries, entries[1:], recordings, strict=False)
    for entry, following, recording in pairs:
        begin += recording.layout.num_samples
        first, start = entry.first_sample(), following.first_sample()
        missing = None
        if entry.clock == following.clock and first is not None and start is not None:
            missing = (
                start - first - recording.layout.num_samples - sum(gap.missing for gap in recording.gaps)
            )
        # A count that goes back is of an acquisition that was started anew.
        if missing is None or missing < 0:
            unknown += 1
        elif missing:
            gaps.append(Gap(sample=begin, missing=missing))
    inside = gaps_note(joined)
    notes = [note for note in joined.assumptions if note not in inside]
    if unknown:
        message = f"the time between {unknown + 1} of the joined segments is not known and not counted"
        notes.append(Assumption(field="gaps", message=message))
    return replace(
        joined,
        gaps=tuple(sorted((*joined.gaps, *gaps), key=lambda gap: gap.sample)),
        assumptions=tuple(notes),
    )


def ambiguous(place: Path, what: str, choices: Sequence[str], next_step: str) -> RecordingAmbiguousError:
    """Return the error for a place that holds several recordings.

    Parameters
    ----------
    place : Path
        The folder that the user named.
    what : str
        What there are several of: "streams", "segments", "formats".
    choices : sequence of str
        What the user may name instead.
    next_step : str
        How to choose one.

    Returns
    -------
    RecordingAmbiguousError
    """
    message = "\n  ".join([f"{place} holds {len(choices)} {what}:", *choices])
    return RecordingAmbiguousError(message, next_step=next_step, details={"choices": list(choices)})


def numbered(text: str) -> list[str | int]:
    """Return a sort key that puts recording10 after recording9.

    Parameters
    ----------
    text : str
        A name or a path.

    Returns
    -------
    list
        Text and numbers by turns.

    Examples
    --------
    >>> sorted(["t10", "t9"], key=numbered)
    ['t9', 't10']
    """
    return [int(word) if index % 2 else word for index, word in enumerate(re.split("([0-9]+)", text))]


def _of_stream(named: Path, entries: Sequence[Entry], stream: str) -> list[Entry]:
    """Return the segments of the stream that is meant."""
    names = list(dict.fromkeys(entry.stream for entry in entries))
    if stream:
        found = [name for name in names if name == stream] or [
            name for name in names if name.endswith(stream)
        ]
        if len(found) != 1:
            problem = f"several streams that end in {stream!r}" if found else f"no stream {stream!r}"
            message = f"{named} has {problem}{'' if found else nearest(stream, names)}"
            known = [name for name in found or names if name]
            step = f"--stream with one of: {', '.join(known)}" if known else "leave out --stream"
            raise UsageError(message, next_step=step)
    else:
        found = names
        if len(names) > 1:
            # The others are auxiliary inputs, local fields or the state of the device.
            spiking = {entry.stream for entry in entries if entry.has_spikes}
            found = [name for name in names if name in spiking] or names
    if len(found) > 1:
        segments = [[entry for entry in entries if entry.stream == name] for name in found]
        single = all(len(group) == 1 for group in segments)
        choices = [str(group[0].path) for group in segments] if single else found
        step = (
            f"name one of these, or pass --stream NAME: {', '.join(found)}"
            if single
            else "pass --stream NAME"
        )
        raise ambiguous(named, "streams", choices, step)
    return [entry for entry in entries if entry.stream == found[0]]
