"""Print what `sort` did or would do."""

import shlex
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.quantities import counted, format_bytes
from spikecrate.cli.show_units import show_units
from spikecrate.cli.text import say, table
from spikecrate.errors import SpikecrateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate.api.result import GroupedResult, Result
    from spikecrate.steps.forecast import Forecast
    from spikecrate.steps.repeat import Repeated

HOW: Final = {"cached": "cache hit", "ran": "ran"}
REASONS: Final = 3
"""Number of reasons in a forecast; --verbose shows all."""


def told_run(done: "Result", verb: str) -> str:
    """Return how a result came about and how long its step took.

    Parameters
    ----------
    done : Result
        The result.
    verb : str
        What the step did: `analyzed`.

    Returns
    -------
    str
    """
    took = f"{verb} in {done.record['wall_s']:.1f} s"
    hit = f"cache hit in {done.elapsed_s * 1000:.0f} ms ({took})"
    return f"{took} ({done.record['runtime']})" if done.status == "ran" else hit


def show_result(done: "Result", *, units: bool = True) -> None:
    """Print the table of units, their number, time, key and folder of a result.

    Parameters
    ----------
    done : Result
        The result.
    units : bool
        Whether to print the table.
    """
    if units:
        show_units(done)
    record = done.record
    sorter = record["tool"]
    counts = f"{counted(record['units'], 'unit')}, {counted(record['events'], 'event')}"
    say(f"{sorter['name']} {sorter['version']}: {counts}; {told_run(done, 'sorted')}")
    say(f"key     {done.key}")
    say(f"result  {done.output or done.folder}")
    for warning in done.warnings:
        say(f"warning: {warning}")


def show_groups(done: "GroupedResult", *, units: bool = True) -> None:
    """Print the table of units, the numbers and key of each group, and the folder.

    Parameters
    ----------
    done : GroupedResult
        The result.
    units : bool
        Whether to print the table of units.
    """
    if units:
        show_units(done)
    rows = [
        (name, result.record["units"], result.record["events"], HOW[result.status], result.key[:12])
        for name, result in done.results.items()
    ]
    table(("group", "units", "events", "status", "key"), rows)
    counts = f"{counted(len(done.units), 'unit')}, {counted(len(done.sorting), 'event')}"
    say(f"{counts} in {counted(len(rows), 'group')}")
    if done.output is not None:
        say(f"result  {done.output}")
    for warning in done.warnings:
        say(f"warning: {warning}")


def show_forecasts(found: "dict[str, Forecast]", show: "Callable[[Forecast], None]") -> None:
    """Print the forecast of each group.

    Parameters
    ----------
    found : dict
        The forecasts by group.
    show : callable
        Prints one forecast.
    """
    for name, one in found.items():
        say(f"group {name}")
        show(one)


def show_all(ended: "list[tuple[str, Result | GroupedResult | SpikecrateError]]") -> None:
    """Print a row for each of several recordings, and how many were sorted.

    Parameters
    ----------
    ended : list of (str, Result, GroupedResult or SpikecrateError)
        Path and outcome of each.
    """
    from spikecrate.api.result import Result

    rows: list[tuple[Any, ...]] = []
    failed = 0
    for recording, outcome in ended:
        if isinstance(outcome, SpikecrateError):
            failed += 1
            rows.append((recording, "failed", None, None, None, str(outcome).partition("\n")[0]))
        else:
            rows.append((recording, *_row(outcome)))
    table(("recording", "status", "units", "events", "key", "result"), rows)
    for recording, outcome in ended:
        for warning in [] if isinstance(outcome, SpikecrateError) else outcome.warnings:
            say(f"warning: {recording}: {warning}")
    say(f"{len(ended) - failed} of {len(ended)} recordings sorted" + (f", {failed} failed" if failed else ""))
    keys = [outcome.key[:12] for _, outcome in ended if isinstance(outcome, Result)]
    if keys:
        say(f"units   spikecrate job.show {keys[0]}")


def _row(done: "Result | GroupedResult") -> tuple[Any, ...]:
    """Return status, units, events, key (or number of groups) and place of a result."""
    from spikecrate.api.result import GroupedResult

    if isinstance(done, GroupedResult):
        hit = all(result.status == "cached" for result in done.results.values())
        counts = len(done.units), len(done.sorting)
        return HOW["cached" if hit else "ran"], *counts, counted(len(done.results), "group"), done.output
    counts = done.record["units"], done.record["events"]
    return HOW[done.status], *counts, done.key[:12], done.output or done.folder


def show_forecast(found: "Forecast", *, verbose: bool) -> None:
    """Print cache hit or miss, the reasons, memory and time.

    Parameters
    ----------
    found : Forecast
        The forecast.
    verbose : bool
        Whether to print all reasons and the command line.
    """
    words = {
        "hit": "cache hit: the result is in the store",
        "wait": "another process runs this job; sort would wait for its result",
        "run": f"cache miss: sort would run it with {found.runtime}",
    }
    plan, estimate = found.plan, found.estimate
    say(words[plan.action])
    say(f"key     {found.job.key}")
    if plan.action == "run":
        if plan.nearest is not None:
            say(f"new against the nearest earlier result, {plan.nearest[:12]}:")
        shown = plan.reasons if verbose else plan.reasons[:REASONS]
        for reason in shown:
            say(f"  {reason}")
        if len(shown) < len(plan.reasons):
            say(f"  and {len(plan.reasons) - len(shown)} more; --verbose shows all")
        if estimate is None:
            say("memory and time are not known: this sorter has not been measured")
        else:
            needs = f"{format_bytes(estimate.memory_bytes)} of memory and {estimate.wall_s:.0f} s"
            runs = counted(estimate.runs, "run")
            say(f"takes about {needs}, estimated from {runs}")
    if verbose:
        say(shlex.join(found.argv))


def show_repeats(done: "Repeated") -> None:
    """Print every run of a job, and its agreement with every other.

    Parameters
    ----------
    done : Repeated
        The runs.
    """
    numbers = [str(number) for number in range(1, len(done.runs) + 1)]
    rows = [
        (number, run["blake3"][:12], run["units"], run["events"], run["wall_s"], *map("{:.4f}".format, row))
        for number, run, row in zip(numbers, done.runs, done.agreement, strict=True)
    ]
    table(("run", "BLAKE3", "units", "events", "wall_s", *(f"as {number}" for number in numbers)), rows)
    distinct = len({run["blake3"] for run in done.runs})
    outcome = "the same bytes every time" if done.equal else f"{distinct} different results"
    wall = f"{done.wall_s['least']:.1f} to {done.wall_s['most']:.1f} s ({done.runtime})"
    say(f"{outcome}; agreement at least {min(map(min, done.agreement)):.4f}; {wall}")
