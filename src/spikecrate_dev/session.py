"""A shell in the development container: what `invoke dev` does, from the words to the prompt."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from spikecrate.errors import DevContainerError, StoppedError
from spikecrate_dev import container, machine
from spikecrate_dev.command import RECIPE_LABEL, exec_argv, inside
from spikecrate_dev.definition import find_project, read
from spikecrate_dev.state import decide, remarks, urls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate._util.progress import Progress
    from spikecrate.runtimes.contract import Mount
    from spikecrate_dev.attached import Attached
    from spikecrate_dev.definition import Definition
    from spikecrate_dev.options import Options
    from spikecrate_dev.state import Found

MARK: Final = "SPIKECRATE_SHELL"
"""A variable that names one shell: by it, all that was started from it is found when it is to stop."""
STOP: Final = 'for place in /proc/[0-9]*; do grep -qsz "^$1\\$" "$place/environ" && kill -"$2" "${place#/proc/}"; done; true'
GRACE_S: Final = 5
ROOT_ALIKE: Final = "Docker's socket is inside: as good as root on this machine (--no-docker leaves it out)"
"""Said once, when a container is made."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is wanted of the container.

    Attributes
    ----------
    project : Path
        The folder that holds `.devcontainer/`.
    working : Path
        Where the caller is.
    command : str
        For a login shell; empty for a shell to type in.
    options : Options
        What the container is to have.
    rebuild : bool
        Whether image and container are made anew.
    """

    project: Path
    working: Path
    command: str
    options: Options
    rebuild: bool = False


def project_of(working: Path) -> Path:
    """Find the project that a folder belongs to.

    Raises
    ------
    DevContainerError
    """
    return find_project(working)


def run_here(command: str) -> NoReturn:
    """Run a command in a login shell that takes this process's place: where this is the container already."""
    os.execvp("bash", ["bash", "-l", "-c", command])


def enter(request: Request, progress: Progress) -> int:
    """Open a shell in the project's container, or run a command there; make or start the container where needed.

    A shell takes this process's place and does not return.

    Returns
    -------
    int
        The command's exit code.

    Raises
    ------
    DevContainerError
        Where the container cannot be made, started or entered.
    EngineMissingError, EngineDownError, EnginePermissionError
    ImageBuildError, BaseImageMissingError, DiskFullError
    StoppedError
        After Ctrl-C or SIGTERM; what ran inside is stopped as well.
    """
    definition = read(request.project, os.environ)
    found = container.find(definition)
    if found.state != "running" or request.rebuild:
        definition, found = bring_up(definition, found, request, progress)
    else:
        # Another process may be making it at this moment.
        container.wait_ready(found.name)
        for remark in remarks(found, definition, request.options):
            progress.note(remark)
    if request.options.ports:
        for url in urls(found.ports or {}):
            progress.note(url)
    given = live(definition, request, found.mounts, make=True)
    # To a command in a script, what is only good to know at a prompt is no news.
    for note in (*given.notes, *(given.asides if not request.command else ())):
        progress.note(note)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    mark = f"{MARK}={secrets.token_hex(6)}"
    argv = exec_argv(
        definition,
        found.name,
        command=request.command,
        folder=inside(request.working, found.mounts, definition.folder),
        environment={**given.environment, MARK: mark.partition("=")[2]},
        environ=os.environ,
        terminal=terminal,
    )
    if terminal:
        # Signals, the window's size and the exit code then need no one in between.
        os.execvp(argv[0], argv)
    return attended(
        argv, [*("docker", "exec", "--user", definition.user, found.name, "sh", "-c", STOP, "stop", mark)]
    )


def bring_up(
    definition: Definition, found: Found, request: Request, progress: Progress
) -> tuple[Definition, Found]:
    """Make or start the container, and wait until it can be entered.

    Raises
    ------
    As `enter`.
    """
    from spikecrate_dev import image

    # First of all: it makes folders that are looked for below, and leads the description's link to the store.
    definition = container.prepare(definition, os.environ)
    container.terminal_mounts(definition, request.options, os.environ)
    gone = machine.lacks_source(found) if found.state == "stopped" else []
    if gone:
        progress.note(f"{gone[0]} is gone from this machine: the container is made anew")
    steps = decide(
        found.state,
        has_image=request.rebuild or image.is_there(definition),
        rebuild=request.rebuild,
        lacks_source=bool(gone),
    )
    for step in steps:
        match step:
            case "prepare":
                continue
            case "build":
                image.build(definition, progress)
            case "create":
                if request.options.docker:
                    progress.note(ROOT_ALIKE)
                argv = container.creation(definition, request.options, os.environ)
                container.create(argv, definition.name)
            case "remove" | "start" | "unpause":
                container.act(step, found)
    name = definition.name if "create" in steps else found.name
    container.wait_ready(name)
    ready = container.find(definition)
    if "create" not in steps:
        for remark in remarks(ready, definition, request.options):
            progress.note(remark)
    return definition, ready


