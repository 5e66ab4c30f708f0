"""The checks of a clone, beside those of the library: display, git, ssh agent, development container."""

from __future__ import annotations

from typing import Final

from spikecrate_dev.checks import clone, login, windows

CHECKS: Final = (*windows.CHECKS, *login.CHECKS, *clone.CHECKS)
"""In report order; `cli` appends them to the library's where this package is installed."""
