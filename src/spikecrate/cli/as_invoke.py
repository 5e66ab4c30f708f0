"""The same commands as tasks of Invoke, for `invoke NAME` in a clone."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import Task

from spikecrate.cli import load
from spikecrate.cli.command import ALIASES, COMMANDS, Command
from spikecrate.cli.main import DEBUG, run

if TYPE_CHECKING:
    from invoke.context import Context

    from spikecrate.cli.option import Option


def collection() -> Collection:
    """Return all commands as a collection of tasks, a noun a sub-collection."""
    load()
    root = Collection()
    for name, command in COMMANDS.items():
        noun, _, verb = name.rpartition(".")
        made = task(command, verb)
        if not noun:
            root.add_task(made)
            continue
        if noun not in root.collections:
            root.add_collection(Collection(noun))
        root.collections[noun].add_task(made, default=ALIASES.get(noun) == name)
    return root


def task(command: Command, name: str) -> Task[Any]:
    """Return a command as a task, which runs the command line of `spikecrate`.

    Parameters
    ----------
    command : Command
        The command.
    name : str
        Name of the task within its collection.
    """

    def body(_context: Context, **given: Any) -> None:
        words = [command.name, *(word for word in sys.argv[1:] if word in DEBUG)]
        for option in command.options:
            words += _words(option, given[option.name])
        if code := run(words):
            raise Exit(code=code)

    parameters = [inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for option in command.options:
        unset: Any = option.default if option.kind is bool else [] if option.is_list else ""
        default = inspect.Parameter.empty if option.is_positional and not option.words.may_miss else unset
        parameters.append(inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default))
    body.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    body.__doc__ = command.summary
    return Task(
        body,
        name=name,
        help={option.name.replace("_", "-"): option.text for option in command.options},
        iterable=[option.name for option in command.options if option.is_list and not option.is_positional],
        auto_shortflags=False,
    )


def _words(option: Option, given: Any) -> list[str]:
    """Return an option as words of a command line; none where it is not given."""
    if option.kind is bool:
        return [option.flag] if given != option.default else []
    every = given if isinstance(given, list) else [given] if given else []
    return every if option.is_positional else [f"{option.flag}={word}" for word in every]
