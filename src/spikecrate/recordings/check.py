"""Find channels that would spoil a sorting, drop-outs, offset and mains hum, from a bounded sample of a recording.

The signal of each channel is split by a moving average over 2 ms: the average holds offset and hum, the rest holds
noise and spikes. Nothing is tuned to a recording: each threshold below has its source. Related:
`detect_bad_channels` of SpikeInterface, and *Spike sorting pipeline for the International Brain Laboratory*,
https://doi.org/10.6084/m9.figshare.19705522, which compare channels by coherence, not done here.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Silent
from spikecrate.recordings.check_measure import DROP_OUT_S, DropOut, Measurements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spikecrate._util.progress import Progress
    from spikecrate.recordings.model import Recording

SAMPLE_S: Final = 30
"""Seconds that are read by default: noise estimated from as many independent milliseconds is good to a percent."""
OUTLIER: Final = 5.0
"""Robust standard deviations from the other channels; SpikeInterface's `std_mad_threshold`."""
NOISY: Final = 2.0
"""Times the median noise. A guard for few, or nearly equal, channels, whose deviation is next to nothing."""
DEAD: Final = 0.25
"""Times the median noise. Amplifiers alone have 2 to 6 uV (RHD2000, Neuropixels), tissue adds several times that."""
FEWEST: Final = 3
"""Channels from which one can differ from the others."""
CLIPPED: Final = 1e-3
"""Share of samples in a row at the channel's limit; of Gaussian noise 6e-5 lie beyond 4 deviations at all."""
LEAST_RANGE: Final = 8.0
"""Deviations between the limits; closer, a channel of few counts reaches them without being clipped."""
OFFSET: Final = 5.0
"""Times the noise: a detection threshold of the usual 5 deviations is then exceeded by the offset alone."""
HUM_RATIO: Final = 20.0
"""Power at the mains frequency over that beside it; chance exceeds it in one of a million bins of one stretch."""
HUM_NOISE: Final = 0.5
"""Times the noise: less adds less than an eighth to its root mean square."""


