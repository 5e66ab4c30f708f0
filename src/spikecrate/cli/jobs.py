"""Commands on jobs: finished, failed, running."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import format_bytes
from spikecrate.cli.choices import keys, sorters
from spikecrate.cli.command import command
from spikecrate.cli.option import about
from spikecrate.cli.sort import SORTING, JobOptions, runtime_about
from spikecrate.cli.text import say, table
from spikecrate.errors import SpikecrateError, UsageError

if TYPE_CHECKING:
    from spikecrate.steps.rerun import RerunOutcome

REPRODUCING: Final = "reproduce a result"
STATUSES: Final = ("completed", "failed", "running")
SHOWN: Final = 50
"""How many jobs fit on a screen or two."""

KEY: Final = about("the first digits of a job key", "KEY", example="0b680c52", choices=keys)
RESULT: Final = about(
    "the first digits of a job key, or a result folder", "JOB", example="0b680c52", choices=keys
)
MOVED: Final = about("where the recording is now; by default where it was", "RECORDING", example="/nas/rec")
CORES: Final = about("processors for the sorter; by default as many as the job had", example="4")


class JobRows(list[dict[str, Any]]):
    """Rows of `job.list`, and whether there are more."""

    def __init__(self, rows: list[dict[str, Any]], *, more: bool) -> None:
        super().__init__(rows)
        self.more = more

    def print(self) -> None:
        """Print them as a table."""
        columns = ("status", "sorter", "units", "events", "wall_s", "runtime", "started")
        table(
            ("key", *columns, "pinned", "recording"),
            (
                (
                    row["key"][:12],
                    *(row[column] for column in columns),
                    "yes" if row["pinned"] else "",
                    " ".join(
                        part for part in (row["recording"], row["reason"] and f"({row['reason']})") if part
                    ),
                )
                for row in self
            ),
        )
        if self.more:
            say(
                f"the {len(self)} most recent; --limit 0 lists all; filter with --sorter, --status, --recording"
            )


def show_again(done: "RerunOutcome") -> None:
    """Print that a job gave the same bytes again."""
    now = done.now
    say(
        f"{done.key}: the same bytes again, {now['events']} events of {now['units']} units ({now['runtime']})"
    )
    say(f"before  {done.before['blake3']}  {done.before['runtime']}, {done.before['wall_s']:.1f} s")
    say(f"now     {now['blake3']}  {now['runtime']}, {now['wall_s']:.1f} s")
    if done.folder is not None:
        say(f"result  {done.folder}")


def show_difference(found: dict[str, Any]) -> None:
    """Print what differs between two jobs, a part a paragraph."""
    say(
        f"{found['second'][:12]} against {found['first'][:12]}: {'equal' if found['equal'] else 'different'} bytes"
    )
    for part in ("key", "recipe", "image", "environment", "machine", "run", "result"):
        for line in found[part]:
            say(f"  {part.ljust(11)}  {line}")


def show_explanation(found: dict[str, Any]) -> None:
    """Print why a run was or would be a cache miss."""
    words = {
        "hit": "cache hit",
        "wait": "another process runs this job",
        "run": "cache miss; it would run",
        "ran": "was a cache miss and ran",
        "runs": "is running",
        "failed": "ran and failed",
    }
    say(f"{found['key']}: {words[found['action']]}")
    if found["nearest"] is not None:
        say(f"new against the nearest earlier result, {found['nearest'][:12]}:")
    for reason in found["reasons"]:
        say(f"  {reason}")
    for name in found["recipe"]:
        say(f"  recipe: {name} differs")


def show_record(record: dict[str, Any]) -> None:
    """Print what matters of a run record or a failure, a field a line."""
    from spikecrate.cli.text import fields

    if "inside" not in record:
        # A failure or a running job: few fields, all of them short but the key's parts.
        return fields({name: value for name, value in record.items() if name != "key_parts"})
    tool, image = record["tool"], record["image"] or record["environment"]
    peak = record["peak_memory_bytes"]
    return fields(
        {
            "key": record["key"],
            "status": record["status"],
            tool["kind"]: f"{tool['name']} {tool['version']}",
            "parameters": ", ".join(f"{name}={value}" for name, value in record["parameters"].items()),
            "seed": record["seed"],
            **{name: found["path"] for name, found in record["inputs"].items()},
            **_recording_fields(record["inputs"].get("recording")),
            "runtime": record["runtime"],
            "image": f"{image['reference']} {image['digest']}" if record["image"] else image["folder"],
            "started": record["started"],
            "took": f"{record['wall_s']:.1f} s" + (f", {format_bytes(peak)} of memory" if peak else ""),
            **{name: record[name] for name in ("units", "events") if name in record},
            "more": f"spikecrate job.show {record['key'][:12]} --json",
        }
    )


@command(
    "job.list", SORTING, "spikecrate job.list --sorter ms4 --status failed", alias="job", show=JobRows.print
)
def job_list(
    sorter: Annotated[str, about("only jobs of this sorter", "NAME", example="ms4", choices=sorters)] = "",
    status: Annotated[str, about("only jobs in this state", one_of=STATUSES, example="failed")] = "",
    recording: Annotated[
        str, about("only jobs whose recording's path contains this", "TEXT", example="day3")
    ] = "",
    limit: Annotated[
        int | None, about("show the N most recent (0 = all); by default 50, with --json all", example="10")
    ] = None,
    json: bool = False,
    *,
    progress: Progress,
) -> JobRows:
    """List the jobs in the store, the latest first."""
    from spikecrate.steps.listing import list_jobs
    from spikecrate.store import open_store

    if limit is not None and limit < 0:
        message = f"--limit {limit} is negative"
        raise UsageError(message, next_step="--limit 0 lists all")
    most = (0 if json else SHOWN) if limit is None else limit
    store = open_store()
    rows = list_jobs(
        store,
        progress,
        sorters=_names_of(sorter),
        status=status,
        recording=recording,
        limit=most + 1 if most else None,
    )
    shown = rows[:most] if most else rows
    for row in shown:
        if row["status"] == "failed" and not row["recording"]:
            row["recording"] = _recording_of_failure(row["key"])
    return JobRows(shown, more=len(rows) > len(shown))


@command(
    "job.show",
    SORTING,
    "spikecrate job.show 0b680c52",
    "spikecrate job.show 0b680c52 --json",
    show=show_record,
)
def job_show(key: Annotated[str, KEY]) -> dict[str, Any]:
    """Show what a job ran and gave, or why it failed; --json prints the whole run record."""
    from spikecrate.steps.listing import show_job
    from spikecrate.store import open_store

    return show_job(open_store(), key)


@command("job.logs", SORTING, "spikecrate job.logs 0b680c52", with_json=False)
def job_logs(key: Annotated[str, KEY]) -> None:
    """Print the log of a job; of a running job, the log so far."""
    from spikecrate.steps.listing import log_of
    from spikecrate.store import open_store

    say(log_of(open_store(), key).read_text(encoding="utf-8", errors="replace").rstrip("\n"))


@command("job.verify", REPRODUCING, "spikecrate job.verify 0b680c52", show=show_again)
def job_verify(
    job: Annotated[str, RESULT],
    runtime: Annotated[str, runtime_about("by default where the job ran")] = "",
    recording: Annotated[str, MOVED] = "",
    cores: Annotated[int | None, CORES] = None,
    *,
    progress: Progress,
) -> "RerunOutcome":
    """Run a finished job again and compare bytes; the stored result is not changed."""
    return _rerun(job, progress, runtime=runtime, recording=recording, cores=cores, keep=False)


@command("job.rerun", REPRODUCING, "spikecrate job.rerun sortings/rec/ms4-0b680c52", show=show_again)
def job_rerun(
    job: Annotated[str, RESULT],
    runtime: Annotated[str, runtime_about("by default where the job ran")] = "",
    recording: Annotated[str, MOVED] = "",
    cores: Annotated[int | None, CORES] = None,
    output: Annotated[
        str, about("folder for a copy of the result; by default none", "DIR", example="again/")
    ] = "",
    *,
    progress: Progress,
) -> "RerunOutcome":
    """Rebuild a result from its record alone, its image too, and compare bytes."""
    from spikecrate.steps.output import put
    from spikecrate.steps.resolve import find_job
    from spikecrate.store import open_store

    done = _rerun(job, progress, runtime=runtime, recording=recording, cores=cores, keep=True)
    if output and done.folder is not None:
        store = open_store()
        put(find_job(done.key, store, progress), Path(output), store)
    return done


@command("job.diff", REPRODUCING, "spikecrate job.diff 0b680c52 77ad01f3", show=show_difference)
def job_diff(
    first: Annotated[str, RESULT],
    second: Annotated[str, about("another job", "JOB", choices=keys)],
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Show which part of two jobs differs: key, image, environment, machine or result."""
    from spikecrate.steps.diff import difference
    from spikecrate.steps.resolve import find_job
    from spikecrate.store import open_store

    store = open_store()
    one, other = (find_job(word, store, progress) for word in (first, second))
    return difference(one, other, store)


