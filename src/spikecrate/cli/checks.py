"""The doctor's checks of this installation: the library's, and in a clone those of the development container."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikecrate.doctor.check import Check


def has_dev() -> bool:
    """Whether the development container is installed: a clone has it, the wheel does not."""
    return find_spec("spikecrate_dev") is not None


def every_check() -> tuple[Check, ...]:
    """Return all checks in report order."""
    from spikecrate.doctor.doctor import CHECKS

    if not has_dev():
        return CHECKS
    from spikecrate_dev import checks

    return (*CHECKS, *checks.CHECKS)
