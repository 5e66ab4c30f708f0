"""From the words of the doctor's task to its checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spikecrate.doctor.doctor import Line


def examine(check: str) -> Iterator[Line]:
    """Make all checks, or those of a name or group.

    Raises
    ------
    UsageError
        For a name that no check and no group has.
    """
    from spikecrate.cli.checks import every_check
    from spikecrate.doctor import doctor

    return doctor.examine(doctor.choose(check, every_check()))
