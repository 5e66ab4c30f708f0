"""What a shell in the development container is given of the session that opens it, and where it is put for it.

A few folders of the host are mounted when a container is made. At each attach files and sockets in them are made anew, so
that a container that has run for weeks has the cookie, the agent and the identity of today's login.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path, PurePosixPath

    from spikecrate.runtimes.contract import Mount


@dataclass(frozen=True, kw_only=True)
class Attached:
    """What one shell gets, and what its user should know.

    Attributes
    ----------
    environment : dict
        Variables of this shell.
    notes : tuple of str
        One line each.
    asides : tuple of str
        The same, for someone who types; for a command in a script they are no news.
    """

    environment: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()


def source_of(target: PurePosixPath, shown: Iterable[Mount]) -> Path | None:
    """Find the folder of the host that a container sees at `target`; None where it sees none.

    It is the container's word that counts: another login may have another run folder.
    """
    return next((mount.source for mount in shown if mount.target == target), None)
