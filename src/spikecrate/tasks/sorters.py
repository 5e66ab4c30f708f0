"""Tasks on the catalogue."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.tasks import task

from spikecrate.cli import reported


@task(name="list", help={"json": "print one JSON array"}, auto_shortflags=False, default=True)
@reported
def sorters_list(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """List the catalogue."""
    from spikecrate.report import sorters as report
    from spikecrate.sorters import catalogue

    report.sorters(catalogue().values(), to_json=json)


@task(name="show", help={"sorter": "name or alias", "json": "print one JSON object"}, auto_shortflags=False)
@reported
def sorters_show(context: Context, sorter: str, json: bool = False) -> None:  # noqa: ARG001
    """Show a sorter and its parameters: default, range, unit, meaning."""
    from spikecrate.report import sorters as report
    from spikecrate.sorters import find

    report.sorter(find(sorter), to_json=json)
