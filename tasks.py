"""Invoke's door: `invoke NAME` in a clone is `spikecrate NAME`."""

from spikecrate.cli.as_invoke import collection

namespace = collection()

__all__ = ["namespace"]
