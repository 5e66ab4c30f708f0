"""What `study.run` would do with each job of a plan, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from spikecrate.steps.plan import is_running
from spikecrate.studies.status import status_of

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate.store import Store
    from spikecrate.studies.plan import Plan, PlannedJob
    from spikecrate.studies.status import JobStatus


@dataclass(frozen=True, kw_only=True)
class Action:
    """What becomes of one job.

    Attributes
    ----------
    index : int
        Its number in the plan.
    key : str or None
        Its job key.
    recording, variant : str
        Their names in the study.
    seed : int
        Seed of the sorter.
    action : str
        `hit`: the store has the result. `wait`: a process runs it. `run`. `none`: it cannot run, or failed before.
    reason : str
        Why.
    memory_bytes : int or None
        Expected peak memory; None, as the two below, where no run was measured.
    wall_s : float or None
        Expected duration, s.
    disk_bytes : int or None
        Expected size of the result.
    """

    index: int
    key: str | None
    recording: str
    variant: str
    seed: int
    action: Literal["hit", "wait", "run", "none"]
    reason: str
    memory_bytes: int | None
    wall_s: float | None
    disk_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Actions:
    """What becomes of every job of a study.

    Attributes
    ----------
    name : str
        Name of the study.
    cores : int
        Processors of each job.
    jobs : tuple of Action
        In order of the plan.
    """

    name: str
    cores: int
    jobs: tuple[Action, ...]

    @property
    def to_run(self) -> list[Action]:
        """The jobs that would run, one a key."""
        return list({job.key: job for job in self.jobs if job.action == "run"}.values())

    @property
    def totals(self) -> dict[str, Any]:
        """Number of jobs by action; of those to run the summed time and disk and the largest memory that are known."""
        run = self.to_run
        counts = {
            action: sum(job.action == action for job in self.jobs)
            for action in ("hit", "wait", "run", "none")
        }
        return {
            **counts,
            "unmeasured": sum(job.wall_s is None for job in run),
            "wall_s": round(sum(job.wall_s or 0 for job in run), 1),
            "memory_bytes": max((job.memory_bytes or 0 for job in run), default=0),
            "disk_bytes": sum(job.disk_bytes or 0 for job in run),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the actions as `--json` prints them."""
        return {"name": self.name, "totals": self.totals, "jobs": [asdict(job) for job in self.jobs]}


def actions(plan: Plan, folder: Path, store: Store) -> Actions:
    """Tell what `study.run` would do with each job.

    Parameters
    ----------
    plan : Plan
        The plan.
    folder : Path
        The study's folder.
    store : Store
        The store with the results.

    Returns
    -------
    Actions
    """
    states = status_of(plan, folder, store).jobs
    return Actions(
        name=plan.name,
        cores=plan.resources.cores,
        jobs=tuple(_action(plan, job, state, store) for job, state in zip(plan.jobs, states, strict=True)),
    )


def _action(plan: Plan, job: PlannedJob, state: JobStatus, store: Store) -> Action:
    action: Literal["hit", "wait", "run", "none"] = "run"
    if state.status == "finished":
        action, reason = "hit", "the store has the result"
    elif state.error is not None:
        action, reason = "none", f"{state.error.kind}: {state.error.message}"
    elif state.status == "running" or is_running(store, str(job.key)):
        action, reason = "wait", "a process runs it"
    else:
        reason = {"died": "its process died", "cancelled": "it was stopped"}.get(state.status, job.why)
    return Action(
        index=state.index,
        key=job.key,
        recording=plan.recordings[job.recording].name,
        variant=plan.variants[job.variant].name,
        seed=job.seed,
        action=action,
        reason=reason,
        memory_bytes=job.memory_bytes,
        wall_s=job.wall_s,
        disk_bytes=job.disk_bytes,
    )
