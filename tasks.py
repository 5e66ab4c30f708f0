"""Invoke's door: the tasks live in spikecrate.tasks, so that the console program has the same."""

from spikecrate.tasks import namespace

__all__ = ["namespace"]
