"""The options of `invoke dev`, validated before anything is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from spikecrate.errors import UsageError
from spikecrate.runtimes.contract import Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ENDINGS: Final = {":rw": False, ":ro": True}
IMAGE_S_OWN: Final = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"),
    *("/opt/spikecrate", "/opt/apptainer", "/home/dev", "/tmp", "/var"),
)
"""Folders of the container; a host folder mounted over them would break it."""
ANY_BELOW: Final = ("/tmp", "/var", "/run", "/dev")
"""Those of them that may contain data folders or mounted disks."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The validated options.

    Attributes
    ----------
    mounts : tuple of Mount
        Data folders, at the same path inside.
    ports : tuple of int
        Ports to publish on 127.0.0.1.
    gpu : str
        `auto`, `on` or `off`.
    x11, docker : bool
        Whether programs inside can open windows, and whether they can use the Docker daemon.
    """

    mounts: tuple[Mount, ...] = ()
    ports: tuple[int, ...] = ()
    gpu: str = "auto"
    x11: bool = True
    docker: bool = True


def read_mount(text: str, working: Path) -> Mount:
    """Parse `DIR`, `DIR:ro` or `DIR:rw`; read-only by default.

    Parameters
    ----------
    text : str
        The value of the option.
    working : Path
        The folder that relative paths start from.

    Raises
    ------
    UsageError
        Where it is not a folder, or a folder of the container itself.
    """
    ending = text[-3:]
    read_only = ENDINGS.get(ending, True)
    named = text[:-3] if ending in ENDINGS else text
    # Not resolved: the folder keeps the name that the user knows.
    folder = Path(os.path.normpath(working / Path(named).expanduser()))
    try:
        is_folder = bool(named) and folder.is_dir()
    except PermissionError:
        message = f"--mount {text}: no permission to read {folder.parent}"
        raise UsageError(message, next_step="ask its owner for permission") from None
    if not is_folder:
        message = f"--mount {text}: {folder if named else 'the path'} is not a folder; nothing was made"
        raise UsageError(message, next_step="--mount DIR, or --mount DIR:rw to write to it")
    own = any(
        folder == Path(place)
        or Path(place).is_relative_to(folder)
        or (place not in ANY_BELOW and folder.is_relative_to(place))
        for place in IMAGE_S_OWN
    )
    if own:
        message = f"--mount {text}: the container needs its own {folder}"
        raise UsageError(message, next_step="mount a folder below it")
    return Mount(source=folder.resolve(), target=PurePosixPath(folder), read_only=read_only)


def read_port(text: str) -> int:
    """Parse a port number.

    Parameters
    ----------
    text : str
        The text.

    Raises
    ------
    UsageError
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        message = f"--port {text!r} is not a number from 1 to 65535"
        raise UsageError(message, next_step="--port 8888")
    return int(text)


def publish(ports: Sequence[int], is_free: Callable[[int], bool]) -> dict[int, int]:
    """Return a host port for each container port: the same number, or the next free one.

    Parameters
    ----------
    ports : sequence of int
        Container ports.
    is_free : callable
        Whether a host port is free.

    Returns
    -------
    dict
        Container port to host port.

    Raises
    ------
    UsageError
        Where no port up to 65535 is free.
    """
    chosen: dict[int, int] = {}
    for port in dict.fromkeys(ports):
        free = (number for number in range(port, 65536) if number not in chosen.values() and is_free(number))
        found = next(free, None)
        if found is None:
            message = f"--port {port}: no port from there up to 65535 is free"
            raise UsageError(message, next_step="give a smaller number")
        chosen[port] = found
    return chosen
