"""A sorting: when which unit fired. In a file it is `firings.mda`, three rows and one column per event.

Row 1 is the primary channel (1-based, or 0 where the sorter does not say), row 2 the time in samples (fractions
are allowed), row 3 the unit's label, an integer from 1. Source: MountainLab's and SpikeForest's use of the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikecrate.errors import ResultInvalidError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Sorting:
    """Spike times and unit labels, ordered by time, then label.

    Attributes
    ----------
    times : numpy.ndarray
        Float64, one per event: samples from the recording's first.
    labels : numpy.ndarray
        Int64, one per event: the unit, from 1.
    channels : numpy.ndarray
        Int64, one per event: the primary channel, from 1; 0 where it is not known.
    sampling_frequency : float
        Hz.
    """

    times: NDArray[np.float64]
    labels: NDArray[np.int64]
    channels: NDArray[np.int64]
    sampling_frequency: float

    @classmethod
    def from_events(
        cls,
        times: ArrayLike,
        labels: ArrayLike,
        *,
        sampling_frequency: float,
        channels: ArrayLike | None = None,
        num_samples: int | None = None,
        source: str = "the sorting",
    ) -> Sorting:
        """Check events and bring them into order.

        Parameters
        ----------
        times, labels, channels : array_like
            One entry per event, in any order; no channels means 0 for every event.
        sampling_frequency : float
            Hz.
        num_samples : int, optional
            Length of the recording; a time at or past it is refused.
        source : str
            Where the events come from, for the error's text.

        Raises
        ------
        ResultInvalidError
            Naming the source and the first event that is wrong, counted from 0.
        """
        import numpy as np

        times = np.array(times, dtype=np.float64, ndmin=1)
        labels = np.array(labels, dtype=np.float64, ndmin=1)
        channels = np.zeros(len(times)) if channels is None else np.array(channels, dtype=np.float64, ndmin=1)
        if not times.shape == labels.shape == channels.shape == (times.size,):
            message = f"{source}: {times.shape} times, {labels.shape} labels and {channels.shape} channels"
            raise ResultInvalidError(message, next_step="give one time, one label and one channel per event")
        end = np.inf if num_samples is None else num_samples
        _refuse_first(
            source,
            ("time", times, "a finite number of samples from 0", np.isfinite(times) & (times >= 0)),
            ("time", times, f"before the recording's end at {end} samples", times < end),
            ("label", labels, "an integer from 1", _whole(labels) & (labels >= 1)),
            ("channel", channels, "an integer from 0", _whole(channels) & (channels >= 0)),
        )
        order = np.lexsort((labels, times))
        return cls(
            times=times[order],
            labels=labels[order].astype(np.int64),
            channels=channels[order].astype(np.int64),
            sampling_frequency=float(sampling_frequency),
        )

    def __len__(self) -> int:
        """Count the events."""
        return len(self.times)

    @property
    def unit_ids(self) -> NDArray[np.int64]:
        """The labels that occur, ascending, int64."""
        import numpy as np

        return np.unique(self.labels)

    def trains(self) -> dict[int, NDArray[np.float64]]:
        """Give each unit's times in samples, ascending, by label."""
        import numpy as np

        order = np.argsort(self.labels, kind="stable")
        units, starts = np.unique(self.labels[order], return_index=True)
        trains = np.split(self.times[order], starts[1:])
        return {int(unit): train for unit, train in zip(units, trains, strict=bool(len(units)))}


def read_firings(path: str | Path, sampling_frequency: float, *, num_samples: int | None = None) -> Sorting:
    """Read and check a `firings.mda`.

    Parameters
    ----------
    path : str or Path
        The file, 3 x L of any real MDA type; L may be 0.
    sampling_frequency : float
        Hz; the file does not hold it.
    num_samples : int, optional
        Length of the recording; a time at or past it is refused.

    Returns
    -------
    Sorting

    Raises
    ------
    ResultInvalidError
        If it is not a readable MDA file of that shape, or an event is wrong: it names the file and the event.
    """
    from spikecrate_harness import mda

    path = Path(path)
    step = "sort again with --force, or run the sorter's own tests: this file does not keep the contract"
    try:
        table = mda.read(path)
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise ResultInvalidError(message, next_step=step) from None
    except mda.MdaError as error:
        raise ResultInvalidError(str(error), next_step=step) from None
    if table.ndim != 2 or table.shape[0] != 3 or table.dtype.kind == "c":
        shape = " x ".join(str(size) for size in table.shape)
        message = f"{path}: the table is {shape} {table.dtype}, not 3 x L real numbers (channel, time, label)"
        raise ResultInvalidError(message, next_step=step)
    return Sorting.from_events(
        table[1],
        table[2],
        channels=table[0],
        sampling_frequency=sampling_frequency,
        num_samples=num_samples,
        source=str(path),
    )


def write_firings(path: str | Path, sorting: Sorting) -> None:
    """Write a sorting as `firings.mda`, 3 x L float64: flushed beside, then renamed into place.

    Raises
    ------
    DiskFullError
        If no space is left; what was at `path` is untouched.
    """
    import secrets

    import numpy as np

    from spikecrate._util.files import disk_full_named
    from spikecrate_harness import mda

    path = Path(path)
    table = np.stack([sorting.channels.astype(np.float64), sorting.times, sorting.labels.astype(np.float64)])
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with disk_full_named(path):
            mda.write(beside, table)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _whole(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which values are integers that neither float64 nor int64 has to round."""
    import numpy as np

    whole: NDArray[np.bool_] = np.isfinite(values) & (np.abs(values) < 2.0**53) & (values == np.floor(values))
    return whole


def _refuse_first(source: str, *rules: tuple[str, NDArray[np.float64], str, NDArray[np.bool_]]) -> None:
    """Raise for the first event that breaks a rule: field, its values, the rule in words, who keeps it."""
    broken = [
        (int((~good).argmax()), name, values, words) for name, values, words, good in rules if not good.all()
    ]
    if not broken:
        return
    event, name, values, words = min(broken, key=lambda rule: rule[0])
    value = float(values[event])
    message = f"{source}: event {event} has the {name} {value:.15g}, which is not {words}"
    raise ResultInvalidError(
        message,
        next_step="the sorter's output cannot be trusted; report it to whoever maintains the sorter",
        details={"source": source, "event": event, "field": name, "value": repr(value)},
    )