def live(definition: Definition, request: Request, shown: Sequence[Mount], *, make: bool) -> Attached:
    """Give what each shell gets anew: git's identity, the ssh agent, the display.

    Parameters
    ----------
    shown : sequence of Mount
        What the container sees.
    make : bool
        Whether cookies and sockets are made, or only told of.
    """
    from spikecrate_dev import display, identity
    from spikecrate_dev.attached import Attached

    known = (
        identity.attach(os.environ, shown, definition.project)
        if make
        else identity.expected(os.environ, shown)
    )
    if not request.options.x11:
        return known
    windows = display.attach(os.environ, shown) if make else display.expected(os.environ, shown)
    return Attached(
        environment={**known.environment, **windows.environment},
        notes=(*known.notes, *windows.notes),
        asides=(*known.asides, *windows.asides),
    )


def attended(argv: list[str], stop: list[str]) -> int:
    """Run a command inside without a terminal; stop it, with all that it started, when this process is told to stop.

    Docker's client passes no signal on to what it runs with `exec`.

    Raises
    ------
    StoppedError
    """
    # A session of its own, so that a Ctrl-C does not end the client before what it runs.
    child = subprocess.Popen(argv, start_new_session=True)
    try:
        return child.wait()
    except (KeyboardInterrupt, StoppedError) as error:
        with suppress(subprocess.TimeoutExpired):
            subprocess.run([*stop, "INT"], check=False, capture_output=True, timeout=GRACE_S)
            child.wait(GRACE_S)
        # And what does not heed that: a shell lets its background jobs ignore it.
        subprocess.run([*stop, "KILL"], check=False, capture_output=True)
        child.kill()
        child.wait()
        raise error if isinstance(error, StoppedError) else StoppedError() from None


def forecast(request: Request) -> list[str]:
    """Give, quoted for a shell, the commands that `enter` would run now; nothing is made.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, DevContainerError
    """
    from spikecrate_dev import image

    definition = read(request.project, os.environ)
    found = container.find(definition)
    gone = bool(machine.lacks_source(found)) if found.state == "stopped" else False
    has_image = found.state == "running" or image.is_there(definition)
    steps = decide(found.state, has_image=has_image, rebuild=request.rebuild, lacks_source=gone)
    commands: list[list[str]] = []
    for step in steps:
        match step:
            case "prepare":
                commands.append(list(definition.initialize))
            case "build":
                commands.append(image.build_command(definition))
            case "create":
                commands.append(container.creation(definition, request.options, os.environ))
            case "remove":
                commands.append(["docker", "rm", "--force", "--volumes", found.name])
            case "start" | "unpause":
                commands.append(["docker", step, found.name])
    shown = found.mounts
    if "create" in steps:
        shown = (*definition.mounts, *container.terminal_mounts(definition, request.options, os.environ))
    commands.append(
        exec_argv(
            definition,
            found.name,
            command=request.command,
            folder=inside(request.working, shown, definition.folder),
            environment=live(definition, request, shown, make=False).environment,
            environ=os.environ,
            terminal=sys.stdin.isatty() and sys.stdout.isatty(),
        )
    )
    return [shlex.join(words) for words in commands if words]


def status(project: Path) -> dict[str, Any]:
    """Describe the project's container.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, DevContainerError
    """
    definition = read(project, os.environ)
    found = container.find(definition)
    facts = found.facts or {}
    named = facts.get("Config", {}).get("Labels") or {}
    return {
        "project": str(project),
        "name": found.name,
        "state": found.state,
        "id": facts.get("Id", "")[:12] or None,
        "image": facts.get("Config", {}).get("Image"),
        "recipe": named.get(RECIPE_LABEL),
        "stale": bool(found.config) and found.config != definition.config(),
        "started": facts.get("State", {}).get("StartedAt"),
        "ports": {str(port): f"127.0.0.1:{at}" for port, at in (found.ports or {}).items()},
        "mounts": {
            str(mount.target): f"{mount.source}{' (read-only)' if mount.read_only else ''}"
            for mount in found.mounts
        },
    }


def stop(project: Path, *, remove: bool) -> dict[str, Any]:
    """Stop the project's container.

    Raises
    ------
    DevContainerError
        Where there is none.
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError
    """
    definition = read(project, os.environ)
    found = container.find(definition)
    if found.state == "absent":
        message = f"{project} has no development container"
        raise DevContainerError(message, next_step="invoke dev makes one")
    container.stop(found, remove=remove)
    return {"name": found.name, "was": found.state, "removed": remove}


def drop_caches() -> Path:
    """Remove what the containers of this user keep between two: downloads and virtual environments, not the history.

    Returns
    -------
    Path
        Where they were.
    """
    from spikecrate._util.files import remove_tree

    cache = cache_folder()
    for path in cache.iterdir() if cache.is_dir() else ():
        if path.name == "bash":
            continue
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink()
    return cache


def cache_folder() -> Path:
    """Give the folder that prepare.py makes for what outlives a container."""
    return Path.home() / ".cache" / "spikecrate-dev" / "cache"
