"""Open any recording: in place, or through the import step where only SpikeInterface reads its format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate._util.progress import default_progress
from spikecrate.errors import JobNotFoundError, RecordingFormatError, RecordingNotFoundError
from spikecrate.recordings import open_recording
from spikecrate.recordings.copying import write_copy
from spikecrate.recordings.formats import absolute
from spikecrate.steps.kinds import KINDS, PREPROCESS
from spikecrate.steps.paths import RECORD
from spikecrate.steps.resolve import find_job, is_key
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording
    from spikecrate.store import Store


def open_any(
    path: Path | str,
    *,
    store: Store,
    progress: Progress,
    reader: str = "",
    runtime: str = "auto",
    **options: Any,
) -> Recording:
    """Open a recording in place, or import it first and open the copy in the store.

    Parameters
    ----------
    path : Path or str
        The recording; also the result folder, or the first digits of the key, of a job that made one.
    store : Store
        Keeps the imported samples under the content of the source.
    progress : Progress
        Shows the samples written.
    reader : str
        SpikeInterface's name of the format, to import the recording in any case.
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
    from spikecrate.steps.imports import imported, needs_import

    path = _made(path, store, progress) or path
    named = {"reader": reader} if reader else {}
    if not reader:
        try:
            return open_recording(path, **options)
        except (RecordingNotFoundError, RecordingFormatError):
            reader = needs_import(path) or ""
            if not reader:
                raise
    folder = imported(
        path,
        store=store,
        progress=progress,
        reader=named.get("reader"),
        stream=options.get("stream"),
        segment=options.get("segment"),
        concatenate=options.get("concatenate", False),
        runtime=runtime,
    )
    recording = open_recording(folder, probe=options.get("probe", ""))
    source = absolute(path)
    return replace(recording, path=source, format=reader, origin={"path": str(source), **named, **options})


def _made(path: Path | str, store: Store, progress: Progress) -> Path | None:
    """Return the recording's folder of a job that made one, None where the path does not name such a job."""
    folder = Path(path)
    if not folder.exists():
        if not is_key(str(path)):
            return None
        try:
            folder = find_job(str(path), store, progress).folder
        except JobNotFoundError:
            return None
    inner = folder / KINDS[PREPROCESS].folder
    return inner if (folder / RECORD).is_file() and inner.is_dir() else None


def import_recording(
    path: Path | str,
    destination: Path | str,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
    reader: str = "",
    runtime: str = "auto",
    **options: Any,
) -> Recording:
    """Write any recording as a flat file with a recording.json.

    Parameters
    ----------
    path, reader, runtime, **options
        As for `open_any`.
    destination : Path or str
        A folder that does not exist. It is complete or absent, also after an interruption.
    store, progress
        As for `open_any`; by default as for `spikecrate.sort`.

    Returns
    -------
    Recording
        The copy.

    Raises
    ------
    spikecrate.errors.SpikecrateError
        As `open_any` and `write_copy`.
    """
    shown = progress or default_progress()
    found = open_any(
        path, store=store or open_store(), progress=shown, reader=reader, runtime=runtime, **options
    )
    return write_copy(found, destination, shown)
