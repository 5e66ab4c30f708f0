"""Print the units of a sorting."""

from typing import TYPE_CHECKING, Any, Final

from spikecrate.cli.text import say, table
from spikecrate.steps.paths import UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate.api.analyze import Analysis
    from spikecrate.api.result import GroupedResult, Result

HEAD: Final = ("unit", "events", "rate (Hz)", "channel", "SNR", "ISI viol.", "ampl. (uV)")
MOST: Final = 30
"""Rows of the table after `sort`; the file has all."""


def unit_cells(done: "Result | GroupedResult | Analysis", unit: Any) -> tuple[Any, ...]:
    """Return the cells of a unit below `HEAD`.

    Parameters
    ----------
    done : Result, GroupedResult or Analysis
        The result.
    unit : Unit or GroupUnit
        One of its units.

    Returns
    -------
    tuple
    """
    counts = unit.unit, unit.events, unit.rate
    return (*counts, done.channel_id(unit), unit.snr, unit.isi_violations, unit.amplitude)


def show_units(done: "Result | GroupedResult") -> None:
    """Print a row for each unit, up to `MOST`, and where the others are.

    Parameters
    ----------
    done : Result or GroupedResult
        The result.
    """
    units: Sequence[Any] = done.units
    labels = [getattr(unit, "labels", {}) for unit in units]
    names = [*dict.fromkeys(name for each in labels for name in each)]
    if units:
        rows = [
            (*unit_cells(done, unit), *(each.get(name) for name in names))
            for unit, each in zip(units[:MOST], labels, strict=False)
        ]
        table((*HEAD, *names), rows)
    if len(units) > MOST:
        folders = [done.output, getattr(done, "folder", None)]
        files = [folder / UNITS for folder in folders if folder is not None and (folder / UNITS).is_file()]
        where = f" in {files[0]}" if files else "; --json prints all"
        say(f"and {len(units) - MOST} more units{where}")
