"""Invoke's door: the tasks live in spikecrate.cli, so that the console program has the same."""

from spikecrate.cli import namespace

__all__ = ["namespace"]
