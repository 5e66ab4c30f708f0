"""Find a sorting by what the user names, and open the recording that was sorted, as its run record says."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate.api.result import Result
from spikecrate.errors import (
    RecordingAmbiguousError,
    RecordingChangedError,
    UsageError,
)
from spikecrate.recordings.origin import told_origin
from spikecrate.steps.inputs import recording_facts
from spikecrate.steps.kinds import KINDS, RECORDING
from spikecrate.steps.lineage import reopen_recorded
from spikecrate.steps.recording_input import hash_recordings
from spikecrate.steps.resolve import find_job
from spikecrate_harness.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording
    from spikecrate.steps.recording_input import RecordingInput
    from spikecrate.store import Store


def find_sorting(
    result: Result | Path | str, store: Store, progress: Progress
) -> tuple[Path, dict[str, Any]]:
    """Find a sorting.

    Parameters
    ----------
    result : Result, Path or str
        The result, its folder, or the first digits of its job key.
    store : Store
        The store.
    progress : Progress
        Receives a note about a corrupt result.

    Returns
    -------
    Path, dict
        The result folder and the run record.

    Raises
    ------
    UsageError
        The result is not a sorting.
    JobNotFoundError, ResultCorruptError
        There is no such result.
    """
    stored = result if isinstance(result, Result) else find_job(str(result), store, progress)
    record = stored.record
    if not KINDS[record["tool"]["kind"]].is_sorting:
        message = f"job {record['key'][:12]} is a result of {record['tool']['name']}, not a sorting"
        raise UsageError(message, next_step="name a sorting; spikecrate job.list lists them")
    return stored.folder, record


def reopen_recording(
    result: Result | None,
    record: dict[str, Any],
    recording: Recording | Path | str | None,
    store: Store,
    progress: Progress,
) -> RecordingInput:
    """Open and hash the recording that was sorted.

    Parameters
    ----------
    result : Result or None
        The result, where the caller has it: its recording is open already.
    record : dict
        The run record of the sorting.
    recording : Recording, Path or str, optional
        The recording, or where it is now; by default where it was sorted.
    store : Store
        The store with the cache of hashes.
    progress : Progress
        Shows the progress of hashing.

    Returns
    -------
    RecordingInput

    Raises
    ------
    UsageError
        The run record names no recording.
    RecordingChangedError
        The recording is not the one that was sorted; the message names what differs.
    RecordingNotFoundError
        It is not where it was; the next step is to name where it is now.
    RecordingError
        The recording cannot be read.
    """
    facts = recording_facts(record)
    if facts is None:
        message = f"the run record of job {record['key'][:12]} names no recording"
        raise UsageError(message, next_step="name a sorting that spikecrate made of a recording")
    if recording is None and result is not None:
        recording = result.recording
    if recording is None or isinstance(recording, (str, Path)):
        with _next_steps_of(facts["origin"]):
            recording = reopen_recorded(facts, recording, store, progress)
    opened = hash_recordings(RECORDING, [recording], store, progress)[0]
    _require_same(opened, facts, record["key"])
    return opened


@contextmanager
def _next_steps_of(origin: dict[str, Any]) -> Iterator[None]:
    """Name a next step that the commands after the sorter have: neither --stream nor --segment."""
    try:
        yield
    except (RecordingAmbiguousError, UsageError) as error:
        if not any(flag in error.next_step for flag in ("--stream", "--segment")):
            raise
        step = f"name the folder or file of what was sorted alone; it was {told_origin(origin)}"
        raise type(error)(str(error), next_step=step, details=error.details) from None


def _require_same(opened: RecordingInput, facts: dict[str, Any], key: str) -> None:
    """Refuse a recording that is not the one that was sorted, and name what differs."""
    if opened.identity == facts["identity"]:
        return
    layout, was = opened.recording.layout, Layout.from_dict(facts["layout"])
    told = {
        "sampling frequency": (f"{layout.sampling_frequency:g} Hz", f"{was.sampling_frequency:g} Hz"),
        "samples": (layout.num_samples, was.num_samples),
        "channels": (layout.num_channels, was.num_channels),
    }
    differing = [f"{name} {now}, not {then}" for name, (now, then) in told.items() if now != then]
    what = "; ".join(differing) or "its samples, gains or probe have changed"
    message = f"{opened.recording.path} is not the recording of the sorting {key[:12]}: {what}"
    raise RecordingChangedError(message, next_step="name the recording that was sorted: --recording DIR")
