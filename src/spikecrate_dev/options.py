"""What a user asks of a development container, checked before anything is made."""

from __future__ import annotations

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
"""Folders that the container has of its own: one of the host's on top of them would break it."""
ANY_BELOW: Final = ("/tmp", "/var", "/run", "/dev")
"""Of these, those below which people keep data, or disks are mounted."""
GPU_CHOICES: Final = ("auto", "on", "off")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for.

    Attributes
    ----------
    mounts : tuple of Mount
        Data folders, at the same path inside.
    ports : tuple of int
        To be reached on this machine's own address.
    gpu : str
        `auto`, `on` or `off`.
    x11, docker : bool
        Whether windows may be opened, and whether the Docker daemon may be reached, from inside.
    """

    mounts: tuple[Mount, ...] = ()
    ports: tuple[int, ...] = ()
    gpu: str = "auto"
    x11: bool = True
    docker: bool = True


def read_mount(text: str, working: Path) -> Mount:
    """Read `DIR`, `DIR:ro` or `DIR:rw`; read-only unless it says otherwise.

    Parameters
    ----------
    text : str
        As the user wrote it.
    working : Path
        What a relative path starts from.

    Raises
    ------
    UsageError
        Where it is no folder, or one that the container has of its own.
    """
    ending = text[-3:]
    read_only = ENDINGS.get(ending, True)
    named = text[:-3] if ending in ENDINGS else text
    # Not resolved: inside, the folder has the name by which the user knows it.
    folder = Path(normal(working / Path(named).expanduser()))
    try:
        is_folder = bool(named) and folder.is_dir()
    except PermissionError:
        message = f"--mount {text}: you may not look into {folder.parent}"
        raise UsageError(message, next_step="ask its owner for permission") from None
    if not is_folder:
        message = f"--mount {text}: {folder if named else 'it'} is not a folder; nothing was made"
        raise UsageError(message, next_step="--mount DIR, or --mount DIR:rw to write to it")
    own = any(
        folder == Path(place)
        or Path(place).is_relative_to(folder)
        or (place not in ANY_BELOW and folder.is_relative_to(place))
        for place in IMAGE_S_OWN
    )
    if own:
        message = f"--mount {text}: the container has a {folder} of its own"
        raise UsageError(message, next_step="mount a folder below it")
    return Mount(source=folder.resolve(), target=PurePosixPath(folder), read_only=read_only)


def normal(path: Path) -> str:
    """Write a path without `.` and `..`, links left as they are."""
    import os

    return os.path.normpath(path)


def read_port(text: str) -> int:
    """Read a port.

    Raises
    ------
    UsageError
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        message = f"--port {text!r} is not a number from 1 to 65535"
        raise UsageError(message, next_step="--port 8888")
    return int(text)


def read_gpu(text: str) -> str:
    """Read the word of `--gpu`.

    Raises
    ------
    UsageError
    """
    if text not in GPU_CHOICES:
        message = f"--gpu {text!r} is unknown"
        raise UsageError(message, next_step=f"one of: {', '.join(GPU_CHOICES)}")
    return text


def publish(ports: Sequence[int], is_free: Callable[[int], bool]) -> dict[int, int]:
    """Choose a port of this machine for each port inside: the same number, or the next one that is free.

    Parameters
    ----------
    ports : sequence of int
        Inside.
    is_free : callable
        Says whether a port of this machine can be had.

    Returns
    -------
    dict
        Port inside to port outside.

    Raises
    ------
    UsageError
        Where none up to 65535 is free.
    """
    chosen: dict[int, int] = {}
    for port in dict.fromkeys(ports):
        free = (number for number in range(port, 65536) if number not in chosen.values() and is_free(number))
        found = next(free, None)
        if found is None:
            message = f"--port {port}: no port from there on is free"
            raise UsageError(message, next_step="give a smaller number")
        chosen[port] = found
    return chosen
