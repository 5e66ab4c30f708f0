"""One decorator for every command: options from the signature, help from the docstring, the result printed.

A command is a function of the library's own types. Its parameters are the options: type and default stand in the
signature, meaning and example in the docstring. What it returns is printed by `show`, or as JSON. Modules with
commands do not postpone annotations (`from __future__ import annotations`): they are read as they stand.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.nearest import nearest
from spikecrate._util.progress import Progress
from spikecrate.cli.choices import progress_of
from spikecrate.cli.option import JSON, Option, options_of, sections_of
from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

COMMANDS: Final[dict[str, Command]] = {}
"""Every command by its full name, in the order in which the first screen shows them."""
ALIASES: Final[dict[str, str]] = {}
"""A noun alone lists: `job` is `job.list`."""


@dataclass(frozen=True)
class Shown:
    """A value with the function that prints it, where that depends on the options.

    Attributes
    ----------
    value : object
        The value that `--json` prints.
    show : callable
        Prints it for people.
    """

    value: Any
    show: Callable[[Any], None]


@dataclass
class Command:
    """A function with the options that its signature names; calling it calls the function.

    Attributes
    ----------
    function : callable
        The body; its docstring is the command's help.
    name : str
        Full name: `sort`, `job.list`.
    group : str
        Heading on the first screen.
    doing : str
        Title of the progress line; `{NAME}` becomes the value of an option.
    show : callable or None
        Prints the value for people.
    """

    function: Callable[..., Any]
    name: str
    group: str
    doing: str
    show: Callable[[Any], None] | None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    @cached_property
    def help(self) -> dict[str, str]:
        """The sections of the docstring; the description has an empty name."""
        return sections_of(self.function)

    @property
    def summary(self) -> str:
        """The description's first clause."""
        return self.help[""].partition("\n")[0].partition(";")[0].removesuffix(".")

    @property
    def examples(self) -> list[str]:
        """The example command lines."""
        return self.help.get("Examples", "").splitlines()

    @property
    def with_json(self) -> bool:
        """Whether the command has `--json`; one that returns None has not."""
        signature = inspect.signature(self.function)
        return signature.return_annotation is not None or "json" in signature.parameters

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """Positionals, then options in the order of the signature, then those of every command."""
        found = options_of(self.function)
        found += [JSON] if self.with_json else []
        if "progress" in inspect.signature(self.function).parameters:
            found += options_of(progress_of)
        return tuple(sorted(found, key=lambda option: not option.is_positional))

    def call(self, values: Mapping[str, Any]) -> Any:
        """Call the function with the values of a command line.

        Parameters
        ----------
        values : mapping
            Value by option; a missing one has its default.
        """

        def given(names: Iterable[str]) -> dict[str, Any]:
            return {name: values[name] for name in names if name in values}

        progress = progress_of(**given(("quiet", "verbose", "log")))
        arguments: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            kind = parameter.annotation
            if kind is Progress:
                arguments[name] = progress
            elif isinstance(kind, type) and is_dataclass(kind):
                arguments[name] = kind(**given(field.name for field in fields(kind)))
            else:
                arguments |= given([name])
        if not self.doing:
            return self.function(**arguments)
        shown = {option.name: option.default for option in self.options} | {**values}
        with progress.bar(self.doing.format_map(shown), 0):
            return self.function(**arguments)


def command(
    name: str, group: str, doing: str = "", *, show: Callable[[Any], None] | None = None, alias: str = ""
) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function.

    Parameters
    ----------
    name : str
        Full name: `sort`, `job.list`.
    group : str
        Heading on the first screen.
    doing : str
        Title of the progress line, as `building {sorter}`; empty for a command that takes no time.
    show : callable, optional
        Prints the returned value for people; by default a field a line.
    alias : str
        Another name.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        made = Command(function, name, group, doing, show)
        COMMANDS[name] = made
        if alias:
            ALIASES[alias] = name
        return made

    return decorate


def find(name: str) -> Command:
    """Find a command by its name or alias.

    Parameters
    ----------
    name : str
        `job.list`, or `job`.

    Returns
    -------
    Command

    Raises
    ------
    UsageError
        The command does not exist; the message names the nearest.
    """
    full = ALIASES.get(name, name)
    if full not in COMMANDS:
        message = f"there is no command {name!r}{nearest(name, [*COMMANDS, *ALIASES])}"
        raise UsageError(message, next_step="spikecrate --help lists the commands")
    return COMMANDS[full]
