"""Timing: actions run in turn, round after round, and are compared by their medians."""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SCALES: Final = {"s": ((1.0, "s", 2), (1e-3, "ms", 1)), "B": ((1e6, "MB", 0),), "B/s": ((1e9, "GB/s", 2),)}
"""By unit, largest first: the scales that values are printed in, the name of each and its decimals."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    what : str
        What is measured.
    ours, other : float
        Medians over the rounds, in `unit`.
    unit : str
        `s`, `B` or `B/s`.
    against : str
        What `other` is.
    goal : str
        The goal as the table prints it.
    met : bool
        Whether the goal is reached.
    missed_by : str
        Distance to the goal; empty where it is met.
    least, most : float
        Smallest and largest of our rounds, in `unit`.
    """

    what: str
    ours: float
    other: float
    unit: str
    against: str
    goal: str
    met: bool
    missed_by: str
    least: float
    most: float

    @property
    def ratio(self) -> float:
        """Ours over the other."""
        return self.ours / self.other if self.other else math.inf

    @property
    def spread(self) -> str:
        """Smallest and largest of our rounds, in the unit that `ours` is printed in."""
        if self.least == self.most:
            return "the same each time"
        scale, name, decimals = _scale(self.ours, self.unit)
        return f"{self.least / scale:.{decimals}f}–{self.most / scale:.{decimals}f} {name}"


def amount(value: float, unit: str) -> str:
    """Format a value for the table.

    Parameters
    ----------
    value : float
        In `unit`.
    unit : str
        `s`, `B` or `B/s`.

    Returns
    -------
    str
        The value with the name of its scale: `951.8 ms`, `0.40 GB/s`.
    """
    scale, name, decimals = _scale(value, unit)
    return f"{value / scale:.{decimals}f} {name}"


def interleaved(actions: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every action once a round and reverse their order from round to round.

    Parameters
    ----------
    actions : mapping
        Each returns its own measure, in seconds.
    rounds : int
        Rounds that count; one more before them warms the caches.

    Returns
    -------
    dict
        For each action its measures. Those at one index come from one round, so they can be paired.
    """
    found: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        names = list(actions) if number % 2 else list(actions)[::-1]
        for name in names:
            measured = actions[name]()
            if number:
                found[name].append(measured)
    return found


def timed(action: Callable[[], object]) -> Callable[[], float]:
    """Return a callable that runs the action and returns its wall time in seconds.

    Parameters
    ----------
    action : callable
        The action.
    """

    def run() -> float:
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    return run


def process(argv: Sequence[str], **options: object) -> Callable[[], float]:
    """Return a callable that times a whole process; a process that fails ends the benchmark.

    Parameters
    ----------
    argv : sequence of str
        The command line.
    options
        As in `subprocess.run`.
    """

    def run() -> None:
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]

    return timed(run)


def at_most(
    what: str,
    found: Mapping[str, list[float]],
    ours: str,
    other: str,
    *,
    ratio: float | None,
    seconds: float | None,
) -> Row:
    """Return the row of a goal: ours take at most `ratio` times the other, or at most `seconds`.

    Parameters
    ----------
    what : str
        The label of the row.
    found : mapping
        As `interleaved` returns it.
    ours, other : str
        The actions to compare.
    ratio, seconds : float or None
        The goal.
    """
    mine, theirs = statistics.median(found[ours]), statistics.median(found[other])
    bound = seconds if seconds is not None else (ratio or 1) * theirs
    goal = f"≤ {seconds:g} s" if seconds is not None else f"≤ {ratio:g} ×"
    return Row(
        what=what,
        ours=mine,
        other=theirs,
        unit="s",
        against=other,
        goal=goal,
        met=mine <= bound,
        missed_by="" if mine <= bound else amount(mine - bound, "s"),
        least=min(found[ours]),
        most=max(found[ours]),
    )


def faster(
    what: str, found: Mapping[str, list[float]], ours: str, other: str, *, size: int, ratio: float
) -> Row:
    """Return the row of a goal: ours process `size` bytes at least `ratio` times as fast as the other.

    Parameters
    ----------
    what, found, ours, other
        As in `at_most`.
    size : int
        The bytes that each action processes.
    ratio : float
        The goal.
    """
    mine, theirs = (size / statistics.median(found[name]) for name in (ours, other))
    return Row(
        what=what,
        ours=mine,
        other=theirs,
        unit="B/s",
        against=other,
        goal=f"≥ {ratio:g} ×",
        met=mine >= ratio * theirs,
        missed_by="" if mine >= ratio * theirs else f"{ratio - mine / theirs:.2f} ×",
        least=size / max(found[ours]),
        most=size / min(found[ours]),
    )


def difference(
    what: str,
    found: Mapping[str, list[float]],
    ours: tuple[str, str],
    other: tuple[str, str],
    *,
    smaller: float,
) -> Row:
    """Return the row of a goal: our extra time is at least `smaller` times smaller than the other's.

    The rounds are interleaved, so the extra time is taken within each round, and its median and spread are those
    of the paired differences: what slows the machine for a round cancels out.

    Parameters
    ----------
    ours, other : tuple of str
        The action with the extra, and the one without it.
    """
    extra, theirs_extra = paired(found, *ours), paired(found, *other)
    mine, theirs = statistics.median(extra), statistics.median(theirs_extra)
    met = mine * smaller <= theirs
    return Row(
        what=what,
        ours=mine,
        other=theirs,
        unit="s",
        against=other[0],
        goal=f"≤ 1/{smaller:g}",
        met=met,
        missed_by="" if met else amount(mine - theirs / smaller, "s"),
        least=min(extra),
        most=max(extra),
    )


def paired(found: Mapping[str, list[float]], whole: str, part: str) -> list[float]:
    """Return the difference of two actions in every round.

    Parameters
    ----------
    found : mapping
        As `interleaved` returns it.
    whole, part : str
        Names of the actions; `part` is subtracted.

    Returns
    -------
    list of float
        One a round, in seconds.
    """
    return [more - less for more, less in zip(found[whole], found[part], strict=True)]


def size(what: str, ours: int, against: str, other: int, *, ratio: float) -> Row:
    """Return the row of a goal: ours has at most `ratio` times the other's bytes.

    Parameters
    ----------
    what, against : str
        The label of the row, and of the other.
    ours, other : int
        The bytes to compare.
    ratio : float
        The goal.
    """
    return Row(
        what=what,
        ours=ours,
        other=other,
        unit="B",
        against=against,
        goal=f"≤ {ratio:g} ×",
        met=ours <= ratio * other,
        missed_by="" if ours <= ratio * other else f"{ours / other - ratio:.2f} ×",
        least=ours,
        most=ours,
    )


def _scale(value: float, unit: str) -> tuple[float, str, int]:
    scales = SCALES[unit]
    return next((scale for scale in scales if abs(value) >= scale[0]), scales[-1])
