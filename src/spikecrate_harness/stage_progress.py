"""How far a stage of a sorting is, in a log: a line at every tenth."""

from __future__ import annotations

from operator import length_hint
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class StageProgress:
    """Prints the progress of a stage, at every tenth of it.

    Of the same shape as the progress bar `tqdm`, so that it can stand in for a tool's own.

    Parameters
    ----------
    iterable : iterable, optional
        The steps.
    desc : str
        Name of the stage; text from " (" on is left out.
    total : int, optional
        Steps; the length of `iterable` where it has one.
    **_
        Further arguments of the bar, which set its looks.
    """

    def __init__(
        self, iterable: Iterable[Any] = (), *, desc: str = "", total: int | None = None, **_: Any
    ) -> None:
        self.iterable, self.stage, self.done, self.shown = iterable, desc.partition(" (")[0], 0, 0
        self.total = length_hint(iterable) if total is None else total

    def __iter__(self) -> Iterator[Any]:
        """Yield every step, and count it."""
        for step in self.iterable:
            yield step
            self.update()

    def update(self, count: int = 1) -> None:
        """Count some steps; the total may have been raised meanwhile."""
        self.done += count
        tenths = 10 * self.done // max(self.total, self.done)
        if tenths > self.shown:
            self.shown = tenths
            print(f"{self.stage}: {10 * tenths}%", flush=True)

    def close(self) -> None:
        """Do nothing: every line has been printed."""
