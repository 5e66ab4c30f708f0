"""A recording as SpikeInterface sees it: the very file, read in place.

For sorters that take one. It is the user's file and not a view of it, so that worker processes open it by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikecrate_harness.recording import Recording


def as_spikeinterface(recording: Recording) -> Any:
    """Give a recording as one of SpikeInterface (0.10x), with gains, offsets and a probe.

    Parameters
    ----------
    recording : Recording
        As `sort` is given it.

    Returns
    -------
    spikeinterface.core.BaseRecording
        Its channel ids are 0, 1, … in the recording's order; traces are as in the file, not in uV.
    """
    import numpy as np
    from probeinterface import Probe
    from spikeinterface.core import BinaryRecordingExtractor

    layout = recording.layout
    columns = list(layout.channels)
    gains, offsets = np.ones(layout.file_channels), np.zeros(layout.file_channels)
    gains[columns], offsets[columns] = recording.gains, recording.offsets
    file = BinaryRecordingExtractor(
        file_paths=[recording.path],
        sampling_frequency=layout.sampling_frequency,
        dtype=layout.dtype,
        num_channels=layout.file_channels,
        time_axis=layout.time_axis,
        file_offset=layout.offset,
        gain_to_uV=gains,
        offset_to_uV=offsets,
        is_filtered=False,
    )
    # A file may go on behind the recording's last sample.
    chosen = file.frame_slice(0, layout.num_samples).select_channels(columns)
    chosen = chosen.rename_channels(list(range(len(columns))))
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=recording.locations, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(len(columns)))
    chosen.set_probe(probe, group_mode="by_probe")
    return chosen
