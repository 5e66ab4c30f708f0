"""Run steps: one Protocol, a module for each engine, and the choice between them."""

from spikecrate.runtimes.choice import choose
from spikecrate.runtimes.contract import ContainerSpec, ExitStatus, Limits, Mount, Runtime

__all__ = ["ContainerSpec", "ExitStatus", "Limits", "Mount", "Runtime", "choose"]
