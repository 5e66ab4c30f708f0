"""Analyze a sorting: a step of the tool `analyze`, whose environment has SpikeInterface.

The recording is opened as the run record of the sorting says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.catalogue.tools import SORTER
from spikecrate.errors import RecordingChangedError, UsageError
from spikecrate.recordings.origin import reopen
from spikecrate.sortings.units import METRICS, UNITS, Unit, read_metrics, read_units
from spikecrate.steps.kinds import ANALYZE, KINDS, RECORDING
from spikecrate.steps.opening import open_any
from spikecrate.steps.recording_input import hash_recordings
from spikecrate.steps.request import StepRequest
from spikecrate_harness.layout import Layout

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording
    from spikecrate.steps.recording_input import RecordingInput
    from spikecrate.steps.result import Result
    from spikecrate.store import Store

TOOL: Final = "analyze"
SORTING: Final = "sorting"


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The analysis of a sorting.

    Attributes
    ----------
    result : Result
        The result of the step, with its key, status, run record and the user's copy.
    """

    result: Result

    @property
    def folder(self) -> Path:
        """The analysis in the store; SpikeInterface's `load_sorting_analyzer` opens it."""
        return self.result.folder / KINDS[ANALYZE].folder

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Events, rate, primary channel, SNR, ISI violations, amplitude and location of each unit."""
        return read_units(self.folder / UNITS)

    @cached_property
    def metrics(self) -> dict[str, list[float | None]]:
        """Every metric by its name, in order of the units; docs/analyze.md explains each."""
        return read_metrics(self.folder / METRICS)

    def channel_id(self, unit: Unit) -> str | None:
        """Return the recording's name of a unit's primary channel.

        Parameters
        ----------
        unit : Unit
            One of `units`.

        Returns
        -------
        str or None
            None for a unit without a waveform.
        """
        names = self.result.record["inputs"][RECORDING]["channel_ids"]
        return None if unit.channel is None else str(names[unit.channel])

    def as_dict(self) -> dict[str, Any]:
        """Return the analysis as `--json` prints it."""
        done = self.result
        return {
            "key": done.key,
            "status": done.status,
            "folder": str(self.folder),
            "output": None if done.output is None else str(done.output),
            "runtime": done.record["runtime"],
            "wall_s": done.record["wall_s"],
            "elapsed_s": round(done.elapsed_s, 4),
            "units": [{**asdict(unit), "channel_id": self.channel_id(unit)} for unit in self.units],
        }


def analysis_request(
    folder: Path,
    record: dict[str, Any],
    *,
    recording: Recording | Path | str | None,
    store: Store,
    progress: Progress,
    **options: Any,
) -> StepRequest:
    """Return the request to analyze a sorting.

    Parameters
    ----------
    folder : Path
        The result folder of the sorting.
    record : dict
        Its run record.
    recording : Recording, Path or str, optional
        The recording, or where it is now; by default where it was sorted.
    store : Store
        The store with the cache of hashes.
    progress : Progress
        Shows the progress of hashing.
    **options
        Parameters and limits, as `StepRequest` takes them.

    Returns
    -------
    StepRequest

    Raises
    ------
    UsageError
        The result is not a sorting.
    RecordingChangedError
        The sorting is of another recording.
    RecordingError
        The recording cannot be read.
    """
    if record["tool"]["kind"] != SORTER:
        message = f"job {record['key'][:12]} is a result of {record['tool']['name']}, not a sorting"
        raise UsageError(message, next_step="name a sorting; spikecrate job.list lists them")
    facts = record["inputs"][RECORDING]
    if recording is None or isinstance(recording, (str, Path)):
        opener = partial(open_any, store=store, progress=progress)
        recording = reopen(facts["origin"], moved=recording, opener=opener)
    opened = hash_recordings(RECORDING, [recording], store, progress)[0]
    _require_same(opened, facts, record["key"])
    return StepRequest(tool=TOOL, inputs={RECORDING: opened, SORTING: str(folder)}, **options)


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
