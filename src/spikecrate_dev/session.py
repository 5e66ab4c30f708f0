"""A shell in the development container: the work of `invoke dev`, from its options to the prompt."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import DevContainerError, StoppedError
from spikecrate_dev import container, daemon, display, identity, machine
from spikecrate_dev.attached import Attached
from spikecrate_dev.command import RECIPE_LABEL, exec_argv, image_name, inside, run_argv
from spikecrate_dev.definition import Definition, read
from spikecrate_dev.options import Options, publish
from spikecrate_dev.state import Found, Step, decide, remarks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.runtimes.contract import Mount

MARK: Final = "SPIKECRATE_SHELL"
"""A variable unique to one shell; it marks all processes of the shell, so that they can be stopped."""
STOP: Final = 'for place in /proc/[0-9]*; do grep -qsz "^$1\\$" "$place/environ" && kill -"$2" "${place#/proc/}"; done; true'
GRACE_S: Final = 5
STOP_S: Final = 5
ROOT_ALIKE: Final = (
    "the container has Docker's socket, which equals root on this machine (--no-docker leaves it out)"
)
"""The note printed when a container is created."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request for a shell or a command in the container.

    Attributes
    ----------
    project : Path
        The folder that contains `.devcontainer/`.
    working : Path
        The caller's current folder.
    command : str
        A command for a login shell; empty for an interactive shell.
    options : Options
        The options of the container.
    rebuild : bool
        Whether to rebuild the image and the container.
    """

    project: Path
    working: Path
    command: str
    options: Options
    rebuild: bool = False


def enter(request: Request, progress: Progress) -> int:
    """Open a shell or run a command in the project's container; create or start the container where needed.

    An interactive shell replaces this process, and this function does not return.

    Parameters
    ----------
    request : Request
        The request.
    progress : Progress
        Receives notes.

    Returns
    -------
    int
        The command's exit code.

    Raises
    ------
    DevContainerError
        Where the container cannot be created, started or entered.
    EngineMissingError, EngineDownError, EnginePermissionError
    ImageBuildError, BaseImageMissingError, DiskFullError
    StoppedError
        After Ctrl-C or SIGTERM, which also stop the processes inside.
    """
    definition = read(request.project, os.environ)
    found = container.find(definition)
    if found.state != "running" or request.rebuild:
        definition, found = bring_up(definition, found, request, progress)
    else:
        if gone := machine.lacks_source(found):
            # The daemon then shows no file of the container, and the wait below would never end.
            message = f"{gone[0]}, which {found.name} mounts, no longer exists on this machine"
            raise DevContainerError(message, next_step="invoke dev --rebuild")
        # Another process may be creating it.
        container.wait_ready(found.name)
        for remark in remarks(found, definition, request.options):
            progress.note(remark)
    if request.options.ports:
        for port, outside in (found.ports or {}).items():
            progress.note(f"port {port} is http://127.0.0.1:{outside}")
    given = live(definition, request, found.mounts, make=True)
    # Asides are for a prompt, not for a command in a script.
    for note in (*given.notes, *(given.asides if not request.command else ())):
        progress.note(note)
    mark = f"{MARK}={secrets.token_hex(6)}"
    environment = {**given.environment, MARK: mark.partition("=")[2]}
    argv = shell_argv(definition, found, request, found.mounts, environment)
    if at_terminal():
        # Signals, window size and exit code then need no forwarding.
        os.execvp(argv[0], argv)
    return attended(
        argv, [*("docker", "exec", "--user", definition.user, found.name, "sh", "-c", STOP, "stop", mark)]
    )


def bring_up(
    definition: Definition, found: Found, request: Request, progress: Progress
) -> tuple[Definition, Found]:
    """Create or start the container, and wait until it is ready.

    Parameters
    ----------
    definition : Definition
        The project's description.
    found : Found
        The container.
    request : Request
        The request.
    progress : Progress
        Receives notes.

    Raises
    ------
    DevContainerError, EngineMissingError, EngineDownError, EnginePermissionError
    ImageBuildError, BaseImageMissingError, DiskFullError
    """
    from spikecrate_dev import image

    # First, because it makes the folders checked below, and the link to the store.
    definition = container.prepare(definition, os.environ)
    container.terminal_mounts(definition, request.options, os.environ)
    gone = machine.lacks_source(found) if found.state == "stopped" else []
    if gone:
        progress.note(f"{gone[0]} no longer exists on this machine: creating the container again")
    has_image = request.rebuild or daemon.has_image(image_name(definition))
    steps = decide(found.state, has_image=has_image, rebuild=request.rebuild, lacks_source=bool(gone))
    for step in steps:
        match step:
            case "prepare":
                continue
            case "build":
                image.build(definition, progress)
            case "create":
                if request.options.docker:
                    progress.note(ROOT_ALIKE)
                container.create(command_of(step, definition, found, request), definition.name)
            case "remove" | "start" | "unpause":
                container.act(command_of(step, definition, found, request))
    name = definition.name if "create" in steps else found.name
    container.wait_ready(name)
    ready = container.find(definition)
    if "create" not in steps:
        for remark in remarks(ready, definition, request.options):
            progress.note(remark)
    return definition, ready


def command_of(step: Step, definition: Definition, found: Found, request: Request) -> list[str]:
    """Return the command line of a step.

    Parameters
    ----------
    step : str
        The step.
    definition : Definition
        The project's description.
    found : Found
        The container.
    request : Request
        The request.

    Raises
    ------
    GpuMissingError, EngineMissingError, EngineDownError, EnginePermissionError
    """
    from spikecrate_dev import image

    match step:
        case "prepare":
            return list(definition.initialize)
        case "build":
            return image.build_command(definition)
        case "create":
            facts = machine.ask(definition, request.options)
            more = container.terminal_mounts(definition, request.options, os.environ)
            ports = publish(request.options.ports, machine.is_free)
            return run_argv(definition, request.options, facts, more_mounts=more, ports=ports)
        case "remove":
            return container.remove_argv(found.name)
        case "start" | "unpause":
            return ["docker", step, found.name]


def live(definition: Definition, request: Request, shown: Sequence[Mount], *, make: bool) -> Attached:
    """Return the parts of the login session for one shell: git's identity, the ssh agent, the display.

    Parameters
    ----------
    shown : sequence of Mount
        The container's mounts.
    make : bool
        Whether to make cookies and sockets, or only name them.
    """
    known = identity.attach(os.environ, shown, definition.project, make=make)
    if not request.options.x11:
        return known
    windows = display.attach(os.environ, shown, make=make)
    return Attached(
        environment={**known.environment, **windows.environment},
        notes=(*known.notes, *windows.notes),
        asides=(*known.asides, *windows.asides),
    )


def shell_argv(
    definition: Definition,
    found: Found,
    request: Request,
    shown: Sequence[Mount],
    environment: dict[str, str],
) -> list[str]:
    """Return the command line of the requested shell or command.

    Parameters
    ----------
    definition : Definition
        The project's description.
    found : Found
        The container.
    request : Request
        The request.
    shown : sequence of Mount
        The container's mounts.
    environment : dict
        Variables for this shell only.
    """
    return exec_argv(
        definition,
        found.name,
        command=request.command,
        folder=inside(request.working, shown, definition.folder),
        environment=environment,
        environ=os.environ,
        terminal=at_terminal(),
    )


def at_terminal() -> bool:
    """Whether the caller's input and output are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def attended(argv: list[str], stop: list[str]) -> int:
    """Run a command inside without a terminal; on Ctrl-C or SIGTERM, stop it and all its processes.

    `docker exec` does not forward signals to its command: https://github.com/moby/moby/issues/9098.

    Parameters
    ----------
    argv : list of str
        The command line.
    stop : list of str
        The command line that signals the processes inside; the signal's name is appended.

    Raises
    ------
    StoppedError
    """
    # In its own session, so that a Ctrl-C does not end the client before its command.
    child = subprocess.Popen(argv, start_new_session=True)
    try:
        return child.wait()
    except (KeyboardInterrupt, StoppedError) as error:
        with suppress(subprocess.TimeoutExpired):
            subprocess.run([*stop, "INT"], check=False, capture_output=True, timeout=GRACE_S)
            child.wait(GRACE_S)
        # A shell lets its background jobs ignore SIGINT.
        subprocess.run([*stop, "KILL"], check=False, capture_output=True)
        child.kill()
        child.wait()
        raise error if isinstance(error, StoppedError) else StoppedError() from None


