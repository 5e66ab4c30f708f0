"""A stretch of the traces with the events of a sorting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from drawing import COLOURS, INK, MOST_LABELS, PALE, new_figure, nice, number, of_all, read_table

from spikecrate_harness import mda

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drawing import Array
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spikecrate_harness.traces import TraceReader

MOST_CHANNELS: Final = 32
LONGEST_S: Final = 60
COLUMNS: Final = 2000
"""Points across a picture: what is finer is drawn as the range of its values."""


def draw_traces(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Figure:
    """Draw a stretch of the traces by depth, each event in the colour of its unit on the unit's primary channel."""
    from matplotlib.collections import LineCollection

    recording: TraceReader = inputs["recording"]
    channels, times, labels = (
        np.round(row).astype(np.int64) for row in mda.read(inputs["sorting"] / "firings.mda")[:3]
    )
    channels = primary_channels(inputs["sorting"], channels - 1, labels)
    first, last = stretch(recording, times, labels, parameters)
    traces = filtered(recording, first, last, parameters)
    inside = (times >= first) & (times < last)
    channels, times, labels = channels[inside], times[inside], labels[inside]
    units = np.unique(labels)
    for unit in units:
        own = labels == unit
        if (channels[own] < 0).any():
            channels[own] = np.abs(traces[times[own] - first].mean(axis=0)).argmax()
    places = recording.locations
    by_depth = np.lexsort((places[:, 0], places[:, 1]))
    most = min(MOST_CHANNELS, len(by_depth))
    events_by_depth = np.bincount(channels, minlength=len(by_depth))[by_depth]
    # As many neighbours in depth as fit, where most events are.
    lowest = int(np.convolve(events_by_depth, np.ones(most), "valid").argmax())
    shown = by_depth[lowest : lowest + most]
    noise = (
        float(np.median(np.abs(traces[:, shown])) * 1.4826) or float(np.abs(traces[:, shown]).max()) or 1.0
    )
    step = noise * 12
    rate = recording.sampling_frequency
    row_of = {int(channel): row for row, channel in enumerate(shown)}

    width, height = 12.0, 1.3 + 0.26 * max(most, 10)
    drawn = np.isin(channels, shown)
    note = f"{first / rate:g} to {last / rate:g} s, {of_all(most, len(by_depth), 'channel')} by depth"
    if len(times):
        note += (
            f"; {of_all(int(drawn.sum()), len(times), 'event')} of {of_all(len(units), len(units), 'unit')}"
        )
    figure = new_figure(width, height, "Traces" if len(times) else "Traces, no events", note)
    axes = figure.add_axes((0.7 / width, 0.45 / height, (width - 1.5) / width, (height - 1.1) / height))
    for channel, row in row_of.items():
        axes.plot(*thinned(first, traces[:, channel] / step + row, rate), color=PALE, lw=0.5)
    half = max(round(0.0005 * rate), 1)
    for place, unit in enumerate(units):
        own = drawn & (labels == unit)
        colour = COLOURS[place % len(COLOURS)]
        lines = []
        for time, channel in zip(times[own], channels[own], strict=True):
            part = np.arange(max(time - half, first), min(time + half + 1, last))
            lines.append(
                np.column_stack([part / rate, traces[part - first, channel] / step + row_of[int(channel)]])
            )
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.0))
        if lines and len(units) <= MOST_LABELS:
            axes.text(
                times[own][0] / rate,
                lines[0][:, 1].max() + 0.1,
                str(unit),
                color=colour,
                size=7,
                ha="center",
                va="bottom",
                weight="bold",
            )
    axes.set_xlim(first / rate, last / rate)
    heights = traces[:, shown] / step + np.arange(most)
    axes.set_ylim(max(heights.min() - 0.3, -4), min(heights.max() + 0.9, most + 3))
    depths = places[shown, 1]
    ticks = np.flatnonzero(np.diff(depths, prepend=depths[0] - 1))
    axes.set_yticks(ticks, [number(depth) for depth in depths[ticks]])
    axes.set_ylabel("depth (µm)")
    axes.set_xlabel("time (s)")
    draw_scale(axes, step, 1 + 0.15 / (width - 1.5))
    return figure


