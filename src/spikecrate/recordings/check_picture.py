"""Draw a check as SVG: the probe coloured by noise, and the noise of each channel."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final

from spikecrate._util.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate.recordings.check import ChannelCheck, RecordingCheck

WIDTH: Final = 900
HEIGHT: Final = 640
PROBE: Final = (60.0, 90.0, 320.0, 500.0)
"""Left, top, width, height of the probe."""
BARS: Final = (480.0, 90.0, 390.0, 500.0)
"""Left, top, width, height of the strip of noise."""
LABELLED: Final = 32
"""Channels up to which each has its name; of more, only the bad ones have."""
OCTAVES: Final = 2.0
"""The colour is full at this many doublings of the median noise, or halvings."""
BAD: Final = "#c00000"


def picture(check: RecordingCheck, title: str) -> str:
    """Return a check as an SVG document.

    Parameters
    ----------
    check : RecordingCheck
        The check.
    title : str
        Name of the recording.

    Returns
    -------
    str
        XML. Depth goes upwards; x and y have their own scales, since a probe is long and narrow. Blue channels have
        less noise than the median, orange ones more; a red cross or bar is a channel to leave out.
    """
    bad = len(check.bad)
    lines = [
        _text(PROBE[0], 30, title, size=16),
        _text(
            PROBE[0],
            52,
            f"{len(check.channels)} channels, {bad} to leave out; median noise {check.noise_uv:.3g} µV; "
            f"{check.checked_s:.4g} of {check.duration_s:.4g} s checked",
        ),
        *_probe(check),
        *_bars(check),
        *(_text(PROBE[0], 612 + 12 * row, text, size=9) for row, text in enumerate(check.findings[:3])),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    body = "\n".join(lines)
    return f'{head}\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'


def _probe(check: RecordingCheck) -> list[str]:
    """Return a dot a channel at its place."""
    left, top, width, height = PROBE
    # The last coordinate is the depth, also of places in three dimensions.
    across = _scaled([channel.location_um[0] for channel in check.channels], left, left + width)
    along = _scaled([channel.location_um[-1] for channel in check.channels], top + height, top)
    radius = max(2.0, min(9.0, height / len(check.channels)))
    lines = []
    for channel, x, y in zip(check.channels, across, along, strict=True):
        colour = _colour(channel.noise_uv, check.noise_uv)
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" stroke="#666" stroke-width="0.5">'
            f"<title>{_escaped(_described(channel))}</title></circle>"
        )
        if channel.problems:
            cross = (
                f"M{x - radius:.1f} {y - radius:.1f}l{2 * radius:.1f} {2 * radius:.1f}m0 {-2 * radius:.1f}"
            )
            lines.append(
                f'<path d="{cross}l{-2 * radius:.1f} {2 * radius:.1f}" stroke="{BAD}" stroke-width="2"/>'
            )
        if channel.problems or len(check.channels) <= LABELLED:
            lines.append(_text(x + radius + 3, y + 4, channel.id, size=10))
    legend = "probe, each axis to its own scale; blue: less noise, orange: more, cross: to leave out"
    return [*lines, _text(left, 76, legend, size=10)]


def _bars(check: RecordingCheck) -> list[str]:
    """Return a bar a channel, its length the noise, bad ones red."""
    left, top, width, height = BARS
    most = max((channel.noise_uv for channel in check.channels), default=0.0) or 1.0
    step = height / len(check.channels)
    lines = [_text(left, 76, f"noise of each channel, 0 to {most:.3g} µV", size=10)]
    for index, channel in enumerate(check.channels):
        y, length = top + index * step, width * channel.noise_uv / most
        colour = BAD if channel.problems else "#7f7f7f"
        lines.append(
            f'<rect x="{left}" y="{y:.2f}" width="{max(length, 1):.1f}" height="{step * 0.8:.2f}" fill="{colour}">'
            f"<title>{_escaped(_described(channel))}</title></rect>"
        )
        if len(check.channels) <= LABELLED:
            lines.append(_text(left - 8, y + step / 2 + 3, channel.id, size=10, anchor="end"))
    middle = left + width * check.noise_uv / most
    lines.append(f'<path d="M{middle:.1f} {top}v{height}" stroke="black" stroke-dasharray="4 3"/>')
    return lines


def _described(channel: ChannelCheck) -> str:
    return f"{channel.id}: {channel.noise_uv:.3g} µV, {channel.verdict}"


def _scaled(values: Sequence[float], first: float, last: float) -> list[float]:
    """Map the least value to `first` and the largest to `last`; equal values to the middle."""
    least, span = min(values), max(values) - min(values)
    return [first + (last - first) * ((value - least) / span if span else 0.5) for value in values]


def _colour(noise: float, usual: float) -> str:
    """Return white at the median, blue below it, orange above it."""
    octaves = math.log2(noise / usual) if noise > 0 and usual > 0 else -OCTAVES
    share = min(abs(octaves) / OCTAVES, 1.0)
    end = (31, 119, 180) if octaves < 0 else (255, 127, 14)
    return "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in end)


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    """Return a text, which may come from a hostile file, in the characters that XML has."""
    return escape(printable(text, one_line=True)).translate({0xFFFE: "?", 0xFFFF: "?"})
