"""Open any recording: in place, or through the import step where only SpikeInterface reads its format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecrate.recordings import open_recording

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording


def open_any(path: Path | str, *, progress: Progress, **options: Any) -> Recording:
    """Open a recording."""
    del progress
    return open_recording(path, **options)