def forecast(request: Request) -> list[str]:
    """Return the commands that `enter` would run, quoted for a shell, without running them.

    Parameters
    ----------
    request : Request
        The request.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, DevContainerError
    """
    definition = read(request.project, os.environ)
    found = container.find(definition)
    gone = bool(machine.lacks_source(found)) if found.state == "stopped" else False
    has_image = found.state == "running" or daemon.has_image(image_name(definition))
    steps = decide(found.state, has_image=has_image, rebuild=request.rebuild, lacks_source=gone)
    commands = [command_of(step, definition, found, request) for step in steps]
    shown = found.mounts
    if "create" in steps:
        shown = (*definition.mounts, *container.terminal_mounts(definition, request.options, os.environ))
    environment = live(definition, request, shown, make=False).environment
    commands.append(shell_argv(definition, found, request, shown, environment))
    return [shlex.join(words) for words in commands if words]


def status(project: Path) -> dict[str, Any]:
    """Describe the project's container.

    Parameters
    ----------
    project : Path
        The folder that contains `.devcontainer/`.

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

    Parameters
    ----------
    project : Path
        The folder that contains `.devcontainer/`.
    remove : bool
        Whether to remove the container after stopping it.

    Raises
    ------
    DevContainerError
        Where there is none.
    EngineMissingError, EngineDownError, EnginePermissionError
    """
    found = container.find(read(project, os.environ))
    if found.state == "absent":
        message = f"{project} has no development container"
        raise DevContainerError(message, next_step="invoke dev makes one")
    container.act(["docker", "stop", "-t", str(STOP_S), found.name])
    if remove:
        container.act(container.remove_argv(found.name))
    return {"name": found.name, "was": found.state, "removed": remove}
