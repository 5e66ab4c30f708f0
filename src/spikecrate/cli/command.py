"""One decorator for every command: options from the signature, values converted, the result printed.

A command is a function of the library's own types. Its parameters are the options: type and default stand in the
signature, meaning and reader in `Annotated[…, about(…)]`. What it returns is printed by `show`, or as JSON. Modules
with commands do not postpone annotations (`from __future__ import annotations`): they are read as they stand.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, get_args

from spikecrate._util.progress import Progress, Terminal
from spikecrate.cli.option import COMMON, JSON, Option, fields_of, nearest, option_of
from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
R = TypeVar("R")

COMMANDS: Final[dict[str, Command[Any, Any]]] = {}
"""Every command by its full name, in the order in which the first screen shows them."""
ALIASES: Final[dict[str, str]] = {}
"""A noun alone is its list: `job` is `job.list`."""
GROUPS: Final = (
    "sort and look at results",
    "reproduce a result",
    "recordings",
    "sorters",
    "images",
    "store",
    "this machine",
)
"""What a user does, in the order of the first screen."""


@dataclass(frozen=True)
class Shown:
    """A value, and what prints it where that depends on the options.

    Attributes
    ----------
    value : object
        What `--json` prints.
    show : callable
        Prints it for people.
    """

    value: Any
    show: Callable[[Any], None]


class Command(Generic[P, R]):
    """A function with the options that its signature names; calling it calls the function.

    Parameters
    ----------
    function : callable
        The body.
    name : str
        Full name: `sort`, `job.list`.
    group : str
        One of `GROUPS`.
    show : callable or None
        Prints the value for people.
    examples : tuple of str
        Command lines for the help.
    doing : str
        What the line of progress says while it works; `{NAME}` becomes the value of an option.
    with_json : bool
        Whether `--json` prints the value as JSON.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str,
        group: str,
        show: Callable[[R], None] | None,
        examples: tuple[str, ...],
        doing: str,
        with_json: bool,
    ) -> None:
        self.function = function
        self.name = name
        self.group = group
        self.show = show
        self.examples = examples
        self.doing = doing
        self.with_json = with_json
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.function(*args, **kwargs)

    @property
    def summary(self) -> str:
        """What it does, in a few words."""
        return self.description.partition("\n")[0].partition(";")[0].removesuffix(".")

    @property
    def description(self) -> str:
        """What it does, without the sections for programmers."""
        return inspect.cleandoc(self.function.__doc__ or "").partition("\n\nParameters\n")[0]

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """Positionals first, then options in the order of the signature, then those that all commands have."""
        found: list[Option] = []
        takes_progress = False
        for parameter in inspect.signature(self.function).parameters.values():
            kind, *_ = get_args(parameter.annotation) or (parameter.annotation,)
            if parameter.annotation is Progress:
                takes_progress = True
            elif is_dataclass(kind):
                found += fields_of(kind)
            elif parameter.name != "json":
                found.append(option_of(parameter.name, parameter.annotation, parameter.default))
        if self.with_json:
            found.append(JSON)
        if takes_progress:
            found += COMMON
        return tuple(sorted(found, key=lambda option: not option.is_positional))

    def call(self, values: Mapping[str, Any]) -> R:
        """Call the function with the values of a command line.

        Parameters
        ----------
        values : mapping
            By option; what is missing has its default.
        """
        arguments: dict[str, Any] = {}
        progress = progress_of(values)
        for parameter in inspect.signature(self.function).parameters.values():
            kind, *_ = get_args(parameter.annotation) or (parameter.annotation,)
            if parameter.annotation is Progress:
                arguments[parameter.name] = progress
            elif is_dataclass(kind):
                assert isinstance(kind, type)
                names = {field.name for field in fields(kind)}
                arguments[parameter.name] = kind(**{name: values[name] for name in names if name in values})
            elif parameter.name in values:
                arguments[parameter.name] = values[parameter.name]
        if not self.doing:
            return self.function(**arguments)  # type: ignore[call-arg]
        given = {option.name: values.get(option.name, option.default) for option in self.options}
        with progress.bar(self.doing.format(**given), 0):
            return self.function(**arguments)  # type: ignore[call-arg]


def command(
    name: str,
    group: str,
    *examples: str,
    doing: str = "",
    show: Callable[[Any], None] | None = None,
    alias: str = "",
    with_json: bool = True,
) -> Callable[[Callable[P, R]], Command[P, R]]:
    """Make a command of a function.

    Parameters
    ----------
    name : str
        Full name: `sort`, `job.list`.
    group : str
        Where the first screen lists it.
    *examples : str
        Command lines for its help.
    doing : str
        What the line of progress says while it works, as `building {sorter}`; empty for what takes no time.
    show : callable, optional
        Prints the returned value for people; by default a field a line.
    alias : str
        Another name.
    with_json : bool
        Whether it has `--json`.
    """

    def decorate(function: Callable[P, R]) -> Command[P, R]:
        made = Command(
            function,
            name=name,
            group=group,
            show=show,
            examples=examples,
            doing=doing,
            with_json=with_json,
        )
        COMMANDS[name] = made
        if alias:
            ALIASES[alias] = name
        return made

    return decorate


def find(name: str) -> Command[Any, Any]:
    """Find a command by its name or alias.

    Raises
    ------
    UsageError
        With the nearest name.
    """
    full = ALIASES.get(name, name)
    if full not in COMMANDS:
        message = f"there is no command {name!r}{nearest(name, [*COMMANDS, *ALIASES])}"
        raise UsageError(message, next_step="spikecrate --help lists the commands")
    return COMMANDS[full]


def progress_of(values: Mapping[str, Any]) -> Terminal:
    """Make the progress that `--quiet`, `--verbose` and `--log` ask for."""
    log = values.get("log")
    return Terminal(
        quiet=bool(values.get("quiet")), verbose=bool(values.get("verbose")), log=Path(log) if log else None
    )
