"""Forecast a step: cache hit or miss and why, where it would run, its command line, memory and time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from spikecrate.runtimes import choose
from spikecrate.steps.estimate import estimate
from spikecrate.steps.paths import WorkPaths
from spikecrate.steps.plan import plan
from spikecrate.steps.run import make_spec

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.steps.estimate import Estimate
    from spikecrate.steps.job import Job
    from spikecrate.steps.plan import Plan
    from spikecrate.steps.request import Request
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What `sort` would do, for `--dry-run`.

    Attributes
    ----------
    job : Job
        The job.
    plan : Plan
        Cache hit, wait or run, and why.
    runtime : str
        Where it would run.
    image : str
        Reference of the image, or path of the environment.
    argv : list of str
        The exact command line.
    estimate : Estimate or None
        Memory and time, estimated from earlier runs; None if no run was measured.
    """

    job: Job
    plan: Plan
    runtime: str
    image: str
    argv: list[str]
    estimate: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """Return the forecast as `--json` prints it."""
        return {
            "key": self.job.key,
            "action": self.plan.action,
            "reasons": list(self.plan.reasons),
            "nearest": self.plan.nearest,
            "runtime": self.runtime,
            "image": self.image,
            "argv": self.argv,
            "estimate": None if self.estimate is None else asdict(self.estimate),
        }


def forecast(request: Request, store: Store, progress: Progress) -> Forecast:
    """Return what `sort` would do, and why; nothing runs.

    Parameters
    ----------
    request : Request
        Recording, sorter, parameters and limits.
    store : Store
        Where results are.
    progress : Progress
        Shows how far the hash of the recording is.

    Returns
    -------
    Forecast

    Raises
    ------
    spikecrate.errors.SpikecrateError
        If `sort` would refuse the request.
    """
    job = request.job(store, progress)
    job.check()
    job.note_assumptions(progress)
    engine = choose(request.runtime, store, progress, request=job.build)
    image = engine.preview(job.build)
    spec = make_spec(job, image, request.limits, WorkPaths(store.work / f"{job.key}-attempt"), store)
    return Forecast(
        job=job,
        plan=plan(job, store, progress, force=request.force),
        runtime=engine.name,
        image=image.reference,
        argv=engine.command(spec),
        estimate=estimate(job, store),
    )
