"""The development container of a project: create, start, stop.

Image, mounts and uid are fixed at creation. Each shell receives the display and the ssh agent at attach.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import run
from spikecrate.errors import CommandError, DevContainerError
from spikecrate_dev import daemon, display, identity, machine
from spikecrate_dev.definition import FILE, Definition, labels, read
from spikecrate_dev.state import Found, read_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spikecrate.runtimes.contract import Mount
    from spikecrate_dev.options import Options

READY: Final = "/run/spikecrate/ready"
READY_S: Final = 60
"""The entrypoint takes a tenth of a second, and longer on a loaded machine."""
KNOWN_S: Final = 5


def find(definition: Definition) -> Found:
    """Return the project's container: the one `invoke dev` made, else the one VS Code or the devcontainer CLI made.

    Parameters
    ----------
    definition : Definition
        The project's description.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, DevContainerError
    """
    facts = daemon.container(definition.name)
    if facts is None:
        others = map(daemon.container, daemon.labelled(labels(definition.project)))
        facts = next((found for found in others if found is not None), None)
    return read_facts(facts) if facts is not None else Found(name=definition.name, state="absent")


def terminal_mounts(definition: Definition, options: Options, environ: Mapping[str, str]) -> list[Mount]:
    """Return the mounts that `invoke dev` adds: the worktree's repository, git, the ssh agent, the display.

    Parameters
    ----------
    definition : Definition
        The project's description.
    options : Options
        The validated options.
    environ : mapping
        The caller's variables.
    """
    folder = machine.run_folder(definition, environ)
    return [
        *machine.worktree(definition.project),
        *identity.mounts(folder),
        *(display.mounts(folder) if options.x11 else ()),
    ]


def prepare(definition: Definition, environ: Mapping[str, str]) -> Definition:
    """Run the description's initializeCommand on the host, and read the description again.

    Parameters
    ----------
    definition : Definition
        The project's description.
    environ : mapping
        The caller's variables.

    Raises
    ------
    DevContainerError
        With the output of the command.
    """
    if definition.initialize:
        name, *words = definition.initialize
        try:
            # This Python: `python3` may not be on PATH.
            run([sys.executable if name == "python3" else name, *words], cwd=definition.project)
        except CommandError as error:
            message = f"initializeCommand of {definition.project / FILE}: {error}"
            raise DevContainerError(message) from None
    machine.run_folder(definition, environ)
    return read(definition.project, environ)


def create(argv: Sequence[str], name: str) -> None:
    """Create and start a container, or leave the one that another process creates at the same time.

    Parameters
    ----------
    argv : sequence of str
        The command line.
    name : str
        The container's name.

    Raises
    ------
    DevContainerError
        With the daemon's message.
    """
    try:
        run(argv)
    except CommandError as error:
        if "is already in use by container" in error.tail:
            return
        run(remove_argv(name), check=False)
        cause = error.tail.strip() or f"exit code {error.code}"
        message = f"the development container was not created: {cause}"
        raise DevContainerError(message, next_step="invoke dev --dry-run prints the command") from None


def remove_argv(name: str) -> list[str]:
    """Return the command line that removes a container.

    Parameters
    ----------
    name : str
        The container's name or id.
    """
    return ["docker", "rm", "--force", "--volumes", name]


def act(argv: Sequence[str]) -> None:
    """Run a docker command on the container.

    Parameters
    ----------
    argv : sequence of str
        The command line.

    Raises
    ------
    DevContainerError
        With the daemon's message.
    """
    try:
        run(argv)
    except CommandError as error:
        message = f"{' '.join(argv)}: {error.tail.strip() or f'exit code {error.code}'}"
        raise DevContainerError(message, next_step="invoke dev --rebuild") from None


def wait_ready(name: str) -> None:
    """Wait until the entrypoint has made the user inside.

    Parameters
    ----------
    name : str
        The container's name or id.

    Raises
    ------
    DevContainerError
        Where the container ends or is not ready in time; with the end of its log.
    """
    started = time.monotonic()
    while not daemon.holds(name, READY):
        facts = daemon.container(name)
        waited = time.monotonic() - started
        # The daemon reserves the name a moment before it lists a container that another process creates.
        over = waited > KNOWN_S if facts is None else facts["State"]["Status"] in ("exited", "dead")
        if over or waited > READY_S:
            log = run(["docker", "logs", "--tail=10", name], check=False).output.strip()
            message = f"the development container did not start: {log or 'its log is empty'}"
            raise DevContainerError(message, next_step="invoke dev --rebuild")
        time.sleep(0.02)
