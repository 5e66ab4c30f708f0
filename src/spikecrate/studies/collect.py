"""Collect the outcome of a study: its plan, the state of its jobs, and every result compared with the truth.

What was compared is remembered in the study's folder by content: job, truth and options of the comparison. A second
report reads neither a sorting nor a sample.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, cast

from spikecrate._util.canonical import digest
from spikecrate._util.files import write_atomically
from spikecrate._version import __version__
from spikecrate.errors import RecordingError, SpikecrateError, StoppedError
from spikecrate.sortings import classify, compare, read_firings
from spikecrate.sortings.comparison.compare import agree
from spikecrate.steps.paths import FIRINGS
from spikecrate.store import results
from spikecrate.studies.outcome import (
    DIGITS,
    FoundUnit,
    JobAgreement,
    OutcomeDocument,
    OutcomeJob,
    OutcomeRecording,
    OutcomeVariant,
    TrueUnit,
    UnitScore,
)
from spikecrate.studies.planning import open_planned
from spikecrate.studies.status import status_of
from spikecrate.studies.truths import measure_truth, read_truth, truth_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.sortings import Comparison, Sorting
    from spikecrate.store import Store
    from spikecrate.studies.outcome import UnitClass
    from spikecrate.studies.plan import Plan, PlannedRecording
    from spikecrate.studies.status import JobStatus

COMPARED: Final = "compared.json"
"""File in the study's folder with what was compared, by content."""
FORM: Final = 1
"""Grows when what is remembered changes its form or its meaning."""


def collect(plan: Plan, folder: Path, store: Store, progress: Progress) -> OutcomeDocument:
    """Collect the outcome of a study.

    Parameters
    ----------
    plan : Plan
        The plan.
    folder : Path
        The study's folder, which remembers what was compared.
    store : Store
        The store with the results.
    progress : Progress
        Shows how many jobs were compared.

    Returns
    -------
    OutcomeDocument
        Jobs that have no result are there with their status.
    """
    memory = _Memory.read(folder / COMPARED)
    collector = _Collector(plan, store, progress, memory)
    states = status_of(plan, folder, store).jobs
    with progress.bar(f"comparing {plan.name}", len(states)) as advance:
        recordings = [collector.recording(place) for place in range(len(plan.recordings))]
        jobs = []
        for state in states:
            jobs.append(collector.job(state))
            advance(1)
        agreements = list(collector.agreements(jobs))
    memory.write(folder / COMPARED)
    return OutcomeDocument(
        name=plan.name,
        version=__version__,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        **asdict(plan.comparison),
        recordings=tuple(recordings),
        variants=tuple(
            OutcomeVariant(name=one.name, sorter=one.sorter, version=one.version, params=one.params)
            for one in plan.variants
        ),
        jobs=tuple(jobs),
        agreements=tuple(agreements),
    )


@dataclass
class _Memory:
    """Answers by the hash of all that they depend on; those that are asked for no more are forgotten."""

    known: dict[str, Any]
    used: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Memory:
        try:
            known = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            known = {}
        return cls(known if isinstance(known, dict) else {})

    def write(self, path: Path) -> None:
        if self.used != self.known:
            write_atomically(path, json.dumps(self.used).encode(), flush=False)

    def ask(self, question: list[Any], answer: Callable[[], Any]) -> Any:
        key = digest([FORM, *question])
        if key not in self.used:
            self.used[key] = self.known[key] if key in self.known else answer()
        return self.used[key]


