"""Tasks on the catalogue."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.tasks import task

from spikecrate.cli.main import reported


@task(name="list", help={"json": "print one JSON array"}, auto_shortflags=False, default=True)
@reported
def sorters_list(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """List the catalogue."""
    from spikecrate.catalogue.tools import catalogue
    from spikecrate.cli import report_sorters as report

    report.sorters(catalogue().values(), to_json=json)


@task(name="show", help={"sorter": "name or alias", "json": "print one JSON object"}, auto_shortflags=False)
@reported
def sorters_show(context: Context, sorter: str, json: bool = False) -> None:  # noqa: ARG001
    """Show a sorter and its parameters: default, range, unit, meaning."""
    from spikecrate.catalogue.tools import find
    from spikecrate.cli import report_sorters as report

    report.sorter(find(sorter), to_json=json)


@task(
    name="new",
    help={
        "name": "of the sorter and its folder",
        "into": "folder of sorters (default: your own, else this clone's)",
    },
    auto_shortflags=False,
)
@reported
def sorters_new(context: Context, name: str, into: str = "") -> None:  # noqa: ARG001
    """Write a new sorter's folder; it lacks the body of sort() and the lock."""
    from spikecrate.cli import report_sorters as report
    from spikecrate.cli import request_sorters as request

    report.made(request.make(name, into))


@task(
    name="lock",
    help={
        "sorter": "name or alias",
        "upgrade": "take the newest versions that are allowed",
        "json": "print one JSON array",
    },
    auto_shortflags=False,
)
@reported
def sorters_lock(context: Context, sorter: str, upgrade: bool = False, json: bool = False) -> None:  # noqa: ARG001
    """Lock a sorter's packages, each with its hashes, and say what changed."""
    from spikecrate.cli import report_sorters as report
    from spikecrate.cli import request_sorters as request

    report.locked(request.relock(sorter, upgrade=upgrade), to_json=json)


@task(
    name="export",
    help={"sorter": "name or alias", "output": "file for it; by default it is printed"},
    auto_shortflags=False,
)
@reported
def sorters_export(context: Context, sorter: str, output: str = "") -> None:  # noqa: ARG001
    """Describe a sorter as a Boutiques descriptor, for other tools."""
    from spikecrate.cli import report_sorters as report
    from spikecrate.cli import request_sorters as request

    report.exported(request.export(sorter, output), output)
