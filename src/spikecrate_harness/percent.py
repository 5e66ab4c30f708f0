"""How far a stage of a sorting is, in a log: a line at every tenth."""

from __future__ import annotations

from operator import length_hint
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Percent:
    """Prints how far a stage is, at every tenth of it.

    Of the same shape as the progress bar `tqdm`, so that it can stand in for a tool's own.

    Parameters
    ----------
    iterable : iterable, optional
        What is gone through; each member counts as a step.
    desc : str
        The stage's name; what follows " (" is left out.
    total : int, optional
        Steps; the length of `iterable` where it has one.
    **_
        What else the bar is told: how it looks.
    """

    def __init__(
        self, iterable: Iterable[Any] = (), *, desc: str = "", total: int | None = None, **_: Any
    ) -> None:
        self.iterable, self.stage, self.done, self.told = iterable, desc.partition(" (")[0], 0, 0
        self.total = length_hint(iterable) if total is None else total

    def __iter__(self) -> Iterator[Any]:
        """Give every step, and count it."""
        for step in self.iterable:
            yield step
            self.update()

    def update(self, count: int = 1) -> None:
        """Count some steps; the total may have been raised meanwhile."""
        self.done += count
        tenths = 10 * self.done // max(self.total, self.done)
        if tenths > self.told:
            self.told = tenths
            print(f"{self.stage}: {10 * tenths}%", flush=True)

    def close(self) -> None:
        """Do nothing: every line has been printed."""
