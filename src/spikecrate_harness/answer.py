"""Check a sorter's answer and sort its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class SortingError(ValueError):
    """The sorter's answer is not a sorting of the recording."""


class NothingFoundError(Exception):
    """There are no events, or none that make a unit: an empty sorting, with the message as a warning."""


def as_firings(answer: Any, num_samples: int, num_channels: int) -> np.ndarray:
    """Check a sorter's answer and return it as firings.

    Parameters
    ----------
    answer : tuple of array_like
        Times in samples, labels from 1, and optionally primary channels from 1 (0: not known).
    num_samples, num_channels : int
        Of the recording.

    Returns
    -------
    numpy.ndarray
        3 x L float64: channel, time, label, in order of time and, where that is equal, of label.

    Raises
    ------
    SortingError
        The answer is no sorting; the message names the value and the row.
    """
    import numpy as np

    if not isinstance(answer, tuple) or len(answer) not in {2, 3}:
        message = (
            f"the sorter answered {type(answer).__name__}, not (times, labels) or (times, labels, channels)"
        )
        raise SortingError(message)
    rows = []
    for name, values in zip(("times", "labels", "channels"), answer, strict=False):
        try:
            row = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            message = f"{name}: {error}"
            raise SortingError(message) from None
        if row.ndim != 1:
            message = f"{name}: {row.ndim} dimensions, not 1"
            raise SortingError(message)
        rows.append(row)
    times, labels = rows[:2]
    channels = rows[2] if len(rows) == 3 else np.zeros(len(times))
    if not len(times) == len(labels) == len(channels):
        message = f"{len(times)} times, {len(labels)} labels, {len(channels)} channels"
        raise SortingError(message)
    _hold("times", times, (times >= 0) & (times < num_samples), f"from 0 to below {num_samples}")
    _hold("labels", labels, (labels >= 1) & (labels == np.round(labels)), "whole and at least 1")
    known = (channels >= 0) & (channels <= num_channels) & (channels == np.round(channels))
    _hold("channels", channels, known, f"whole, from 0 to {num_channels}")
    order = np.lexsort((channels, labels, times))
    return np.stack([channels, times, labels])[:, order]


def _hold(name: str, row: np.ndarray, good: np.ndarray, rule: str) -> None:
    """Raise a SortingError that names the first value that breaks the rule."""
    import numpy as np

    bad = np.flatnonzero(~(good & np.isfinite(row)))
    if len(bad):
        message = f"{name}: {row[bad[0]]:g} (event {bad[0]}, and {len(bad) - 1} more) is not {rule}"
        raise SortingError(message)
