"""The task that says how good each sorter is."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.tasks import task

from spikecrate.cli.main import reported


@task(
    name="quality",
    help={
        "sorter": "names or aliases, with commas between; by default the whole catalogue",
        "recording": "a recording with its firings_true.mda; may be given many times; by default three toys",
        "toys": "the three toys besides the recordings named",
        "runtime": "auto, docker, apptainer or host",
        "write": "a page of Markdown that the tables are put into, between its two markers",
        "measured": "write what the runs took into each sorter's folder, for forecasts",
        "json": "print one JSON array",
    },
    iterable=["recording"],
    auto_shortflags=False,
)
@reported
def sorters_quality(
    context: Context,  # noqa: ARG001
    sorter: str = "",
    recording: list[str] | None = None,
    toys: bool = False,
    runtime: str = "auto",
    write: str = "",
    measured: bool = False,
    json: bool = False,
) -> None:
    """Sort recordings whose spikes are known with every sorter, and say how many each found."""
    from spikecrate.cli import report_quality as report
    from spikecrate.cli import request_quality as request

    scores = request.measure(sorter, recording or [], runtime, toys=toys)
    if write:
        report.write(scores, write)
    if measured:
        request.write_measured(scores)
    report.quality(scores, to_json=json)
