"""The ground truth of a planned recording: its spikes, and the SNR of its units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spikecrate._util.canonical import digest
from spikecrate.errors import ResultInvalidError
from spikecrate.sortings import Sorting, read_firings, unit_quality
from spikecrate.store.result_manifest import hash_file
from spikecrate.studies.outcome import DIGITS, TrueUnit

if TYPE_CHECKING:
    from spikecrate.recordings import Recording
    from spikecrate.studies.plan import PlannedRecording


def truth_hash(planned: PlannedRecording) -> str:
    """Return a hash of all that the true units depend on.

    Parameters
    ----------
    planned : PlannedRecording
        A recording that has a truth and could be opened.

    Returns
    -------
    str
        64 hex digits.

    Raises
    ------
    OSError
        The file of the truth cannot be read.
    """
    return digest([hash_file(Path(planned.truth)), planned.content, planned.places])


def read_truth(planned: PlannedRecording) -> Sorting:
    """Read the true spikes of a recording; of a group those of the units whose channel is in it.

    Parameters
    ----------
    planned : PlannedRecording
        A recording that has a truth and could be opened.

    Returns
    -------
    Sorting

    Raises
    ------
    ResultInvalidError
        The file is no sorting of the recording, or does not say on which channels the units of a group are.
    """
    import numpy as np

    rate = planned.sampling_frequency or 0.0
    found = read_firings(planned.truth, rate, num_samples=round((planned.duration_s or 0) * rate))
    if not planned.places:
        return found
    if (found.channels < 0).any():
        message = f"{planned.truth} does not say the channel of each spike, so that groups have no truth"
        raise ResultInvalidError(
            message, next_step="write the channel, from 1, in the first row; or sort the whole recording"
        )
    inside = np.isin(found.channels, planned.places)
    # A unit belongs to the group where most of its spikes are.
    units = [unit for unit in found.unit_ids.tolist() if inside[found.labels == unit].mean() > 0.5]
    kept = np.isin(found.labels, units)
    # A channel of another group is none of the group's columns.
    columns = np.full(max(int(found.channels.max(initial=0)), *planned.places) + 1, -1)
    columns[planned.places] = np.arange(len(planned.places))
    return replace(
        found, times=found.times[kept], labels=found.labels[kept], channels=columns[found.channels[kept]]
    )


def measure_truth(truth: Sorting, recording: Recording | None, duration_s: float) -> list[TrueUnit]:
    """Measure the true units.

    Parameters
    ----------
    truth : Sorting
        The true spikes.
    recording : Recording or None
        The recording; without it units have neither channel nor SNR.
    duration_s : float
        Its duration, s.

    Returns
    -------
    list of TrueUnit
        By ascending label.
    """
    from spikecrate_harness.traces import open_traces

    if recording is None:
        return [
            TrueUnit(unit=unit, events=len(train), rate_hz=round(len(train) / duration_s, DIGITS))
            for unit, train in truth.trains().items()
        ]
    return [
        TrueUnit(
            unit=one.unit,
            events=one.events,
            rate_hz=round(one.rate_hz, DIGITS),
            channel=one.channel,
            snr=None if one.snr is None else round(one.snr, DIGITS),
        )
        for one in unit_quality(open_traces(recording.layout, recording.files), truth)
    ]
