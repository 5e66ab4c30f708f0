"""Export a sorting to another program: a step of the tool `export`, and the user's copy of its output."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Once, default_progress
from spikecrate.api.analyze import SORTING, Analysis, analyze
from spikecrate.api.result import Result
from spikecrate.api.run import find_or_run_stored, target_of
from spikecrate.api.sorted_recording import find_sorting, reopen_recording
from spikecrate.errors import JobNotFoundError, UsageError
from spikecrate.exports.nwb import UNITS, nwb_facts
from spikecrate.exports.user_folder import changes_in, phy_files, put_export, require_unchanged
from spikecrate.steps.kinds import ANALYZE, EXPORT, KINDS, RECORDING
from spikecrate.steps.opening import open_any
from spikecrate.steps.output import require_usable
from spikecrate.steps.request import StepRequest
from spikecrate.steps.resolve import find_job, is_key
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.api.run import Output
    from spikecrate.recordings import Recording
    from spikecrate.steps.inputs import Word
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

TOOL: Final = "export"
ANALYSIS: Final = "analysis"
PHY: Final = "phy"
LEAST_EVENTS: Final = 2
"""phy opens no sorting with fewer."""
NWB: Final = "nwb"
"""The format; also the input with an existing file, and the parameter of the rest."""
OPENED_BY: Final = {
    PHY: ("phy template-gui {}", "params.py"),
    NWB: ("pynwb.read_nwb({})", "sorting.nwb"),
    "spikeinterface": ("spikeinterface.load({})", ""),
    "csv": ("pandas.read_csv({})", "spikes.csv"),
    "npz": ("spikeinterface.core.read_npz_sorting({})", "sorting.npz"),
}
"""What opens each format, a command line for phy, else Python; and the file that it opens."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """A sorting in the files of another program.

    Attributes
    ----------
    result : Result
        The result of the step, with its key, status and run record.
    to : str
        The format.
    output : Path or None
        The user's copy.
    analysis : Path or None
        The analysis that the export is made of, a SortingAnalyzer.
    """

    result: Result
    to: str
    output: Path | None
    analysis: Path | None

    @property
    def folder(self) -> Path:
        """The user's copy; without one, the export in the store, which nothing may write into."""
        return self.output or self.result.folder / KINDS[EXPORT].folder

    @property
    def opened_by(self) -> str:
        """The command line that opens the export, or the Python expression."""
        how, name = OPENED_BY[self.to]
        path = str(self.folder / name)
        return how.format(shlex.quote(path) if self.to == PHY else repr(path))

    def as_dict(self) -> dict[str, Any]:
        """Return the export as `--json` prints it."""
        return {
            **self.result.run_facts,
            "to": self.to,
            "folder": str(self.folder),
            "output": None if self.output is None else str(self.output),
            "opened_by": self.opened_by,
            "analysis": None if self.analysis is None else str(self.analysis),
            "warnings": self.result.warnings,
        }


