"""Curate a sorting: labels, merges, splits and removals by a file, by rules on the metrics, or named one by one.

The library reads and decides everything and writes one complete curation into the store; the step of the tool `curate`
applies it, and the run record names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from blake3 import blake3

from spikecrate._util.files import write_atomically
from spikecrate._util.progress import Once, default_progress
from spikecrate.api.analyze import SORTING, Analysis, analyze
from spikecrate.api.result import Result
from spikecrate.api.run import find_or_run
from spikecrate.api.sorted_recording import find_sorting
from spikecrate.errors import CurationError, UsageError
from spikecrate.sortings import curation as curations
from spikecrate.sortings import read_firings
from spikecrate.sortings.curation import Curation, Rule, Table
from spikecrate.sortings.units import METRICS
from spikecrate.steps.inputs import recording_facts
from spikecrate.steps.kinds import ANALYZE, CURATE, KINDS
from spikecrate.steps.paths import FIRINGS, UNITS
from spikecrate.steps.request import StepRequest
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store
from spikecrate_harness.layout import Layout

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.api.run import Output
    from spikecrate.recordings import Recording
    from spikecrate.steps.inputs import Word
    from spikecrate.store import Store

    CurationWord = Path | str | dict[str, Any] | list[Any]

TOOL: Final = "curate"
CURATION: Final = "curation"
ANALYSIS: Final = "analysis"
DOCUMENT: Final = "curation.json"
UNIT_WORD: Final = re.compile(r"[0-9]{1,15}(-[0-9]{1,15})?")
"""A unit, or the first and the last of a range."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What is to become of the units of a sorting.

    Attributes
    ----------
    curation : Path, str, dict or list, optional
        A curation of SpikeInterface, sortingview or figpack, as a file or as the JSON document, or a folder of phy.
    keep : str, optional
        A rule on the metrics: units of which it is false are left out.
    labels : mapping, optional
        Rule of each label.
    merge : sequence of sequence of int or str
        Units to merge; a text is the first and the last unit of a range, such as `3-8`.
    remove : sequence of int or str
        Units to leave out.
    leave_out : sequence of str
        Labels whose units are left out, such as `noise`.

    Raises
    ------
    UsageError
        A value has another form.
    """

    curation: CurationWord | None = None
    keep: str | None = None
    labels: Mapping[str, str] | None = None
    merge: Sequence[Sequence[int | str]] = ()
    remove: Sequence[int | str] = ()
    leave_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse what has another form, and show the right one."""
        labels: object = self.labels or {}
        forms = {
            "keep": (self.keep is None or isinstance(self.keep, str), "keep='snr > 5'"),
            "labels": (
                isinstance(labels, Mapping) and _are_texts([*labels, *labels.values()]),
                "labels={'good': 'snr > 8'}",
            ),
            "merge": (_is_list(self.merge) and all(map(_are_units, self.merge)), "merge=[[3, 7], [4, 5]]"),
            "remove": (_are_units(self.remove), "remove=[5, '8-12']"),
            "leave_out": (_are_texts(self.leave_out), "leave_out=['noise']"),
        }
        for name, (right, form) in forms.items():
            if not right:
                message = f"{name}={getattr(self, name)!r} has not the form {form}"
                raise UsageError(message, next_step=f"write it as {form}")


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A curation, complete and checked, and not applied yet.

    Attributes
    ----------
    steps : tuple of Curation
        One, or several of which each is of the units that the one before makes.
    analysis : Path or None
        The result folder of the analysis whose metrics the rules took.
    """

    steps: tuple[Curation, ...]
    analysis: Path | None

    @property
    def text(self) -> str:
        """The curation as a JSON text of SpikeInterface's format 2."""
        return curations.as_text(self.steps)


