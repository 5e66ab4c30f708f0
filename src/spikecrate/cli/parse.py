"""Parse command-line options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecrate._util.nearest import nearest
from spikecrate.cli.option import SHORT, Option
from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate.cli.command import Command


def parse(command: Command, words: Sequence[str]) -> dict[str, Any]:
    """Parse the words after a command's name.

    Parameters
    ----------
    command : Command
        The command.
    words : sequence of str
        `--name value`, `--name=value`, positionals; after `--` positionals alone.

    Returns
    -------
    dict
        A value for each option that was given.

    Raises
    ------
    UsageError
        For an option that does not exist (with the nearest), a value that is missing or cannot be read, and too few
        or too many positionals.
    """
    # `image.pull --sorter NAME` is `image.pull NAME`.
    flags = {option.flag: option for option in command.options}
    values: dict[str, Any] = {}
    loose: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            loose += rest
            break
        if not word.startswith("-") or word == "-":
            loose.append(word)
            continue
        flag, equals, value = word.partition("=")
        flag = SHORT.get(flag, flag).replace("_", "-")
        option = flags.get(flag)
        if option is None:
            message = f"{command.name} has no option {flag}{nearest(flag, flags)}"
            raise UsageError(message, next_step=f"spikecrate {command.name} --help lists its options")
        if option.kind is bool:
            if equals:
                message = f"{flag} takes no value"
                raise UsageError(message, next_step=f"write {flag} alone")
            values[option.name] = not option.default
        else:
            given = value if equals else rest.pop(0) if rest else ""
            # An empty one, of a variable that a script did not set, would choose all.
            if not given:
                message = f"{flag} needs a value"
                raise UsageError(message, next_step=f"write it as {flag} {option.metavar}")
            _store(values, option, given)
    _place(command, loose, values)
    return values


def _place(command: Command, loose: list[str], values: dict[str, Any]) -> None:
    """Assign the words without a name to the positionals; the last may take several."""
    for option in command.options:
        if not option.is_positional or option.name in values:
            continue
        if not loose and option.words.may_miss:
            continue
        if not loose:
            message = f"{command.name} needs {option.metavar}: {option.text}"
            raise UsageError(message, next_step=f"spikecrate {command.name} --help")
        taken = loose if option.is_list else loose[:1]
        loose = loose[len(taken) :]
        for word in taken:
            _store(values, option, word)
    if loose:
        message = f"{command.name} takes no further argument: {loose[0]!r}"
        raise UsageError(message, next_step=f"spikecrate {command.name} --help")


def _store(values: dict[str, Any], option: Option, word: str) -> None:
    if option.is_list:
        values.setdefault(option.name, []).append(option.convert(word))
    else:
        values[option.name] = option.convert(word)
