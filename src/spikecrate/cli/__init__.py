"""The command line: one module a noun, with its commands and the printing of their results."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Final

NOUNS: Final = (
    *("sort", "preprocess", "analyze", "compare", "curate", "export", "plot", "demo", "study"),
    *("jobs", "recordings", "check", "sorters", "quality"),
    *("images", "store", "doctor", "dev", "complete"),
)
"""Modules with commands, in the order of the first screen."""


def has_dev() -> bool:
    """Whether the development container is installed: a clone has it, the wheel does not."""
    return find_spec("spikecrate_dev") is not None


def load() -> None:
    """Import every command; a command imports what is heavy when it runs."""
    for noun in NOUNS:
        # The wheel leaves the development container out.
        if noun != "dev" or has_dev():
            import_module(f"spikecrate.cli.{noun}")
