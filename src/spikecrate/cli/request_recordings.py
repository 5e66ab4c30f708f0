"""From the words of the tasks on recordings to the library's arguments."""

from __future__ import annotations

from typing import Any

from spikecrate._util.progress import Terminal
from spikecrate.cli.request_words import whole_number
from spikecrate.store import open_store


def info(path: str, *, with_hash: bool, in_full: bool) -> dict[str, Any]:
    """Describe a recording, channel by channel if `in_full`."""
    from spikecrate.recordings import open_recording
    from spikecrate.recordings.describe import describe, overview
    from spikecrate.steps.job import samples_hash
    from spikecrate.store.file_hashes import FileHashCache, FileState

    recording = open_recording(path)
    samples = None
    if with_hash:
        state = FileState.of(recording.sample_file)
        samples = samples_hash(recording, state, FileHashCache(open_store().memo), Terminal())
    return describe(recording, samples) if in_full else overview(recording, samples)


def import_(
    source: str, destination: str, *, reader: str, stream: str, segment: str, in_full: bool
) -> dict[str, Any]:
    """Convert another format through SpikeInterface, and describe what came of it.

    Raises
    ------
    UsageError
        For a segment that is not a whole number.
    """
    from spikecrate.recordings.imports import import_recording

    import_recording(
        source,
        destination,
        Terminal(),
        reader=reader or None,
        stream=stream or None,
        segment=whole_number("--segment", segment),
    )
    return info(destination, with_hash=True, in_full=in_full)
