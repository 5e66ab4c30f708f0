"""The tables that an analysis writes: `units.csv` and `metrics.csv`."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

UNITS: Final = "units.csv"
METRICS: Final = "metrics.csv"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit of a sorting, with what is asked for first; docs/analyze.md has the formulas.

    Attributes
    ----------
    unit : int
        Label.
    events : int
        Number of events.
    rate : float
        Events per second, Hz.
    channel : int or None
        Primary channel, from 0; like all below but `isi_violations` None for a unit without a waveform.
    snr : float or None
        Amplitude of the template over the noise.
    isi_violations : float or None
        Ratio of ISI violations.
    amplitude : float or None
        Median amplitude of the events, uV.
    x, y : float or None
        Location, um.
    waveforms : int
        Waveforms sampled for the template.
    """

    unit: int
    events: int
    rate: float
    channel: int | None
    snr: float | None
    isi_violations: float | None
    amplitude: float | None
    x: float | None
    y: float | None
    waveforms: int


NAMES: Final = tuple(field.name for field in fields(Unit))
COUNTS: Final = ("unit", "events", "waveforms")
WHOLE: Final = (*COUNTS, "channel")


def read_units(path: Path) -> tuple[Unit, ...]:
    """Read a table of units.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    tuple of Unit
        In order of their labels.

    Raises
    ------
    ValueError
        The file is no such table; the message names the line.
    OSError
        It cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        head = tuple(next(rows, ()))
        if head != NAMES:
            message = f"{path}: the columns are {', '.join(head)}, not {', '.join(NAMES)}"
            raise ValueError(message)
        return tuple(_unit(path, rows.line_num, row) for row in rows)


def read_metrics(path: Path) -> dict[str, list[float | None]]:
    """Read a table of metrics.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        Each column by its name, in order of the units; None where a metric does not exist for a unit.

    Raises
    ------
    ValueError
        The file is no such table.
    OSError
        It cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    try:
        return {
            name: [float(row[place]) if row[place] else None for row in rows]
            for place, name in enumerate(head)
        }
    except (IndexError, ValueError) as error:
        message = f"{path}: {error}"
        raise ValueError(message) from None


def _unit(path: Path, line: int, row: list[str]) -> Unit:
    try:
        cells = {
            name: None if cell == "" and name not in COUNTS else (int if name in WHOLE else float)(cell)
            for name, cell in zip(NAMES, row, strict=True)
        }
        if cells["rate"] is None or min(cells[name] or 0 for name in WHOLE) < 0:
            message = "a rate is missing, or a number is negative"
            raise ValueError(message)  # noqa: TRY301 (one place for both)
        if not all(cell is None or math.isfinite(cell) for cell in cells.values()):
            message = "a value is not finite"
            raise ValueError(message)  # noqa: TRY301
        return Unit(**cells)  # type: ignore[arg-type]
    except ValueError as error:
        message = f"{path}: line {line}: {error}"
        raise ValueError(message) from None
