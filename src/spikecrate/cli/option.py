"""One option of a command: its type, its meaning, and how a word becomes its value."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin, get_type_hints

from spikecrate._util.nearest import nearest
from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SECTION: Final = re.compile(r"\n\n(Parameters|Attributes|Returns|Raises|Examples)\n-+\n")
_ENTRY: Final = re.compile(r"^(\w+) : (.+)\n((?:    .+\n?)+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The valid words of an option, where its type does not define them: `Annotated[int, Words(…)]`.

    Attributes
    ----------
    read : callable or None
        Returns the value of a word; by default the type does.
    choices : callable or None
        Returns known values, for completion.
    one_of : tuple of str
        The only values; any other is refused.
    may_miss : bool
        Whether the option stands without a name although it has a default.
    """

    read: Callable[[str], Any] | None = None
    choices: Callable[[], Iterable[str]] | None = None
    one_of: tuple[str, ...] = ()
    may_miss: bool = False

    def known(self) -> list[str]:
        """Return the values for completion."""
        return list(self.one_of or (self.choices() if self.choices else ()))


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option or positional of a command.

    Attributes
    ----------
    name : str
        The function's parameter.
    kind : type
        `bool`, `int`, `float` or `str`.
    default : object
        The value where the option is missing.
    metavar, text, example : str
        Name of the value in a usage line, the meaning, and one value.
    words : Words
        The valid words.
    is_positional, is_list : bool
        Whether it stands without a name, and whether it may be repeated.
    """

    name: str
    kind: type
    default: Any = None
    metavar: str = ""
    text: str = ""
    example: str = ""
    words: Words = Words()
    is_positional: bool = False
    is_list: bool = False

    @property
    def flag(self) -> str:
        """The name on the command line; a switch that is on by default has the name that turns it off."""
        return f"--{'no-' if self.default is True else ''}{self.name.replace('_', '-')}"

    @property
    def title(self) -> str:
        """The name in messages."""
        return self.metavar if self.is_positional else self.flag

    def convert(self, word: str) -> Any:
        """Return the value of a word.

        Parameters
        ----------
        word : str
            The word on the command line.

        Raises
        ------
        UsageError
            The word is not valid; the message names the option and the expected form.
        """
        known = self.words.one_of
        if known and word not in known:
            message = f"{self.title} {word!r} is not known{nearest(word, known)}"
            raise UsageError(message, next_step=f"one of: {', '.join(known)}")
        if self.words.read is not None:
            return self.words.read(word)
        try:
            return self.kind(word)
        except ValueError:
            form = "a whole number" if self.kind is int else "a number"
            message = f"{self.title} {word!r} is not {form}"
            raise UsageError(message, next_step=f"{self.title} {self.example or 1}") from None


def options_of(function: Any) -> list[Option]:
    """Return an option for each parameter of a function, described by its docstring.

    A parameter whose type is a dataclass becomes an option for each field.

    Parameters
    ----------
    function : callable
        With `NAME : METAVAR` and the meaning, which may end with `; example: VALUE`, under `Parameters`.
    """
    found: list[Option] = []
    entries = entries_of(sections_of(function).get("Parameters", ""))
    for parameter in inspect.signature(function).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            types = get_type_hints(kind, include_extras=True)
            defaults = {field.name: field.default for field in fields(kind)}
            # The options of a class come before those that it inherits.
            for one in filter(is_dataclass, kind.__mro__):
                inner = entries_of(sections_of(one)["Attributes"])
                found += [option_of(name, types[name], defaults[name], *inner[name]) for name in inner]
        elif parameter.name in entries:
            found.append(option_of(parameter.name, kind, parameter.default, *entries[parameter.name]))
    return found


def option_of(name: str, annotation: Any, default: Any, metavar: str, meaning: str) -> Option:
    """Return the option of a parameter.

    Parameters
    ----------
    name : str
        The parameter.
    annotation : type
        Its type, which may be optional, a list or `Annotated` with `Words`.
    default : object
        Its default; `inspect.Parameter.empty` makes a positional.
    metavar, meaning : str
        Its entry in the docstring.

    Returns
    -------
    Option
    """
    kind, words = annotation, Words()
    if type(None) in get_args(kind):
        # `int | None`: an int that may be missing.
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Annotated:
        kind, words = get_args(kind)
    is_list = get_origin(kind) is list
    is_required = default is inspect.Parameter.empty
    text, _, example = meaning.partition("; example: ")
    return Option(
        name=name,
        kind=get_args(kind)[0] if is_list else kind,
        default=None if is_required else default,
        metavar="" if kind is bool else metavar,
        text=text,
        example=example,
        words=words,
        is_positional=is_required or words.may_miss,
        is_list=is_list,
    )


def sections_of(documented: Any) -> dict[str, str]:
    """Return the sections of a numpydoc docstring; the description has an empty name.

    Parameters
    ----------
    documented : object
        A function or class.

    Raises
    ------
    UsageError
        The interpreter has removed the docstrings.
    """
    if documented.__doc__ is None:
        message = "python -OO removes docstrings, which hold the options and the help of every command"
        raise UsageError(message, next_step="unset PYTHONOPTIMIZE, or set it to 1")
    description, *rest = _SECTION.split(inspect.cleandoc(documented.__doc__))
    return {"": description, **dict(zip(rest[::2], rest[1::2], strict=True))}


def entries_of(section: str) -> dict[str, tuple[str, str]]:
    """Return the type and the meaning of each `NAME : TYPE` of a section.

    Parameters
    ----------
    section : str
        The body of a numpydoc section.

    Returns
    -------
    dict
        Name to type and meaning.
    """
    return {name: (kind, " ".join(text.split())) for name, kind, text in _ENTRY.findall(section)}


JSON: Final = Option(name="json", kind=bool, default=False, text="print one line of JSON, errors too")
SHORT: Final = {"-q": "--quiet", "-v": "--verbose"}
