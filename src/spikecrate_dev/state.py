"""The state of a development container, and the steps that make it ready: decisions only, no actions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from spikecrate.runtimes.contract import Mount
from spikecrate_dev.command import CONFIG_LABEL
from spikecrate_dev.definition import SOCKET, Definition

if TYPE_CHECKING:
    from spikecrate_dev.options import Options

State = Literal["absent", "stopped", "paused", "running"]
Step = Literal["remove", "prepare", "build", "create", "start", "unpause"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A project's container, as the daemon reports it.

    Attributes
    ----------
    name : str
        The container's name.
    state : str
        `absent`, `stopped`, `paused` or `running`.
    config : str
        The hash of the description it was made from; empty where another program made it.
    mounts : tuple of Mount
        Its bind mounts.
    ports : dict
        Container port to host port.
    facts : dict
        The output of `docker inspect`.
    """

    name: str
    state: State
    config: str = ""
    mounts: tuple[Mount, ...] = ()
    ports: dict[int, int] | None = None
    facts: dict[str, Any] | None = None


def read_facts(facts: dict[str, Any]) -> Found:
    """Return the container that the output of `docker inspect` describes.

    Parameters
    ----------
    facts : dict
        The output of `docker inspect`.
    """
    record = facts["State"]
    state: State = "paused" if record.get("Paused") else "running" if record.get("Running") else "stopped"
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
    """Return the steps that make the container ready.

    Parameters
    ----------
    state : str
        The container's state.
    has_image : bool
        Whether the image of the present recipe exists; used only where a container is created.
    rebuild : bool
        Whether the user wants a new image and container.
    lacks_source : bool
        Whether a mounted folder no longer exists on the host: Docker cannot start the container then.
    """
    if not rebuild:
        if state == "running":
            return ()
        if state == "paused":
            return ("unpause",)
        if state == "stopped" and not lacks_source:
            return ("prepare", "start")
    return (
        *(("remove",) if state != "absent" else ()),
        "prepare",
        *(("build",) if rebuild or not has_image else ()),
        "create",
    )


def remarks(found: Found, definition: Definition, options: Options) -> list[str]:
    """Return in what ways a container differs from the present description and options, one line each.

    Parameters
    ----------
    found : Found
        The container.
    definition : Definition
        The project's description.
    options : Options
        The validated options.
    """
    notes = []
    again = "invoke dev --rebuild"
    if not found.config:
        notes.append(f"{found.name} was made by another program and keeps its windows and ports")
    elif found.config != definition.config():
        notes.append(f"the description has changed since this container was made: {again}")
    have = {mount.target: mount.read_only for mount in found.mounts}
    for mount in options.mounts:
        if have.get(mount.target) not in (False, mount.read_only):
            ending = "" if mount.read_only else ":rw"
            notes.append(f"this container was made without --mount {mount.target}{ending}: {again} with it")
    notes.extend(
        f"this container was made without --port {port}: {again} with it"
        for port in options.ports
        if port not in (found.ports or {})
    )
    if not options.docker and SOCKET in have:
        notes.append(f"this container can use the Docker daemon: {again} --no-docker makes one that cannot")
    return notes
