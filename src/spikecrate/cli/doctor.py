"""The command that checks this machine."""

from typing import TYPE_CHECKING, Any, Final

from spikecrate.cli.choices import CheckName
from spikecrate.cli.command import command
from spikecrate.cli.text import as_json, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate.doctor.check import State
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
    from spikecrate.cli.checks import every_check
    from spikecrate.doctor.doctor import choose, examine

    if lines(examine(choose(check, every_check())), to_json=json) == "fail":
        raise SystemExit(1)


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
    from spikecrate.doctor.doctor import worst

    every: list[Line] = []
    group = ""
    for line in found:
        every.append(line)
        if to_json or line.verdict is None:
            continue
        first = line.name.partition(".")[0]
        if first != group:
            say(f"{'' if not group else chr(10)}{first}")
            group = first
        state = line.verdict.state
        say(
            f"  {state.ljust(4)}  {line.name.ljust(WIDTH)}{line.verdict.message}",
            colour=(state.ljust(4), COLOURS[state]),
        )
        if line.verdict.fix:
            say(f"        {'fix:'.rjust(WIDTH - 1)} {line.verdict.fix}")
    result = worst(every)
    if to_json:
        as_json(_object(every, result))
    else:
        say(_summary(every))
    return result


def _object(every: "list[Line]", result: "State") -> dict[str, Any]:
    made = [(line.name, line.verdict) for line in every if line.verdict is not None]
    return {
        "state": result,
        **{state: sum(verdict.state == state for _, verdict in made) for state in COLOURS},
        "checks": [
            {"name": name, "state": verdict.state, "message": verdict.message, "fix": verdict.fix or None}
            for name, verdict in made
        ],
        "skipped": [{"name": line.name, "needs": line.lacks} for line in every if line.verdict is None],
    }


def _summary(every: "list[Line]") -> str:
    states = [line.verdict.state for line in every if line.verdict is not None]
    texts = [f"\n{', '.join(f'{states.count(state)} {state}' for state in COLOURS if state in states)}"]
    skipped: dict[str, list[str]] = {}
    for line in every:
        if line.verdict is None:
            skipped.setdefault(line.lacks, []).append(line.name)
    texts += [f"skipped (needs {needed}): {', '.join(names)}" for needed, names in skipped.items()]
    return "\n".join(texts)