def curate(
    result: Result | Path | str,
    curation: CurationWord | None = None,
    *,
    keep: str | None = None,
    labels: Mapping[str, str] | None = None,
    merge: Sequence[Sequence[int | str]] = (),
    remove: Sequence[int | str] = (),
    leave_out: Sequence[str] = (),
    analysis: Analysis | Result | Path | str | None = None,
    recording: Recording | Path | str | None = None,
    output: Output = None,
    store: Path | str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """Curate a sorting.

    Parameters
    ----------
    result : Result, Path or str
        The sorting; also its result folder, or the first digits of its job key.
    curation, keep, labels, merge, remove, leave_out
        As `Choices` documents them.
    analysis : Analysis, Result, Path or str, optional
        The analysis with the metrics of the rules; by default the table of the sorting itself, or, where that lacks a
        metric, an analysis that is made first.
    recording : Recording, Path or str, optional
        Where the recording is now, for that analysis.
    output, store, progress
        As for `sort`.
    **options
        `runtime`, `cores`, `memory_bytes`, `timeout_s`, `seed`, `force` as for `sort`.

    Returns
    -------
    Result
        The curated sorting, to be analyzed, compared, exported and curated again.

    Raises
    ------
    CurationError
        The curation or a rule is not valid or not of this sorting.
    UsageError
        Nothing is asked for, or a value has another form.
    spikecrate.errors.SpikecrateError
        As for `sort`.
    """
    shelf, shown = open_store(store), Once(progress or default_progress())
    chosen = Choices(
        curation=curation, keep=keep, labels=labels, merge=merge, remove=remove, leave_out=leave_out
    )
    limits = {name: value for name, value in options.items() if name not in ("params", "force")}
    decided = decide(
        result, chosen, analysis=analysis, recording=recording, store=shelf, progress=shown, **limits
    )
    folder, record = find_sorting(result, shelf, shown)
    inputs: dict[str, Word] = {SORTING: str(folder), CURATION: _kept(decided.text, shelf)}
    if decided.analysis is not None:
        inputs[ANALYSIS] = decided.analysis
    facts = recording_facts(record)
    layout = None if facts is None else Layout.from_dict(facts["layout"])
    given = options.pop("params", None) or {}
    if layout is not None:
        given = {"sampling_frequency": layout.sampling_frequency, "num_samples": layout.num_samples, **given}
    request = StepRequest(tool=TOOL, inputs=inputs, params=given, **options)
    return find_or_run(request, shelf, shown, output=output)


def decide(
    result: Result | Path | str,
    choices: Choices,
    *,
    analysis: Analysis | Result | Path | str | None = None,
    recording: Recording | Path | str | None = None,
    store: Store,
    progress: Progress,
    **limits: Any,
) -> Decided:
    """Read a curation, evaluate the rules, and check everything against the sorting; nothing is applied.

    Parameters
    ----------
    result, analysis, recording
        As for `curate`.
    choices : Choices
        What is to become of the units.
    store : Store
        The store.
    progress : Progress
        Receives notes about metrics that units lack.
    **limits
        `runtime`, `cores` and so on, for an analysis that is made first.

    Returns
    -------
    Decided

    Raises
    ------
    CurationError
        The curation or a rule is not valid or not of this sorting.
    UsageError
        Nothing is asked for.
    spikecrate.errors.SpikecrateError
        As for `analyze`.
    """
    if not any(vars(choices).values()):
        message = "nothing is asked for: no curation, no rule, no unit to merge or remove"
        raise UsageError(message, next_step="name a curation, or: --keep 'snr > 5', --merge 3,7, --remove 5")
    keep = None if choices.keep is None else Rule.parse(choices.keep)
    labels = {name: Rule.parse(text) for name, text in (choices.labels or {}).items()}
    folder, record = find_sorting(result, store, progress)
    facts = recording_facts(record)
    layout = None if facts is None else Layout.from_dict(facts["layout"])
    sorting = read_firings(folder / FIRINGS, 1.0 if layout is None else layout.sampling_frequency)
    word = choices.curation
    events = curations.events_of(sorting)
    steps: tuple[Curation, ...] = (Curation(events=events),)
    if isinstance(word, (Path, str)):
        steps = curations.read_curation(word, sorting)
    elif word is not None:
        steps = curations.parse_any(word, "the curation", sorting)
    labelled = Curation(events=events)
    if record["tool"]["kind"] == CURATE:
        earlier = folder / KINDS[CURATE].folder / DOCUMENT
        labelled = curations.labels_of(curations.read_json(earlier), str(earlier), events)
    steps = curations.inherit(steps, labelled)
    if choices.merge or choices.remove:
        steps = curations.add(steps, merges=choices.merge, removed=choices.remove)
    rules = [*([] if keep is None else [keep]), *labels.values()]
    used = None
    if rules:
        table, used = _metrics(folder, rules, analysis, store, progress)
        if table is None:
            known = result if isinstance(result, Result) else folder
            made = analyze(known, recording=recording, store=store.root, progress=progress, **limits)
            table, used = _table_of(made.result.folder), made.result.folder
        if missing := steps[0].events.keys() - {*table.units}:
            message = f"{used or folder}: {UNITS}: no unit {min(missing)}: the metrics are of another sorting"
            raise CurationError(message, next_step="name the analysis of this sorting")
        steps = curations.decide(steps, table, keep=keep, labels=labels)
        for rule in steps[0].rules[-len(rules) :]:
            for name, units in rule["missing"].items():
                text = rule.get("keep", rule.get("rule"))
                lacking = f"{len(units)} unit{'s' if len(units) > 1 else ''} without {name}"
                progress.note(f"rule {text!r}: {lacking}: comparisons with it are false")
    if choices.leave_out:
        steps = curations.leave_out(steps, choices.leave_out)
    return Decided(steps=steps, analysis=used)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _are_texts(value: object) -> bool:
    return _is_list(value) and all(isinstance(text, str) for text in cast("Sequence[object]", value))


def _are_units(value: object) -> bool:
    """Return whether a value is a list of numbers, and of texts such as `3-8`."""
    return _is_list(value) and all(
        UNIT_WORD.fullmatch(unit)
        if isinstance(unit, str)
        else isinstance(unit, Integral) and not isinstance(unit, bool)
        for unit in cast("Sequence[object]", value)
    )


def _metrics(
    folder: Path,
    rules: Sequence[Rule],
    analysis: Analysis | Result | Path | str | None,
    store: Store,
    progress: Progress,
) -> tuple[Table | None, Path | None]:
    """Return the metrics of the named analysis, else of the sorting's own table if it has what the rules need."""
    if isinstance(analysis, Analysis):
        analysis = analysis.result
    if analysis is not None:
        found = analysis if isinstance(analysis, Result) else find_job(str(analysis), store, progress)
        if found.record["tool"]["kind"] != ANALYZE:
            message = f"job {found.record['key'][:12]} is a result of {found.record['tool']['name']}, not an analysis"
            raise UsageError(message, next_step="name the key that spikecrate analyze printed")
        return _table_of(found.folder), found.folder
    own = Table.read(folder / UNITS) if (folder / UNITS).is_file() else None
    return (None if own is None or not all(map(own.answers, rules)) else own), None


def _table_of(result: Path) -> Table:
    """Return every metric of an analysis, with the columns of its table of units."""
    folder = result / KINDS[ANALYZE].folder
    units, metrics = Table.read(folder / UNITS), Table.read(folder / METRICS)
    return Table(units=units.units, columns={**units.columns, **metrics.columns})


def _kept(text: str, store: Store) -> Path:
    """Write a curation into the store, so that the job can be run again; return its file."""
    data = text.encode()
    path = store.curations / blake3(data).hexdigest() / DOCUMENT
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data)
    return path
