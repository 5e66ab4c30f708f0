"""Tasks on the store."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.tasks import task

from spikecrate.cli.main import reported


@task(name="du", help={"json": "print one JSON object"}, auto_shortflags=False)
@reported
def store_du(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """Say how big the store is, by kind of thing and by sorter."""
    from spikecrate.cli import report_store as report
    from spikecrate.cli import request_store as request

    report.usage(request.usage(), to_json=json)


@task(
    name="gc",
    help={
        "keep": "remove what was not used for so long: 30d, 12h",
        "max": "remove the longest unused until the store has no more than this: 200G",
        "dry-run": "only say what would be removed",
        "json": "print one JSON object",
    },
    auto_shortflags=False,
)
@reported
def store_gc(
    context: Context,  # noqa: ARG001
    keep: str = "",
    max: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Remove what stopped runs left; with --keep or --max also old results, failures, logs and quarantine."""
    from spikecrate.cli import report_store as report
    from spikecrate.cli import request_store as request

    report.collected(request.collect_garbage(keep=keep, most=max, dry_run=dry_run), to_json=json)


@task(
    name="pin",
    help={"job": "the first digits of a job key", "json": "print one JSON object"},
    auto_shortflags=False,
)
@reported
def store_pin(context: Context, job: str, json: bool = False) -> None:  # noqa: ARG001
    """Keep a result whatever store.gc is asked."""
    from spikecrate.cli import request_store as request
    from spikecrate.cli.text import fields

    fields(request.pin(job), to_json=json)


@task(
    name="unpin",
    help={"job": "the first digits of a job key", "json": "print one JSON object"},
    auto_shortflags=False,
)
@reported
def store_unpin(context: Context, job: str, json: bool = False) -> None:  # noqa: ARG001
    """Let store.gc remove a result again."""
    from spikecrate.cli import request_store as request
    from spikecrate.cli.text import fields

    fields(request.unpin(job), to_json=json)


@task(
    name="verify",
    help={
        "dry-run": "only name what is corrupt",
        "json": "print one JSON object as the last line",
    },
    auto_shortflags=False,
)
@reported
def store_verify(context: Context, dry_run: bool = False, json: bool = False) -> None:  # noqa: ARG001
    """Read the whole store, name what is not as it was written, and set it aside."""
    from spikecrate.cli import report_store as report
    from spikecrate.cli import request_store as request

    report.verified(request.verify(dry_run=dry_run), to_json=json)