def export(
    result: Result | Path | str,
    *,
    to: str = PHY,
    recording: Recording | Path | str | None = None,
    analysis: Analysis | Path | str | None = None,
    copy_traces: bool = False,
    session_start: str | None = None,
    metadata: Path | str | None = None,
    append_to: Path | str | None = None,
    units_name: str = UNITS,
    output: Output = None,
    store: Path | str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Export:
    """Export a sorting to another program; phy needs an analysis, which is made where none is given.

    Parameters
    ----------
    result : Result, Path or str
        The sorting; also its result folder, or the first digits of its job key.
    to : str
        `phy`, `nwb`, `spikeinterface`, `csv` or `npz`.
    recording : Recording, Path or str, optional
        The recording, or where it is now; by default where it was sorted.
    analysis : Analysis, Path or str, optional
        The analysis with the metrics; also its result folder, or the first digits of its job key.
    copy_traces : bool
        Whether an export to phy has a copy of the traces, for files that phy cannot read.
    session_start : str, optional
        When the session began, which NWB requires: ISO 8601 with a time zone, or the zone alone where the recording's
        files have the time.
    metadata : Path or str, optional
        JSON file with fields of NWB; docs/export.md lists them.
    append_to : Path or str, optional
        NWB file that is copied, with the units added to the copy.
    units_name : str
        Name of the table of units in the copy; any but `units` lies in the processing module `ecephys`.
    output : Path, str or callable, optional
        Folder for the user's copy, which phy needs: it writes into its folder, and only the copy names the files of
        samples. By default, and for "-", the export stays in the store.
    store, progress
        As for `sort`.
    **options
        `params` of the tool `export`; `runtime`, `cores`, `memory_bytes`, `timeout_s`, `seed`, `force` as for `sort`;
        `force` also replaces a copy that has changed since it was exported.

    Returns
    -------
    Export
        With the `folder`, and the command that opens it.

    Raises
    ------
    UsageError
        Options exclude each other, the analysis is of another sorting, or phy cannot open such a sorting.
    RecordingChangedError
        The sorting is of another recording.
    OutputError
        The folder is not an export, or has changed since it was exported.
    spikecrate.errors.SpikecrateError
        As for `sort`.
    """
    shelf, shown = open_store(store), Once(progress or default_progress())
    folder, record = find_sorting(result, shelf, shown)
    params = options.pop("params", None) or {}
    _require_possible(to, params, record)
    known = result if isinstance(result, Result) else None
    opened = reopen_recording(known, record, recording, shelf, shown)
    if analysis is None and to == PHY:
        limits = {name: value for name, value in options.items() if name != "force"}
        analysis = analyze(folder, recording=opened.recording, store=store, progress=shown, **limits)
    made_of = None if analysis is None else _find_analysis(analysis, record["key"], shelf, shown)
    chosen = {**params, "to": to}
    if to == PHY:
        chosen["copy_traces"] = copy_traces
    else:
        chosen["channel_ids"] = list(opened.recording.channel_ids)
        chosen["gaps"] = [[gap.sample, gap.missing] for gap in opened.recording.gaps]
    inputs: dict[str, Word] = {RECORDING: opened, SORTING: str(folder)}
    if made_of is not None:
        inputs[ANALYSIS] = str(made_of.folder)
    if to == NWB:
        records = {SORTING: record}
        if made_of is not None:
            records[ANALYSIS] = made_of.record
        chosen[NWB] = nwb_facts(
            opened.recording,
            records,
            start=session_start,
            metadata=metadata,
            append_to=append_to,
            units_name=units_name,
            opener=partial(open_any, store=shelf, progress=shown),
            store=shelf,
            progress=shown,
        )
        if append_to is not None:
            inputs[NWB] = Path(append_to)
    elif session_start or metadata or append_to or units_name != UNITS:
        message = "--session-start, --metadata, --append-to and --units-name are for NWB"
        raise UsageError(message, next_step="export with --to nwb, or leave them out")
    request = StepRequest(tool=TOOL, inputs=inputs, params=chosen, **options)
    force = bool(options.get("force"))
    job = request.job(shelf, shown)
    if made_of is not None:
        _require_of_sorting(made_of.record, job.inputs[SORTING].identity, record["key"])
    target = target_of(job, output)
    if target is not None:
        require_usable(target, partial(require_unchanged, key=job.key, force=force))
    traces = phy_files(opened.recording) if to == PHY and not copy_traces else {}
    if isinstance(traces, str):
        shown.note(
            f"phy will show no traces of the recording: {traces}; --copy-traces writes them into the export"
        )
        traces = {}
    done, stored = find_or_run_stored(request, shelf, shown)
    if target is not None:
        put_export(stored, target, shelf, sorting=record["key"], traces=traces, force=force)
        _say_changes(target, shown)
    analyzer = None if made_of is None else made_of.folder / KINDS[ANALYZE].folder
    return Export(result=done, to=to, output=target, analysis=analyzer)


def _say_changes(output: Path, progress: Progress) -> None:
    """Say that an export was left as the user has edited it."""
    if changes := changes_in(output):
        more = f" and {len(changes) - 1} more" * (len(changes) > 1)
        progress.note(f"{output} is this export already; it is left with your changes ({changes[0]}{more})")


def _require_possible(to: str, params: dict[str, Any], record: dict[str, Any]) -> None:
    """Refuse two formats at once, and what phy does not open, before an analysis is made."""
    if (other := params.get("to", to)) != to:
        message = f"the format is {to}, but the parameter to is {other!r}"
        raise UsageError(message, next_step=f"name it once: --to {other}")
    events = record.get("events")
    if to == PHY and events is not None and events < LEAST_EVENTS:
        has = f"{record['key'][:12]} has {events}"
        message = f"phy opens no sorting of fewer than {LEAST_EVENTS} events; {has}"
        raise UsageError(message, next_step="export to another format, as --to csv")


def _require_of_sorting(analysis: dict[str, Any], identity: dict[str, Any], key: str) -> None:
    """Refuse an analysis of another sorting."""
    of = analysis["inputs"].get(SORTING, {})
    if of.get("identity") != identity:
        whose = f", of {of['key'][:12]}" if of.get("key") else ""
        message = f"the analysis {analysis['key'][:12]} is of another sorting{whose}, not of {key[:12]}"
        raise UsageError(
            message, next_step=f"name an analysis of it: spikecrate analyze {key[:12]} makes one"
        )


def _find_analysis(
    analysis: Analysis | Path | str, sorting: str, store: Store, progress: Progress
) -> Result | Stored:
    """Return the result of an analysis; a corrupt one is set aside, and can be made again."""
    if isinstance(analysis, Analysis):
        return analysis.result
    try:
        stored = find_job(str(analysis), store, progress)
    except JobNotFoundError as error:
        aside = sorted(store.quarantine.glob(f"{str(analysis).lower()}*")) if is_key(str(analysis)) else []
        if not aside:
            raise
        message = f"the analysis {analysis} was corrupt, and is set aside in {aside[-1]}"
        step = f"spikecrate analyze {sorting[:12]} makes it again"
        raise JobNotFoundError(message, next_step=step) from error
    tool = stored.record["tool"]
    if tool["kind"] != ANALYZE:
        message = f"job {stored.record['key'][:12]} is a result of {tool['name']}, not an analysis"
        raise UsageError(
            message, next_step="name a result of spikecrate analyze; spikecrate job.list lists them"
        )
    return stored
