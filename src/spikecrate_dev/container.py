"""The development container of a project: made, started, stopped.

What is static is given when it is made: image, mounts, uid. What lives is given to each shell: display, ssh agent.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from spikecrate.errors import CommandError, DevContainerError
from spikecrate_dev import daemon, machine
from spikecrate_dev.command import run_argv
from spikecrate_dev.definition import labels, read
from spikecrate_dev.options import publish
from spikecrate_dev.state import Found, read_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spikecrate.runtimes.contract import Mount
    from spikecrate_dev.definition import Definition
    from spikecrate_dev.options import Options
    from spikecrate_dev.state import Step

READY: Final = "/run/spikecrate/ready"
READY_S: Final = 60
"""The entrypoint takes a tenth of a second; on a machine under load, more."""
KNOWN_S: Final = 5
STOP_S: Final = 5


def find(definition: Definition) -> Found:
    """Find the project's container: the one that `invoke dev` names, else the one that VS Code or its like made.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, DevContainerError
    """
    facts = daemon.container(definition.name)
    if facts is None:
        others = map(daemon.container, daemon.labelled(labels(definition.project)))
        facts = next((found for found in others if found is not None), None)
    return read_facts(facts) if facts is not None else Found(name=definition.name, state="absent")


def creation(definition: Definition, options: Options, environ: Mapping[str, str]) -> list[str]:
    """Give the command line that makes the container on this machine, now.

    Raises
    ------
    GpuMissingError, EngineMissingError, EngineDownError, EnginePermissionError
    """
    from spikecrate_dev import display

    asked = machine.ask(definition, options)
    return run_argv(
        definition,
        options,
        replace(asked, devices=display.device_words()) if options.x11 else asked,
        more_mounts=terminal_mounts(definition, options, environ),
        ports=publish(options.ports, machine.is_free),
    )


def terminal_mounts(definition: Definition, options: Options, environ: Mapping[str, str]) -> list[Mount]:
    """List what only a terminal needs a container to see: the worktree's repository, git, the ssh agent, the display."""
    from spikecrate_dev import display, identity

    folder = machine.run_folder(definition, environ)
    return [
        *machine.worktree(definition.project),
        *identity.mounts(folder),
        *(display.mounts(folder) if options.x11 else ()),
    ]


def prepare(definition: Definition, environ: Mapping[str, str]) -> Definition:
    """Run the command that the description wants run on the host; give the description as it is after that.

    Raises
    ------
    DevContainerError
        With what the command said.
    """
    from spikecrate._util.process import run

    if definition.initialize:
        try:
            run(initialization(definition.initialize), cwd=definition.project)
        except CommandError as error:
            message = f"initializeCommand of {definition.file}: {error}"
            raise DevContainerError(message) from None
    machine.run_folder(definition, environ)
    return read(definition.project, environ)


def initialization(words: Sequence[str]) -> list[str]:
    """Give the command with this very Python for `python3`: the one that is sure to be there."""
    return [sys.executable if word == "python3" and at == 0 else word for at, word in enumerate(words)]


def create(argv: list[str], name: str) -> None:
    """Make a container and start it; one that another process is making at this moment will do as well.

    Raises
    ------
    DevContainerError
        With what the daemon said.
    """
    from spikecrate._util.process import run

    try:
        run(argv)
    except CommandError as error:
        if "is already in use by container" in error.tail:
            return
        _remove(name)
        said = error.tail.strip() or f"exit code {error.code}"
        message = f"the development container could not be made: {said}"
        raise DevContainerError(message, next_step="invoke dev --dry-run prints the command") from None


def act(step: Step, found: Found) -> None:
    """Take one of the steps that the daemon takes by itself.

    Raises
    ------
    DevContainerError, EngineError
    """
    from spikecrate.engines.docker import docker_client, docker_errors

    with docker_errors():
        container = docker_client().containers.get(found.name)
        match step:
            case "remove":
                container.remove(force=True, v=True)
            case "start":
                container.start()
            case "unpause":
                container.unpause()
            case _:
                message = f"{step} is not a step of the daemon's"
                raise AssertionError(message)


def stop(found: Found, *, remove: bool) -> None:
    """Stop a container, and remove it where that is asked for.

    Raises
    ------
    EngineError, EngineDownError
    """
    from spikecrate.engines.docker import docker_client, docker_errors

    with docker_errors():
        container = docker_client().containers.get(found.name)
        container.stop(timeout=STOP_S)
        if remove:
            container.remove(force=True, v=True)


def wait_ready(name: str) -> None:
    """Wait until the user inside is there.

    Raises
    ------
    DevContainerError
        Where the container ended, or did not become ready in time; with the end of its log.
    """
    started = time.monotonic()
    while not daemon.holds(name, READY):
        facts = daemon.container(name)
        waited = time.monotonic() - started
        # The name is taken a moment before the daemon knows the container that another process makes.
        over = waited > KNOWN_S if facts is None else facts["State"]["Status"] in ("exited", "dead")
        if over or waited > READY_S:
            message = f"the development container did not start: {_last_words(name)}"
            raise DevContainerError(message, next_step="invoke dev --rebuild")
        time.sleep(0.02)


def _remove(name: str) -> None:
    from docker.errors import NotFound

    from spikecrate.engines.docker import docker_client, docker_errors

    with docker_errors():
        try:
            docker_client().containers.get(name).remove(force=True, v=True)
        except NotFound:
            return


def _last_words(name: str) -> str:
    from docker.errors import NotFound

    from spikecrate.engines.docker import docker_client, docker_errors

    with docker_errors():
        try:
            said = docker_client().containers.get(name).logs(tail=10)
        except NotFound:
            return "it is gone"
    return bytes(said).decode(errors="replace").strip() or "it said nothing"
