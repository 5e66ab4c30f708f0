"""Commands on the development container."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

from spikecrate._util.progress import Progress
from spikecrate.cli.command import Shown, command
from spikecrate.cli.option import about
from spikecrate.cli.text import say
from spikecrate.errors import StoppedError

MACHINE: Final = "this machine"


def show_lines(lines: list[str]) -> None:
    """Print command lines, one a line."""
    for line in lines:
        say(line)


@command(
    "dev.open",
    MACHINE,
    "spikecrate dev",
    "spikecrate dev --cmd 'make test'",
    "spikecrate dev --mount /data --port 8888",
    alias="dev",
    with_json=False,
)
def dev_open(
    cmd: Annotated[
        str,
        about(
            "run this command in place of a shell, and end with its exit code",
            "COMMAND",
            example="'make test'",
        ),
    ] = "",
    rebuild: Annotated[bool, about("rebuild the image and the container; caches stay")] = False,
    fresh: Annotated[bool, about("rebuild, and remove the caches; asks first")] = False,
    dry_run: Annotated[bool, about("print the commands")] = False,
    x11: Annotated[bool, about("open no windows on this display")] = True,
    docker: Annotated[
        bool, about("do not reach the Docker daemon from inside (it gives as much as root on this machine)")
    ] = True,
    gpu: Annotated[
        str, about("whether the container gets a GPU", one_of=("auto", "on", "off"), example="off")
    ] = "auto",
    port: Annotated[
        list[str] | None, about("a port of the container to reach on 127.0.0.1", "PORT", example="8888")
    ] = None,
    mount: Annotated[
        list[str] | None,
        about("a folder of data at the same path, read-only unless :rw", "DIR[:rw]", example="/data"),
    ] = None,
    *,
    progress: Progress,
) -> Any:
    """Open a shell in the development container: make it, start it or enter it."""
    from spikecrate.engines.host_paths import is_inside
    from spikecrate_dev import session
    from spikecrate_dev.definition import find_project
    from spikecrate_dev.options import Options, read_mount, read_port

    if is_inside(os.environ):
        if cmd:
            session.run_here(cmd)
        return Shown("this is the development container already", say)
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
        return Shown(session.forecast(request), show_lines)
    if fresh:
        _drop_caches(progress)
    raise SystemExit(session.enter(request, progress))


@command("dev.status", MACHINE, "spikecrate dev.status")
def dev_status() -> dict[str, Any]:
    """Describe the development container: state, image, mounts, ports, stale or not."""
    from spikecrate_dev import session
    from spikecrate_dev.definition import find_project

    return session.status(find_project(Path.cwd()))


@command("dev.stop", MACHINE, "spikecrate dev.stop")
def dev_stop(remove: Annotated[bool, about("remove it, too; caches stay")] = False) -> dict[str, Any]:
    """Stop the development container; `invoke dev` starts it again."""
    from spikecrate_dev import session
    from spikecrate_dev.definition import find_project

    return session.stop(find_project(Path.cwd()), remove=remove)


def _drop_caches(progress: Progress) -> None:
    """Ask whether the caches are to be removed, and remove them.

    Raises
    ------
    StoppedError
        For any answer but yes.
    """
    from spikecrate_dev import session

    progress.note(
        f"--fresh removes all caches in {session.cache_folder()}, of every project; type yes to go on:"
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        message = "nothing was removed"
        raise StoppedError(message)
    session.drop_caches()
