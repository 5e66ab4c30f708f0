"""The console program: find the command, run it, print the result or the error."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from spikecrate._util.nearest import nearest
from spikecrate._util.progress import erase, is_closed
from spikecrate._util.terminal import prepare_streams, printable
from spikecrate._version import __version__
from spikecrate.cli import load
from spikecrate.cli.command import COMMANDS, Command, Shown, find
from spikecrate.cli.parse import parse
from spikecrate.cli.text import as_json, fields, say
from spikecrate.errors import SpikecrateError, StoppedError, UsageError
from spikecrate.store.place import place_of, system_errors_named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HELP = ("--help", "-h")
DEBUG = ("--debug", "-d")
STOPS = (signal.SIGTERM, signal.SIGHUP)
"""Signals of a batch system and of a closed terminal; they stop a job as Ctrl-C does."""


def main() -> None:
    """Run the console program `spikecrate`."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run a command line and return its exit code.

    Parameters
    ----------
    words : sequence of str
        The words after the program's name.
    """
    prepare_streams()
    debug = any(word in DEBUG for word in words)
    return guarded(lambda: _dispatch(list(words)), to_json="--json" in words, debug=debug)


def guarded(body: Callable[[], None], *, to_json: bool, debug: bool) -> int:
    """Run a body; an error becomes its message, its next step and its exit code.

    A traceback appears only with `--debug`. With `--json` the error is an object on standard output too.

    Parameters
    ----------
    body : callable
        The work.
    to_json : bool
        Whether an error is printed as JSON.
    debug : bool
        Whether an error's traceback is printed.
    """
    for number in STOPS:
        # `nohup` ignores SIGHUP so that the job outlives the terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        try:
            body()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except SpikecrateError as error:
            return report(error, to_json=to_json, debug=debug)
        except KeyboardInterrupt:
            number = signal.SIGPIPE if is_closed() else signal.SIGINT
            return report(StoppedError(signal=number), to_json=to_json, debug=debug)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 (the last handler before the user)
            advice = "run it again with --debug and report what it prints"
            message = f"a fault in spikecrate: {type(error).__name__}: {error}"
            fault = SpikecrateError(message, next_step=advice)
            fault.__cause__ = error
            return report(fault, to_json=to_json, debug=debug)
        else:
            return 0
    except BrokenPipeError:
        # The reader has closed the pipe, as in `spikecrate job.list | head`.
        return _closed()


def report(error: SpikecrateError, *, to_json: bool, debug: bool) -> int:
    """Print an error, the cause last but for the next step, and return its exit code.

    Parameters
    ----------
    error : SpikecrateError
        The error.
    to_json : bool
        Print an object on standard output too.
    debug : bool
        Print the traceback first.
    """
    code = error.code if isinstance(error, StoppedError) else error.exit_code
    if code == 128 + signal.SIGPIPE:
        return _closed()
    if debug:
        _to_stderr(printable("".join(traceback.format_exception(error))))
    if to_json:
        with suppress(SpikecrateError):
            as_json({**error.as_dict(), "exit_code": code})
    # The end of a log, which some messages carry, stands above the message, and its last line is repeated as the cause;
    # choices and lists of errors stand below it.
    headline, _, excerpt = str(error).partition("\n")
    shown = [line for line in excerpt.splitlines() if line.strip()]
    headline = headline.removesuffix("; its last lines:").removesuffix("; the last lines:")
    lines = [*excerpt.splitlines(), f"spikecrate: {headline}"]
    if {"choices", "errors"} & error.details.keys():
        lines.insert(0, lines.pop())
    elif shown:
        lines.append(f"cause: {shown[-1].strip()}")
    if error.next_step:
        lines.append(f"next: {error.next_step}")
    if error.doctor:
        lines.append(f"why:  spikecrate doctor --check {error.doctor}")
    if "log" in error.details:
        lines.append(f"log:  {error.details['log']}")
    _to_stderr(printable("\n".join(lines)))
    return code


def execute(command: Command, values: dict[str, Any]) -> None:
    """Run a command with the values of its options, and print what it returns.

    Parameters
    ----------
    command : Command
        The command.
    values : dict
        Value by option.
    """
    _require_folder()
    with system_errors_named(place_of(None)):
        value, show = command.call(values), command.show
        if isinstance(value, Shown):
            value, show = value.value, value.show
        if value is None:
            return
        if command.with_json and values.get("json"):
            as_json(as_data(value))
        elif show is not None:
            show(value)
        else:
            fields(as_data(value))


def as_data(value: Any) -> Any:
    """Return a value in JSON types: its `as_dict`, or a dataclass's fields.

    Parameters
    ----------
    value : object
        The value that a command returned.
    """
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if isinstance(value, list | tuple):
        return [as_data(entry) for entry in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _dispatch(words: list[str]) -> None:
    load()
    if words[:1] == ["--complete"]:
        from spikecrate.cli.complete import candidates

        # No line at all where the shell is to complete files.
        for candidate in sorted(set(candidates(words[1:]))):
            say(candidate)
        return None
    while words and words[0] in (*DEBUG, "--json"):
        words.pop(0)
    if not words or words[0].startswith("-"):
        return _general(words or ["--help"])
    command, rest = find(words[0]), words[1:]
    own = rest[: rest.index("--")] if "--" in rest else rest
    if any(word in HELP for word in own):
        return _general(["--help", command.name])
    return execute(command, parse(command, [word for word in rest if word not in DEBUG]))


def _general(words: list[str]) -> None:
    """Handle an option that stands before any command."""
    from spikecrate.cli.help import command_help, first_screen

    match words[0]:
        case "--version" | "-V":
            say(f"spikecrate {__version__}")
        case "--list" | "-l":
            say("\n".join(COMMANDS))
        case "--help" | "-h" if len(words) > 1:
            command_help(find(words[1]))
        case "--help" | "-h":
            first_screen()
        case word:
            near = nearest(word, ("--help", "--version", "--debug", "--list"))
            message = f"there is no option {word}{near}"
            raise UsageError(message, next_step="write the options of a command after its name")


def _require_folder() -> None:
    """Refuse to start in a removed folder, where no relative path resolves.

    Raises
    ------
    UsageError
        The current folder no longer exists.
    """
    try:
        os.getcwd()  # noqa: PTH109 (the call that fails)
    except OSError:
        message = "the current folder no longer exists"
        raise UsageError(message, next_step="cd to another folder, then run it again") from None


def _to_stderr(text: str) -> None:
    # Where standard error is closed or full, only the exit code reports the error.
    with suppress(OSError, AttributeError, ValueError):
        erase()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _closed() -> int:
    """Discard all further output, and return the exit code for a closed pipe."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(devnull, number)
    return 128 + signal.SIGPIPE


def _stop(number: int, _frame: object) -> Any:
    raise StoppedError(signal=number)
