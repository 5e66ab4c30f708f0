"""How results, forecasts and jobs are printed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from spikecrate._util.quantities import format_bytes
from spikecrate.cli.text import as_json, say, table

if TYPE_CHECKING:
    from spikecrate.api import Forecast, Result
    from spikecrate.steps.repeat import Repeated
    from spikecrate.steps.rerun import RerunOutcome


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
    if seen.plan.action == "run" and seen.estimate is not None:
        memory, runs = format_bytes(seen.estimate.memory_bytes), seen.estimate.runs
        judged = f"judged by {runs} run{'s' if runs > 1 else ''}"
        say(f"takes about {memory} of memory and {seen.estimate.wall_s:.0f} s, {judged}")
    say(shlex.join(seen.argv))


def again(done: RerunOutcome, *, to_json: bool) -> None:
    """Print that a job gave the same bytes again."""
    if to_json:
        as_json(done.as_dict())
        return
    now = done.now
    say(
        f"{done.key}: the same bytes again, {now['events']} events of {now['units']} units ({now['runtime']})"
    )
    say(f"before  {done.before['blake3']}  {done.before['runtime']}, {done.before['wall_s']:.1f} s")
    say(f"now     {now['blake3']}  {now['runtime']}, {now['wall_s']:.1f} s")
    if done.folder is not None:
        say(f"result  {done.folder}")


def repeated(done: Repeated, *, to_json: bool) -> None:
    """Print every run of a job, and how far each agrees with each."""
    if to_json:
        as_json(done.as_dict())
        return
    numbers = [str(number) for number in range(1, len(done.runs) + 1)]
    table(
        ("run", "BLAKE3", "units", "events", "wall_s", *(f"as {number}" for number in numbers)),
        (
            (
                number,
                run["blake3"][:12],
                run["units"],
                run["events"],
                run["wall_s"],
                *map("{:.4f}".format, row),
            )
            for number, run, row in zip(numbers, done.runs, done.agreement, strict=True)
        ),
    )
    distinct = len({run["blake3"] for run in done.runs})
    bytes_ = "the same bytes every time" if done.equal else f"{distinct} different results"
    taken = done.wall_s
    least = min(map(min, done.agreement))
    say(
        f"{bytes_}; agreement at least {least:.4f}; {taken['least']:.1f} to {taken['most']:.1f} s ({done.runtime})"
    )


def difference(found: dict[str, Any], *, to_json: bool) -> None:
    """Print what differs between two jobs, a part a paragraph."""
    if to_json:
        as_json(found)
        return
    say(
        f"{found['second'][:12]} against {found['first'][:12]}: {'equal' if found['equal'] else 'other'} bytes"
    )
    for part in ("key", "recipe", "image", "environment", "machine", "run", "result"):
        for line in found[part]:
            say(f"  {part.ljust(11)}  {line}")


def explanation(found: dict[str, Any], *, to_json: bool) -> None:
    """Print why a run was or would be no hit."""
    if to_json:
        as_json(found)
        return
    words = {
        "hit": "would be found in the store",
        "wait": "would be waited for",
        "run": "would run",
        "ran": "ran",
        "runs": "runs",
        "failed": "ran and failed",
    }
    say(f"{found['key']}: {words[found['action']]}")
    if found["nearest"] is not None:
        say(f"new against the nearest earlier result, {found['nearest'][:12]}:")
    for reason in found["reasons"]:
        say(f"  {reason}")
    for name in found["recipe"]:
        say(f"  recipe: {name} differs")
