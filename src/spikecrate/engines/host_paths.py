"""Where on the host a path is: for a process in a container that has the host's daemon start containers beside it.

The daemon mounts paths of the host, whoever asks. A path of this container that it is given unchanged would be another
folder there, or none. So each is translated by this container's own mounts, and refused where none of them holds it.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import HostPathError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "SPIKECRATE_HOST_PATHS"
"""JSON, path inside to path on the host: set by whoever made this container."""
MOUNT_TABLE: Final = Path("/proc/self/mountinfo")
OWN_ID: Final = re.compile(r"/([0-9a-f]{64})/(?:userdata/)?[a-z.]+")
"""How the engine's own copy of a container's /etc/hostname is called on the host; Podman's has one folder more."""
ENGINE_FILES: Final = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")


def is_inside(environ: Mapping[str, str]) -> bool:
    """Whether a process with these variables runs in the development container."""
    return environ.get("SPIKECRATE_DEV") == "1"


def host_path(path: Path) -> Path:
    """Give a path as the host's daemon must be told it.

    Parameters
    ----------
    path : Path
        As seen here; links are followed first.

    Returns
    -------
    Path
        The same outside of a container, and in one whose daemon is not the one that started it.

    Raises
    ------
    HostPathError
        Where nothing of the host that this container mounts holds the path.
    EngineError, EngineDownError
        Where the daemon is to be asked for this container's mounts and fails.
    """
    real = path.resolve()
    roots = _roots()
    if roots is None:
        return real
    # A target may be named through a link, /var/run being /run.
    return translate(real, {Path(inside).resolve(): outside for inside, outside in roots.items()})


def translate(path: Path, roots: Mapping[Path, Path | None]) -> Path:
    """Find the mount that holds a path, the longest of several, and give the path as it is on the other side.

    Parameters
    ----------
    path : Path
        Absolute, without `..`.
    roots : mapping
        Path inside to path on the host; None for a mount that is nothing of the host's.

    Raises
    ------
    HostPathError
        Where none holds it.
    """
    holding = [root for root in roots if path.is_relative_to(root)]
    nearest = max(holding, key=lambda root: len(root.parts), default=None)
    outside = None if nearest is None else roots[nearest]
    if nearest is None or outside is None:
        known = sorted(str(root) for root, source in roots.items() if source is not None)
        message = (
            f"{path} is a folder of this container alone: the Docker daemon, on the host, does not see it "
            f"(it sees {', '.join(known) or 'nothing of this container'})"
        )
        raise HostPathError(message, details={"path": str(path), "mounted": known})
    return outside / path.relative_to(nearest)


def read_variable(text: str) -> dict[str, Path | None]:
    """Read what the maker of this container says of its mounts.

    Raises
    ------
    HostPathError
        Where it is no JSON object of absolute paths.
    """
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict) or not all(
        inside.startswith("/") and isinstance(outside, str) and outside.startswith("/")
        for inside, outside in said.items()
    ):
        message = f"{VARIABLE} is no JSON object of absolute paths: {text[:200]}"
        raise HostPathError(message, next_step=f"unset {VARIABLE}, or make the container anew")
    return {inside: Path(outside) for inside, outside in said.items()}


def read_mounts(mounts: list[dict[str, Any]]) -> dict[str, Path | None]:
    """Read the daemon's list of a container's mounts: folders of the host and volumes; a tmpfs is nobody else's."""
    return {mount["Destination"]: Path(mount["Source"]) if mount.get("Source") else None for mount in mounts}


def own_id(mount_table: str) -> str | None:
    """Find this container's id in its mount table; None outside of a container."""
    for line in mount_table.splitlines():
        # Id, parent, device, path on its file system, path here, …
        fields = line.split(" ", 5)
        if len(fields) > 5 and fields[4] in ENGINE_FILES and (found := OWN_ID.search(fields[3])):
            return found[1]
    return None


def _roots() -> dict[str, Path | None] | None:
    """Give what this container mounts; None where paths here are the daemon's as well."""
    if said := os.environ.get(VARIABLE):
        return read_variable(said)
    try:
        identity = own_id(MOUNT_TABLE.read_text(encoding="utf-8"))
    except OSError:  # not Linux
        return None
    return None if identity is None else _asked(identity)


@functools.cache
def _asked(identity: str) -> dict[str, Path | None] | None:
    """Ask the daemon what a container mounts; None where it is another daemon that started it."""
    from docker.errors import NotFound

    from spikecrate.engines.docker import docker_client, docker_errors

    client = docker_client()
    with docker_errors():
        try:
            return read_mounts(client.api.inspect_container(identity)["Mounts"])
        except NotFound:
            return None
