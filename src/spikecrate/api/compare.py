"""Compare sortings with ground truth and with each other: a step of the tool `compare`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Once, default_progress
from spikecrate.api.compared_sortings import (
    ComparedSorting,
    find_compared,
    find_truth,
    name_each,
    require_alike,
    truth_beside,
)
from spikecrate.api.run import find_or_run
from spikecrate.errors import UsageError
from spikecrate.sortings.comparison.folder import ComparisonTables, read_comparison
from spikecrate.sortings.comparison.tables import EVENTS, LABELS
from spikecrate.steps.kinds import COMPARE, KINDS
from spikecrate.steps.request import StepRequest
from spikecrate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from spikecrate._util.progress import Progress
    from spikecrate.api.plot import Picture
    from spikecrate.api.result import Result
    from spikecrate.api.run import Output
    from spikecrate.sortings import Sorting
    from spikecrate.sortings.comparison.consensus import ConsensusUnit
    from spikecrate.sortings.comparison.tables import FoundUnit, TrueUnit, UnitPair

TOOL: Final = "compare"
OF_THE_SORTINGS: Final = frozenset({"sampling_frequency", "duration_s", "names", "files", "truth_file"})
"""Parameters of the tool that follow from the sortings."""
AUTO: Final = "auto"
"""The truth beside the recording that was sorted."""


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """Sortings compared with ground truth and with each other; docs/compare.md explains every field of its tables.

    Attributes
    ----------
    result : Result
        The result of the step, with its key, status, run record and the user's copy.
    """

    result: Result

    @property
    def folder(self) -> Path:
        """The folder of the tables in the store."""
        return self.result.folder / KINDS[COMPARE].folder

    @property
    def names(self) -> list[str]:
        """Names of the sortings, in their order."""
        names: list[str] = self.result.parameters["names"]
        return names

    @cached_property
    def tables(self) -> ComparisonTables:
        """Every table."""
        return read_comparison(self.folder, self.names)

    @property
    def truth(self) -> tuple[TrueUnit, ...]:
        """What each sorting makes of each true unit; empty without truth."""
        return self.tables.truth

    @property
    def units(self) -> tuple[FoundUnit, ...]:
        """Every unit of every sorting."""
        return self.tables.units

    @property
    def agreement(self) -> tuple[UnitPair, ...]:
        """Every two units of two sortings, or of the truth and a sorting, with a match."""
        return self.tables.agreement

    @property
    def consensus(self) -> tuple[ConsensusUnit, ...]:
        """Units that several sortings have, with their labels there; empty for a single sorting."""
        return self.tables.consensus

    @property
    def summary(self) -> dict[str, Any]:
        """Settings, counts and means of each sorting, as in `comparison.json`."""
        return self.tables.summary

    @cached_property
    def consensus_sorting(self) -> Sorting:
        """The events that enough sortings have, labelled by the unit of `consensus`."""
        from spikecrate.sortings import read_firings

        return read_firings(self.folder / EVENTS, self.result.parameters["sampling_frequency"])

    @cached_property
    def labels(self) -> dict[str, NDArray[np.generic]]:
        """Label of every spike, by the names of `summary["labels"]`."""
        import numpy as np

        with np.load(self.folder / LABELS, allow_pickle=False) as arrays:
            return dict(arrays)

    def plot(self, **options: Any) -> Picture:
        """Draw the comparison.

        Parameters
        ----------
        **options
            As for `spikecrate.plot`.

        Returns
        -------
        Picture
        """
        return self.result.plot(**options)

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as `--json` prints it; of the agreements those of assigned units."""
        summary = self.summary
        return {
            **self.result.run_facts,
            "folder": str(self.folder),
            **{name: summary[name] for name in ("settings", "sortings", "with_truth", "pairs", "consensus")},
            "truth": [asdict(unit) for unit in self.truth],
            "units": [asdict(unit) for unit in self.units],
            "assigned": [asdict(pair) for pair in self.agreement if pair.assigned],
            "consensus_units": [asdict(unit) for unit in self.consensus],
        }


def compare(
    result: Result | Path | str,
    *others: Result | Path | str,
    truth: Result | Path | str | None = None,
    names: Sequence[str] = (),
    sampling_frequency: float | None = None,
    different_recordings: bool = False,
    output: Output = None,
    store: Path | str | None = None,
    progress: Progress | None = None,
    params: dict[str, Any] | None = None,
    **options: Any,
) -> ComparisonResult:
    """Compare sortings of one recording with ground truth, with each other, or both.

    Parameters
    ----------
    result, *others : Result, Path or str
        The sortings; also their result folders, the first digits of their job keys, a `firings.mda` or a folder with
        one.
    truth : Result, Path or str, optional
        The true sorting, named in the same ways; "auto" for the `firings_true.mda` beside the recording.
    names : sequence of str, optional
        Names of the sortings in the tables; by default those of the sorters, or of the folders.
    sampling_frequency : float, optional
        Hz; needed only where no sorting has a run record.
    different_recordings : bool
        Whether the sortings may be of recordings that differ in more than their path, such as a recording and its
        filtered copy.
    output, store, progress
        As for `sort`.
    params : dict, optional
        Parameters of the tool `compare`: `tolerance_ms`, `match_score`, `truth_offset_ms`, `exhaustive` and so on.
    **options
        `runtime`, `cores`, `memory_bytes`, `timeout_s`, `seed`, `force` as for `sort`.

    Returns
    -------
    ComparisonResult
        With the tables `truth`, `units`, `agreement` and `consensus`.

    Raises
    ------
    UsageError
        There is nothing to compare, a file is missing, or the sampling frequency is not known.
    RecordingChangedError
        The sortings are of different recordings; the message names what differs.
    ResultInvalidError
        A file is not a sorting of the recording.
    spikecrate.errors.SpikecrateError
        As for `sort`.
    """
    if wrong := sorted(OF_THE_SORTINGS & (params or {}).keys()):
        message = f"the parameter {wrong[0]} follows from the sortings"
        raise UsageError(message, next_step="leave it out; --sampling-frequency and --name are options")
    shelf, shown = open_store(store), Once(progress or default_progress())
    found = [find_compared(word, shelf, shown) for word in (result, *others)]
    beside = truth_beside(found)
    true: ComparedSorting | None = None
    if truth == AUTO:
        true = find_truth(beside.require(), shelf, shown)
    elif truth is not None:
        true = find_truth(truth, shelf, shown)
    elif beside.path is not None:
        shown.note(f"the recording has ground truth, {beside.path}: --truth auto compares with it")
    if len(found) == 1 and true is None:
        message = "one sorting, and no truth to compare it with"
        raise UsageError(message, next_step="name a second sorting, or the truth: --truth FILE")
    every = [*found, *([true] if true else [])]
    keys = [one.key for one in every if one.key]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        shown.note(f"the sorting {key[:12]} is compared with itself")
    rate, samples = require_alike(every, sampling_frequency, different_recordings=different_recordings)
    for sorting in every:
        sorting.check(rate, samples)
    request = StepRequest(
        tool=TOOL,
        inputs={"sortings": [one.word for one in found], **({"truth": true.word} if true else {})},
        params={
            **(params or {}),
            "sampling_frequency": rate,
            "duration_s": None if samples is None else samples / rate,
            "names": name_each(found, names),
            "files": [one.file for one in found],
            **({"truth_file": true.file} if true else {}),
        },
        **options,
    )
    return ComparisonResult(result=find_or_run(request, shelf, shown, output=output))
