"""The parts of a login session that a shell in the development container receives.

The container mounts a few folders of the host. Each attach renews the files and sockets in them, so a container that has
run for weeks has the cookie, the ssh agent and the git identity of today's login.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path, PurePosixPath

    from spikecrate.runtimes.contract import Mount
AGAIN: Final = "invoke dev.stop, then invoke dev"


@dataclass(frozen=True, kw_only=True)
class Attached:
    """The variables of one shell, and notes for its user.

    Attributes
    ----------
    environment : dict
        Variables for this shell.
    notes : tuple of str
        Warnings, one line each.
    asides : tuple of str
        Notes for an interactive shell only, one line each.
    """

    environment: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()


def source_of(target: PurePosixPath, shown: Iterable[Mount]) -> Path | None:
    """Return the host folder mounted at `target`; None where nothing is mounted.

    The container's own mounts count, because another login may have another run folder.

    Parameters
    ----------
    target : PurePosixPath
        A path in the container.
    shown : iterable of Mount
        The container's mounts.
    """
    return next((mount.source for mount in shown if mount.target == target), None)
