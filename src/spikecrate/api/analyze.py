"""Analyze a sorting: a step of the tool `analyze`, whose environment has SpikeInterface.

The recording is opened as the run record of the sorting says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import default_progress
from spikecrate.api.result import Result
from spikecrate.api.run import find_or_run
from spikecrate.api.sorted_recording import find_sorting, reopen_recording
from spikecrate.sortings.units import METRICS, NAMES, Unit, read_metrics, read_units
from spikecrate.steps.kinds import ANALYZE, KINDS, RECORDING
from spikecrate.steps.paths import UNITS
from spikecrate.steps.request import StepRequest
from spikecrate.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.api.run import Output
    from spikecrate.recordings import Recording

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
        return self.result.channel_id(unit)

    def as_dict(self) -> dict[str, Any]:
        """Return the analysis as `--json` prints it."""
        return {
            **self.result.run_facts,
            "folder": str(self.folder),
            "units": [
                {name: getattr(unit, name) for name in NAMES} | {"channel_id": self.channel_id(unit)}
                for unit in self.units
            ],
        }


def analyze(
    result: Result | Path | str,
    *,
    recording: Recording | Path | str | None = None,
    output: Output = None,
    store: Path | str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Analysis:
    """Analyze a sorting: quality metrics, templates, correlograms and locations of its units.

    Parameters
    ----------
    result : Result, Path or str
        The sorting; also its result folder, or the first digits of its job key.
    recording : Recording, Path or str, optional
        The recording, or where it is now; by default where it was sorted.
    output, store, progress
        As for `sort`.
    **options
        `params` of the tool `analyze`; `runtime`, `cores`, `memory_bytes`, `timeout_s`, `seed`, `force` as for `sort`.

    Returns
    -------
    Analysis
        With `units` and `metrics`, and the `folder` that SpikeInterface opens.

    Raises
    ------
    RecordingChangedError
        The sorting is of another recording.
    spikecrate.errors.SpikecrateError
        As for `sort`.
    """
    shelf, shown = open_store(store), progress or default_progress()
    folder, record = find_sorting(result, shelf, shown)
    known = result if isinstance(result, Result) else None
    opened = reopen_recording(known, record, recording, shelf, shown)
    request = StepRequest(tool=TOOL, inputs={RECORDING: opened, SORTING: str(folder)}, **options)
    return Analysis(result=find_or_run(request, shelf, shown, output=output))
