"""The model of a sorting, and its file `firings.mda`: three rows and one column per event.

Row 1 holds the primary channel, row 2 the time in samples (fractions are allowed), row 3 the unit's label, an integer
from 1. Source: MountainLab's and SpikeForest's use of the file.

The file counts channels from 1 and writes 0 where the sorter reports none; Python counts them from 0, like the columns
of the recording's traces, and has -1 there. `read_firings` and `firings_table` are the only places that convert.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.errors import ResultInvalidError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

UNKNOWN_CHANNEL: Final = -1
"""The primary channel of an event whose sorter reports none."""
FIRST_CHANNEL_IN_FILE: Final = 1
"""How `firings.mda` counts the channel that Python counts as 0."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sorting:
    """Spike times and unit labels, ordered by time, then label.

    Attributes
    ----------
    times : numpy.ndarray
        Float64, one per event: samples since the start of the recording.
    labels : numpy.ndarray
        Int64, one per event: the unit, from 1.
    channels : numpy.ndarray
        Int64, one per event: the primary channel, from 0, as a column of the recording's traces; -1 where it is
        unknown.
    sampling_frequency : float
        Hz.
    num_samples : int or None
        Length of the recording; None where it is unknown.

    Examples
    --------
    >>> sorting = Sorting.from_events(
    ...     [300, 150, 450], [2, 1, 1], sampling_frequency=30000, channels=[3, 0, 0], num_samples=30000
    ... )
    >>> sorting
    Sorting(2 units, 3 events, 1 s at 30000 Hz)
    >>> sorting.times.tolist(), sorting.labels.tolist(), sorting.channels.tolist()
    ([150.0, 300.0, 450.0], [1, 2, 1], [0, 3, 0])
    """

    times: NDArray[np.float64]
    labels: NDArray[np.int64]
    channels: NDArray[np.int64]
    sampling_frequency: float
    num_samples: int | None = None

    @classmethod
    def from_events(
        cls,
        times: ArrayLike,
        labels: ArrayLike,
        *,
        sampling_frequency: float,
        channels: ArrayLike | None = None,
        num_samples: int | None = None,
        first_channel: int = 0,
        source: str = "the sorting",
    ) -> Sorting:
        """Check events and sort them.

        Parameters
        ----------
        times, labels : array_like
            One entry per event, in any order.
        sampling_frequency : float
            Hz.
        channels : array_like, optional
            The primary channel of each event, from `first_channel`; one less, the default, where it is unknown.
        num_samples : int, optional
            Length of the recording; a time at or past it is refused.
        first_channel : int
            The number that `channels` has for the first channel: 0, or 1 as in `firings.mda`.
        source : str
            Origin of the events, for the error message.

        Returns
        -------
        Sorting
            The events by time, then label.

        Raises
        ------
        ResultInvalidError
            If an event is wrong; the message names the source and the first such event, counted from 0.
        """
        import numpy as np

        unknown = first_channel + UNKNOWN_CHANNEL
        times = np.array(times, dtype=np.float64, ndmin=1)
        labels = np.array(labels, dtype=np.float64, ndmin=1)
        if channels is None:
            channels = np.full(len(times), unknown)
        channels = np.array(channels, dtype=np.float64, ndmin=1)
        if not times.shape == labels.shape == channels.shape == (times.size,):
            message = f"{source}: {times.shape} times, {labels.shape} labels and {channels.shape} channels"
            raise ResultInvalidError(message, next_step="pass one time, one label and one channel per event")
        end = np.inf if num_samples is None else num_samples
        _refuse_first(
            source,
            ("time", times, "a finite number of samples from 0", np.isfinite(times) & (times >= 0)),
            ("time", times, f"before the recording's end at {end} samples", times < end),
            ("label", labels, "an integer from 1", _whole(labels) & (labels >= 1)),
            ("channel", channels, f"an integer from {unknown}", _whole(channels) & (channels >= unknown)),
        )
        order = np.lexsort((labels, times))
        return cls(
            times=times[order],
            labels=labels[order].astype(np.int64),
            channels=channels[order].astype(np.int64) - first_channel,
            sampling_frequency=float(sampling_frequency),
            num_samples=None if num_samples is None else int(num_samples),
        )

    def __repr__(self) -> str:
        """Return units, events and duration on one line, whatever the number of events."""
        units, events = len(self.unit_ids), len(self)
        if self.num_samples is not None:
            duration = f"{self.num_samples / self.sampling_frequency:.6g} s"
        else:
            last = self.times[-1] if events else 0
            duration = f"last event at {last / self.sampling_frequency:.6g} s"
        return (
            f"Sorting({units} unit{'' if units == 1 else 's'}, {events} event{'' if events == 1 else 's'}, "
            f"{duration} at {self.sampling_frequency:g} Hz)"
        )

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.times)

    @property
    def unit_ids(self) -> NDArray[np.int64]:
        """Labels of the units, ascending, int64."""
        import numpy as np

        return np.unique(self.labels)

    def trains(self) -> dict[int, NDArray[np.float64]]:
        """Return the spike train of every unit.

        Returns
        -------
        dict
            Label to times in samples, float64, ascending.

        Examples
        --------
        >>> sorting = Sorting.from_events([30, 10, 20], [7, 2, 7], sampling_frequency=30000)
        >>> {unit: train.tolist() for unit, train in sorting.trains().items()}
        {2: [10.0], 7: [20.0, 30.0]}
        """
        import numpy as np

        order = np.argsort(self.labels, kind="stable")
        units, starts = np.unique(self.labels[order], return_index=True)
        trains = np.split(self.times[order], starts[1:])
        return {int(unit): train for unit, train in zip(units, trains, strict=bool(len(units)))}


