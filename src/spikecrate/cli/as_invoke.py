"""The same commands as tasks of Invoke, for `invoke NAME` in a clone."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import Task

from spikecrate.cli import load
from spikecrate.cli.command import ALIASES, COMMANDS
from spikecrate.cli.main import DEBUG, HELP, execute, guarded

if TYPE_CHECKING:
    from invoke.context import Context

    from spikecrate.cli.command import Command
    from spikecrate.cli.option import Option


def collection() -> Collection:
    """Return all commands as a collection of tasks, a noun a sub-collection."""
    load()
    root = Collection()
    nouns: dict[str, Collection] = {}
    for name, command in COMMANDS.items():
        noun, _, verb = name.rpartition(".")
        made = task(command, verb)
        if not noun:
            root.add_task(made)
            continue
        if noun not in nouns:
            nouns[noun] = Collection(noun)
            root.add_collection(nouns[noun])
        nouns[noun].add_task(made, default=ALIASES.get(noun) == name)
    return root


def task(command: Command[Any, Any], name: str) -> Task[Any]:
    """Return a command as a task; Invoke hands over words, which are read as `spikecrate` reads them.

    Parameters
    ----------
    command : Command
        What is run.
    name : str
        Of the task within its collection.
    """

    def body(_context: Context, **given: Any) -> None:
        def run() -> None:
            if any(word in HELP for word in given.values() if isinstance(word, str)):
                # Invoke takes `--help` for the first argument: `invoke sort --help`.
                from spikecrate.cli.help import command_help

                return command_help(command)
            return execute(command, _values(command, given))

        code = guarded(
            run, to_json=bool(given.get("json")), debug=any(word in DEBUG for word in sys.argv[1:])
        )
        if code:
            raise Exit(code=code)

    parameters = [inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += [_parameter(option) for option in command.options]
    body.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    body.__doc__ = command.summary
    return Task(
        body,
        name=name,
        help={option.name.replace("_", "-"): option.about.text for option in command.options},
        iterable=[option.name for option in command.options if option.is_list and not option.is_positional],
        auto_shortflags=False,
    )


def _parameter(option: Option) -> inspect.Parameter:
    default: Any = inspect.Parameter.empty
    if not option.is_positional:
        default = option.default if option.kind is bool else None if option.is_list else ""
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default)


def _values(command: Command[Any, Any], given: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for option in command.options:
        word = given[option.name]
        if option.kind is bool:
            values[option.name] = word
        elif option.is_list:
            words = word if isinstance(word, list) else [word]
            values |= {option.name: [option.convert(each) for each in words]} if words else {}
        elif word:
            values[option.name] = option.convert(word)
    return values