def draw_scale(axes: Axes, step: float, right: float) -> None:
    """Draw a bar with its height in µV at the right of the traces, which are `step` apart."""
    bar = nice(step)
    axes.plot(
        [right, right],
        [-0.5, -0.5 + bar / step],
        color=INK,
        lw=1,
        transform=axes.get_yaxis_transform(),
        clip_on=False,
    )
    axes.text(
        right,
        -0.5 + bar / step / 2,
        f"  {number(bar)} µV",
        size=7,
        va="center",
        transform=axes.get_yaxis_transform(),
    )


def primary_channels(sorting: Path, channels: Array, labels: Array) -> Array:
    """Return the primary channel of each event's unit, from 0, or -1 where it is not known.

    It is that of the table of units; without one, that of most events of the unit.
    """
    table = sorting / "units.csv"
    rows = read_table(table) if table.exists() else []
    known = {row["unit"]: row["channel"] for row in rows if row.get("channel") is not None}
    found = np.full(len(labels), -1)
    for unit in np.unique(labels):
        own = labels == unit
        reported = channels[own & (channels >= 0)]
        most = int(np.bincount(reported).argmax()) if len(reported) else -1
        found[own] = known.get(int(unit), most)
    return found


def stretch(
    recording: TraceReader, times: Array, labels: Array, parameters: Mapping[str, Any]
) -> tuple[int, int]:
    """Return the first sample of the stretch and the one after its last.

    Raises
    ------
    ValueError
        It is empty, too long or beyond the end of the recording.
    """
    rate, samples = recording.sampling_frequency, recording.num_samples
    start, end = parameters["start"], parameters["end"]
    if start is None and end is None:
        seconds = np.unique(np.column_stack([times // rate, labels]), axis=0)[:, 0].astype(int)
        start = int(np.bincount(seconds).argmax()) if len(seconds) else 0
    start = max(end - 1, 0) if start is None else start
    end = start + 1 if end is None else end
    first, last = round(start * rate), min(round(end * rate), samples)
    if end - start > LONGEST_S:
        message = f"from start {start:g} s to end {end:g} s is longer than {LONGEST_S} s"
        raise ValueError(message)
    if first >= last:
        message = (
            f"no samples from start {start:g} s to end {end:g} s: the recording has {samples / rate:g} s"
        )
        raise ValueError(message)
    return first, last


def filtered(recording: TraceReader, first: int, last: int, parameters: Mapping[str, Any]) -> Array:
    """Return a stretch in µV, samples x channels, band-passed where wanted as `analyze` does it.

    Raises
    ------
    ValueError
        The pass band is empty.
    """
    from scipy import signal

    rate = recording.sampling_frequency
    low, high = parameters["freq_min"], parameters["freq_max"]
    if not parameters["filter"]:
        return in_microvolts(recording, first, last)
    if low >= min(high, rate / 2):
        message = f"freq_min ({low:g} Hz) must be below freq_max ({high:g} Hz) and {rate / 2:g} Hz"
        raise ValueError(message)
    band = {"Wn": low, "btype": "highpass"} if high >= rate / 2 else {"Wn": (low, high), "btype": "bandpass"}
    sections = signal.butter(5, fs=rate, output="sos", **band)
    margin = round(0.1 * rate)
    begin, stop = max(first - margin, 0), min(last + margin, recording.num_samples)
    traces = in_microvolts(recording, begin, stop)
    padded = min(6 * len(sections), len(traces) - 1)
    return np.asarray(
        signal.sosfiltfilt(sections, traces, axis=0, padlen=padded)[first - begin : last - begin]
    )


def in_microvolts(recording: TraceReader, first: int, last: int) -> Array:
    """Return samples in µV, without the median of each channel."""
    traces = recording.traces(first, last) * recording.gains
    return np.asarray(traces - np.median(traces, axis=0))


def thinned(first: int, values: Array, rate: float) -> tuple[Array, Array]:
    """Return seconds and values of a line; of many samples, the least and the largest of each piece."""
    times = (first + np.arange(len(values))) / rate
    piece = len(values) // COLUMNS
    if piece < 3:
        return times, values
    whole = len(values) // piece * piece
    pieces = values[:whole].reshape(-1, piece)
    ranges = np.column_stack([pieces.min(axis=1), pieces.max(axis=1)]).ravel()
    return np.repeat(times[:whole:piece], 2), ranges
