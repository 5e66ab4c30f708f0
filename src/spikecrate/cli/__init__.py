"""The command line: a module a noun, each with its options, its call of the library, and what it prints."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from spikecrate.cli.checks import has_dev

NOUNS: Final = (
    *("sort", "demo", "jobs", "recordings", "sorters", "quality"),
    *("images", "store", "doctor", "dev", "complete"),
)
"""Modules with commands, in the order of the first screen."""


def load() -> None:
    """Import every command; none of them imports anything heavy before it runs."""
    for noun in NOUNS:
        # The wheel leaves the development container out.
        if noun != "dev" or has_dev():
            import_module(f"spikecrate.cli.{noun}")
