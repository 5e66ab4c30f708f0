"""Timing: things to compare are run in turn, round after round, and compared by their medians."""

from __future__ import annotations

import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    what : str
        What is measured.
    ours, other : float
        Medians, in seconds, bytes, or bytes per second.
    unit : str
        `s`, `B` or `B/s`.
    against : str
        What `other` is.
    goal : str
        In words.
    met : bool
        Whether the goal is reached.
    missed_by : str
        By how much, where it is not.
    spread : str
        Smallest and largest of our rounds.
    """

    what: str
    ours: float
    other: float
    unit: str
    against: str
    goal: str
    met: bool
    missed_by: str
    spread: str

    @property
    def ratio(self) -> float:
        """Ours over the other."""
        return self.ours / self.other


def interleaved(actions: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every action once a round, the order turned from round to round; give what each returned.

    Parameters
    ----------
    actions : mapping
        Each gives its own measure, in seconds.
    rounds : int
        How many times; a round before them warms the caches and does not count.
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
    """Give a callable that runs the action and returns its wall time in seconds."""

    def run() -> float:
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    return run


def process(argv: Sequence[str], **options: object) -> Callable[[], float]:
    """Give a callable that runs a whole process and returns its wall time; a failing one ends the benchmark."""

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
    """Make the row of a goal that ours take at most `ratio` times the other, or at most `seconds`."""
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
        missed_by="" if mine <= bound else f"{mine - bound:.3f} s",
        spread=f"{min(found[ours]):.3f}–{max(found[ours]):.3f}",
    )


def faster(
    what: str, found: Mapping[str, list[float]], ours: str, other: str, *, size: int, ratio: float
) -> Row:
    """Make the row of a goal that ours get through `size` bytes at least `ratio` times as fast as the other."""
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
        spread=f"{size / max(found[ours]) / 1e9:.2f}–{size / min(found[ours]) / 1e9:.2f} GB/s",
    )


def difference(
    what: str,
    found: Mapping[str, list[float]],
    ours: tuple[str, str],
    other: tuple[str, str],
    *,
    smaller: float,
) -> Row:
    """Make the row of a goal that our extra time is at least `smaller` times smaller than the other's.

    Parameters
    ----------
    ours, other : tuple of str
        With the extra, and without it.
    """
    mine, theirs = (
        statistics.median(found[whole]) - statistics.median(found[part]) for whole, part in (ours, other)
    )
    times = theirs / mine
    return Row(
        what=what,
        ours=mine,
        other=theirs,
        unit="s",
        against=other[0],
        goal=f"≤ 1/{smaller:g}",
        met=times >= smaller,
        missed_by="" if times >= smaller else f"{smaller - times:.1f} ×",
        spread=f"{min(found[ours[0]]) - min(found[ours[1]]):.2f}–{max(found[ours[0]]) - max(found[ours[1]]):.2f}",
    )


def size(what: str, ours: int, against: str, other: int, *, ratio: float) -> Row:
    """Make the row of a goal that ours has at most `ratio` times the other's bytes."""
    return Row(
        what=what,
        ours=ours,
        other=other,
        unit="B",
        against=against,
        goal=f"≤ {ratio:g} ×",
        met=ours <= ratio * other,
        missed_by="" if ours <= ratio * other else f"{ours / other - ratio:.2f} ×",
        spread="the same each time",
    )
