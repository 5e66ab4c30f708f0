"""Progress of work that takes a while.

The library calls a `Progress`: the command line passes a `Terminal`, a notebook gets a bar, and a script gets `Silent`.
Everything goes to standard error; standard output belongs to results.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

from spikecrate._util.terminal import colours, columns, is_terminal, printable, shorten
from spikecrate.errors import OutputError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Advance = Callable[[float], None]

QUIET_S: Final = 1.0
"""Seconds before work is shown."""
REDRAW_S: Final = 0.2
"""Seconds between two updates of the line on a terminal."""
REPORT_S: Final = 10.0
"""Seconds between two lines in a pipe or a file."""

_gone: Final = threading.Event()
"""Set once the reader has closed standard error, which all `Terminal`s share."""
_drawn: Final = threading.Event()
"""Set while the progress line stands on the terminal."""
_lock: Final = threading.RLock()


class Progress(Protocol):
    """The interface that the library calls while it works."""

    def note(self, text: str) -> None:
        """Show the user a choice that was made or a fallback that was taken.

        Parameters
        ----------
        text : str
            The note.
        """

    def line(self, text: str) -> None:
        """Pass on one line of a tool's or a build's log.

        Parameters
        ----------
        text : str
            The line.
        """

    def bar(
        self, title: str, total: float, *, expected_s: float | None = None
    ) -> AbstractContextManager[Advance]:
        """Open a bar; the callable that it yields advances it by a number of units.

        Parameters
        ----------
        title : str
            Name of the work.
        total : float
            Units of work; 0 where it is unknown.
        expected_s : float, optional
            Duration of earlier runs, in seconds.
        """


class Silent:
    """A progress that shows nothing."""

    def note(self, text: str) -> None:
        """Drop the note."""

    def line(self, text: str) -> None:
        """Drop the line."""

    @contextmanager
    def bar(self, title: str, total: float, *, expected_s: float | None = None) -> Iterator[Advance]:  # noqa: ARG002
        """Yield a callable that does nothing."""
        yield lambda _units: None


class Once:
    """A progress that shows each note once.

    Parameters
    ----------
    progress : Progress
        Shows the notes, the lines and the bars.
    """

    def __init__(self, progress: Progress) -> None:
        self.line, self.bar = progress.line, progress.bar
        self._progress = progress
        self._shown: set[str] = set()

    def note(self, text: str) -> None:
        """Show a note that was not shown before."""
        if text not in self._shown:
            self._shown.add(text)
            self._progress.note(text)


@dataclass
class Stage:
    """Work in progress.

    Attributes
    ----------
    title : str
        Its name.
    total : float
        Units of work; 0 where it is unknown.
    expected_s : float or None
        Duration of earlier runs, where the number of units is unknown.
    done : float
        Units that are done.
    started : float
        Start on the monotonic clock.
    """

    title: str
    total: float = 0
    expected_s: float | None = None
    done: float = 0
    started: float = field(default_factory=time.monotonic)

    def describe(self, now: float) -> str:
        """Return title, share, elapsed and remaining time, as one line.

        Parameters
        ----------
        now : float
            The time on the monotonic clock.
        """
        elapsed = now - self.started
        share = min(self.done / self.total, 1.0) if self.total else None
        left = None
        if share:
            left = elapsed / share - elapsed
        elif self.expected_s is not None and not self.total:
            left = self.expected_s - elapsed
        parts = [f"{share:.0%}"] if share is not None else []
        parts.append(f"{duration(elapsed)} elapsed")
        if left is not None:
            parts.append(f"about {duration(left)} left" if left > 0 else "longer than earlier runs")
        return f"{self.title}: {', '.join(parts)}"


class Terminal:
    """A progress on standard error: one line that is redrawn, or in a pipe a line every ten seconds.

    Parameters
    ----------
    quiet : bool
        Show no notes and no progress.
    verbose : bool
        Show every line of a tool's or a build's log.
    log : Path, optional
        A file for notes and log lines, shown or not.

    Raises
    ------
    OutputError
        The log cannot be written.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, log: Path | None = None) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self._stages: list[Stage] = []
        self._reported = time.monotonic()
        self._ticker: threading.Thread | None = None
        self._log = log
        try:
            self._keep("")
        except OSError as error:
            message = f"--log {log}: {error.strerror}"
            raise OutputError(message, next_step="name a file that can be written") from None

    def note(self, text: str) -> None:
        """Print the note above the progress line, dimmed where the terminal can."""
        self._keep(text)
        if not self.quiet:
            shown = printable(text)
            self._print(f"\x1b[2m{shown}\x1b[0m" if colours(sys.stderr) else shown)

    def line(self, text: str) -> None:
        """Write the line to the log; print it if verbose."""
        self._keep(text)
        if self.verbose:
            self._print(printable(text))

    @contextmanager
    def bar(self, title: str, total: float, *, expected_s: float | None = None) -> Iterator[Advance]:
        """Show a bar once the work has lasted a second."""
        stage = Stage(printable(title, one_line=True), total, expected_s)

        def advance(units: float) -> None:
            stage.done += units
            self._raise_if_closed()

        with _lock:
            self._stages.append(stage)
            if self._ticker is None and not self.quiet and sys.stderr is not None:
                self._ticker = threading.Thread(target=self._tick, daemon=True)
                self._ticker.start()
        try:
            yield advance
        finally:
            with _lock:
                self._stages.remove(stage)
                with suppress(OSError):
                    erase()

    def _tick(self) -> None:
        """Redraw the innermost stage until none is left, while the main thread waits for the work."""
        while True:
            time.sleep(REDRAW_S)
            with _lock:
                if not self._stages:
                    self._ticker = None
                    return
                try:
                    self._draw(self._stages[-1])
                except BrokenPipeError:
                    _gone.set()
                    # A signal interrupts the system call in which the main thread may wait.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return
                except (OSError, ValueError):
                    # The disk is full or the terminal is gone: the work goes on without a progress line.
                    self.quiet, self._ticker = True, None
                    return

    def _draw(self, stage: Stage) -> None:
        now = time.monotonic()
        if now - stage.started < QUIET_S:
            return
        text = stage.describe(now)
        if is_terminal(sys.stderr):
            sys.stderr.write(f"\r\x1b[K{shorten(text, columns(sys.stderr) - 1)}")
            sys.stderr.flush()
            _drawn.set()
        elif now - max(self._reported, stage.started) > REPORT_S:
            self._reported = now
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _print(self, text: str) -> None:
        self._raise_if_closed()
        if sys.stderr is None:
            return
        with _lock:
            try:
                erase()
                sys.stderr.write(f"{text}\n")
                sys.stderr.flush()
            except BrokenPipeError:
                _gone.set()
                self._raise_if_closed()
            except OSError:
                # The disk is full or the terminal is gone: the job goes on without notes.
                self.quiet, self.verbose = True, False

    def _raise_if_closed(self) -> None:
        if _gone.is_set():
            raise StoppedError(signal=signal.SIGPIPE)

    def _keep(self, text: str) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{text}\n" if text else "")


