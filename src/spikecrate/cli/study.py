"""Commands on studies: recordings × sorters × parameters, on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Progress
from spikecrate.cli.choices import FilePath
from spikecrate.cli.command import command
from spikecrate.cli.show_study import show_outcome, show_plan, show_status
from spikecrate.cli.text import as_json, say
from spikecrate.errors import JobFailedError, UsageError
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.studies.actions import Actions
    from spikecrate.studies.outcome import OutcomeDocument
    from spikecrate.studies.plan import Plan
    from spikecrate.studies.status import StudyStatus

STUDIES: Final = "run and compare many"


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Options of `study.run` and `study.retry`.

    Attributes
    ----------
    jobs : N
        most jobs at once; by default as many as cores, memory and GPUs allow; example: 2
    """

    jobs: int | None = None


def folder_of(study: Path) -> Path:
    """Return the folder of a study's plan, logs and attempts.

    Parameters
    ----------
    study : Path
        The study's file, or that folder itself.

    Returns
    -------
    Path
    """
    return study if study.is_dir() else study.with_name(f"{study.stem}-run")


@command("study.new", STUDIES, "looking for recordings in {folder}")
def study_new(folder: FilePath, output: FilePath = Path("study.yaml")) -> dict[str, Any]:
    """Write a commented study.yaml for the recordings in a folder; the one to edit.

    Parameters
    ----------
    folder : FOLDER
        a folder of recordings, at any depth up to six
    output : FILE
        the file to write; example: day1.yaml

    Examples
    --------
    spikecrate study.new data/
    """
    from spikecrate.studies.template import write_study

    found = write_study(folder, output)
    return {"study": str(output), "recordings": len(found), "next": f"spikecrate study.plan {output}"}


@command("study.plan", STUDIES, "planning {study}", show=show_plan)
def study_plan(study: FilePath, *, progress: Progress) -> "Actions":
    """Show every job of a study: cache hit or to run, why, and a forecast of time, memory and disk; run nothing.

    Parameters
    ----------
    study : STUDY
        the study's file

    Examples
    --------
    spikecrate study.plan study.yaml
    """
    from spikecrate.studies.actions import actions
    from spikecrate.studies.definition import read_study
    from spikecrate.studies.planning import make_plan

    read, store = read_study(study), open_store()
    return actions(make_plan(read, store, progress), read.folder, store)


@command("study.run", STUDIES, "running {study}")
def study_run(
    study: FilePath, options: EngineOptions, replan: bool = False, json: bool = False, *, progress: Progress
) -> None:
    """Run every job of a study that has no result; the same command again goes on where it was stopped.

    A failed job stops no other; the exit code is 40 where one failed. Ctrl-C stops all jobs, and nothing is lost.

    Parameters
    ----------
    study : STUDY
        the study's file
    replan : flag
        make the plan anew: recordings were added or changed, or a sorter has changed

    Examples
    --------
    spikecrate study.run study.yaml
    spikecrate study.run study.yaml --jobs 2
    """
    _run(study, progress, json=json, jobs=options.jobs, replan=replan)


@command("study.retry", STUDIES, "running the failed jobs of {study}")
def study_retry(study: FilePath, options: EngineOptions, json: bool = False, *, progress: Progress) -> None:
    """Run the failed jobs of a study again, and what else has no result.

    A job that ran out of memory gets twice as much, one that exceeded its time limit twice the time.

    Parameters
    ----------
    study : STUDY
        the study's file

    Examples
    --------
    spikecrate study.retry study.yaml
    """
    _run(study, progress, json=json, jobs=options.jobs, retry=True)


@command("study.status", STUDIES, "reading the state of {study}", show=show_status)
def study_status(study: FilePath) -> "StudyStatus":
    """Show how many jobs have finished, run, wait or failed, and the cause of each failure.

    Parameters
    ----------
    study : STUDY
        the study's file

    Examples
    --------
    spikecrate study.status study.yaml
    """
    from spikecrate.studies.status import status_of

    folder = folder_of(study)
    plan = _plan(study)
    return status_of(plan, folder, open_store(plan.store))


@command("study.outcome", STUDIES, "comparing the results of {study}", show=show_outcome)
def study_outcome(study: FilePath, *, progress: Progress) -> "OutcomeDocument":
    """Compare the results of a study with the ground truth; --json prints every job and unit as one document.

    A result that was compared before is not read again.

    Parameters
    ----------
    study : STUDY
        the study's file

    Examples
    --------
    spikecrate study.outcome study.yaml
    spikecrate study.outcome study.yaml --json
    """
    from spikecrate.studies.collect import collect

    plan = _plan(study)
    return collect(plan, folder_of(study), open_store(plan.store), progress)


@command("study.cancel", STUDIES, "stopping the jobs of {study}")
def study_cancel(study: FilePath) -> dict[str, Any]:
    """Stop a study that runs: no other job starts, and those that run are stopped; finished ones stay.

    Parameters
    ----------
    study : STUDY
        the study's file

    Examples
    --------
    spikecrate study.cancel study.yaml
    """
    from spikecrate.studies.control import cancel

    return {"stopped": cancel(folder_of(study))}


@command("study.logs", STUDIES)
def study_logs(study: FilePath, job: int) -> None:
    """Print what a job of a study printed, of every attempt; of a cache hit, the sorter's log.

    Parameters
    ----------
    study : STUDY
        the study's file
    job : JOB
        number of the job, as study.status shows it

    Examples
    --------
    spikecrate study.logs study.yaml 12
    """
    from spikecrate.studies.control import log_of

    plan = _plan(study)
    say(log_of(folder_of(study), plan, job, open_store(plan.store)).rstrip("\n"))


@command("study.work", STUDIES, "running job {index} of {study}")
def study_work(study: FilePath, index: int | None = None, *, progress: Progress) -> None:
    """Run one job of a study, as study.run does in a process for each.

    Parameters
    ----------
    study : STUDY
        the study's file, or the folder of its plan
    index : N
        number of the job, as study.status shows it; example: 12

    Examples
    --------
    spikecrate study.work study.yaml --index 12
    """
    from spikecrate.studies.work import work

    if index is None:
        message = "--index is missing"
        raise UsageError(message, next_step="name the job: --index 0")
    work(folder_of(study), index, open_store(_plan(study).store), progress)


def _plan(study: Path) -> "Plan":
    from spikecrate.studies.plan import load_plan

    return load_plan(folder_of(study))


def _run(study: Path, progress: Progress, *, json: bool, **options: Any) -> None:
    """Run a study, print its state, and end with the exit code of a failure where a job failed."""
    from spikecrate.cli.study_board import Board
    from spikecrate.studies.definition import read_study
    from spikecrate.studies.run import RunOptions, run_study

    board = Board(progress)
    try:
        found = run_study(read_study(study), open_store(), board, progress, RunOptions(**options))
    finally:
        board.close()
    if json:
        as_json(found.as_dict())
    else:
        show_status(found)
    if {"failed", "died", "cancelled"} & found.counts.keys():
        raise SystemExit(JobFailedError.exit_code)
