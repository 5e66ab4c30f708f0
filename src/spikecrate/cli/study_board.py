"""What a user sees while a study runs: on a terminal one live table, in a pipe a line for each job that ends."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from spikecrate._util.progress import Terminal, duration
from spikecrate._util.quantities import counted
from spikecrate._util.terminal import columns, is_terminal, printable, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate._util.progress import Progress
    from spikecrate.studies.plan import Plan
    from spikecrate.studies.status import JobStatus

REDRAW_S: Final = 0.5
ROWS: Final = 12
"""Most running jobs that the table shows."""


class Board:
    """A watcher that shows a study on standard error.

    Parameters
    ----------
    progress : Progress
        That of the command: notes go through it, and `--quiet` shows nothing.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._live = is_terminal(sys.stderr) and not (isinstance(progress, Terminal) and progress.quiet)
        self._plan: Plan | None = None
        self._todo = self._drawn = 0
        self._ended: Counter[str] = Counter()
        self._since: dict[int, float] = {}
        self._redrawn = self._began = time.monotonic()

    def begin(self, plan: Plan, hits: int, todo: int) -> None:
        """Note how many jobs have a result and how many run.

        Parameters
        ----------
        plan : Plan
            The frozen plan.
        hits, todo : int
            Numbers of jobs.
        """
        self._plan, self._todo, self._began = plan, todo, time.monotonic()
        self._progress.note(
            f"{plan.name}: {counted(len(plan.jobs), 'job')}, {todo} to run, {hits} have ended before"
        )

    def ended(self, job: JobStatus) -> None:
        """Print a line for a job that has ended.

        Parameters
        ----------
        job : JobStatus
            The job.
        """
        self._ended[job.status] += 1
        took = (
            f" in {duration(time.monotonic() - self._since[job.index])}" if job.index in self._since else ""
        )
        why = f": {job.error.kind}: {job.error.cause or job.error.message}" if job.error else ""
        self._erase()
        self._progress.note(
            f"{self._ended.total()} of {self._todo}: job {job.index} {job.status}{took}: {job.title}{why}"
        )

    def tick(self, running: Sequence[int]) -> None:
        """Redraw the table on a terminal.

        Parameters
        ----------
        running : sequence of int
            Numbers of the jobs that run.
        """
        now = time.monotonic()
        for index in running:
            self._since.setdefault(index, now)
        if self._live and self._plan is not None and now - self._redrawn > REDRAW_S:
            self._redrawn = now
            self._draw(self._plan, running, now)

    def close(self) -> None:
        """Erase the table."""
        self._erase()

    def _draw(self, plan: Plan, running: Sequence[int], now: float) -> None:
        counts = ", ".join(f"{number} {status}" for status, number in self._ended.items()) or "none ended yet"
        lines = [
            f"{self._ended.total()} of {self._todo} ({counts}); {len(running)} running; {duration(now - self._began)}"
        ]
        for index in running[:ROWS]:
            expected = plan.jobs[index].wall_s
            about = f" of about {duration(expected)}" if expected else ""
            lines.append(f"  {index:>6}  {plan.title(index)}  {duration(now - self._since[index])}{about}")
        if len(running) > ROWS:
            lines.append(f"  … and {len(running) - ROWS} more")
        width = columns(sys.stderr) - 1
        text = "".join(f"\r\x1b[K{shorten(printable(line, one_line=True), width)}\n" for line in lines)
        self._erase()
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
            self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            with suppress(OSError):
                # Up to the first line of the table, and erase from there: the progress line below it too.
                sys.stderr.write(f"\r\x1b[{self._drawn}A\x1b[J")
                sys.stderr.flush()
            self._drawn = 0