def read_firings(
    path: str | Path,
    sampling_frequency: float,
    *,
    num_samples: int | None = None,
    num_channels: int | None = None,
) -> Sorting:
    """Read and check a `firings.mda`.

    Parameters
    ----------
    path : str or Path
        The file, 3 x L of any real MDA type; L may be 0. Further rows, which MountainLab's files may have, are passed
        over.
    sampling_frequency : float
        Hz; the file does not hold it.
    num_samples : int, optional
        Length of the recording; a time at or past it is refused.
    num_channels : int, optional
        Channels of the recording; a channel past the last one is refused.

    Returns
    -------
    Sorting
        Its channels are counted from 0, though the file counts them from 1.

    Raises
    ------
    ResultInvalidError
        If the file is not a readable MDA file of that shape, or an event is wrong; the message names the file and
        the event.
    """
    from spikecrate_harness import mda

    path = Path(path)
    step = "sort again with --force; if it comes back, report it to the maintainer of the sorter"
    try:
        table = mda.read(path)
    except (OSError, mda.MdaError) as error:
        message = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise ResultInvalidError(message, next_step=step) from None
    # A table of three columns is more likely one that was written the other way around than three events of many rows.
    turned = table.ndim == 2 and table.shape[0] > 3 and table.shape[1] == 3
    if table.ndim != 2 or table.shape[0] < 3 or turned or table.dtype.kind == "c":
        shape = " x ".join(str(size) for size in table.shape)
        message = f"{path}: the table is {shape} {table.dtype}, not 3 x L real numbers (channel, time, label)"
        raise ResultInvalidError(message, next_step=step)
    sorting = Sorting.from_events(
        table[1],
        table[2],
        channels=table[0],
        first_channel=FIRST_CHANNEL_IN_FILE,
        sampling_frequency=sampling_frequency,
        num_samples=num_samples,
        source=str(path),
    )
    last = int(sorting.channels.max(initial=UNKNOWN_CHANNEL))
    if num_channels is not None and last >= num_channels:
        message = f"{path}: an event is on channel {last + FIRST_CHANNEL_IN_FILE} of {num_channels}"
        raise ResultInvalidError(message, next_step="read docs/contract.md for what a sorter must write")
    return sorting


def write_firings(path: str | Path, sorting: Sorting) -> None:
    """Write a sorting as `firings.mda`, 3 x L float64.

    The table is written and flushed under a temporary name, then renamed: `path` is complete at every moment.

    Parameters
    ----------
    path : str or Path
        The file; an existing one is replaced.
    sorting : Sorting
        Its channels are counted from 0; the file counts them from 1.

    Raises
    ------
    DiskFullError
        If no space is left; an existing file at `path` is untouched.
    """
    import secrets

    from spikecrate._util.files import disk_full_named
    from spikecrate_harness import mda

    path = Path(path)
    table = firings_table(sorting)
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with disk_full_named(path):
            mda.write(staging, table)
            with staging.open("rb") as file:
                os.fsync(file.fileno())
            staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def firings_table(sorting: Sorting) -> NDArray[np.float64]:
    """Return the table that `firings.mda` holds.

    Parameters
    ----------
    sorting : Sorting
        Its channels are counted from 0; the table counts them from 1.

    Returns
    -------
    numpy.ndarray
        Float64, 3 x events: channel, time, label.
    """
    import numpy as np

    channels = sorting.channels + FIRST_CHANNEL_IN_FILE
    return np.stack([channels.astype(np.float64), sorting.times, sorting.labels.astype(np.float64)])


def _whole(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are integers that both float64 and int64 hold exactly."""
    import numpy as np

    whole: NDArray[np.bool_] = np.isfinite(values) & (np.abs(values) < 2.0**53) & (values == np.floor(values))
    return whole


def _refuse_first(source: str, *rules: tuple[str, NDArray[np.float64], str, NDArray[np.bool_]]) -> None:
    """Raise for the first event that breaks a rule: field, its values, the rule as text, which events keep it."""
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
        next_step="report it to the maintainer of the sorter; its output is not valid",
        details={"source": source, "event": event, "field": name, "value": repr(value)},
    )
