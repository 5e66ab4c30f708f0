"""The state of a study's jobs: read from the store, then from the attempts; what is in neither has not started."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.steps.paths import FAILURE
from spikecrate.studies.attempts import Attempts
from spikecrate.studies.outcome import OutcomeError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from spikecrate.store import Store
    from spikecrate.studies.attempts import Attempt
    from spikecrate.studies.outcome import Status
    from spikecrate.studies.plan import Plan

ORDER: Final[tuple[Status, ...]] = ("finished", "running", "waiting", "failed", "died", "cancelled")


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """The state of one job.

    Attributes
    ----------
    index : int
        Its number in the plan.
    key : str or None
        Its job key.
    title : str
        Recording, variant and seed.
    status : str
        As `spikecrate.studies.outcome.Status` lists them.
    attempts : int
        How many attempts there were; 0 for a cache hit.
    error : OutcomeError or None
        Why it failed.
    """

    index: int
    key: str | None
    title: str
    status: Status
    attempts: int = 0
    error: OutcomeError | None = None


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """The state of a study.

    Attributes
    ----------
    name, folder : str
        Name and folder of the study.
    jobs : tuple of JobStatus
        In order of the plan.
    """

    name: str
    folder: str
    jobs: tuple[JobStatus, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of jobs in each state that occurs."""
        counted = Counter(job.status for job in self.jobs)
        return {status: counted[status] for status in ORDER if counted[status]}

    def as_dict(self) -> dict[str, Any]:
        """Return the state as `--json` prints it."""
        jobs = [asdict(job) for job in self.jobs]
        return {"name": self.name, "folder": self.folder, "counts": self.counts, "jobs": jobs}


def status_of(plan: Plan, folder: Path, store: Store, indices: Iterable[int] | None = None) -> StudyStatus:
    """Return the state of the jobs of a plan.

    Parameters
    ----------
    plan : Plan
        The plan.
    folder : Path
        The study's folder.
    store : Store
        The store with the results.
    indices : iterable of int, optional
        Numbers of the jobs; by default all.

    Returns
    -------
    StudyStatus
    """
    attempts = Attempts(folder)
    chosen = range(len(plan.jobs)) if indices is None else list(indices)
    one = len(chosen) == 1
    known = {} if one else attempts.read_all()
    jobs = []
    for index in chosen:
        job = plan.jobs[index]
        title = plan.title(index)
        if job.key is None:
            problem = job.problem
            error = None if problem is None else OutcomeError(kind=problem.kind, message=problem.message)
            jobs.append(JobStatus(index=index, key=None, title=title, status="failed", error=error))
            continue
        attempt = attempts.read(job.key) if one else known.get(job.key)
        status, error = _judge(job.key, attempt, attempts, store)
        number = attempt.number if attempt else 0
        jobs.append(
            JobStatus(index=index, key=job.key, title=title, status=status, attempts=number, error=error)
        )
    return StudyStatus(name=plan.name, folder=str(folder), jobs=tuple(jobs))


def _judge(
    key: str, attempt: Attempt | None, attempts: Attempts, store: Store
) -> tuple[Status, OutcomeError | None]:
    if os.path.lexists(f"{store.results}/{key[:2]}/{key}"):
        return "finished", None
    if attempt is None or attempt.state in ("waiting", "finished"):
        # A finished job without a result: `store.gc` has removed it.
        return "waiting", None
    if attempt.state == "failed":
        return "failed", error_of(attempt.error or {})
    if attempt.state == "stopped":
        return "cancelled", None
    if attempts.is_alive(key, attempt):
        return "running", None
    failure = _failure_since(attempt, store.failure(key) / FAILURE)
    return ("died", None) if failure is None else ("failed", failure)


def error_of(found: dict[str, Any]) -> OutcomeError:
    """Return the class, the first line and the cause of an error.

    Parameters
    ----------
    found : dict
        The error as `--json` prints it.

    Returns
    -------
    OutcomeError
    """
    headline, _, excerpt = str(found.get("message", "")).partition("\n")
    lines = [line.strip() for line in excerpt.splitlines() if line.strip()]
    return OutcomeError(
        kind=str(found.get("error", "SpikecrateError")),
        message=headline.removesuffix("; its last lines:").removesuffix("; the last lines:"),
        cause=lines[-1] if lines else "",
    )


def _failure_since(attempt: Attempt, path: Path) -> OutcomeError | None:
    """Return the failure that the store keeps of an attempt whose worker died before it could note it."""
    try:
        found = json.loads(path.read_bytes())
        return error_of(found) if str(found["at"]) >= attempt.started else None
    except (OSError, ValueError, LookupError, TypeError):
        return None
