"""What a check is: a look at the machine, and a judgment of what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a check.

    Attributes
    ----------
    state : str
        `ok`; `warn`: spikecrate does with less; `fail`: what is there does not work.
    seen : str
        What was seen.
    mend : str
        The one command or step that mends it.
    ends : bool
        Whether the checks that need this one have nothing to look at; a fail always ends them.
    """

    state: State
    seen: str
    mend: str = ""
    ends: bool = False


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the doctor's.

    Attributes
    ----------
    name : str
        `group.what`; stable, for scripts and for errors that point to it.
    about : str
        What it says, in a few words.
    look : callable
        Looks, and changes nothing. It gets what the checks before it saw, by name: those of `needs`, and of `after`
        those that were good.
    judge : callable
        Makes a verdict of what was seen; looks at nothing else.
    needs : tuple of str
        Checks without which this one has nothing to look at.
    after : tuple of str
        Checks that it waits for and does without.
    limit_s : float
        How long a look may take.
    stuck : str
        What to do where it takes longer.
    """

    name: str
    about: str
    look: Callable[[Mapping[str, Any]], Any]
    judge: Callable[[Any], Verdict]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    limit_s: float = 10
    stuck: str = "see what hangs there, then run it again"


def ok(seen: str, *, ends: bool = False) -> Verdict:
    """Say that all is well."""
    return Verdict(state="ok", seen=seen, ends=ends)


def warn(seen: str, mend: str, *, ends: bool = False) -> Verdict:
    """Say that spikecrate has to do with less."""
    return Verdict(state="warn", seen=seen, mend=mend, ends=ends)


def fail(seen: str, mend: str) -> Verdict:
    """Say that what is there does not work."""
    return Verdict(state="fail", seen=seen, mend=mend, ends=True)
