"""How the doctor's lines are printed: as they come, or as one object."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from spikecrate.cli.text import as_json, say
from spikecrate.doctor.doctor import worst

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate.doctor.check import State
    from spikecrate.doctor.doctor import Line

COLOURS: Final = {"ok": "32", "warn": "33", "fail": "31"}
WIDTH: Final = 22
"""Of the names' column."""


def lines(found: Iterable[Line], *, to_json: bool) -> State:
    """Print what was found, group by group, and a summary; give the worst.

    Parameters
    ----------
    found : iterable of Line
        Printed one by one, as they come.
    to_json : bool
        Print one object, when all have come.
    """
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
        say(f"  {_state(line.verdict.state)}  {line.name.ljust(WIDTH)}{line.verdict.message}")
        if line.verdict.fix:
            say(f"        {'fix:'.rjust(WIDTH - 1)} {line.verdict.fix}")
    result = worst(every)
    if to_json:
        as_json(_object(every, result))
    else:
        say(_summary(every))
    return result


def _object(every: list[Line], result: State) -> dict[str, Any]:
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


def _summary(every: list[Line]) -> str:
    said = [f"\n{', '.join(f'{number} {state}' for state, number in _counts(every).items())}"]
    lacking: dict[str, list[str]] = {}
    for line in every:
        if line.verdict is None:
            lacking.setdefault(line.lacks, []).append(line.name)
    said += [f"skipped (needs {needed}): {', '.join(names)}" for needed, names in lacking.items()]
    return "\n".join(said)


def _counts(every: list[Line]) -> dict[str, int]:
    states = [line.verdict.state for line in every if line.verdict is not None]
    return {state: states.count(state) for state in COLOURS if state in states}


def _state(state: State) -> str:
    word = state.ljust(4)
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return word
    return f"\x1b[{COLOURS[state]}m{word}\x1b[0m"
