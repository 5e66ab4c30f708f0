"""What all pictures have in common: colours, sizes, titles, numbers, tables."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from matplotlib.figure import Figure

    Array = np.ndarray[Any, np.dtype[Any]]
    Row = Mapping[str, float | None]

INK: Final = "#222222"
GREY: Final = "#888888"
PALE: Final = "#c8c8c8"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by the colour-blind: Okabe & Ito 2008, without yellow and black."""
MOST_LABELS: Final = 40
"""More labels than these would cover the picture."""


def read_table(path: Path) -> list[dict[str, float | None]]:
    """Return the rows of a table of numbers; an empty cell is None."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: float(cell) if cell else None for name, cell in row.items()}
            for row in csv.DictReader(file)
        ]


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """Return an empty figure, in inches, with its title at the top left and a note beside it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.text(0.15 / width, 1 - 0.12 / height, title, va="top", size=10, weight="bold", color=INK)
    figure.text(0.15 / width, 1 - 0.34 / height, note, va="top", color=GREY)
    return figure


def number(value: float, digits: int = 3) -> str:
    """Return a number as a reader likes it: 12,345, 13.9, 0.042, with a true minus sign."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def nice(value: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, … that is not above a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))


def of_all(some: int, every: int, noun: str) -> str:
    """Return `4 channels`, or `32 of 64 channels` where some are left out."""
    counted = f"{every:,} {noun}{'s' * (every != 1)}"
    return counted if some == every else f"{some:,} of {counted}"
