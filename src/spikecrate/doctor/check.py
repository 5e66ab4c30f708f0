"""A check: a function that looks at the machine, and a pure function that judges what it returns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final, Literal, TypeVar

State = Literal["ok", "warn", "fail"]
Facts = Mapping[str, Any]
"""What the checks before one saw, by the check's name."""
Judge = TypeVar("Judge", bound=Callable[[Any], "Verdict"])
SHOWN: Final = 4


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of a check.

    Attributes
    ----------
    state : str
        `ok`; `warn`: spikecrate works without it; `fail`: it is present and broken.
    message : str
        What the check found.
    fix : str
        The one command or step that fixes it; empty where nothing needs fixing.
    ends : bool
        Whether the checks that need this one are skipped. A `fail` always skips them.
    """

    state: State
    message: str
    fix: str = ""
    ends: bool = False


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes
    ----------
    name : str
        `group.subject`; stable, because scripts and error messages refer to it.
    about : str
        What the check tests, in a few words.
    look : callable
        Collects facts and changes nothing. It receives the facts of earlier checks by name: of all in `needs`, and of
        those in `after` that passed. A `SpikecrateError` that it raises is the verdict: its message and next step.
    judge : callable
        Turns the facts into a verdict; pure.
    needs : tuple of str
        Checks that must pass first; this one is skipped where they do not.
    after : tuple of str
        Checks to wait for; this one runs whatever they find.
    limit_s : float
        Time limit of the look.
    stuck : str
        The fix to show when the look exceeds the limit.
    """

    name: str
    about: str
    look: Callable[[Facts], Any]
    judge: Callable[[Any], Verdict]
    _: KW_ONLY
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    limit_s: float = 10
    stuck: str = "find out what hangs, then run it again"


class Checks(list[Check]):
    """The checks of a module, in report order."""

    def add(
        self, name: str, about: str, look: Callable[[Facts], Any], **options: Any
    ) -> Callable[[Judge], Judge]:
        """Return a decorator that adds a check with the decorated function as its judge.

        Parameters
        ----------
        name, about, look, options
            The fields of `Check`.
        """

        def added(judge: Judge) -> Judge:
            self.append(Check(name, about, look, judge, **options))
            return judge

        return added


def ok(message: str, *, ends: bool = False) -> Verdict:
    """Return the verdict that all is well.

    Parameters
    ----------
    message : str
        What the check found.
    ends : bool
        Whether the checks that need this one are skipped.
    """
    return Verdict(state="ok", message=message, ends=ends)


def warn(message: str, fix: str, *, ends: bool = False) -> Verdict:
    """Return the verdict that spikecrate works, with less.

    Parameters
    ----------
    message, fix : str
        What the check found, and the one step that fixes it.
    ends : bool
        Whether the checks that need this one are skipped.
    """
    return Verdict(state="warn", message=message, fix=fix, ends=ends)


def fail(message: str, fix: str) -> Verdict:
    """Return the verdict that something is present and broken.

    Parameters
    ----------
    message, fix : str
        What the check found, and the one step that fixes it.
    """
    return Verdict(state="fail", message=message, fix=fix, ends=True)


def shorten(names: Sequence[str]) -> str:
    """Return the first few names of a list, and the number of the others.

    Parameters
    ----------
    names : sequence of str
        The names.

    Examples
    --------
    >>> shorten(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def numbers(version: str) -> tuple[int, ...]:
    """Return the first dotted number of a version as a tuple; empty where there is none.

    Parameters
    ----------
    version : str
        The text of a version.

    Examples
    --------
    >>> numbers("26.1.5+dfsg1")
    (26, 1, 5)
    """
    found = re.search(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
