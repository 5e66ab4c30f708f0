"""Where a task runs: one Protocol, a module for each engine, and the choice between them."""

from spikecrate.runtimes.choice import choose
from spikecrate.runtimes.contract import Exit, Limits, Mount, Runtime, Task

__all__ = ["Exit", "Limits", "Mount", "Runtime", "Task", "choose"]
