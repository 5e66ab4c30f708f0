"""Open any recording: in place, or through the import step where only SpikeInterface reads its format."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spikecrate.errors import RecordingFormatError, RecordingNotFoundError
from spikecrate.recordings import open_recording
from spikecrate.recordings.formats import absolute

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording
    from spikecrate.store import Store


def open_any(
    path: Path | str, *, store: Store, progress: Progress, runtime: str = "auto", **options: Any
) -> Recording:
    """Open a recording in place, or import it first and open the copy in the store.

    Parameters
    ----------
    path : Path or str
        The recording.
    store : Store
        Keeps the imported samples under the content of the source.
    progress : Progress
        Shows the samples written.
    runtime : str
        Where an import runs.
    **options
        As `open_recording` takes them.

    Returns
    -------
    Recording
        Of an imported one, `path` and `origin` name the source.

    Raises
    ------
    RecordingError
        The recording cannot be read, or holds several streams or segments.
    spikecrate.errors.SpikecrateError
        Any error of the import step.
    """
    try:
        return open_recording(path, **options)
    except (RecordingNotFoundError, RecordingFormatError):
        from spikecrate.steps.imports import imported, needs_import

        reader = needs_import(path)
        if reader is None:
            raise
    folder = imported(
        path,
        store=store,
        progress=progress,
        stream=options.get("stream"),
        segment=options.get("segment"),
        runtime=runtime,
    )
    recording = open_recording(folder, probe=options.get("probe", ""))
    source = absolute(path)
    return replace(recording, path=source, format=reader, origin={"path": str(source), **options})