@dataclass
class _Collector:
    plan: Plan
    store: Store
    progress: Progress
    memory: _Memory
    hashes: dict[int, str] = field(default_factory=dict)
    """Hash of the truth of each recording that has one, by the recording's place in the plan."""
    truths: dict[int, Sorting] = field(default_factory=dict)

    def recording(self, place: int) -> OutcomeRecording:
        planned = self.plan.recordings[place]
        shared = ("name", "study_set", "path", "channels", "duration_s", "sampling_frequency", "exhaustive")
        return OutcomeRecording(
            **{name: getattr(planned, name) for name in shared},
            tags=tuple(planned.tags),
            true_units=self._true_units(place, planned),
        )

    def _true_units(self, place: int, planned: PlannedRecording) -> tuple[TrueUnit, ...] | None:
        """Return the true units, and note the hash of the truth; None where there is none, or it cannot be read."""
        if not planned.truth or planned.duration_s is None:
            return None
        try:
            hashed = truth_hash(planned)
            units = self.memory.ask(["truth", hashed], lambda: self._measured(place, planned))
        except StoppedError:
            raise
        except RecordingError as error:
            self.progress.note(f"{planned.name} has no SNR: {error}")
            units = list(map(asdict, measure_truth(self._truth(place), None, planned.duration_s)))
        except (OSError, SpikecrateError) as error:
            self.progress.note(f"{planned.name} is compared with no truth: {error}")
            return None
        self.hashes[place] = hashed
        return tuple(TrueUnit(**unit) for unit in units)

    def _measured(self, place: int, planned: PlannedRecording) -> list[dict[str, Any]]:
        truth = self._truth(place)
        runtime = self.plan.resources.runtime
        recording = open_planned(planned, self.store, self.progress, runtime=runtime)
        return list(map(asdict, measure_truth(truth, recording, recording.duration_s)))

    def _truth(self, place: int) -> Sorting:
        if place not in self.truths:
            # Jobs are ordered by recording: the truth of one is enough.
            self.truths = {place: read_truth(self.plan.recordings[place])}
        return self.truths[place]

    def job(self, state: JobStatus) -> OutcomeJob:
        job = self.plan.jobs[state.index]
        found = OutcomeJob(
            index=state.index,
            key=state.key,
            recording=self.plan.recordings[job.recording].name,
            variant=self.plan.variants[job.variant].name,
            seed=job.seed,
            status=state.status,
            error=state.error,
        )
        if state.key is None or state.status != "finished":
            return found
        planned, truth = self.plan.recordings[job.recording], self.hashes.get(job.recording)
        options = None if truth is None else [truth, planned.exhaustive, asdict(self.plan.comparison)]
        question = ["job", *self._made(state.key), options]
        facts = self.memory.ask(question, lambda: self._facts(job.recording, str(state.key)))
        if facts is None:
            # Removed, or set aside as corrupt, since its state was read.
            return replace(found, status="waiting")
        scores = facts["scores"]
        return replace(
            found,
            **{name: facts[name] for name in ("wall_s", "peak_memory_bytes", "cores", "runtime")},
            warnings=tuple(facts["warnings"]),
            found=tuple(FoundUnit(**unit | {"classes": tuple(unit["classes"])}) for unit in facts["found"]),
            scores=None if scores is None else tuple(UnitScore(**score) for score in scores),
        )

    def _made(self, key: str) -> list[Any]:
        """Return what names a result for good: a run with `--force` may replace it by one of other bytes."""
        return [key, results.identity(self.store, key)]

    def _facts(self, place: int, key: str) -> dict[str, Any] | None:
        """Read a result, and compare it with the truth where there is one."""
        stored = results.find(self.store, key, self.progress.note)
        if stored is None:
            return None
        planned, record = self.plan.recordings[place], stored.record
        sorting = read_firings(stored.folder / FIRINGS, planned.sampling_frequency or 0)
        comparison = None
        if place in self.hashes:
            options = asdict(self.plan.comparison)
            comparison = compare(self._truth(place), sorting, options.pop("tolerance_ms"), **options)
        classes = _classes(comparison, exhaustive=planned.exhaustive)
        duration_s = planned.duration_s or 1.0
        return {
            "wall_s": record["wall_s"],
            "peak_memory_bytes": record["peak_memory_bytes"],
            "cores": record["limits"]["cores"],
            "runtime": record["runtime"],
            "warnings": record.get("warnings", []),
            "found": [
                asdict(
                    FoundUnit(
                        unit=unit,
                        events=len(train),
                        rate_hz=round(len(train) / duration_s, DIGITS),
                        classes=tuple(classes.get(unit, ())),
                    )
                )
                for unit, train in sorting.trains().items()
            ],
            "scores": None if comparison is None else list(map(asdict, _scores(comparison))),
        }

    def agreements(self, jobs: list[OutcomeJob]) -> Iterator[JobAgreement]:
        """Compare the finished jobs of each recording without truth, each pair once."""
        groups: dict[int, list[OutcomeJob]] = defaultdict(list)
        for job in jobs:
            place = self.plan.jobs[job.index].recording
            if job.found is not None and place not in self.hashes:
                groups[place].append(job)
        for place, members in groups.items():
            sortings = _Sortings(self.store, self.plan.recordings[place].sampling_frequency or 0)
            for first, second in combinations(members, 2):
                keys = str(first.key), str(second.key)
                question = ["agreement", *map(self._made, keys)]
                overall = self.memory.ask(question, partial(sortings.agreement, *keys))
                yield JobAgreement(first=first.index, second=second.index, overall=overall)


@dataclass
class _Sortings:
    """The sortings of one recording, each read once."""

    store: Store
    sampling_frequency: float
    known: dict[str, Sorting] = field(default_factory=dict)

    def agreement(self, first: str, second: str) -> float:
        return round(agree(self._read(first), self._read(second)).overall, DIGITS)

    def _read(self, key: str) -> Sorting:
        if key not in self.known:
            self.known[key] = read_firings(self.store.result(key) / FIRINGS, self.sampling_frequency)
        return self.known[key]


def _classes(comparison: Comparison | None, *, exhaustive: bool) -> dict[int, list[UnitClass]]:
    """Return the classes of each found unit that has any."""
    found: dict[int, list[UnitClass]] = defaultdict(list)
    if comparison is not None:
        for name, units in asdict(classify(comparison, exhaustive=exhaustive)).items():
            for unit in units or ():
                found[unit].append(cast("UnitClass", name))
    return found


def _scores(comparison: Comparison) -> Iterator[UnitScore]:
    for one, best in zip(comparison.assigned, comparison.best, strict=True):
        yield UnitScore(
            unit=one.unit,
            found=one.found,
            matched=one.matches,
            missed=one.misses,
            extra=one.false_positives,
            **{name: round(getattr(one, name), DIGITS) for name in ("accuracy", "precision", "recall")},
            best=best.found,
            **{
                f"best_{name}": round(getattr(best, name), DIGITS)
                for name in ("accuracy", "precision", "recall")
            },
        )
