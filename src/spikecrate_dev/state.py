"""What there is of a development container, and what is to be done before it can be entered: decided, not done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from spikecrate.runtimes.contract import Mount
from spikecrate_dev.command import CONFIG_LABEL
from spikecrate_dev.definition import SOCKET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate_dev.definition import Definition
    from spikecrate_dev.options import Options

State = Literal["absent", "stopped", "paused", "running"]
Step = Literal["remove", "prepare", "build", "create", "start", "unpause"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A project's container, as the daemon knows it.

    Attributes
    ----------
    name : str
        The first container of the project's labels, or of the project's name.
    state : str
        `absent`, `stopped`, `paused` or `running`.
    config : str
        The hash of what it was made from; empty for one that another program made.
    mounts : tuple of Mount
        What it sees of the host.
    ports : dict
        Port inside to port of this machine.
    facts : dict
        The daemon's whole answer.
    """

    name: str
    state: State
    config: str = ""
    mounts: tuple[Mount, ...] = ()
    ports: dict[int, int] | None = None
    facts: dict[str, Any] | None = None


def read_facts(facts: dict[str, Any]) -> Found:
    """Read the daemon's answer on a container."""
    said = facts["State"]
    state: State = "paused" if said.get("Paused") else "running" if said.get("Running") else "stopped"
    bound = facts.get("HostConfig", {}).get("PortBindings") or {}
    return Found(
        name=facts["Name"].removeprefix("/"),
        state=state,
        config=(facts["Config"].get("Labels") or {}).get(CONFIG_LABEL, ""),
        mounts=tuple(
            Mount(
                source=Path(mount["Source"]),
                target=PurePosixPath(mount["Destination"]),
                read_only=not mount["RW"],
            )
            for mount in facts.get("Mounts") or ()
            if mount["Type"] == "bind"
        ),
        ports={
            int(inside.partition("/")[0]): int(at[0]["HostPort"])
            for inside, at in bound.items()
            if at and at[0].get("HostPort")
        },
        facts=facts,
    )


def decide(state: State, *, has_image: bool, rebuild: bool, lacks_source: bool = False) -> tuple[Step, ...]:
    """Decide what to do before the container can be entered.

    Parameters
    ----------
    state : str
        Of the container.
    has_image : bool
        Whether the image of the present recipe is there; asked only where a container is made.
    rebuild : bool
        Whether the user asks for a new image and container.
    lacks_source : bool
        Whether a folder that the container mounts is gone from the host: it can then not be started again.
    """
    if rebuild:
        return (*(("remove",) if state != "absent" else ()), "prepare", "build", "create")
    if state == "running":
        return ()
    if state == "paused":
        return ("unpause",)
    if state == "stopped" and not lacks_source:
        return ("prepare", "start")
    return (
        *(("remove",) if state == "stopped" else ()),
        "prepare",
        *(() if has_image else ("build",)),
        "create",
    )


def remarks(found: Found, definition: Definition, options: Options) -> list[str]:
    """Say in what a container that is entered differs from what is described and asked for now."""
    said = []
    again = "invoke dev --rebuild"
    if not found.config:
        said.append(
            f"{found.name} was made by another program than invoke dev: windows and ports are as that made them"
        )
    elif found.config != definition.config():
        said.append(f"the development container's description has changed since this one was made: {again}")
    have = {mount.target: mount.read_only for mount in found.mounts}
    for mount in options.mounts:
        if have.get(mount.target) not in (False, mount.read_only):
            ending = "" if mount.read_only else ":rw"
            said.append(f"this container was made without --mount {mount.target}{ending}: {again} with it")
    said.extend(
        f"this container was made without --port {port}: {again} with it"
        for port in options.ports
        if port not in (found.ports or {})
    )
    if not options.docker and SOCKET in have:
        said.append(f"this container reaches the Docker daemon: {again} --no-docker makes one that does not")
    return said


def urls(ports: Mapping[int, int]) -> list[str]:
    """Say where on this machine a container's ports are."""
    return [f"port {inside} is http://127.0.0.1:{outside}" for inside, outside in ports.items()]
