"""What this machine has and lacks: every check made at once, told in a fixed order, nothing changed.

A check that hangs is given up after its time limit and hides none of the others.
"""

from __future__ import annotations

import difflib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.doctor import (
    apptainer,
    dev,
    display,
    docker,
    gpu,
    identity,
    images,
    machine,
    python,
    runtime,
    sibling,
    store,
)
from spikecrate.doctor.check import Verdict, fail, warn
from spikecrate.errors import SpikecrateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spikecrate.doctor.check import Check, State

CHECKS: Final[tuple[Check, ...]] = (
    *machine.CHECKS,
    *python.CHECKS,
    *docker.CHECKS,
    *apptainer.CHECKS,
    *runtime.CHECKS,
    *store.CHECKS,
    *sibling.CHECKS,
    *images.CHECKS,
    *gpu.CHECKS,
    *display.CHECKS,
    *identity.CHECKS,
    *dev.CHECKS,
)
"""Every check, in the order in which they are told; one that needs another stands after it."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is told of one check.

    Attributes
    ----------
    name : str
        Of the check.
    verdict : Verdict or None
        What came of it; None where it was not made.
    lacks : str
        The check for whose want it was not made.
    """

    name: str
    verdict: Verdict | None
    lacks: str = ""


def choose(name: str) -> tuple[Check, ...]:
    """Give the checks of a name or a group, and those that they need; all for no name.

    Raises
    ------
    UsageError
        For a name that no check and no group has.
    """
    if not name:
        return CHECKS
    wanted = {check.name for check in CHECKS if check.name == name or check.name.startswith(f"{name}.")}
    if not wanted:
        names = [check.name for check in CHECKS]
        near = difflib.get_close_matches(name, names, 1)
        message = f"there is no check {name!r}" + (f"; did you mean {near[0]}?" if near else "")
        raise UsageError(message, next_step="spikecrate doctor tells the names", details={"known": names})
    # What a check needs stands before it.
    for check in reversed(CHECKS):
        if check.name in wanted:
            wanted.update(check.needs, check.after)
    return tuple(check for check in CHECKS if check.name in wanted)


def examine(checks: Sequence[Check]) -> Iterator[Line]:
    """Make checks, all at once, and give what came of each as soon as those before it are told.

    Parameters
    ----------
    checks : sequence of Check
        With those that they need; those stand before them.
    """
    probes: dict[str, _Probe] = {}
    for check in checks:
        probes[check.name] = _Probe(check, probes)
    for probe in probes.values():
        probe.start()
    for probe in probes.values():
        probe.join()
        yield probe.line


def worst(lines: Iterable[Line]) -> State:
    """Sum up: the worst of what was found."""
    found = {line.verdict.state for line in lines if line.verdict is not None}
    return "fail" if "fail" in found else "warn" if "warn" in found else "ok"


class _Probe(threading.Thread):
    """One check while it is made; `line` and `seen` are there once it has ended."""

    def __init__(self, check: Check, others: Mapping[str, _Probe]) -> None:
        super().__init__(daemon=True)
        self.check = check
        self.before = {name: others[name] for name in (*check.needs, *check.after)}
        self.line = Line(name=check.name, verdict=None)
        self.seen: Any = None

    @property
    def is_good(self) -> bool:
        """Whether there is something for those that need this."""
        return self.line.verdict is not None and not self.line.verdict.ends

    def run(self) -> None:
        """Wait for the checks before this one, look, judge."""
        for probe in self.before.values():
            probe.join()
        lacking = next((name for name in self.check.needs if not self.before[name].is_good), None)
        if lacking is not None:
            self.line = Line(name=self.check.name, verdict=None, lacks=lacking)
            return
        self.line = Line(name=self.check.name, verdict=self._verdict())

    def _verdict(self) -> Verdict:
        raised: list[Exception] = []
        ended = threading.Event()
        made: list[tuple[Any, Verdict]] = []

        def make() -> None:
            try:
                seen = self.check.look({n: p.seen for n, p in self.before.items() if p.is_good})
                made.append((seen, self.check.judge(seen)))
            except Exception as error:  # noqa: BLE001 (one check's fault must not hide the others)
                raised.append(error)
            ended.set()

        # A thread of its own, left behind where it hangs: a call of the kernel's cannot be stopped.
        threading.Thread(target=make, daemon=True).start()
        if not ended.wait(self.check.limit_s):
            return fail(f"no answer within {self.check.limit_s:g} s", self.check.stuck)
        if raised:
            return _broken(raised[0])
        self.seen, verdict = made[0]
        return verdict


def _broken(error: Exception) -> Verdict:
    """Tell of a look that ended in an error: what refused it, or a fault of ours."""
    said = f"this check could not be made: {error}"
    match error:
        case SpikecrateError():
            return fail(said, error.next_step or "mend what the other lines name, then run it again")
        case OSError():
            return warn(said, "mend what the other lines name, then run it again", ends=True)
        case _:
            what = f"this check could not be made: {type(error).__name__}: {error}"
            return warn(what, "report it, with what spikecrate doctor --json prints", ends=True)
