"""How results, forecasts and jobs are printed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from spikecrate.report.text import as_json, say, table

if TYPE_CHECKING:
    from spikecrate.api import Forecast, Result


def result(done: Result, *, to_json: bool) -> None:
    """Print a result."""
    if to_json:
        as_json(done.as_dict())
        return
    record = done.record
    how = (
        f"sorted in {record['wall_s']:.1f} s ({record['runtime']})"
        if done.status == "ran"
        else f"found in {done.elapsed_s * 1000:.0f} ms (it was sorted in {record['wall_s']:.1f} s)"
    )
    sorter = record["sorter"]
    say(f"{sorter['name']} {sorter['version']}: {record['units']} units, {record['events']} events; {how}")
    say(f"key     {done.key}")
    say(f"result  {done.output or done.folder}")


def forecast(seen: Forecast, *, to_json: bool) -> None:
    """Print what would happen, why, and the exact command line."""
    if to_json:
        as_json(seen.as_dict())
        return
    words = {"hit": "found in the store", "wait": "waited for", "run": f"run with {seen.runtime}"}
    say(f"{seen.job.key}: would be {words[seen.plan.action]}")
    if seen.plan.nearest is not None:
        say(f"new against the nearest earlier result, {seen.plan.nearest[:12]}:")
    for reason in seen.plan.reasons:
        say(f"  {reason}")
    say(shlex.join(seen.argv))


def jobs(rows: list[dict[str, Any]], *, to_json: bool) -> None:
    """Print the jobs that the store knows."""
    if to_json:
        as_json(rows)
        return
    columns = ("status", "sorter", "units", "events", "wall_s", "runtime", "started")
    table(
        ("key", *columns, "recording"),
        (
            (row["key"][:12], *(row[column] for column in columns), row["recording"] or row["reason"])
            for row in rows
        ),
    )
