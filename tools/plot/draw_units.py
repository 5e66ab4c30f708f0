"""The units of a sorting: template and autocorrelogram of each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from drawing import COLOURS, GREY, INK, new_figure, nice, number, of_all, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drawing import Array, Row
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PER_PAGE: Final = 20


def draw_units(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Figure:
    """Draw template and autocorrelogram of each unit of a page, the largest first."""
    folder: Path = inputs["analysis"]
    rows = read_table(folder / "units.csv")
    if not rows:
        return new_figure(6, 1, "No units", "the sorting is empty")
    order = sorted(range(len(rows)), key=lambda place: -abs(rows[place]["amplitude"] or 0))
    first = (parameters["page"] - 1) * PER_PAGE
    shown = order[first : first + PER_PAGE]
    if not shown:
        message = (
            f"there is no page {parameters['page']}: the {len(rows)} units are on {-(-len(rows) // PER_PAGE)}"
        )
        raise ValueError(message)
    extensions = folder / "extensions"
    templates = np.load(extensions / "templates" / "average.npy", mmap_mode="r")
    window = json.loads((extensions / "templates" / "params.json").read_bytes())
    counts = np.load(extensions / "correlograms" / "ccgs.npy", mmap_mode="r")
    bins = np.load(extensions / "correlograms" / "bins.npy")
    probe = json.loads((folder / "recording_info" / "probegroup.json").read_bytes())["probes"][0]
    places = np.array(probe["contact_positions"])[:, :2]

    across = 3 if len(shown) in {5, 6, 9} else min(len(shown), 4)
    down = -(-len(shown) // across)
    wide, high, head, foot = max(3.1, 6.2 / across), 2.1, 0.65, 0.1
    width, height = wide * across, high * down + head + foot
    if len(shown) == len(rows):
        title, note = f"{len(rows)} unit{'s' * (len(rows) > 1)}", "the largest amplitude first"
    else:
        title = f"Units {first + 1} to {first + len(shown)} of {len(rows)}"
        note = f"the largest amplitude first; page {parameters['page']} of {-(-len(rows) // PER_PAGE)}"
    figure = new_figure(width, height, title, f"{note}. Template (mean waveform by place), autocorrelogram")
    for cell, place in enumerate(shown):
        row = rows[place]
        left, top = wide * (cell % across), height - head - high * (cell // across)

        def axes(x: float, w: float, left: float = left, top: float = top) -> Axes:
            return figure.add_axes(
                ((left + x) / width, (top - high + 0.3) / height, w / width, (high - 0.77) / height)
            )

        label = f"unit {row['unit']:.0f}"
        figure.text(
            (left + 0.15) / width,
            (top - 0.1) / height,
            label,
            va="baseline",
            size=9,
            weight="bold",
            color=INK,
        )
        told = of_unit(row)
        figure.text(
            (left + 0.15) / width, (top - 0.27) / height, told, va="baseline", size=7, color="#555555"
        )
        draw_template(
            axes(0.15, wide * 0.5 - 0.25),
            templates[place],
            places,
            row,
            float(window["ms_before"]) + float(window["ms_after"]),
        )
        plot = axes(wide * 0.5 + 0.3, wide * 0.5 - 0.45)
        draw_correlogram(plot, counts[place, place], bins, row)
        if cell >= len(shown) - across:
            plot.set_xlabel("lag (ms)", size=7, color="#555555", labelpad=1)
    return figure


def draw_correlogram(axes: Axes, counts: Array, bins: Array, row: Row) -> None:
    """Draw an autocorrelogram as rates, or say that it is empty."""
    rates = counts / max(row["events"] or 0, 1) / (np.diff(bins)[0] / 1000)
    top = rates.max()
    axes.stairs(rates, bins, fill=True, color=COLOURS[0])
    axes.set_xlim(bins[0], bins[-1])
    axes.set_ylim(0, top * 1.05 or 1)
    axes.set_yticks([0, nice(top)] if top else [])
    axes.set_yticklabels(["0", f"{number(nice(top))} Hz"] if top else [])
    if not top:
        told = f"no intervals < {bins[-1]:g} ms"
        axes.text(0.5, 0.5, told, size=7, color=GREY, ha="center", transform=axes.transAxes)
    axes.tick_params(labelsize=6, length=2, pad=1)


def draw_template(axes: Axes, template: Array, places: Array, row: Row, window_ms: float) -> None:
    """Draw a template's waveforms at the places of the primary channel and the nearest others, with a scale."""
    axes.set_axis_off()
    primary = row["channel"]
    if primary is None:
        axes.text(
            0,
            0.5,
            "no waveform:\nno event is far enough from\nthe borders of the recording",
            size=7,
            color=GREY,
            va="center",
            transform=axes.transAxes,
        )
        return
    own = int(primary)
    distance = np.linalg.norm(places - places[own], axis=1)
    near = [channel for channel in np.argsort(distance, kind="stable")[:8] if np.any(template[:, channel])]
    x, y = (in_pitches(places[near, axis]) for axis in (0, 1))
    samples = np.linspace(-0.45, 0.45, len(template))
    span = float(np.ptp(template[:, near], axis=0).max())
    scale = 1.3 / span
    for channel, right, up in zip(near, x, y, strict=True):
        colour, width = (COLOURS[0], 1.1) if channel == own else (GREY, 0.7)
        axes.plot(right + samples, up + template[:, channel] * scale, color=colour, lw=width)
    bar, one_ms = nice(span / 2), 0.9 / window_ms
    corner, low = x.max() + 0.6, y.min() - 0.75
    axes.plot(
        [corner, corner, corner + one_ms],
        [low + bar * scale, low, low],
        color=INK,
        lw=0.8,
        solid_joinstyle="miter",
    )
    axes.text(corner + 0.06, low + bar * scale / 2, f" {number(bar)} µV", size=6, va="center", color=INK)
    axes.text(corner, low - 0.06, "1 ms", size=6, va="top", color=INK)
    axes.set_xlim(x.min() - 0.5, x.max() + 1.3)
    axes.set_ylim(min(low - 0.3, y.min() - 1), y.max() + 0.8)


def in_pitches(places: Array) -> Array:
    """Return coordinates as multiples of their least distance, 5 rows or columns at most."""
    found = np.unique(places)
    if len(found) == 1:
        return np.zeros(len(places))
    pitch = max(float(np.diff(found).min()), float(np.ptp(found)) / 4)
    return np.asarray((places - found[0]) / pitch)


def of_unit(row: Row) -> str:
    """Return what the head of a unit tells beside its number."""
    events = round(row["events"] or 0)
    parts = [of_all(events, events, "event"), f"{row['rate'] or 0:,.2f} Hz"]
    if row["snr"] is not None:
        parts.append(f"SNR {number(row['snr'])}")
    if row["amplitude"] is not None:
        parts.append(f"{number(row['amplitude'])} µV")
    return " · ".join(parts)
