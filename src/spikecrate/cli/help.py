"""The first screen, and the help of one command, at any width."""

from __future__ import annotations

import sys
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Final

from spikecrate._util.terminal import LEAST_COLUMNS, columns
from spikecrate.cli.command import COMMANDS, Command
from spikecrate.cli.text import say

if TYPE_CHECKING:
    from spikecrate.cli.option import Option

WIDEST: Final = 100
"""Widest line, in characters; longer lines are hard to read."""
INDENT: Final = 2
NARROW: Final = 60
"""Below this width, meanings stand under the names."""
GENERAL: Final = (
    ("--help, -h", "this screen; after a command, its help"),
    ("--version", "the version"),
    ("--debug", "show the traceback of an error"),
)


def first_screen() -> None:
    """Print every command, grouped by what a user does."""
    _paragraph("spikecrate runs spike sorters in pinned containers: the same input gives the same bytes")
    say()
    _paragraph("usage: spikecrate COMMAND [OPTIONS]")
    for group, members in groupby(COMMANDS.values(), key=lambda command: command.group):
        say(f"\n{group}")
        _columns([(command.name, command.summary) for command in members])
    say("\noptions")
    _columns(list(GENERAL))
    say()
    _paragraph("spikecrate COMMAND --help describes a command and its options")


def command_help(command: Command) -> None:
    """Print a command's usage, description, options and examples.

    Parameters
    ----------
    command : Command
        The command.
    """
    positionals = [option for option in command.options if option.is_positional]
    options = [option for option in command.options if not option.is_positional]
    usage = [f"usage: spikecrate {command.name}", *(["[OPTIONS]"] if options else [])]
    usage += [
        f"[{option.metavar}]"
        if option.words.may_miss
        else f"{option.metavar}{' ...' if option.is_list else ''}"
        for option in positionals
    ]
    _paragraph(" ".join(usage))
    for paragraph in command.help[""].split("\n\n"):
        say()
        _paragraph(paragraph)
    if positionals:
        say("\narguments")
        _columns([(option.metavar, _meaning(option)) for option in positionals])
    if options:
        say("\noptions")
        _columns([(f"{option.flag} {option.metavar}".rstrip(), _meaning(option)) for option in options])
    if command.examples:
        say("\nexamples")
        for example in command.examples:
            _paragraph(example, " " * INDENT)


def _paragraph(text: str, indent: str = "") -> None:
    say(textwrap.fill(text, _width(), initial_indent=indent, subsequent_indent=indent * 2))


def _meaning(option: Option) -> str:
    parts = [option.text]
    if option.words.one_of:
        parts.append(f"one of {', '.join(option.words.one_of)}")
    if option.is_list and not option.is_positional:
        parts.append("may be repeated")
    if option.default not in (None, "") and option.kind is not bool:
        parts.append(f"default: {option.default}")
    if option.example:
        parts.append(
            f"example: {option.example if option.is_positional else f'{option.flag} {option.example}'}"
        )
    return "; ".join(parts)


def _columns(rows: list[tuple[str, str]]) -> None:
    """Print names and meanings, side by side where the width allows."""
    width = _width()
    widest = min(max(len(name) for name, _ in rows), width // 3)
    for name, meaning in rows:
        if width < NARROW or len(name) > widest:
            say(" " * INDENT + name)
            first = " " * (INDENT * 2 if width < NARROW else INDENT * 2 + widest)
        else:
            first = f"{' ' * INDENT}{name.ljust(widest)}{' ' * INDENT}"
        say(textwrap.fill(meaning, width, initial_indent=first, subsequent_indent=" " * len(first)))


def _width() -> int:
    return max(LEAST_COLUMNS, min(columns(sys.stdout), WIDEST))
