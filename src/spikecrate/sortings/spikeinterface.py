"""A sorting in SpikeInterface's terms, for users who have SpikeInterface in their own environment."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate.sortings.join import GroupUnit
    from spikecrate.sortings.model import Sorting
    from spikecrate.sortings.units import Unit


def as_spikeinterface(sorting: Sorting, units: Sequence[Unit | GroupUnit]) -> Any:
    """Return a sorting as one of SpikeInterface (from 0.101).

    Parameters
    ----------
    sorting : Sorting
        Its times are rounded to samples.
    units : sequence of Unit or GroupUnit
        Every unit of the sorting, in order of their labels. Each column becomes a property; a missing number is NaN, a
        missing channel -1, a missing label an empty text. A column without any value is left out.

    Returns
    -------
    spikeinterface.core.NumpySorting
        Unit ids are the labels.

    Raises
    ------
    UsageError
        SpikeInterface is not installed; the message names the package.
    """
    import numpy as np

    try:
        from spikeinterface import NumpySorting
    except ImportError as error:
        message = f"SpikeInterface cannot be imported: {error}"
        raise UsageError(
            message, next_step="install it beside spikecrate: pip install spikeinterface"
        ) from None
    made = NumpySorting.from_samples_and_labels(
        [np.round(sorting.times).astype(np.int64)],
        [sorting.labels],
        sorting.sampling_frequency,
        unit_ids=sorting.unit_ids,
    )
    labels = [getattr(unit, "labels", {}) for unit in units]
    for name in dict.fromkeys(name for each in labels for name in each):
        made.set_property(name, np.array([each.get(name, "") for each in labels]))
    for name in [field.name for field in fields(units[0])] if units else []:
        values = [getattr(unit, name) for unit in units]
        if name in ("unit", "labels") or all(value is None for value in values):
            continue
        missing = -1 if name == "channel" else np.nan
        made.set_property(name, np.array([missing if value is None else value for value in values]))
    return made
