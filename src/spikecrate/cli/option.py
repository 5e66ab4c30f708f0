"""One option of a command: its type, its meaning, and how a word becomes its value."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, kw_only=True)
class About:
    """What an option's annotation says of it beside its type.

    Attributes
    ----------
    text : str
        Its meaning.
    metavar : str
        What stands for its value in a usage line.
    example : str
        One value.
    read : callable or None
        Makes a value of the word; by default the type's own reader.
    choices : callable or None
        Gives the values that there are, for completion.
    strict : bool
        Whether another value than a choice is refused.
    """

    text: str
    metavar: str = ""
    example: str = ""
    read: Callable[[str], Any] | None = None
    choices: Callable[[], Iterable[str]] | None = None
    strict: bool = False


def about(
    text: str,
    metavar: str = "",
    *,
    example: str = "",
    read: Callable[[str], Any] | None = None,
    choices: Callable[[], Iterable[str]] | None = None,
    one_of: Iterable[str] = (),
) -> About:
    """Describe an option; `one_of` are the only values that it may have."""
    known = tuple(one_of)
    return About(
        text=text,
        metavar=metavar,
        example=example,
        read=read,
        choices=(lambda: known) if known else choices,
        strict=bool(known),
    )


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
    about : About
        Its meaning.
    is_positional, is_list : bool
        Whether it stands without a name, and whether it may be repeated.
    """

    name: str
    kind: type
    default: Any
    about: About
    is_positional: bool = False
    is_list: bool = False

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def metavar(self) -> str:
        """What stands for the value."""
        return self.about.metavar or {int: "N", float: "X"}.get(self.kind, self.name.upper())

    @property
    def shown_default(self) -> str:
        """The default as help shows it; empty where the meaning says what happens without the option."""
        if self.is_positional or self.kind is bool or self.default in (None, "", [], ()):
            return ""
        return str(self.default)

    def convert(self, word: str) -> Any:
        """Make a value of a word.

        Raises
        ------
        UsageError
            Naming the option, the word and the form expected.
        """
        if self.about.strict:
            require_known(self.title, word, self.about.choices() if self.about.choices else ())
        if self.about.read is not None:
            return self.about.read(word)
        if self.kind is int:
            return _whole_number(self.title, word)
        if self.kind is float:
            return _number(self.title, word)
        return word

    @property
    def title(self) -> str:
        """How messages name it."""
        return self.metavar if self.is_positional else self.flag


def option_of(name: str, annotation: Any, default: Any) -> Option:
    """Make an option of a parameter: `Annotated[type, about(…)]`, and its default."""
    kind, text = get_args(annotation)
    if get_origin(kind) is not list:
        # `int | None`: an int that may be missing.
        kind = next((part for part in get_args(kind) if part is not type(None)), kind)
    is_list = get_origin(kind) is list
    if is_list:
        (kind,) = get_args(kind)
    is_positional = default is inspect.Parameter.empty
    return Option(
        name=name,
        kind=kind,
        default=None if is_positional else default,
        about=text,
        is_positional=is_positional,
        is_list=is_list,
    )


def fields_of(kind: Any) -> list[Option]:
    """Make an option of each field of a dataclass that is a parameter's type."""
    annotations = inspect.get_annotations(kind, eval_str=True)
    found: list[Option] = []
    for field in fields(kind):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        found.append(option_of(field.name, annotations[field.name], default))
    return found


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the nearest of the known names, or nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def require_known(title: str, word: str, known: Iterable[str]) -> None:
    """Refuse a value that is none of the known ones.

    Raises
    ------
    UsageError
        With the nearest.
    """
    names = list(known)
    if word not in names:
        message = f"{title} {word!r} is not known{nearest(word, names)}"
        raise UsageError(message, next_step=f"one of: {', '.join(names)}")


def _whole_number(title: str, word: str) -> int:
    if not word.isascii() or not word.removeprefix("-").isdigit():
        message = f"{title} {word!r} is not a whole number"
        raise UsageError(message, next_step=f"{title} 1")
    return int(word)


def _number(title: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        message = f"{title} {word!r} is not a number"
        raise UsageError(message, next_step=f"{title} 60") from None


JSON: Final = Option(name="json", kind=bool, default=False, about=about("print one line of JSON, errors too"))
COMMON: Final = (
    Option(name="quiet", kind=bool, default=False, about=about("show no notes and no progress; also -q")),
    Option(
        name="verbose", kind=bool, default=False, about=about("show the log of tools and builds; also -v")
    ),
    Option(
        name="log",
        kind=str,
        default="",
        about=about("a file that notes and logs are appended to", "FILE", example="run.log"),
    ),
)
SHORT: Final = {"-q": "--quiet", "-v": "--verbose"}