def erase() -> None:
    """Erase the progress line, before anything else is printed on the terminal."""
    with _lock:
        if _drawn.is_set():
            _drawn.clear()
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def is_closed() -> bool:
    """Whether the reader has closed standard error."""
    return _gone.is_set()


class Notebook(Silent):
    """A progress in a Jupyter notebook: notes as text, one bar below the cell."""

    def note(self, text: str) -> None:
        """Print the note below the cell."""
        sys.stderr.write(f"{printable(text)}\n")

    @contextmanager
    def bar(self, title: str, total: float, *, expected_s: float | None = None) -> Iterator[Advance]:
        """Show a bar that ticks every second, and remove it at the end."""
        stage = Stage(title, total, expected_s)
        handle = import_module("IPython.display").display(_html(stage), display_id=True)
        drawn = stage.started
        ended = threading.Event()

        def advance(units: float) -> None:
            nonlocal drawn
            stage.done += units
            if time.monotonic() - drawn > REDRAW_S:
                drawn = time.monotonic()
                handle.update(_html(stage))

        def tick() -> None:
            while not ended.wait(QUIET_S):
                handle.update(_html(stage))

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield advance
        finally:
            ended.set()
            ticker.join()
            handle.update(_html(None))


def default_progress() -> Progress:
    """Return the default progress: a bar in a notebook, else silence."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return Notebook() if type(shell).__name__ == "ZMQInteractiveShell" else Silent()


def duration(seconds: float) -> str:
    """Return a time as `0:12`, `12:05` or `1:02:05`.

    Parameters
    ----------
    seconds : float
        The time; a negative one counts as 0.

    Examples
    --------
    >>> duration(3725)
    '1:02:05'
    """
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _html(stage: Stage | None) -> Any:
    from html import escape

    # IPython is not a dependency: a notebook brings it.
    markup = import_module("IPython.display").HTML
    if stage is None:
        return markup("")
    share = f'value="{stage.done}" max="{stage.total}"' if stage.total else ""
    text = escape(printable(stage.describe(time.monotonic()), one_line=True))
    return markup(f"<div><progress {share}></progress> {text}</div>")
