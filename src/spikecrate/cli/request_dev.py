"""From the words of the tasks on the development container to the library's arguments."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from spikecrate._util.progress import Terminal
from spikecrate.errors import StoppedError
from spikecrate_dev import session
from spikecrate_dev.options import Options, read_gpu, read_mount, read_port


def read(
    *,
    cmd: str,
    rebuild: bool,
    mount: list[str],
    port: list[str],
    gpu: str,
    x11: bool,
    docker: bool,
) -> session.Request:
    """Read the words of `dev`.

    Raises
    ------
    UsageError
        Naming the word that cannot be read.
    DevContainerError
        Outside of a clone.
    """
    working = Path.cwd()
    return session.Request(
        project=session.project_of(working),
        working=working,
        command=cmd,
        rebuild=rebuild,
        options=Options(
            mounts=tuple(read_mount(text, working) for text in mount),
            ports=tuple(map(read_port, port)),
            gpu=read_gpu(gpu),
            x11=x11,
            docker=docker,
        ),
    )


def is_inside() -> bool:
    """Say whether this is a development container already."""
    return session.is_inside(os.environ)


def run_here(command: str) -> NoReturn:
    """Run a command in place of this process."""
    session.run_here(command)


def enter(asked: session.Request) -> int:
    """Open a shell, or run a command and give its exit code."""
    return session.enter(asked, Terminal())


def forecast(asked: session.Request) -> list[str]:
    """Give the commands that `enter` would run."""
    return session.forecast(asked)


def drop_caches() -> None:
    """Ask whether the caches are to go, and remove them.

    Raises
    ------
    StoppedError
        For any answer but yes.
    """
    progress = Terminal()
    progress.note(
        f"--fresh removes all caches in {session.cache_folder()}, of every project; type yes to go on:"
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        message = "nothing was removed"
        raise StoppedError(message)
    session.drop_caches()


def status() -> dict[str, Any]:
    """Describe the container of the project here."""
    return session.status(session.project_of(Path.cwd()))


def stop(*, remove: bool) -> dict[str, Any]:
    """Stop the container of the project here."""
    return session.stop(session.project_of(Path.cwd()), remove=remove)
