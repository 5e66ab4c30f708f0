"""Commands on the development container."""

import os
import sys
from pathlib import Path
from typing import Any, Final

from spikecrate._util.files import remove
from spikecrate._util.progress import Progress
from spikecrate.cli.choices import Switch
from spikecrate.cli.command import command
from spikecrate.cli.text import say
from spikecrate.errors import StoppedError

MACHINE: Final = "this machine"


@command("dev.open", MACHINE, alias="dev")
def dev_open(
    cmd: str = "",
    rebuild: bool = False,
    fresh: bool = False,
    dry_run: bool = False,
    x11: bool = True,
    docker: bool = True,
    gpu: Switch = "auto",
    port: list[str] | None = None,
    mount: list[str] | None = None,
    *,
    progress: Progress,
) -> None:
    """Open a shell in the development container: make it, start it or enter it.

    Parameters
    ----------
    cmd : COMMAND
        run this command in place of a shell, and end with its exit code; example: 'make test'
    rebuild : flag
        rebuild the image and the container; caches stay
    fresh : flag
        rebuild, and remove the caches; asks first
    dry_run : flag
        print the commands
    x11 : flag
        open no windows on this display
    docker : flag
        do not reach the Docker daemon from inside (it gives as much as root on this machine)
    gpu : GPU
        whether the container gets a GPU; example: off
    port : PORT
        a port of the container to reach on 127.0.0.1; example: 8888
    mount : DIR[:rw]
        a folder of data at the same path, read-only unless :rw; example: /data

    Examples
    --------
    spikecrate dev
    spikecrate dev --cmd 'make test'
    spikecrate dev --mount /data --port 8888
    """
    from spikecrate.engines.host_paths import is_inside
    from spikecrate_dev import session
    from spikecrate_dev.definition import find_project
    from spikecrate_dev.options import Options, read_mount, read_port

    if is_inside(os.environ):
        if cmd:
            os.execvp("bash", ["bash", "-l", "-c", cmd])
        return say("this is the development container already")
    working = Path.cwd()
    request = session.Request(
        project=find_project(working),
        working=working,
        command=cmd,
        rebuild=rebuild or fresh,
        options=Options(
            mounts=tuple(read_mount(text, working) for text in mount or []),
            ports=tuple(map(read_port, port or [])),
            gpu=gpu,
            x11=x11,
            docker=docker,
        ),
    )
    if dry_run:
        return say("\n".join(session.forecast(request)))
    if fresh:
        _drop_caches(progress)
    raise SystemExit(session.enter(request, progress))


@command("dev.status", MACHINE)
def dev_status() -> dict[str, Any]:
    """Describe the development container: state, image, mounts, ports, stale or not.

    Examples
    --------
    spikecrate dev.status
    """
    from spikecrate_dev import session
    from spikecrate_dev.definition import find_project

    return session.status(find_project(Path.cwd()))


@command("dev.stop", MACHINE)
def dev_stop(remove: bool = False) -> dict[str, Any]:
    """Stop the development container; `invoke dev` starts it again.

    Parameters
    ----------
    remove : flag
        remove it, too; caches stay

    Examples
    --------
    spikecrate dev.stop
    """
    from spikecrate_dev import session
    from spikecrate_dev.definition import find_project

    return session.stop(find_project(Path.cwd()), remove=remove)


def _drop_caches(progress: Progress) -> None:
    """Remove this user's downloads and virtual environments, not the history, once the user confirms.

    Raises
    ------
    StoppedError
        The answer is not yes.
    """
    # prepare.py makes it.
    cache = Path.home() / ".cache" / "spikecrate-dev" / "cache"
    progress.note(f"--fresh removes all caches in {cache}, of every project; type yes to go on:")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        message = "nothing was removed"
        raise StoppedError(message)
    for path in cache.iterdir() if cache.is_dir() else ():
        if path.name != "bash":
            remove(path)
