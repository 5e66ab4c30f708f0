"""Run commands.

Commands are argument lists, never shell text. Output is passed line by line to a callback, and its end is kept for the
error. Each command runs in its own session, so that Ctrl-C reaches only spikecrate, which then ends the whole process
group with SIGTERM, and after a few seconds with SIGKILL.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TAIL_LINES: Final = 40
GRACE_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Completed:
    """The outcome of a command.

    Attributes
    ----------
    code : int
        Exit code; negative for a signal.
    output : str
        Standard output and standard error, interleaved as they came; the last 40 lines when streamed.
    timed_out : bool
        Whether the time limit ended it.
    """

    code: int
    output: str
    timed_out: bool = False


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> Completed:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str or Path
        The command; the first entry is looked up on PATH.
    cwd : Path, optional
        The working folder.
    env : mapping, optional
        The complete environment; by default the caller's.
    on_line : callable, optional
        Called with each line of output (standard error included), without its newline.
    timeout : float, optional
        Time limit in seconds.
    check : bool
        Whether to raise on an exit code other than 0, and when the time limit ends the command.

    Returns
    -------
    Completed

    Raises
    ------
    CommandError
        On an exit code other than 0 (with `check`), or where the command does not exist (code 127).
    """
    words = [os.fspath(word) for word in argv]
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    try:
        child = subprocess.Popen(
            words,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise CommandError(words, 127, f"{words[0]}: command not found") from None
    except PermissionError as error:
        raise CommandError(words, 126, str(error)) from None

    expired = threading.Event()

    def expire() -> None:
        expired.set()
        end(child)

    timer = None
    if timeout is not None:
        timer = threading.Timer(timeout, expire)
        timer.daemon = True
        timer.start()
    assert child.stdout is not None
    try:
        for line in child.stdout:
            text = line.rstrip("\n")
            tail.append(text)
            if on_line is not None:
                on_line(text)
        code = child.wait()
    except BaseException:
        end(child)
        raise
    finally:
        if timer is not None:
            timer.cancel()
        child.stdout.close()
    done = Completed(code=code, output="\n".join(tail), timed_out=expired.is_set())
    if check and (code != 0 or done.timed_out):
        raise CommandError(words, code, done.output)
    return done


def capture(argv: Sequence[str | Path], *, cwd: Path | None = None, timeout: float | None = 30) -> str:
    """Run a short command and return all of its standard output, stripped.

    Parameters
    ----------
    argv, cwd, timeout
        As in `run`.

    Returns
    -------
    str

    Raises
    ------
    CommandError
        As in `run`, with the command's standard error.
    """
    words = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise CommandError(words, 127, f"{words[0]}: command not found") from None
    except subprocess.TimeoutExpired:
        raise CommandError(words, 124, f"no answer within {timeout} s") from None
    if done.returncode != 0:
        raise CommandError(words, done.returncode, done.stderr)
    return done.stdout.strip()


def answer(argv: Sequence[str | Path], *, cwd: Path | None = None, timeout: float | None = 30) -> str | None:
    """Return the standard output of a short command, stripped; None where it is missing or fails.

    Parameters
    ----------
    argv, cwd, timeout
        As in `run`.

    Returns
    -------
    str or None
    """
    try:
        return capture(argv, cwd=cwd, timeout=timeout)
    except CommandError:
        return None


def end(child: subprocess.Popen[str]) -> None:
    """End a child's process group with SIGTERM, and with SIGKILL when the child has ended or after a few seconds.

    Parameters
    ----------
    child : Popen
        The leader of the group.
    """
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
