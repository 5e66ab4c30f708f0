"""The command that checks this machine."""

from typing import TYPE_CHECKING, Final

from spikecrate.cli import has_dev
from spikecrate.cli.choices import CheckName
from spikecrate.cli.command import command
from spikecrate.cli.text import as_json, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate.doctor.check import Check, State, Verdict
    from spikecrate.doctor.doctor import Line

COLOURS: Final = {"ok": "32", "warn": "33", "fail": "31"}
WIDTH: Final = 22
"""Width of the column of names."""


@command("doctor", "this machine")
def doctor(check: CheckName = "", json: bool = False) -> None:
    """Check this machine and show the command that fixes each problem; exit code 1 if a check fails.

    Parameters
    ----------
    check : NAME
        only this check or group, and what it needs; example: docker.permission

    Examples
    --------
    spikecrate doctor
    spikecrate doctor --check docker
    """
    from spikecrate.doctor.doctor import choose, examine

    if lines(examine(choose(check, every_check())), to_json=json) == "fail":
        raise SystemExit(1)


def every_check() -> "tuple[Check, ...]":
    """Return all checks in report order: the library's, and in a clone those of the development container."""
    from spikecrate.doctor.doctor import CHECKS

    if not has_dev():
        return CHECKS
    from spikecrate_dev import checks

    return (*CHECKS, *checks.CHECKS)


def lines(found: "Iterable[Line]", *, to_json: bool) -> "State":
    """Print the report, group by group, and a summary.

    Parameters
    ----------
    found : iterable of Line
        The checks, printed one by one as they end.
    to_json : bool
        Whether to print one object once all have ended.

    Returns
    -------
    str
        The worst state: `ok`, `warn` or `fail`.
    """
    made: dict[str, Verdict] = {}
    skipped: dict[str, str] = {}
    group = ""
    for line in found:
        if line.verdict is None:
            skipped[line.name] = line.lacks
            continue
        made[line.name] = line.verdict
        if to_json:
            continue
        first = line.name.partition(".")[0]
        if first != group:
            say(f"{'' if not group else chr(10)}{first}")
            group = first
        state = line.verdict.state
        word = state.ljust(4)
        say(f"  {word}  {line.name.ljust(WIDTH)}{line.verdict.message}", colour=(word, COLOURS[state]))
        if line.verdict.fix:
            say(f"        {'fix:'.rjust(WIDTH - 1)} {line.verdict.fix}")
    counts = {state: sum(verdict.state == state for verdict in made.values()) for state in COLOURS}
    worst: State = "fail" if counts["fail"] else "warn" if counts["warn"] else "ok"
    if to_json:
        checks = [
            {"name": name, "state": verdict.state, "message": verdict.message, "fix": verdict.fix or None}
            for name, verdict in made.items()
        ]
        lacking = [{"name": name, "needs": needed} for name, needed in skipped.items()]
        as_json({"state": worst, **counts, "checks": checks, "skipped": lacking})
        return worst
    say(f"\n{', '.join(f'{number} {state}' for state, number in counts.items() if number)}")
    for needed in dict.fromkeys(skipped.values()):
        names = [name for name, lacked in skipped.items() if lacked == needed]
        say(f"skipped (needs {needed}): {', '.join(names)}")
    return worst
