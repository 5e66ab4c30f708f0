"""Run the checks: all at once, reported in a fixed order, without changing anything.

A check that hangs is abandoned after its time limit and hides none of the others.
"""

from __future__ import annotations

import difflib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.doctor import apptainer, docker, gpu, images, machine, runtime, sibling, store
from spikecrate.doctor.check import Check, Verdict, fail, warn
from spikecrate.errors import EngineMissingError, SpikecrateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SUBJECTS: Final = (machine, docker, apptainer, runtime, store, sibling, images, gpu)
CHECKS: Final = tuple(check for subject in SUBJECTS for check in subject.CHECKS)
"""All checks of the library in report order; a check stands after those it needs.

A clone adds those of its development container: `spikecrate_dev.checks`.
"""
AGAIN: Final = "fix what the other lines name, then run it again"


@dataclass(frozen=True, kw_only=True)
class Line:
    """The report on one check: its verdict, or the check for lack of which it was skipped."""

    name: str
    verdict: Verdict | None
    lacks: str = ""


def choose(name: str, checks: Sequence[Check] = CHECKS) -> tuple[Check, ...]:
    """Return the checks of a name or a group, and those they need.

    Parameters
    ----------
    name : str
        A check or a group; empty for all checks.
    checks : sequence of Check
        The checks to choose from.

    Returns
    -------
    tuple of Check
        In report order.

    Raises
    ------
    UsageError
        For a name that no check and no group has.
    """
    if not name:
        return tuple(checks)
    wanted = {check.name for check in checks if check.name == name or check.name.startswith(f"{name}.")}
    if not wanted:
        names = [check.name for check in checks]
        near = difflib.get_close_matches(name, names, 1)
        message = f"there is no check {name!r}" + (f"; did you mean {near[0]}?" if near else "")
        raise UsageError(message, next_step="spikecrate doctor lists the names", details={"known": names})
    # A check stands after those it needs.
    for check in reversed(checks):
        if check.name in wanted:
            wanted.update(check.needs, check.after)
    return tuple(check for check in checks if check.name in wanted)


def examine(checks: Sequence[Check]) -> Iterator[Line]:
    """Run checks, all at once, and yield each line as soon as those before it are reported.

    Parameters
    ----------
    checks : sequence of Check
        Each stands after those it needs.

    Yields
    ------
    Line
        In the order of `checks`.
    """
    probes: dict[str, _Probe] = {}
    for check in checks:
        probes[check.name] = _Probe(check, probes)
    for probe in probes.values():
        probe.start()
    for probe in probes.values():
        probe.join()
        yield probe.line


class _Probe(threading.Thread):
    """One running check; `line` and `facts` are valid once the thread has ended."""

    def __init__(self, check: Check, others: Mapping[str, _Probe]) -> None:
        super().__init__(daemon=True)
        self.check = check
        self.before = {name: others[name] for name in (*check.needs, *check.after)}
        self.line = Line(name=check.name, verdict=None)
        self.facts: Any = None

    @property
    def passed(self) -> bool:
        """Whether the checks that need this one can run."""
        return self.line.verdict is not None and not self.line.verdict.ends

    def run(self) -> None:
        """Wait for the checks before this one, then look and judge."""
        for probe in self.before.values():
            probe.join()
        lacking = next((name for name in self.check.needs if not self.before[name].passed), "")
        verdict = None if lacking else self._verdict()
        self.line = Line(name=self.check.name, verdict=verdict, lacks=lacking)

    def _verdict(self) -> Verdict:
        outcome: list[Verdict] = []
        before = {name: probe.facts for name, probe in self.before.items() if probe.passed}

        def make() -> None:
            try:
                self.facts = self.check.look(before)
                outcome.append(self.check.judge(self.facts))
            except Exception as error:  # noqa: BLE001 (a broken check must not hide the others)
                outcome.append(_broken(error))

        # In a daemon thread, abandoned where it hangs: a system call cannot be interrupted.
        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        thread.join(self.check.limit_s)
        return outcome[0] if outcome else fail(f"no answer within {self.check.limit_s:g} s", self.check.stuck)


def _broken(error: Exception) -> Verdict:
    """Return the verdict on a check that raised: the refusal of the machine, or a fault of spikecrate."""
    match error:
        case EngineMissingError():
            return warn(f"{error}; the other runtimes work without it", error.next_step or AGAIN, ends=True)
        case SpikecrateError():
            return fail(str(error), error.next_step or AGAIN)
        case OSError():
            return warn(f"the check failed: {error}", AGAIN, ends=True)
        case _:
            message = f"the check failed: {type(error).__name__}: {error}"
            return warn(message, "report it, with the output of spikecrate doctor --json", ends=True)
