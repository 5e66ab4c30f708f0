"""Commands on jobs: finished, failed, running."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import counted
from spikecrate.catalogue.tools import find
from spikecrate.cli.choices import FilePath, JobKey, Runtime, SorterName
from spikecrate.cli.command import Shown, command
from spikecrate.cli.option import Words
from spikecrate.cli.recording_options import RecordingOptions
from spikecrate.cli.show_record import show_details
from spikecrate.cli.sort import SORTING, JobOptions
from spikecrate.cli.text import say, table
from spikecrate.errors import SorterNotFoundError, UsageError
from spikecrate.steps.listing import list_jobs, log_of, show_job
from spikecrate.steps.resolve import find_job, is_key
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.steps.diff import Difference
    from spikecrate.steps.explain import Explanation
    from spikecrate.steps.rerun import RerunOutcome

REPRODUCING: Final = "reproduce a result"
Status = Annotated[str, Words(one_of=("completed", "failed", "running"))]
SHOWN: Final = 50
"""Default of `--limit`."""


@dataclass(frozen=True, kw_only=True)
class RerunOptions:
    """Options of `job.verify` and `job.rerun`.

    Attributes
    ----------
    runtime : RUNTIME
        where to run; by default where the job ran; example: docker
    recording : RECORDING
        where the recording is now; by default where it was; example: /nas/rec
    cores : N
        processors for the sorter; by default as many as the job had; example: 4
    """

    runtime: Runtime = ""
    recording: str | None = None
    cores: int | None = None

    def run(self, job: str, progress: Progress, *, keep: bool) -> "RerunOutcome":
        """Run a job again.

        Parameters
        ----------
        job : str
            The first digits of its key, or a result folder.
        progress : Progress
            Shows how far it is.
        keep : bool
            Whether the result enters the store.
        """
        from spikecrate.steps.rerun import rerun

        store = open_store()
        record = find_job(job, store, progress)
        return rerun(record, **vars(self), keep=keep, store=store, progress=progress)


def show_jobs(rows: list[dict[str, Any]], *, more: bool) -> None:
    """Print jobs as a table.

    Parameters
    ----------
    rows : list of dict
        Rows of `list_jobs`.
    more : bool
        Whether the store has more of them.
    """
    columns = ("status", "sorter", "units", "events", "wall_s", "runtime", "started")
    cells = []
    for row in rows:
        where = " ".join(filter(None, (row["recording"], row["reason"] and f"({row['reason']})")))
        pinned = "yes" if row["pinned"] else ""
        cells.append((row["key"][:12], *(row[column] for column in columns), pinned, where))
    table(("key", *columns, "pinned", "recording"), cells)
    if more:
        say(f"the {len(rows)} most recent; --limit 0 lists all; filter with --sorter, --status, --recording")


def show_again(done: "RerunOutcome") -> None:
    """Print both runs of a job that gave the same bytes twice.

    Parameters
    ----------
    done : RerunOutcome
        The two runs.
    """
    now = done.now
    counts = "".join(
        f", {counted(now[name], name.removesuffix('s'))}" for name in ("units", "events") if name in now
    )
    say(f"{done.key}: the same bytes again{counts} ({now['runtime']})")
    for name, run in (("before", done.before), ("now   ", now)):
        say(f"{name}  {run['blake3']}  {run['runtime']}, {run['wall_s']:.1f} s")
    if done.folder is not None:
        say(f"result  {done.folder}")


def show_difference(found: "Difference") -> None:
    """Print the differences between two jobs, a part a paragraph.

    Parameters
    ----------
    found : Difference
        The differences.
    """
    outcome = "equal" if found.equal else "different"
    say(f"{found.second[:12]} against {found.first[:12]}: {outcome} bytes")
    for part in ("key", "recipe", "image", "environment", "machine", "run", "result"):
        for line in getattr(found, part):
            say(f"  {part.ljust(11)}  {line}")


def show_explanation(found: "Explanation") -> None:
    """Print why a run is or was a cache miss.

    Parameters
    ----------
    found : Explanation
        The explanation.
    """
    words = {
        "hit": "cache hit",
        "wait": "another process runs this job",
        "run": "cache miss; it would run",
        "ran": "was a cache miss and ran",
        "runs": "is running",
        "failed": "ran and failed",
    }
    say(f"{found.key}: {words[found.action]}")
    if found.nearest is not None:
        say(f"new against the nearest earlier result, {found.nearest[:12]}:")
    for reason in found.reasons:
        say(f"  {reason}")
    for name in found.recipe:
        say(f"  recipe: {name} differs")


@command("job.list", SORTING, "reading the jobs", alias="job")
def job_list(
    sorter: SorterName = "",
    status: Status = "",
    recording: str = "",
    limit: int | None = None,
    json: bool = False,
    *,
    progress: Progress,
) -> Shown:
    """List the jobs in the store, the latest first.

    Parameters
    ----------
    sorter : NAME
        only jobs of this sorter; example: ms4
    status : STATUS
        only jobs in this state; example: failed
    recording : TEXT
        only jobs whose recording's path contains this; example: day3
    limit : N
        show the N most recent (0 = all); by default 50, with --json all; example: 10

    Examples
    --------
    spikecrate job.list --sorter ms4 --status failed
    """
    if limit is not None and limit < 0:
        message = f"--limit {limit} is negative"
        raise UsageError(message, next_step="--limit 0 lists all")
    most = (0 if json else SHOWN) if limit is None else limit
    names = {sorter} if sorter else set()
    # The word may be an alias, or a name that the catalogue has lost.
    with suppress(SorterNotFoundError):
        names |= {find(name).name for name in names}
    rows = list_jobs(
        open_store(),
        progress,
        sorters=names,
        status=status,
        recording=recording,
        limit=most + 1 if most else None,
    )
    shown = rows[:most] if most else rows
    return Shown(shown, partial(show_jobs, more=len(rows) > len(shown)))


@command("job.show", SORTING, show=show_details)
def job_show(key: JobKey) -> dict[str, Any]:
    """Show what a job ran and gave, or why it failed; --json prints the whole run record.

    Parameters
    ----------
    key : KEY
        the first digits of a job key; example: 0b680c52

    Examples
    --------
    spikecrate job.show 0b680c52
    spikecrate job.show 0b680c52 --json
    """
    return show_job(open_store(), key)


@command("job.logs", SORTING)
def job_logs(key: JobKey) -> None:
    """Print the log of a job; of a running job, the log so far.

    Parameters
    ----------
    key : KEY
        the first digits of a job key; example: 0b680c52

    Examples
    --------
    spikecrate job.logs 0b680c52
    """
    say(log_of(open_store(), key).read_text(encoding="utf-8", errors="replace").rstrip("\n"))


@command("job.verify", REPRODUCING, "running {job} again", show=show_again)
def job_verify(job: JobKey, options: RerunOptions, *, progress: Progress) -> "RerunOutcome":
    """Run a finished job again and compare bytes; the stored result is not changed.

    Parameters
    ----------
    job : JOB
        the first digits of a job key, or a result folder; example: 0b680c52

    Examples
    --------
    spikecrate job.verify 0b680c52
    """
    return options.run(job, progress, keep=False)


@command("job.rerun", REPRODUCING, "making {job} again", show=show_again)
def job_rerun(
    job: JobKey, options: RerunOptions, output: FilePath | None = None, *, progress: Progress
) -> "RerunOutcome":
    """Rebuild a result from its record alone, its image too, and compare bytes.

    Parameters
    ----------
    job : JOB
        the first digits of a job key, or a result folder; example: 0b680c52
    output : DIR
        folder for a copy of the result; by default none; example: again/

    Examples
    --------
    spikecrate job.rerun sortings/rec/ms4-0b680c52
    """
    from spikecrate.steps.output import put

    done = options.run(job, progress, keep=True)
    if output is not None and done.folder is not None:
        store = open_store()
        put(find_job(done.key, store, progress), output, store)
    return done


@command("job.diff", REPRODUCING, "comparing {first} and {second}", show=show_difference)
def job_diff(first: JobKey, second: JobKey, *, progress: Progress) -> "Difference":
    """Show which part of two jobs differs: key, image, environment, machine or result.

    Parameters
    ----------
    first : JOB
        the first digits of a job key, or a result folder; example: 0b680c52
    second : JOB
        another job

    Examples
    --------
    spikecrate job.diff 0b680c52 77ad01f3
    """
    from spikecrate.steps.diff import difference

    store = open_store()
    one, other = (find_job(word, store, progress) for word in (first, second))
    return difference(one, other, store)


@command("job.explain", REPRODUCING, "explaining {job}", show=show_explanation)
def job_explain(
    job: JobKey, options: JobOptions, chosen: RecordingOptions, *, progress: Progress
) -> "Explanation":
    """Explain why a run would be, or was, a cache miss: what is new against the nearest earlier result.

    Parameters
    ----------
    job : JOB
        a recording, as for sort; or the first digits of the key of a job that ran

    Examples
    --------
    spikecrate job.explain rec/ --sorter ms4
    spikecrate job.explain 0b680c52
    """
    from spikecrate.steps.explain import explain, explain_past

    store = open_store()
    if is_key(job):
        return explain_past(job, store)
    request = options.request(chosen.open([job], progress))
    return explain(request.job(store, progress), store, progress, force=request.force)
