"""Tasks on the store."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.tasks import task

from spikecrate.cli import reported


@task(name="gc", help={"json": "print one JSON object"}, auto_shortflags=False)
@reported
def store_gc(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """Remove the containers, processes and scratch folders that stopped runs left."""
    from spikecrate.report.text import fields
    from spikecrate.request import store as request

    fields({"removed": request.collect_garbage()}, to_json=json)
