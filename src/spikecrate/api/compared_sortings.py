"""The sortings that a comparison takes: results, files and folders, and the truth beside a recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.terminal import printable
from spikecrate.api.result import Result
from spikecrate.api.sorted_recording import find_sorting
from spikecrate.errors import RecordingChangedError, ResultInvalidError, UsageError
from spikecrate.recordings.origin import told_origin
from spikecrate.sortings.comparison.several import RESERVED
from spikecrate.steps.inputs import recording_facts
from spikecrate.steps.kinds import CURATE
from spikecrate.steps.lineage import sorter_of
from spikecrate.steps.paths import FIRINGS, TRUTH
from spikecrate.steps.resolve import is_key
from spikecrate.store import result_manifest
from spikecrate_harness.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate._util.progress import Progress
    from spikecrate.steps.inputs import FolderWord
    from spikecrate.store import Store

MDA: Final = ".mda"


@dataclass(frozen=True, kw_only=True)
class ComparedSorting:
    """One sorting of a comparison.

    Attributes
    ----------
    word : Path, str or tuple of Path
        How the request names it.
    file : str
        Name of its file in the folder of the input.
    path : Path
        The file.
    title : str
        Name for the tables.
    key : str
        Job key; empty for a user's file.
    recording : dict or None
        The run record's entry of the recording; None for a user's file.
    """

    word: FolderWord
    file: str
    path: Path
    title: str
    key: str = ""
    recording: dict[str, Any] | None = None

    @property
    def layout(self) -> Layout | None:
        """Layout of the recording that was sorted; None where it is not known."""
        return None if self.recording is None else Layout.from_dict(self.recording["layout"])

    def check(self, rate: float, samples: int | None) -> None:
        """Check a user's file; that of a result was checked when it was made.

        Parameters
        ----------
        rate : float
            Sampling frequency, Hz.
        samples : int or None
            Length of the recording; None where it is not known.

        Raises
        ------
        ResultInvalidError
            It is not a sorting of the recording; the message names the event.
        """
        from spikecrate.sortings import read_firings

        if self.key:
            return
        try:
            read_firings(self.path, rate, num_samples=samples)
        except ResultInvalidError as error:
            step = "correct the file: an MDA table of channel, time in samples and unit, one column a spike"
            raise ResultInvalidError(str(error), next_step=step, details=error.details) from None


@dataclass(frozen=True, kw_only=True)
class TruthBeside:
    """The ground truth beside the recording that was sorted.

    Attributes
    ----------
    path : Path or None
        The file; None where there is none.
    problem : str
        Why there is none.
    """

    path: Path | None = None
    problem: str = ""

    def require(self) -> Path:
        """Return the file.

        Raises
        ------
        UsageError
            There is none; the message says why.
        """
        if self.path is None:
            raise UsageError(self.problem, next_step="name the true sorting: --truth FILE")
        return self.path


def find_compared(word: Result | Path | str, store: Store, progress: Progress) -> ComparedSorting:
    """Find a sorting by what the user names.

    Parameters
    ----------
    word : Result, Path or str
        A result, its folder, the first digits of its job key, a file, or a folder with a `firings.mda`.
    store : Store
        The store.
    progress : Progress
        Receives a note about a corrupt result.

    Returns
    -------
    ComparedSorting

    Raises
    ------
    UsageError
        There is no sorting, or the result is none.
    JobNotFoundError, ResultCorruptError
        There is no such result.
    """
    return _find(word, (FIRINGS, TRUTH), store, progress)


def find_truth(word: Result | Path | str, store: Store, progress: Progress) -> ComparedSorting:
    """Find the truth by what the user names.

    Parameters
    ----------
    word : Result, Path or str
        As for `find_compared`; of a folder with both files the `firings_true.mda` is taken.
    store, progress
        As for `find_compared`.

    Returns
    -------
    ComparedSorting

    Raises
    ------
    UsageError, JobNotFoundError, ResultCorruptError
        As `find_compared`.
    """
    return _find(word, (TRUTH, FIRINGS), store, progress)


def _find(
    word: Result | Path | str, names: tuple[str, str], store: Store, progress: Progress
) -> ComparedSorting:
    path = Path() if isinstance(word, Result) else Path(word)
    if isinstance(word, Result) or (isinstance(word, str) and is_key(word)) or _is_result(path):
        folder, record = find_sorting(word, store, progress)
        # The recording that this call sorted may have moved since its record was written.
        here = word.recording if isinstance(word, Result) else None
        facts = recording_facts(record)
        if facts is not None and here is not None:
            facts = {**facts, "origin": here.origin}
        sorter, tool = sorter_of(record), record["tool"]
        return ComparedSorting(
            word=str(folder),
            file=FIRINGS,
            path=folder / FIRINGS,
            title=f"{sorter} curated" if sorter and tool["kind"] == CURATE else tool["name"],
            key=record["key"],
            recording=facts,
        )
    if path.is_dir():
        found = [path / name for name in names if (path / name).is_file()] or sorted(path.glob(f"*{MDA}"))
        if len(found) != 1 and (not found or found[0].name not in names):
            message = f"{path} has no {names[0]}"
            raise UsageError(message, next_step=f"name the {MDA} file of the sorting")
        path = found[0]
    elif not path.is_file():
        message = f"{path} is neither a job key nor a result, and there is no such file or folder"
        raise UsageError(message, next_step=f"name a sorting: a job key, a result folder or a {MDA} file")
    title = path.absolute().parent.name if path.name in names else path.stem
    # git-annex and DataLad make a link of each file, and an input of a step is none.
    real = path.resolve()
    return ComparedSorting(word=(real,), file=real.name, path=real, title=title or path.stem)


def _is_result(path: Path) -> bool:
    return (path / result_manifest.NAME).is_file()


def truth_beside(found: Sequence[ComparedSorting]) -> TruthBeside:
    """Find the `firings_true.mda` beside the recording of the first sorting that says which it is of.

    Parameters
    ----------
    found : sequence of ComparedSorting
        The sortings.

    Returns
    -------
    TruthBeside
    """
    facts = next((one.recording for one in found if one.recording is not None), None)
    if facts is None:
        return TruthBeside(problem="no sorting says which recording it is of, so its truth is not known")
    origin = facts["origin"]
    while "of" in origin and not origin["view"].keys() & {"start", "end"}:
        origin = origin["of"]
    if "path" not in origin:
        message = f"the times of {told_origin(origin)} are not those of a recording with a {TRUTH}"
        return TruthBeside(problem=message)
    place = Path(origin["path"])
    folder = place if place.is_dir() else place.parent
    if not (folder / TRUTH).is_file():
        return TruthBeside(problem=f"{folder} has no ground truth ({TRUTH})")
    return TruthBeside(path=folder / TRUTH)


def require_alike(
    found: Sequence[ComparedSorting], given: float | None, *, different_recordings: bool
) -> tuple[float, int | None]:
    """Check that all sortings are of one recording.

    Parameters
    ----------
    found : sequence of ComparedSorting
        The sortings, and the truth.
    given : float or None
        Sampling frequency that the user gives, Hz.
    different_recordings : bool
        Whether the recordings may differ, but for their sampling frequency.

    Returns
    -------
    rate : float
        Sampling frequency, Hz.
    samples : int or None
        Length of the recording, of several the largest; None where it is not known.

    Raises
    ------
    UsageError
        No sorting has a sampling frequency and none is given, or that is another.
    RecordingChangedError
        The recordings differ; the message names two sortings and what differs.
    """
    known = [(one, one.layout, one.recording or {}) for one in found]
    recorded = [(one, layout, facts) for one, layout, facts in known if layout is not None]
    if not recorded:
        if given is None:
            message = f"{found[0].path} has no run record, so its sampling frequency is not known"
            raise UsageError(message, next_step="pass it: --sampling-frequency 30000")
        if not 0 < given < float("inf"):
            message = f"sampling_frequency is {given:g} Hz"
            raise UsageError(message, next_step="pass a finite number of Hz above 0")
        return float(given), None
    first, layout, facts = recorded[0]
    rate = layout.sampling_frequency
    if given is not None and given != rate:
        message = f"the recording of {_told(first)} has {rate:g} Hz, --sampling-frequency is {given:g}"
        raise UsageError(message, next_step="leave --sampling-frequency out")
    for other, its, theirs in recorded[1:]:
        told = {
            "sampling frequency": (f"{rate:g} Hz", f"{its.sampling_frequency:g} Hz"),
            "samples": (layout.num_samples, its.num_samples),
        }
        differing = [f"{name} {mine} and {yours}" for name, (mine, yours) in told.items() if mine != yours]
        if not differing and facts["identity"] != theirs["identity"]:
            differing = ["equal size, but other samples, channels, gains or probe"]
        if differing and not (different_recordings and its.sampling_frequency == rate):
            message = f"{_told(first)} and {_told(other)} are of different recordings: {'; '.join(differing)}"
            step = "compare sortings of one recording"
            if its.sampling_frequency == rate:
                step += "; if their times count from the same start, pass --different-recordings"
            raise RecordingChangedError(message, next_step=step)
    return rate, max(one.num_samples for _, one, _ in recorded)


def _told(one: ComparedSorting) -> str:
    where = "" if one.recording is None else f" of {told_origin(one.recording['origin'])}"
    return f"{one.title} {one.key[:12]}{where}"


def name_each(found: Sequence[ComparedSorting], names: Sequence[str]) -> list[str]:
    """Return a name for each sorting: the given ones, or those of the sorters and folders.

    Parameters
    ----------
    found : sequence of ComparedSorting
        The sortings.
    names : sequence of str
        The given names; may be empty.

    Returns
    -------
    list of str
        All different.

    Raises
    ------
    UsageError
        Too few or too many names are given, two are the same, or one is reserved or has a control character.
    """
    if names:
        broken = next((name for name in names if printable(name, one_line=True) != name), None)
        if broken is not None:
            message = f"the name {broken!r} has a control character"
            raise UsageError(message, next_step="name the sorting in letters, digits and spaces")
        wrong = sorted(RESERVED & {*names})
        if len({*names}) != len(found) or len(names) != len(found) or wrong or "" in names:
            message = f"the names {', '.join(names)} are not {len(found)} different ones"
            raise UsageError(
                message, next_step=f"name each sorting once, none of them {', '.join(sorted(RESERVED))}"
            )
        return list(names)
    titles = [one.title for one in found]
    chosen: list[str] = []
    for one in found:
        name = one.title
        if titles.count(name) > 1 or name in RESERVED:
            name = f"{name}-{one.key[:8]}" if one.key else name
        number, base = 2, name
        while name in RESERVED or name in chosen:
            name, number = f"{base}-{number}", number + 1
        chosen.append(name)
    return chosen
