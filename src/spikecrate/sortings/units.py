"""The tables of units: `units.csv`, of a sorting and of an analysis, and an analysis' `metrics.csv`."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate.sortings.model import Sorting

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
        Primary channel, from 0; like SNR and amplitude None for a unit without a waveform.
    snr : float or None
        Amplitude of the template over the noise.
    isi_violations : float or None
        Ratio of ISI violations.
    amplitude : float or None
        Median amplitude of the events, uV.
    x, y : float or None
        Location, um; only of an analysis, like the next.
    waveforms : int or None
        Waveforms sampled for the template.
    labels : dict
        Labels of a curated sorting by their category, several joined by `;`, without those that the unit lacks.
    """

    unit: int
    events: int
    rate: float
    channel: int | None = None
    snr: float | None = None
    isi_violations: float | None = None
    amplitude: float | None = None
    x: float | None = None
    y: float | None = None
    waveforms: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


NAMES: Final = tuple(one.name for one in fields(Unit) if one.name != "labels")
"""The columns of an analysis' table."""
SORTED: Final = NAMES[: NAMES.index("x")]
"""The columns of a sorting's table; that of a curated one has a column for each category of labels after them."""
COUNTS: Final = ("unit", "events", "waveforms")
WHOLE: Final = (*COUNTS, "channel")


def read_units(path: Path, columns: tuple[str, ...] = NAMES) -> tuple[Unit, ...]:
    """Read a table of units.

    Parameters
    ----------
    path : Path
        The file.
    columns : tuple of str
        `NAMES` for the table of an analysis, `SORTED` for that of a sorting.

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
        more = head[len(columns) :] if columns == SORTED else ()
        if head != (*columns, *more) or len({*head}) < len(head):
            message = f"{path}: the columns are {', '.join(head)}, not {', '.join(columns)}"
            raise ValueError(message)
        return tuple(_unit(path, rows.line_num, (columns, more), row) for row in rows)


def count_units(sorting: Sorting) -> tuple[Unit, ...]:
    """Return what the events alone tell of the units: rate and ISI violations.

    Parameters
    ----------
    sorting : Sorting
        With the length of its recording.

    Returns
    -------
    tuple of Unit
        In order of their labels.

    Examples
    --------
    >>> from spikecrate.sortings import Sorting
    >>> sorting = Sorting.from_events([0, 9, 5000], [2, 2, 7], sampling_frequency=30000, num_samples=60000)
    >>> [(unit.unit, unit.events, unit.rate, round(unit.isi_violations)) for unit in count_units(sorting)]
    [(2, 2, 1.0, 167), (7, 1, 0.5, 0)]
    """
    import numpy as np

    from spikecrate_harness.unit_table import isi_violations

    frequency, length = sorting.sampling_frequency, sorting.num_samples
    if length is None:
        message = "the length of the recording is not known"
        raise ValueError(message)
    return tuple(
        Unit(
            unit=unit,
            events=len(train),
            rate=len(train) / (length / frequency),
            isi_violations=isi_violations(np.round(train).astype(np.int64), frequency, length),
        )
        for unit, train in sorting.trains().items()
    )


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


def _unit(path: Path, line: int, names: tuple[tuple[str, ...], tuple[str, ...]], row: list[str]) -> Unit:
    known, more = names
    try:
        cells = {
            name: None if cell == "" and name not in COUNTS else (int if name in WHOLE else float)(cell)
            for name, cell in zip(known, row[: len(known)], strict=True)
        }
        labels = {name: label for name, label in zip(more, row[len(known) :], strict=True) if label}
        if cells["rate"] is None or min(cells.get(name) or 0 for name in WHOLE) < 0:
            message = "a rate is missing, or a number is negative"
            raise ValueError(message)  # noqa: TRY301 (one place for both)
        if not all(cell is None or math.isfinite(cell) for cell in cells.values()):
            message = "a value is not finite"
            raise ValueError(message)  # noqa: TRY301
        return Unit(**cells, labels=labels)  # type: ignore[arg-type]
    except ValueError as error:
        message = f"{path}: line {line}: {error}"
        raise ValueError(message) from None
