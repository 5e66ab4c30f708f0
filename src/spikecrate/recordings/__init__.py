"""Recordings of every supported format, read in place.

>>> from spikecrate.recordings import open_recording
>>> recording = open_recording("rec/")  # doctest: +SKIP
"""

from spikecrate.recordings.assumptions import Assumption, sort_warnings
from spikecrate.recordings.formats import open_recording
from spikecrate.recordings.model import Recording

__all__ = ["Assumption", "Recording", "open_recording", "sort_warnings"]
