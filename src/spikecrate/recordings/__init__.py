"""Recordings of every supported format, read in place.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from spikecrate.recordings import open_recording
>>> from spikecrate.recordings.toy import write_toy
>>> with TemporaryDirectory() as folder:
...     recording = open_recording(write_toy(Path(folder) / "toy", duration_s=1))
...     traces = recording.traces(0, 300)
>>> recording.format, recording.duration_s, traces.shape
('mountainsort', 1.0, (300, 4))
"""

from spikecrate.recordings.assumptions import Assumption, sort_warnings
from spikecrate.recordings.formats import open_recording
from spikecrate.recordings.model import Recording

__all__ = ["Assumption", "Recording", "open_recording", "sort_warnings"]
