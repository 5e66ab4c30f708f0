"""Tasks that sort, and those that look at what was sorted."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.tasks import task

from spikecrate.cli.main import reported

SORT_HELP = {
    "recording": "the recording: a folder or file in any format of docs/recordings.md; read in place",
    "sorter": "name or alias of a sorter in the catalogue (spikecrate sorters)",
    "param": "a parameter as name=value; may be given many times",
    "params": "a JSON file with an object of parameters; --param wins over it",
    "runtime": "auto, docker, apptainer or host",
    "output": "folder for a copy of the result, - for none; by default sortings/<recording>/<sorter>-<key>",
    "cores": "processors for the sorter; by default all that this process may use",
    "gpu": "auto, on or off; auto: where the sorter uses one and the machine has one",
    "memory": "memory limit: 8G, 512M; by default none",
    "timeout": "time limit for the sorter: 2h, 90m; by default none",
    "seed": "handed to the sorter; part of the job key",
    "force": "run the job although its result is in the store",
    "repeat": "run it this many times without the store and say how far the results agree",
    "dry-run": "print what would happen, why, and the exact command line",
    "json": "print one JSON object as the last line",
}


@task(help=SORT_HELP, iterable=["param"], auto_shortflags=False)
@reported
def sort(
    context: Context,  # noqa: ARG001
    recording: str,
    sorter: str = "ms4",
    param: list[str] | None = None,
    params: str = "",
    runtime: str = "auto",
    output: str = "",
    cores: str = "",
    gpu: str = "auto",
    memory: str = "",
    timeout: str = "",
    seed: int = 0,
    force: bool = False,
    repeat: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Sort a recording in the sorter's pinned image, or find the result made before."""
    from spikecrate.cli import report_jobs as report
    from spikecrate.cli import request_sort as request

    asked = request.read(
        recording,
        sorter=sorter,
        param=param or [],
        params=params,
        runtime=runtime,
        cores=cores,
        gpu=gpu,
        memory=memory,
        timeout=timeout,
        seed=seed,
        force=force,
    )
    if dry_run:
        report.forecast(request.forecast(asked), to_json=json)
    elif repeat:
        report.repeated(request.repeat(asked, repeat), to_json=json)
    else:
        report.result(request.sort(asked, output), to_json=json)


@task(
    help={
        "folder": "where the toy recording and its sorting go",
        "runtime": "auto, docker, apptainer or host",
    },
    auto_shortflags=False,
)
@reported
def demo(context: Context, folder: str = "demo", runtime: str = "auto") -> None:  # noqa: ARG001
    """Write a toy recording with ground truth, sort it with ms4, print how well each unit was found."""
    from spikecrate._util.progress import Terminal
    from spikecrate.cli.demo import run

    run(folder, runtime=runtime, progress=Terminal())


JOB_HELP = {
    "job": "the first digits of a job key, or a result folder",
    "runtime": "auto, docker, apptainer or host; by default where the job ran",
    "recording": "where the recording lies now; by default where it lay",
    "cores": "processors for the sorter; by default as many as it had",
    "json": "print one JSON object as the last line",
}


@task(
    name="list",
    help={
        "sorter": "only jobs of this sorter",
        "status": "only completed, failed or running ones",
        "recording": "only those whose recording's path has this in it",
        "limit": "the latest so many, 0 for all; by default 50, with --json all",
        "json": "print one JSON array",
    },
    auto_shortflags=False,
    default=True,
)
@reported
def job_list(
    context: Context,  # noqa: ARG001
    sorter: str = "",
    status: str = "",
    recording: str = "",
    limit: str = "",
    json: bool = False,
) -> None:
    """List the jobs that the store knows, the latest first."""
    from spikecrate.cli import report_store as report
    from spikecrate.cli import request_store as request

    rows, more = request.jobs(sorter=sorter, status=status, recording=recording, limit=limit, shown=not json)
    report.jobs(rows, more=more, to_json=json)


@task(name="show", help={"key": "the first digits of a job key", "json": "one line"}, auto_shortflags=False)
@reported
def job_show(context: Context, key: str, json: bool = False) -> None:  # noqa: ARG001
    """Show a job's run record, or its failure."""
    from spikecrate.cli.text import fields
    from spikecrate.steps.listing import show_job
    from spikecrate.store import open_store

    fields(show_job(open_store(), key), to_json=json)


@task(name="logs", help={"key": "the first digits of a job key"}, auto_shortflags=False)
@reported
def job_logs(context: Context, key: str) -> None:  # noqa: ARG001
    """Print what a job's sorter printed; of a running job, what it printed so far."""
    from spikecrate.cli.text import say
    from spikecrate.steps.listing import log_of
    from spikecrate.store import open_store

    say(log_of(open_store(), key).read_text(errors="replace", encoding="utf-8").rstrip("\n"))


@task(name="verify", help=JOB_HELP, auto_shortflags=False)
@reported
def job_verify(
    context: Context,  # noqa: ARG001
    job: str,
    runtime: str = "",
    recording: str = "",
    cores: str = "",
    json: bool = False,
) -> None:
    """Run a finished job again and compare bytes; the stored result stays as it is."""
    from spikecrate.cli import report_jobs as report
    from spikecrate.cli import request_jobs as request

    done = request.rerun(job, runtime=runtime, recording=recording, cores=cores, keep=False)
    report.again(done, to_json=json)


@task(
    name="rerun",
    help={**JOB_HELP, "output": "folder for a copy of the result; by default none"},
    auto_shortflags=False,
)
@reported
def job_rerun(
    context: Context,  # noqa: ARG001
    job: str,
    runtime: str = "",
    recording: str = "",
    cores: str = "",
    output: str = "",
    json: bool = False,
) -> None:
    """Make a result again from its record alone, its image too, and compare bytes."""
    from spikecrate.cli import report_jobs as report
    from spikecrate.cli import request_jobs as request

    done = request.rerun(job, runtime=runtime, recording=recording, cores=cores, keep=True, output=output)
    report.again(done, to_json=json)


@task(
    name="diff",
    help={
        "first": "the first digits of a job key, or a result folder",
        "second": "likewise",
        "json": "one line",
    },
    auto_shortflags=False,
)
@reported
def job_diff(context: Context, first: str, second: str, json: bool = False) -> None:  # noqa: ARG001
    """Say which part of two jobs differs: key, image, environment, machine or result."""
    from spikecrate.cli import report_jobs as report
    from spikecrate.cli import request_jobs as request

    report.difference(request.difference(first, second), to_json=json)


@task(
    name="explain",
    help={
        **{
            name: SORT_HELP[name]
            for name in ("sorter", "param", "params", "cores", "gpu", "seed", "force", "json")
        },
        "job": "a recording, as for sort; or the first digits of the key of a job that ran",
    },
    iterable=["param"],
    auto_shortflags=False,
)
@reported
def job_explain(
    context: Context,  # noqa: ARG001
    job: str,
    sorter: str = "ms4",
    param: list[str] | None = None,
    params: str = "",
    cores: str = "",
    gpu: str = "auto",
    seed: int = 0,
    force: bool = False,
    json: bool = False,
) -> None:
    """Say why a run would be, or was, no hit: what is new against the nearest earlier result."""
    from spikecrate.cli import report_jobs as report
    from spikecrate.cli import request_jobs as request

    report.explanation(
        request.explain(
            job,
            sorter=sorter,
            param=param or [],
            params=params,
            cores=cores,
            gpu=gpu,
            seed=seed,
            force=force,
        ),
        to_json=json,
    )
