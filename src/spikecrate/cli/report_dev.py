"""What the tasks on the development container print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikecrate.cli.text import say

if TYPE_CHECKING:
    from collections.abc import Iterable


def commands(lines: Iterable[str]) -> None:
    """Print command lines, one a line."""
    for line in lines:
        say(line)


def already_inside() -> None:
    """Say that there is nothing to open."""
    say("this is the development container already")
