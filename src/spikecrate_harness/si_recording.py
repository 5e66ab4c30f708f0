"""A recording in SpikeInterface's terms. Imports SpikeInterface, which only some images have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeinterface.core import BaseRecording, BaseRecordingSegment

from spikecrate_harness.layout import Layout
from spikecrate_harness.traces import open_traces

if TYPE_CHECKING:
    import numpy as np

    from spikecrate_harness.traces import TraceReader


class LayoutRecording(BaseRecording):  # type: ignore[misc]
    """The traces of a layout, read by `TraceReader`.

    SpikeInterface's own reader of flat files, `BinaryRecordingExtractor`, reads parts of a file with one channel after
    the other wrongly: it maps the requested samples as if they were interleaved.

    Parameters
    ----------
    layout : dict
        Where the samples lie, as `Layout.as_dict` has it: a worker process makes the recording anew from it.
    files : list of str
        The file of each part.
    """

    def __init__(self, layout: dict[str, Any], files: list[str]) -> None:
        import numpy as np

        reader = open_traces(Layout.from_dict(layout), [Path(file) for file in files])
        native = np.dtype(reader.layout.dtype).newbyteorder("=")
        super().__init__(reader.sampling_frequency, list(range(reader.num_channels)), native)
        self.add_recording_segment(_Segment(reader))
        self.set_channel_gains(reader.gains)
        self.set_channel_offsets(reader.offsets)
        self._kwargs = {"layout": layout, "files": files}


class _Segment(BaseRecordingSegment):  # type: ignore[misc]
    def __init__(self, reader: TraceReader) -> None:
        super().__init__(sampling_frequency=reader.sampling_frequency)
        self._reader = reader

    def get_num_samples(self) -> int:
        return self._reader.num_samples

    def get_traces(
        self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
    ) -> np.ndarray[Any, Any]:
        traces = self._reader.traces(start_frame or 0, end_frame)
        return traces if channel_indices is None else traces[:, channel_indices]
