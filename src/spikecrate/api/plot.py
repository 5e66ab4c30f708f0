"""Draw a sorting: a step of the tool `plot`, whose environment has matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.files import write_atomically
from spikecrate._util.nearest import nearest
from spikecrate._util.progress import Once, default_progress
from spikecrate.api.analyze import SORTING, analyze
from spikecrate.api.analyze import TOOL as ANALYSIS_TOOL
from spikecrate.api.result import Result
from spikecrate.api.run import find_or_run
from spikecrate.api.sorted_recording import find_sorting, reopen_recording
from spikecrate.errors import OutputError, SpikecrateError, StoppedError, UsageError
from spikecrate.steps.inputs import recording_facts
from spikecrate.steps.kinds import ANALYZE, COMPARE, FIGURE, KINDS, RECORDING
from spikecrate.steps.paths import FIRINGS, TRUTH
from spikecrate.steps.recording_input import RecordingInput
from spikecrate.steps.request import StepRequest
from spikecrate.steps.rerun import folder_word
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording
    from spikecrate.steps.inputs import Word
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

TOOL: Final = "plot"
SUBJECTS: Final = ("units", "traces", "metrics", "comparison")
FORMATS: Final = ("png", "svg", "pdf")
OF_SUBJECT: Final = {"page": "units", "start": "traces", "end": "traces"}
"""The only picture that an option is for."""
PER_PAGE: Final = 20
LONGEST_S: Final = 60
"""Units on a page and the longest stretch of traces, as the tool draws them."""
LIMITS: Final = ("runtime", "cores", "memory_bytes", "timeout_s")
"""Options of the step that the analysis before it takes too."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a sorting.

    Attributes
    ----------
    result : Result
        The result of the step, with its key, status and run record.
    path : Path
        The picture: the user's file, else in the user's copy of the result, else in the store.
    """

    result: Result
    path: Path

    def as_dict(self) -> dict[str, Any]:
        """Return the picture as `--json` prints it."""
        return {
            **self.result.run_facts,
            "picture": str(self.path),
        }


def plot(
    result: Result | Path | str,
    *,
    what: str = "",
    format: str = "",
    page: int | None = None,
    start: float | None = None,
    end: float | None = None,
    recording: Recording | Path | str | None = None,
    output: Path | str | None = None,
    store: Path | str | None = None,
    progress: Progress | None = None,
    params: dict[str, Any] | None = None,
    **options: Any,
) -> Picture:
    """Draw the units of a sorting, its events on the traces, its metrics, or a comparison.

    `units` and `metrics` analyze the sorting first, with the default parameters; a cache hit the next time.

    Parameters
    ----------
    result : Result, Path or str
        The sorting; also its result folder, or the first digits of its job key. For `units` and `metrics` also a result
        of `analyze`; for `comparison` a result of `compare`.
    what : str
        `units`, `traces`, `metrics` or `comparison`; by default `comparison` of one, else `units`.
    format : str
        `png`, `svg` or `pdf`; by default by the name of `output`, else `png`.
    page : int, optional
        Which 20 `units` are drawn, from the largest; by default 1.
    start, end : float, optional
        Stretch of the `traces` in seconds; by default a second with many events.
    recording : Recording, Path or str, optional
        The recording, or where it is now; by default where it was sorted.
    output : Path or str, optional
        A file that ends in .png, .svg or .pdf, for the picture; any other name is a folder for a copy of the result.
    store, progress
        As for `sort`.
    params : dict, optional
        Other parameters of the tool `plot`.
    **options
        `runtime`, `cores`, `memory_bytes`, `timeout_s`, `seed`, `force` as for `sort`.

    Returns
    -------
    Picture
        With the `path` of the picture.

    Raises
    ------
    UsageError
        There is no such picture, page, stretch or format, or the result is of another kind.
    OutputError
        The picture cannot be written.
    spikecrate.errors.SpikecrateError
        As for `sort`.
    """
    _require_one_of(what or SUBJECTS[0], SUBJECTS, "picture")
    file = None if output is None else Path(output).absolute()
    named = "" if file is None else file.suffix.lower().removeprefix(".")
    if named not in FORMATS:
        # A folder may be named v1.2; what ends in letters is meant as a file.
        if file is not None and named.isalpha() and not file.is_dir() and not str(output).endswith("/"):
            message = f"{output} ends in .{named}, which is no format of a picture"
            step = "name the file .png, .svg or .pdf; a folder that is to be made ends in a slash"
            raise UsageError(message, next_step=step)
        file, named = None, ""
    form = format or named or FORMATS[0]
    _require_one_of(form, FORMATS, "format")
    if named not in ("", form):
        message = f"{output} does not end in .{form}"
        raise UsageError(message, next_step=f"name the file .{form}, or leave the format out")
    shelf, shown = open_store(store), Once(progress or default_progress())
    found = result if isinstance(result, Result) else find_job(str(result), shelf, shown)
    if file is not None:
        _require_outside(file, found.record)
    what = what or ("comparison" if found.record["tool"]["kind"] == COMPARE else SUBJECTS[0])
    chosen = {"page": page, "start": start, "end": end}
    given = {name: value for name, value in chosen.items() if value is not None}
    if foreign := next((name for name in given if OF_SUBJECT[name] != what), None):
        message = f"--{foreign} is for a picture of {OF_SUBJECT[foreign]}, not of {what}"
        raise UsageError(message, next_step=f"leave it out, or draw --what {OF_SUBJECT[foreign]}")
    if page is not None:
        _require_page(page, found.record)
    limits: dict[str, Any] = {name: options[name] for name in LIMITS if name in options}
    sources = _Sources(found, recording, shelf, shown, limits)
    inputs = sources.comparison() if what == "comparison" else sources.sorting(what)
    if isinstance(opened := inputs.get(RECORDING), RecordingInput):
        _require_stretch(start, end, opened.recording)
    request = StepRequest(
        tool=TOOL,
        inputs=inputs,
        params={**(params or {}), **given, "what": what, "format": form},
        **options,
    )
    done = find_or_run(request, shelf, shown, output=output if file is None else None)
    made = (done.output or done.folder) / KINDS[FIGURE].folder / f"{what}.{form}"
    if file is not None:
        try:
            write_atomically(file, made.read_bytes())
        except OSError as error:
            message = f"{file} cannot be written: {error.strerror}; the picture is {made}"
            raise OutputError(message, next_step="name another file: --output FILE") from None
    return Picture(result=done, path=file or made)


@dataclass(frozen=True)
class _Sources:
    """Finds the inputs of a picture."""

    found: Result | Stored
    recording: Recording | Path | str | None
    store: Store
    progress: Progress
    limits: dict[str, Any]

    def sorting(self, what: str) -> dict[str, Word]:
        """Return the inputs of a picture of a sorting."""
        found, kind = self.found, self.found.record["tool"]["kind"]
        if what != "traces" and kind == ANALYZE:
            return {"analysis": str(found.folder)}
        word = found if isinstance(found, Result) else str(found.folder)
        if what != "traces":
            done = analyze(
                word,
                recording=self.recording,
                store=self.store.root,
                progress=self.progress,
                **self.limits,
            )
            return {"analysis": str(done.result.folder)}
        folder, record = find_sorting(word, self.store, self.progress)
        known = found if isinstance(found, Result) else None
        opened = reopen_recording(known, record, self.recording, self.store, self.progress)
        return {RECORDING: opened, SORTING: str(folder)}

    def comparison(self) -> dict[str, Word]:
        """Return the inputs of a picture of a comparison: its tables and, with truth, the SNR of the true units."""
        record = self.found.record
        if record["tool"]["kind"] != COMPARE:
            message = f"job {record['key'][:12]} is a result of {record['tool']['name']}, not a comparison"
            raise UsageError(message, next_step="name a comparison: spikecrate compare makes one")
        inputs: dict[str, Word] = {"comparison": str(self.found.folder)}
        if "truth" not in record["inputs"]:
            return inputs
        try:
            return {**inputs, "analysis": str(self._analysis_of_truth(record).folder)}
        except StoppedError:
            raise
        except SpikecrateError as error:
            self.progress.note(f"the picture has no SNR: {error}")
            return inputs

    def _analysis_of_truth(self, record: dict[str, Any]) -> Result:
        """Analyze the truth as a sorting of the recording that the first sorting with a run record is of."""
        sortings = record["inputs"]["sortings"]["folders"]
        facts = next((one["recording"] for one in sortings if one.get("recording")), None)
        of_sorting = {"key": record["key"], "inputs": {RECORDING: facts} if facts else {}}
        opened = reopen_recording(None, of_sorting, self.recording, self.store, self.progress)
        truth = folder_word(record["inputs"]["truth"], self.store)
        # The host runtime shows a tool the whole folder of a file.
        if isinstance(truth, tuple) and (truth[0].name != TRUTH or truth[0].with_name(FIRINGS).exists()):
            message = f"{truth[0]} is not the only sorting of its folder, or not named {TRUTH}"
            raise UsageError(message, next_step=f"copy it to a folder of its own as {TRUTH}")
        request = StepRequest(tool=ANALYSIS_TOOL, inputs={RECORDING: opened, SORTING: truth}, **self.limits)
        return find_or_run(request, self.store, self.progress)


def _require_one_of(word: str, words: tuple[str, ...], noun: str) -> None:
    if word not in words:
        message = f"there is no {noun} {word!r}{nearest(word, words)}"
        raise UsageError(message, next_step=f"name one of {', '.join(words)}")


def _require_page(page: int, record: dict[str, Any]) -> None:
    """Refuse a page that the units of a sorting or an analysis do not fill."""
    units = record.get("units")
    if units is None:
        return
    pages = max(-(-units // PER_PAGE), 1)
    if not 1 <= page <= pages:
        of_units = f"the {units} unit{'s' * (units != 1)} of {record['key'][:12]}"
        message = f"there is no page {page}: {of_units} fill {pages} page{'s' * (pages != 1)}"
        raise UsageError(message, next_step=f"name a page from 1 to {pages}: --page {pages}")


def _require_stretch(start: float | None, end: float | None, recording: Recording) -> None:
    """Refuse a stretch of the traces that is empty, too long, or begins where the recording has ended."""
    if start is None and end is None:
        return
    first = max((end or 0) - 1, 0) if start is None else start
    last = first + 1 if end is None else end
    seconds = recording.layout.num_samples / recording.layout.sampling_frequency
    stretch = f"the stretch from {first:g} s to {last:g} s"
    if first < 0 or last <= first:
        message = f"{stretch} is empty"
        raise UsageError(message, next_step="name a later --end, or an earlier --start")
    if first >= seconds:
        message = f"{stretch} is beyond the recording, which has {seconds:g} s"
        raise UsageError(message, next_step=f"name an earlier --start, below {seconds:g}")
    if last - first > LONGEST_S:
        message = f"{stretch} is longer than {LONGEST_S} s"
        raise UsageError(message, next_step="draw a shorter one: --start and --end")


def _require_outside(file: Path, record: dict[str, Any]) -> None:
    """Refuse a file in a folder of the recording, where nothing is written."""
    facts = recording_facts(record) or {"files": []}
    place = file.resolve()
    if any(place.is_relative_to(Path(sample).parent.resolve()) for sample in facts["files"]):
        message = f"{file} is inside the recording {facts['path']}, where nothing is written"
        raise OutputError(message, next_step="name another file: --output FILE")