@dataclass(frozen=True, kw_only=True)
class ChannelCheck:
    """What was found on one channel.

    Attributes
    ----------
    id : str
        Name of the channel.
    location_um : tuple of float
        Its place.
    noise_uv : float
        Standard deviation of noise above about 400 Hz, from the median absolute deviation.
    offset_uv : float
        Median of the means of the stretches.
    clipped : float
        Share of samples in runs of three or more at the channel's largest or least value.
    hum_hz : int
        50 or 60, whichever is stronger; 0 where neither could be measured.
    hum_uv : float
        Root mean square at that frequency and its harmonics below 200 Hz.
    problems : tuple of str
        Reasons to leave the channel out: "not finite", "dead", "noisy", "saturated".
    notes : tuple of str
        "offset", "hum": what a high-pass filter takes away.
    """

    id: str
    location_um: tuple[float, ...]
    noise_uv: float
    offset_uv: float
    clipped: float
    hum_hz: int
    hum_uv: float
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The problems and notes in one line, or "good"."""
        return ", ".join(self.problems + self.notes) or "good"


@dataclass(frozen=True, kw_only=True)
class RecordingCheck:
    """What was found in a recording.

    Attributes
    ----------
    checked_s, duration_s : float
        Seconds that were read, and that there are.
    noise_uv : float
        Median noise of the channels.
    channels : tuple of ChannelCheck
        In the recording's order.
    drop_outs : tuple of DropOut
        The first 100 stretches in which no channel changes, 4 ms or longer.
    drop_outs_count : int
        How many there are.
    drop_outs_s : float
        How long they last together.
    findings : tuple of str
        What concerns the recording as a whole, as sentences.
    exclude : str
        The option of `sort` that leaves the bad channels out; empty where none or all are bad.
    """

    checked_s: float
    duration_s: float
    noise_uv: float
    channels: tuple[ChannelCheck, ...]
    drop_outs: tuple[DropOut, ...]
    drop_outs_count: int
    drop_outs_s: float
    findings: tuple[str, ...]
    exclude: str

    @property
    def bad(self) -> tuple[ChannelCheck, ...]:
        """The channels to leave out."""
        return tuple(channel for channel in self.channels if channel.problems)


def check_recording(
    recording: Recording, *, everything: bool = False, progress: Progress | None = None
) -> RecordingCheck:
    """Check the channels of a recording, in memory that does not depend on its length.

    Parameters
    ----------
    recording : Recording
        The recording.
    everything : bool
        Look for drop-outs, saturation and values that are not finite in all samples; noise, offset and hum are
        measured in the same 30 stretches of a second as otherwise.
    progress : Progress, optional
        Shows how far the reading is.

    Returns
    -------
    RecordingCheck

    Raises
    ------
    RecordingTruncatedError
        If the file has shrunk since it was opened.
    """
    layout = recording.layout
    measured = Measurements.of(layout)
    parts = stretches(layout.num_samples, measured.stretch, everything=everything)
    total = layout.num_samples if everything else min(layout.num_samples, SAMPLE_S * measured.stretch)
    with (progress or Silent()).bar("checking", total) as advance:
        for start, stop, whole in parts:
            measured.begin(start)
            for first, last in measured.blocks(start, stop):
                measured.add(recording.traces(first, last), first, with_noise=whole)
                advance(last - first)
            measured.end(with_noise=whole)
    measured.close()
    return judge(recording, measured)


def stretches(num_samples: int, length: int, *, everything: bool) -> Iterator[tuple[int, int, bool]]:
    """Yield where to read, and where to measure noise: everywhere, or in at most 30 stretches spread evenly.

    Parameters
    ----------
    num_samples : int
        Length of the recording.
    length : int
        Length of a stretch.
    everything : bool
        Read all samples.

    Yields
    ------
    tuple
        Start, stop, and whether noise is measured there; in order, without overlap.

    Examples
    --------
    >>> list(stretches(250, 100, everything=False))
    [(0, 100, True), (100, 200, True), (200, 250, True)]
    >>> found = list(stretches(10_000, 100, everything=False))
    >>> len(found), found[-1]
    (30, (9900, 10000, True))
    """
    count = -(-num_samples // length)
    spread = [index * (num_samples - length) // (SAMPLE_S - 1) for index in range(SAMPLE_S)]
    if count > SAMPLE_S and not everything:
        yield from ((start, start + length, True) for start in spread)
        return
    chosen = {start // length for start in spread} if count > SAMPLE_S else range(count)
    for index in range(count):
        yield index * length, min((index + 1) * length, num_samples), index in chosen


def judge(recording: Recording, measured: Measurements) -> RecordingCheck:
    """Compare the measurements with the thresholds.

    Parameters
    ----------
    recording : Recording
        The recording.
    measured : Measurements
        What was measured of it.

    Returns
    -------
    RecordingCheck
    """
    import numpy as np

    gains = np.abs(np.array(recording.layout.gains))
    noise_counts = measured.noise()
    noise = noise_counts * gains
    usual = float(np.median(noise))
    offsets, spread = measured.offsets()
    offsets = offsets * np.array(recording.layout.gains) + np.array(recording.layout.offsets)
    hum_hz, hum, hum_ratio = measured.hum()
    hum = hum * gains
    clipped = measured.clipped()
    limit = LEAST_RANGE * np.maximum(noise_counts, measured.resolution)
    constant = measured.range() == 0
    live = noise[noise > 0]
    problems = {
        "not finite": measured.not_finite > 0,
        "dead": constant | _outliers(noise, live, DEAD),
        "noisy": _outliers(noise, live, NOISY),
        "saturated": ~constant & (clipped > CLIPPED) & (measured.range() >= limit),
    }
    notes = {
        "offset": ~constant & (np.abs(offsets) > OFFSET * np.maximum(usual, spread * gains)),
        "hum": ~constant & (hum_ratio > HUM_RATIO) & (hum > HUM_NOISE * usual),
    }
    channels = tuple(
        ChannelCheck(
            id=name,
            location_um=tuple(recording.layout.locations[index]),
            noise_uv=float(noise[index]),
            offset_uv=float(offsets[index]),
            clipped=float(clipped[index]),
            hum_hz=int(hum_hz[index]),
            hum_uv=float(hum[index]),
            problems=tuple(problem for problem, found in problems.items() if found[index]),
            notes=tuple(note for note, found in notes.items() if found[index]),
        )
        for index, name in enumerate(recording.channel_ids)
    )
    bad = [channel.id for channel in channels if channel.problems]
    return RecordingCheck(
        checked_s=measured.num_samples / recording.layout.sampling_frequency,
        duration_s=recording.duration_s,
        noise_uv=usual,
        channels=channels,
        drop_outs=tuple(measured.drop_outs),
        drop_outs_count=measured.drop_outs_count,
        drop_outs_s=measured.drop_outs_s,
        findings=tuple(_findings(channels, measured)),
        exclude=f"--exclude-channels {shlex.quote(','.join(bad))}" if 0 < len(bad) < len(channels) else "",
    )


def _outliers(noise: Any, live: Any, factor: float) -> Any:
    """Return which channels' noise differs from the others' by this factor, and by more than they differ themselves.

    In logarithms, since noise of electrodes differs by factors.
    """
    import numpy as np

    if len(live) < FEWEST:
        return np.zeros(len(noise), dtype=bool)
    logs = np.log(live)
    deviation = np.median(np.abs(logs - np.median(logs))) / 0.6745
    limit = max(abs(np.log(factor)), OUTLIER * deviation)
    distance = np.log(np.maximum(noise, np.finfo(float).tiny)) - np.median(logs)
    found: Any = distance > limit if factor > 1 else distance < -limit
    return found


def _findings(channels: tuple[ChannelCheck, ...], measured: Measurements) -> list[str]:
    """Return what concerns the whole recording."""
    found = []
    if not any(entry.noise_uv for entry in channels) and any(not entry.problems for entry in channels):
        found.append("noise: the samples are too few to measure it; check a second or more")
    if measured.drop_outs:
        first = measured.drop_outs[0]
        found.append(
            f"drop-outs: {measured.drop_outs_count} in which no channel changes for {DROP_OUT_S * 1000:g} ms or "
            f"longer, {measured.drop_outs_s:.4g} s in all; the first at {first.start_s:.6g} s lasts "
            f"{first.duration_s:.4g} s"
        )
    for hum_hz in (50, 60):
        values = [entry.hum_uv for entry in channels if "hum" in entry.notes and entry.hum_hz == hum_hz]
        if values:
            found.append(
                f"hum: {hum_hz} Hz on {len(values)} of {len(channels)} channels, up to {max(values):.4g} µV; "
                "a high-pass filter takes it away"
            )
    offsets = [entry.offset_uv for entry in channels if "offset" in entry.notes]
    if offsets:
        found.append(
            f"offset: {len(offsets)} of {len(channels)} channels, up to {max(offsets, key=abs):.4g} µV; "
            "a high-pass filter takes it away"
        )
    return found
