"""The task that checks this machine."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.exceptions import Exit
from invoke.tasks import task

from spikecrate.cli.main import reported


@task(
    help={
        "check": "only this check or group, and what it needs: docker.permission, store",
        "json": "print one JSON object",
    },
    auto_shortflags=False,
)
@reported
def doctor(context: Context, check: str = "", json: bool = False) -> None:  # noqa: ARG001
    """Check this machine and show the command that fixes each problem; exit code 1 where a check fails."""
    from spikecrate.cli import report_doctor as report
    from spikecrate.cli import request_doctor as request

    if report.lines(request.examine(check), to_json=json) == "fail":
        raise Exit(code=1)
