"""A comparison of sortings: the agreement of their units, and with truth the accuracy against the SNR."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from drawing import COLOURS, GREY, INK, MOST_LABELS, new_figure, of_all, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    Pair = tuple[str, str]

TRUTH: Final = "truth"
MOST_PAIRS: Final = 6
MOST_VALUES: Final = 12


def draw_comparison(inputs: Mapping[str, Any], _parameters: Mapping[str, Any]) -> Figure:
    """Draw the agreement of each pair of sortings; with truth, of it and each sorting, and the accuracy of each unit."""
    folder: Path = inputs["comparison"]
    truth, found = read_rows(folder / "truth.csv"), read_rows(folder / "units.csv")
    agreement = read_rows(folder / "agreement.csv")
    names = list(dict.fromkeys(row["sorting"] for row in found + truth))
    units = {name: labels(row["unit"] for row in found if row["sorting"] == name) for name in names}
    units[TRUTH] = labels(row["unit"] for row in truth)
    pairs = (
        [(TRUTH, name) for name in names]
        if truth
        else [(first, second) for place, first in enumerate(names) for second in names[place + 1 :]]
    )
    shown = pairs[:MOST_PAIRS]
    panels = len(shown) + bool(truth)
    across = min(math.ceil(math.sqrt(panels)), 3)
    down = -(-panels // across) if panels else 0
    side, head = 4.0, 0.95
    width, height = max(side * across, 6.0), side * down + head
    counted = of_all(len(shown), len(pairs), "sorting" if truth else "pair")
    note = (
        f"{f'the truth and {counted}' if truth else f'{counted} of sortings'}; white is 0, the darkest blue 1\n"
        "agreement = matched / (all events of both − matched); assigned units first"
    )
    figure = new_figure(
        width,
        height,
        "Comparison" if panels else "Comparison: no units",
        note if panels else "the sortings are empty",
    )

    def axes(place: int) -> Axes:
        left, top = side * (place % across), height - head - side * (place // across)
        return figure.add_axes(
            ((left + 0.75) / width, (top - side + 0.75) / height, (side - 1.0) / width, (side - 1.1) / height)
        )

    for place, (first, second) in enumerate(shown):
        rows = [row for row in agreement if (row["first"], row["second"]) == (first, second)]
        draw_agreement(axes(place), rows, (first, second), (units[first], units[second]))
    if truth:
        snr = {}
        if "analysis" in inputs:
            snr = {row["unit"]: row["snr"] for row in read_table(inputs["analysis"] / "units.csv")}
        draw_accuracy(axes(len(shown)), truth, names, snr)
    return figure


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def labels(cells: Any) -> list[int]:
    """Return labels of units, each once, in order."""
    return sorted({int(cell) for cell in cells})


def blues() -> Colormap:
    """Return colours from white, which is 0, to the darkest blue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("agreement", ("#ffffff", "#6baed6", "#08306b"))


def draw_agreement(
    axes: Axes, rows: Sequence[Mapping[str, str]], names: Pair, units: tuple[list[int], list[int]]
) -> None:
    """Draw the matrix of agreements of two sortings, so that assigned units are on the diagonal."""
    assigned = {int(row["first_unit"]): int(row["second_unit"]) for row in rows if row["assigned"] == "true"}
    first = [unit for unit in units[0] if unit in assigned] + [
        unit for unit in units[0] if unit not in assigned
    ]
    second = [assigned[unit] for unit in first if unit in assigned]
    second += [unit for unit in units[1] if unit not in second]
    axes.set_title(f"{names[0]} and {names[1]}", color=INK)
    axes.set_ylabel(f"{of_all(len(first), len(first), 'unit')} of {names[0]}")
    axes.set_xlabel(f"{of_all(len(second), len(second), 'unit')} of {names[1]}")
    for axis, shown in ((axes.yaxis, first), (axes.xaxis, second)):
        few = len(shown) <= MOST_LABELS
        axis.set_ticks(range(len(shown)) if few else [], [str(unit) for unit in shown] if few else [])
    axes.tick_params(length=0, labelsize=7 if max(map(len, units)) <= 20 else 5)
    if not (first and second):
        axes.text(0.5, 0.5, "no units", color=GREY, ha="center", transform=axes.transAxes)
        return
    row_of, column_of = ({unit: place for place, unit in enumerate(shown)} for shown in (first, second))
    matrix = np.zeros((len(first), len(second)))
    for row in rows:
        matrix[row_of[int(row["first_unit"])], column_of[int(row["second_unit"])]] = float(row["agreement"])
    axes.imshow(matrix, cmap=blues(), vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    if max(matrix.shape) <= MOST_VALUES:
        for (row, column), value in np.ndenumerate(matrix):
            if value >= 0.005:
                axes.text(
                    column,
                    row,
                    f"{value:.2f}",
                    size=6.5,
                    ha="center",
                    va="center",
                    color="white" if value > 0.6 else INK,
                )


def draw_accuracy(
    axes: Axes,
    truth: Sequence[Mapping[str, str]],
    names: Sequence[str],
    snr: Mapping[float | None, float | None],
) -> None:
    """Draw the accuracy of each true unit, against its SNR where that is known, else the best first."""
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("accuracy")
    axes.set_xlabel("SNR of the true unit" if snr else "true units, the best first")
    axes.set_title("Accuracy", color=INK)
    for place, name in enumerate(names):
        rows = [row for row in truth if row["sorting"] == name]
        accuracy = np.array([float(row["accuracy"]) for row in rows])
        colour = COLOURS[place % len(COLOURS)]
        if snr:
            right = np.array([snr.get(int(row["unit"])) for row in rows], dtype=float)
            axes.scatter(right, accuracy, s=16, color=colour, alpha=0.7, linewidths=0, label=name)
            if len(names) == 1 and len(rows) <= MOST_LABELS:
                for row, x, y in zip(rows, right, accuracy, strict=True):
                    axes.annotate(
                        row["unit"], (x, y), (3, 2), textcoords="offset points", size=6.5, color="#555555"
                    )
        else:
            axes.plot(
                np.arange(1, len(rows) + 1),
                np.sort(accuracy)[::-1],
                "o-",
                color=colour,
                ms=3,
                lw=1,
                label=name,
            )
    if len(names) > 1:
        axes.legend(
            loc="lower right" if snr else "lower left", frameon=False, labelcolor="linecolor", handlelength=1
        )