@command(
    "job.explain",
    REPRODUCING,
    "spikecrate job.explain rec/ --sorter ms4",
    "spikecrate job.explain 0b680c52",
    show=show_explanation,
)
def job_explain(
    job: Annotated[
        str,
        about(
            "a recording, as for sort; or the first digits of the key of a job that ran", "JOB", choices=keys
        ),
    ],
    options: JobOptions,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Explain why a run would be, or was, a cache miss: what is new against the nearest earlier result."""
    from spikecrate.steps.explain import explain, explain_past
    from spikecrate.steps.resolve import is_key
    from spikecrate.store import open_store

    store = open_store()
    if is_key(job):
        return explain_past(job, store)
    request = options.request(job)
    return explain(request.job(store, progress), store, progress, force=request.force)


def _rerun(
    job: str, progress: Progress, *, runtime: str, recording: str, cores: int | None, keep: bool
) -> "RerunOutcome":
    from spikecrate.steps.rerun import rerun
    from spikecrate.steps.resolve import find_job
    from spikecrate.store import open_store

    store = open_store()
    return rerun(
        find_job(job, store, progress),
        runtime=runtime,
        recording=recording or None,
        cores=cores,
        keep=keep,
        store=store,
        progress=progress,
    )


def _names_of(word: str) -> set[str]:
    """Return the names under which a sorter's jobs stand: it may be an alias, or gone from the catalogue."""
    from spikecrate.catalogue.tools import find
    from spikecrate.errors import SorterNotFoundError

    if not word:
        return set()
    try:
        return {word, find(word).name}
    except SorterNotFoundError:
        return {word}


def _recording_fields(recording: dict[str, Any] | None) -> dict[str, str]:
    from spikecrate.recordings.describe import summarize
    from spikecrate_harness.layout import Layout

    if recording is None or recording["kind"] != "recording":
        return {}
    layout = Layout.from_dict(recording["layout"])
    return {
        "format": recording["format"],
        "duration": f"{layout.num_samples / layout.sampling_frequency:.1f} s",
        **summarize(layout, recording["channel_ids"]).as_text(),
    }


def _recording_of_failure(key: str) -> str | None:
    from spikecrate.steps.listing import show_job
    from spikecrate.store import open_store

    try:
        failure = show_job(open_store(), key)
    except SpikecrateError:
        # Removed at this moment.
        return None
    return ", ".join(str(found["path"]) for found in failure.get("inputs", {}).values()) or None
