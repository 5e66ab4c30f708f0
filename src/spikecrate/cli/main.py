"""The console program: the same tasks as `invoke`, from any folder."""

from __future__ import annotations

import functools
import io
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, ParamSpec

from invoke.exceptions import Exit

from spikecrate._version import __version__
from spikecrate.errors import SpikecrateError, StoppedError
from spikecrate.store.place import place_of, system_errors_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from invoke.program import Program

    P = ParamSpec("P")


def main() -> None:
    """Run the console program `spikecrate`."""
    program().run()


def program() -> Program:
    """Make the console program of the tasks."""
    from invoke.program import Program

    from spikecrate.cli import namespace

    return Program(name="spikecrate", binary="spikecrate", namespace=namespace, version=__version__)


def reported(body: Callable[P, None]) -> Callable[P, None]:
    """Turn an error inside a task into its message, its next step and its exit code.

    A traceback appears only with `--debug`. With `--json` the error is an object on standard output too.
    SIGTERM, which a batch system sends before it kills, stops a job as Ctrl-C does.
    """

    @functools.wraps(body)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        signal.signal(signal.SIGTERM, _stop)
        _print_any_character()
        try:
            _help_if_asked(kwargs.values())
            with system_errors_named(place_of(None)):
                body(*args, **kwargs)
        except Exit:
            raise
        except SpikecrateError as error:
            raise _exit(error, to_json=bool(kwargs.get("json"))) from None
        except KeyboardInterrupt:
            raise _exit(StoppedError(), to_json=bool(kwargs.get("json"))) from None
        except BrokenPipeError:
            # Whoever read our output has gone: `spikecrate job.list | head`.
            sys.stderr.close()
            raise Exit(code=141) from None
        except Exception as error:
            if _debug():
                raise
            fault = SpikecrateError(
                f"a fault in spikecrate: {type(error).__name__}: {error}",
                next_step="run it again with --debug and report what it prints",
            )
            raise _exit(fault, to_json=bool(kwargs.get("json"))) from None

    return wrapper


def _print_any_character() -> None:
    """Print what the locale's encoding lacks as an escape, in place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _help_if_asked(words: Iterable[object]) -> None:
    """Print a task's help where invoke took `--help` for its first argument: `spikecrate sort --help`."""
    if not {"--help", "-h"}.isdisjoint(word for word in words if isinstance(word, str)):
        at = next(at for at, word in enumerate(sys.argv) if word in ("--help", "-h"))
        program().run(["spikecrate", "--help", sys.argv[at - 1]])
        raise Exit(code=0)


def _exit(error: SpikecrateError, *, to_json: bool) -> Exit:
    from spikecrate.cli.text import as_json

    if _debug():
        traceback.print_exc()
    code = error.code if isinstance(error, StoppedError) else error.exit_code
    if to_json:
        as_json({**error.as_dict(), "exit_code": code})
    lines = [f"spikecrate: {error}", *([f"next: {error.next_step}"] if error.next_step else [])]
    if error.doctor:
        lines.append(f"why:  spikecrate doctor --check {error.doctor}")
    if "log" in error.details:
        lines.append(f"log:  {error.details['log']}")
    return Exit("\n".join(lines), code=code)


def _debug() -> bool:
    return any(word in ("--debug", "-d") for word in sys.argv[1:])


def _stop(number: int, _frame: FrameType | None) -> Any:
    raise StoppedError(signal=number)
