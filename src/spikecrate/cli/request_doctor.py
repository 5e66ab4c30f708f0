"""From the words of the doctor's task to its checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spikecrate.doctor.check import Check
    from spikecrate.doctor.doctor import Line


def examine(check: str) -> Iterator[Line]:
    """Make all checks, or those of a name or group.

    Raises
    ------
    UsageError
        For a name that no check and no group has.
    """
    from spikecrate.doctor import doctor

    return doctor.examine(doctor.choose(check, every_check()))


def every_check() -> tuple[Check, ...]:
    """Return the library's checks, and in a clone those of its development container."""
    from spikecrate.doctor import doctor

    try:
        from spikecrate_dev.checks import CHECKS
    except ModuleNotFoundError:  # the wheel leaves spikecrate_dev out
        return doctor.CHECKS
    return (*doctor.CHECKS, *CHECKS)
