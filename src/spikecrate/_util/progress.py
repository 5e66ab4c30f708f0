"""How work that takes a while tells of itself.

The library speaks to a `Progress`; the command line passes one that draws, a script gets the silent one.
Everything goes to standard error: standard output belongs to results.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Advance = Callable[[float], None]

QUIET_S: Final = 1.0
"""Work shorter than this is not announced."""


class Progress(Protocol):
    """What the library calls while it works."""

    def note(self, text: str) -> None:
        """Say one thing the user should know (a choice made, a fallback taken)."""

    def line(self, text: str) -> None:
        """Pass on one line of a sorter's or a build's log."""

    def bar(self, title: str, total: float) -> AbstractContextManager[Advance]:
        """Open a bar of `total` units; the callable it gives advances it by a number of units."""


class Silent:
    """A progress that says nothing."""

    def note(self, text: str) -> None:
        """Drop the note."""

    def line(self, text: str) -> None:
        """Drop the line."""

    @contextmanager
    def bar(self, title: str, total: float) -> Iterator[Advance]:  # noqa: ARG002
        """Give a callable that does nothing."""
        yield lambda _units: None


class Terminal:
    """A progress on standard error: bars on a terminal, a line every few seconds in a log file."""

    def note(self, text: str) -> None:
        """Print the note, dimmed where that can be seen."""
        dim = sys.stderr.isatty()
        print(f"\x1b[2m{text}\x1b[0m" if dim else text, file=sys.stderr, flush=True)  # noqa: T201

    def line(self, text: str) -> None:
        """Print the line as it came."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    @contextmanager
    def bar(self, title: str, total: float) -> Iterator[Advance]:
        """Draw a bar once the work has lasted a second."""
        if sys.stderr.isatty():
            yield from self._drawn(title, total)
        else:
            yield from self._written(title, total)

    def _drawn(self, title: str, total: float) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import Progress as Bars

        bars = Bars(console=Console(stderr=True), transient=True)
        task = bars.add_task(title, total=total)
        started, shown = time.monotonic(), False

        def advance(units: float) -> None:
            nonlocal shown
            bars.advance(task, units)
            if not shown and time.monotonic() - started > QUIET_S:
                bars.start()
                shown = True

        try:
            yield advance
        finally:
            bars.stop()

    def _written(self, title: str, total: float) -> Iterator[Advance]:
        done, spoke = 0.0, time.monotonic()

        def advance(units: float) -> None:
            nonlocal done, spoke
            done += units
            if time.monotonic() - spoke > 5 * QUIET_S:
                spoke = time.monotonic()
                self.note(f"{title}: {done / total:.0%}" if total else title)

        yield advance
