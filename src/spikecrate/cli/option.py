"""One option of a command: its type, its meaning, and how a word becomes its value."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin

from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SECTION: Final = re.compile(r"\n\n(Parameters|Attributes|Returns|Raises|Examples)\n-+\n")
_ENTRY: Final = re.compile(r"^(\w+) : (.+)\n((?:    .+\n?)+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words that an option takes, where its type alone does not decide: `Annotated[int, Words(…)]`.

    Attributes
    ----------
    read : callable or None
        Makes a value of a word; by default the type does.
    choices : callable or None
        Returns known values, for completion.
    one_of : tuple of str
        The only values; any other is refused.
    """

    read: Callable[[str], Any] | None = None
    choices: Callable[[], Iterable[str]] | None = None
    one_of: tuple[str, ...] = ()

    def known(self) -> list[str]:
        """Return the values to complete."""
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
        What the function gets where the option is not given.
    metavar, text, example : str
        What stands for the value in a usage line, the meaning, and one value.
    words : Words
        What it takes.
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
        """The name on the command line; of a switch that is on by default, the one that turns it off."""
        return f"--{'no-' if self.default is True else ''}{self.name.replace('_', '-')}"

    @property
    def title(self) -> str:
        """How messages name it."""
        return self.metavar if self.is_positional else self.flag

    def convert(self, word: str) -> Any:
        """Make a value of a word.

        Raises
        ------
        UsageError
            Naming the option, the word and the form expected.
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
            types = inspect.get_annotations(kind, eval_str=True)
            inner = entries_of(sections_of(kind)["Attributes"])
            found += [
                option_of(field.name, types[field.name], field.default, *inner[field.name])
                for field in fields(kind)
            ]
        elif parameter.name in entries:
            found.append(option_of(parameter.name, kind, parameter.default, *entries[parameter.name]))
    return found


def option_of(name: str, annotation: Any, default: Any, metavar: str, meaning: str) -> Option:
    """Return an option of a parameter's annotation, default and description."""
    kind, words = annotation, Words()
    if type(None) in get_args(kind):
        # `int | None`: an int that may be missing.
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Annotated:
        kind, words = get_args(kind)
    is_list = get_origin(kind) is list
    is_positional = default is inspect.Parameter.empty
    text, _, example = meaning.partition("; example: ")
    return Option(
        name=name,
        kind=get_args(kind)[0] if is_list else kind,
        default=None if is_positional else default,
        metavar="" if kind is bool else metavar,
        text=text,
        example=example,
        words=words,
        is_positional=is_positional,
        is_list=is_list,
    )


def sections_of(documented: Any) -> dict[str, str]:
    """Return the sections of a numpydoc docstring; what stands above them has no name.

    Parameters
    ----------
    documented : object
        A function or class.
    """
    description, *rest = _SECTION.split(inspect.cleandoc(documented.__doc__ or ""))
    return {"": description, **dict(zip(rest[::2], rest[1::2], strict=True))}


def entries_of(section: str) -> dict[str, tuple[str, str]]:
    """Return the type and the meaning of each `NAME : TYPE` of a section."""
    return {name: (kind, " ".join(text.split())) for name, kind, text in _ENTRY.findall(section)}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the nearest of the known names, or nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


JSON: Final = Option(name="json", kind=bool, default=False, text="print one line of JSON, errors too")
SHORT: Final = {"-q": "--quiet", "-v": "--verbose"}
