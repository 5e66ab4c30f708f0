"""How the metrics of the units are distributed, and go together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from drawing import COLOURS, GREY, INK, MOST_LABELS, PALE, new_figure, number, of_all, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawing import Array
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


LEAST_SPAN: Final = 4.0
"""The ends of a logarithmic axis are at least so many times apart: one of 1, 2, 5 is between them."""


def draw_metrics(inputs: Mapping[str, Any], _parameters: Mapping[str, Any]) -> Figure:
    """Draw how SNR, rate, ISI violations and amplitude are distributed over the units, and go together."""
    rows = read_table(inputs["analysis"] / "units.csv")
    if not rows:
        return new_figure(6, 1, "No units", "the sorting is empty")
    values = {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=float)
        for name in ("snr", "rate", "isi_violations", "amplitude")
    }
    values["amplitude"] = np.abs(values["amplitude"])
    names = [f"{row['unit']:.0f}" for row in rows]
    width, height = 11.0, 6.9
    figure = new_figure(
        width,
        height,
        f"Metrics of {of_all(len(rows), len(rows), 'unit')}",
        "each blue line is a unit, the black line the median",
    )
    heads = {
        "snr": "SNR",
        "rate": "rate (Hz)",
        "isi_violations": "ISI violations (ratio of rates)",
        "amplitude": "|amplitude| (µV)",
    }
    for place, (name, head) in enumerate(heads.items()):
        axes = figure.add_axes(((0.7 + 2.65 * place) / width, 4.55 / height, 2.1 / width, 1.5 / height))
        draw_histogram(axes, values[name], name)
        axes.set_xlabel(head)
        axes.set_ylabel("" if place else "units")
    for place, (x, y) in enumerate((("snr", "rate"), ("amplitude", "isi_violations"))):
        axes = figure.add_axes(((0.7 + 5.3 * place) / width, 0.5 / height, 4.7 / width, 3.2 / height))
        axes.scatter(values[x], values[y], s=14, color=COLOURS[0], alpha=0.6, linewidths=0)
        axes.set_xlabel(heads[x])
        axes.set_ylabel(heads[y])
        axes.margins(0.08)
        if y == "rate":
            axes.set_yscale("log")
            axes.set_ylim(*widened(values[y]))
            tick_rates(axes.yaxis, values[y])
        else:
            axes.set_ylim(bottom=-0.04 * axes.get_ylim()[1], top=max(axes.get_ylim()[1], 0.1))
        if len(rows) <= MOST_LABELS:
            for name, right, up in zip(names, values[x], values[y], strict=True):
                if np.isfinite([right, up]).all():
                    axes.annotate(
                        name, (right, up), (3, 2), textcoords="offset points", size=6.5, color="#555555"
                    )
    return figure


def draw_histogram(axes: Axes, values: Array, name: str) -> None:
    """Draw a histogram with a line a unit below it, and its median."""
    known = values[np.isfinite(values)]
    if missing := len(values) - len(known):
        axes.text(
            1, 1.12, f"{missing} without a value", size=6.5, color=GREY, ha="right", transform=axes.transAxes
        )
    if not len(known):
        axes.set_xticks([])
        axes.set_yticks([])
        return
    low, high = float(known.min()), float(known.max())
    count = int(min(max(math.sqrt(len(known)) * 2, 5), 30))
    if name == "rate":
        axes.set_xscale("log")
        tick_rates(axes.xaxis, known)
        edges = np.geomspace(*widened(known), count + 1)
    else:
        if name == "isi_violations":
            low, high = 0.0, max(high, 0.1)
        pad = 0.0 if high > low else max(high, 1.0) / 2
        edges = np.linspace(low - pad, high + pad, count + 1)
    counts, _ = np.histogram(known, edges)
    axes.stairs(counts, edges, fill=True, color=PALE)
    axes.plot(known, np.full(len(known), -0.06 * counts.max()), "|", color=COLOURS[0], ms=5, mew=0.7)
    axes.set_ylim(-0.13 * counts.max(), counts.max() * 1.08)
    axes.set_yticks([0, int(counts.max())])
    middle = float(np.median(known))
    # Not down to the lines of the units, one of which it would hide.
    axes.vlines(middle, 0, counts.max() * 1.08, color=INK, lw=0.8)
    axes.text(
        middle,
        1.01,
        f"median {number(middle)}",
        size=7,
        color=INK,
        ha="center",
        va="bottom",
        transform=axes.get_xaxis_transform(),
    )


def widened(rates: Array) -> tuple[float, float]:
    """Return the ends of a logarithmic axis: a little beyond the rates, and wide enough for a tick."""
    known = rates[np.isfinite(rates)]
    low, high = float(known.min()), float(known.max())
    more = max(1.25, math.sqrt(LEAST_SPAN * low / high))
    return low / more, high * more


def tick_rates(axis: Axis, rates: Array) -> None:
    """Put the ticks of a logarithmic axis at 1, 2, 5, 10 and so on, or over many decades at 1, 10 and so on."""
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = widened(rates)
    steps = (1, 2, 5) if high < 200 * low else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # A LogLocator with less than two ticks takes those of a linear axis, whose labels overlap.
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: number(value))
