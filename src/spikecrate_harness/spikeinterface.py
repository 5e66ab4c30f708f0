"""For tools that use SpikeInterface: a recording in its terms, and its steps watched."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from spikecrate_harness.answer import NothingFoundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import numpy as np

    from spikecrate_harness.traces import TraceReader

BLOCK_SAMPLES: Final = 65536


def as_spikeinterface(recording: TraceReader) -> Any:
    """Return a recording as one of SpikeInterface (0.10x), with gains, offsets and a probe.

    Parameters
    ----------
    recording : TraceReader
        As `sort` is given it.

    Returns
    -------
    spikeinterface.core.BaseRecording
        Its channel ids are 0, 1, … in the recording's order; traces are as in the file, not in uV.
    """
    import numpy as np
    from probeinterface import Probe

    from spikecrate_harness.si_recording import LayoutRecording

    traces = LayoutRecording(recording.layout.as_dict(), list(map(str, recording.files)))
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=recording.locations, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(recording.num_channels))
    traces.set_probe(probe, group_mode="by_probe")
    return traces


def in_microvolts(recording: TraceReader, *, filtered: bool) -> Any:
    """Return a recording as one of SpikeInterface, in uV.

    Parameters
    ----------
    recording : TraceReader
        As `sort` is given it.
    filtered : bool
        Whether its traces are taken as they are. Otherwise its offset is subtracted first: a filter would remove it
        but for rounding, and without it a constant channel is silent to the last bit.

    Returns
    -------
    spikeinterface.core.BaseRecording
        Float32.
    """
    import numpy as np
    from spikeinterface import preprocessing

    traces, offsets = as_spikeinterface(recording), recording.offsets
    if not filtered:
        first = recording.traces(0, 1)[0].astype(np.float64)
        traces, offsets = (
            preprocessing.scale(traces, gain=1, offset=-first, dtype="float32"),
            np.zeros_like(offsets),
        )
    return preprocessing.scale(traces, gain=recording.gains, offset=offsets, dtype="float32")


def without_silent_channels(traces: Any, recording: TraceReader) -> Any:
    """Leave out the channels that never change: their noise level is 0, by which a detection of peaks divides.

    Parameters
    ----------
    traces : spikeinterface.core.BaseRecording
        The recording, all its channels.
    recording : TraceReader
        As `sort` is given it; read no further than to where all channels have changed.

    Raises
    ------
    NothingFoundError
        Where no channel ever changes.
    """
    import numpy as np

    live = _live_channels(recording)
    if not live.any():
        message = "no channel ever changes"
        raise NothingFoundError(message)
    if live.all():
        return traces
    silent = ", ".join(str(channel + 1) for channel in np.flatnonzero(~live))
    print(f"channels that never change are left out: {silent}", flush=True)
    return traces.select_channels(np.flatnonzero(live))


def _live_channels(recording: TraceReader) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return for every channel whether it changes."""
    import numpy as np

    first, live = recording.traces(0, 1)[0], np.zeros(recording.num_channels, dtype=bool)
    for start in range(0, recording.num_samples, BLOCK_SAMPLES):
        block = recording.traces(start, min(start + BLOCK_SAMPLES, recording.num_samples))
        live |= (block != first).any(axis=0)
        if live.all():
            break
    return live


def watch(module: ModuleType, name: str, otherwise: str, is_something: Callable[[Any], bool]) -> None:
    """Make a step of a sorter raise NothingFoundError where it finds nothing: the next step would fail.

    Parameters
    ----------
    module : module
        Where the step's caller looks it up.
    name : str
        The step, a function.
    otherwise : str
        Message of the error.
    is_something : callable
        Judges what the step returned.
    """
    step = getattr(module, name)

    @functools.wraps(step)
    def watched(*arguments: Any, **named: Any) -> Any:
        outcome = step(*arguments, **named)
        if not is_something(outcome):
            raise NothingFoundError(otherwise)
        return outcome

    setattr(module, name, watched)
