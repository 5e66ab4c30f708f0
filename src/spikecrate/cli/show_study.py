"""Print the plan and the state of a study."""

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from spikecrate._util.progress import duration
from spikecrate._util.quantities import counted, format_bytes
from spikecrate.cli.text import say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate.studies.actions import Action, Actions
    from spikecrate.studies.outcome import OutcomeDocument, OutcomeJob
    from spikecrate.studies.status import JobStatus, StudyStatus

SHOWN: Final = 200
"""Most rows of a table for people; `--json` has all."""
GOOD: Final = 0.8
"""Least accuracy of a true unit that counts as found; SpikeForest uses the same."""
WORDS: Final = {"hit": "cache hit", "wait": "running", "run": "to run", "none": "cannot run"}


def show_plan(found: "Actions") -> None:
    """Print every job with what becomes of it and why, and the totals.

    Parameters
    ----------
    found : Actions
        What becomes of each job.
    """
    head = ("job", "recording", "sorter", "seed", "action", "time", "memory", "disk", "why")
    table(head, [_planned(job) for job in found.jobs[:SHOWN]])
    if len(found.jobs) > SHOWN:
        say(f"… and {len(found.jobs) - SHOWN} more; --json lists all")
    totals = found.totals
    say(
        f"{counted(len(found.jobs), 'job')}: "
        + ", ".join(f"{totals[name]} {WORDS[name]}" for name in WORDS if totals[name])
    )
    measured = totals["run"] and totals["unmeasured"] < len(found.to_run)
    if measured:
        disk = f", {format_bytes(totals['disk_bytes'])} of disk" if totals["disk_bytes"] else ""
        cores = f"{found.cores} core{'s' if found.cores > 1 else ''}"
        say(
            f"to run: about {duration(totals['wall_s'])} one after the other with {cores}, "
            f"up to {format_bytes(totals['memory_bytes'])} of memory a job{disk}"
        )
    if totals["unmeasured"]:
        say(f"{totals['unmeasured']} of them have no forecast: their sorters have no measured run")


def show_status(found: "StudyStatus") -> None:
    """Print the number of jobs in each state, and every job that is neither finished nor waiting.

    Parameters
    ----------
    found : StudyStatus
        The state of the study.
    """
    counts = ", ".join(f"{number} {status}" for status, number in found.counts.items())
    say(f"{found.name}: {counted(len(found.jobs), 'job')}: {counts}")
    shown = [job for job in found.jobs if job.status not in ("finished", "waiting")]
    if shown:
        say()
        table(
            ("job", "status", "attempt", "recording: sorter", "error", "cause"),
            [_state(job) for job in shown[:SHOWN]],
        )
    if len(shown) > SHOWN:
        say(f"… and {len(shown) - SHOWN} more; --json lists all")
    for line in _next_steps(shown):
        say(line)


def show_outcome(found: "OutcomeDocument") -> None:
    """Print for each study set and sorter how many jobs failed, and how well the true units were found.

    Parameters
    ----------
    found : OutcomeDocument
        The outcome of the study.
    """
    sets = {recording.name: recording.study_set for recording in found.recordings}
    groups: dict[tuple[str, str], list[OutcomeJob]] = defaultdict(list)
    for job in found.jobs:
        groups[sets[job.recording], job.variant].append(job)
    head = (
        "study set",
        "sorter",
        "jobs",
        "finished",
        "failed",
        "true units",
        "mean accuracy",
        f"units above {GOOD}",
    )
    table(head, [_compared(*names, jobs) for names, jobs in groups.items()])
    say("means are over the true units of finished jobs; --json has every unit")


def _compared(study_set: str, variant: str, jobs: "Sequence[OutcomeJob]") -> tuple[object, ...]:
    accuracies = [score.accuracy for job in jobs for score in job.scores or ()]
    compared = any(job.scores is not None for job in jobs)
    return (
        study_set,
        variant,
        len(jobs),
        sum(job.status == "finished" for job in jobs),
        sum(job.status in ("failed", "died") for job in jobs),
        len(accuracies) if compared else None,
        round(sum(accuracies) / len(accuracies), 4) if accuracies else None,
        sum(accuracy >= GOOD for accuracy in accuracies) if compared else None,
    )


def _next_steps(jobs: "Sequence[JobStatus]") -> list[str]:
    lines = []
    if any(job.status == "failed" and job.key is None for job in jobs):
        lines.append("next: mend what cannot be opened, then spikecrate study.run STUDY --replan")
    if any(job.status == "failed" and job.key is not None for job in jobs):
        lines.append("next: spikecrate study.logs STUDY JOB shows why; study.retry runs failed jobs again")
    if any(job.status in ("died", "cancelled") for job in jobs):
        lines.append("next: spikecrate study.run STUDY runs stopped jobs again")
    return lines


def _planned(job: "Action") -> tuple[object, ...]:
    return (
        job.index,
        job.recording,
        job.variant,
        job.seed,
        WORDS[job.action],
        duration(job.wall_s) if job.wall_s is not None and job.action == "run" else None,
        format_bytes(job.memory_bytes) if job.memory_bytes is not None and job.action == "run" else None,
        format_bytes(job.disk_bytes) if job.disk_bytes is not None and job.action == "run" else None,
        job.reason,
    )


def _state(job: "JobStatus") -> tuple[object, ...]:
    error = job.error
    return (
        job.index,
        job.status,
        job.attempts or None,
        job.title,
        error.kind if error else None,
        (error.cause or error.message) if error else None,
    )
