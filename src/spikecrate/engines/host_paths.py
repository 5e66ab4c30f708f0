"""Translate paths to paths of the Docker host, for a process that runs in a container and starts further containers.

The daemon mounts paths of the host. The same path can be another folder there, or none, so each path is translated
through this container's mounts, and refused where no mount contains it.
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
"""Mounts of this container as JSON, path inside to path on the host; set by the program that made the container."""
MOUNT_TABLE: Final = Path("/proc/self/mountinfo")
OWN_ID: Final = re.compile(r"/([0-9a-f]{64})/(?:userdata/)?[a-z.]+")
"""Path on the host of the engine's copy of /etc/hostname; Podman's has one more folder."""
ENGINE_FILES: Final = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")


def is_inside(environ: Mapping[str, str]) -> bool:
    """Return whether a process runs in the development container.

    Parameters
    ----------
    environ : mapping
        Environment of the process.

    Returns
    -------
    bool
    """
    return environ.get("SPIKECRATE_DEV") == "1"


def host_path(path: Path) -> Path:
    """Return the path by which the Docker daemon knows a path of this process.

    Parameters
    ----------
    path : Path
        Path as this process sees it; links are followed first.

    Returns
    -------
    Path
        The same path outside of a container, and in a container that another daemon started.

    Raises
    ------
    HostPathError
        No mount of this container contains the path.
    EngineError, EngineDownError
        The daemon fails when asked for this container's mounts.
    """
    real = path.resolve()
    roots = _roots()
    if roots is None:
        return real
    # A target may contain a link, such as /var/run for /run.
    return translate(real, {Path(inside).resolve(): outside for inside, outside in roots.items()})


def translate(path: Path, roots: Mapping[Path, Path | None]) -> Path:
    """Return a path on the host, through the mount that contains it; the deepest of several mounts counts.

    Parameters
    ----------
    path : Path
        Absolute path without `..`.
    roots : mapping
        Path inside to path on the host; None for a mount that the host does not have, such as a tmpfs.

    Returns
    -------
    Path

    Raises
    ------
    HostPathError
        No mount contains it.
    """
    containing = [root for root in roots if path.is_relative_to(root)]
    nearest = max(containing, key=lambda root: len(root.parts), default=None)
    outside = None if nearest is None else roots[nearest]
    if nearest is None or outside is None:
        known = sorted(str(root) for root, source in roots.items() if source is not None)
        message = (
            f"the Docker host has no path for {path}, which exists only in this container "
            f"(mounted from the host: {', '.join(known) or 'nothing'})"
        )
        raise HostPathError(message, details={"path": str(path), "mounted": known})
    return outside / path.relative_to(nearest)


def read_variable(text: str) -> dict[str, Path | None]:
    """Parse the value of SPIKECRATE_HOST_PATHS.

    Parameters
    ----------
    text : str
        Value of the variable.

    Returns
    -------
    dict
        Path inside to path on the host.

    Raises
    ------
    HostPathError
        The text is not a JSON object of absolute paths.
    """
    try:
        observed = json.loads(text)
    except ValueError:
        observed = None
    if not isinstance(observed, dict) or not all(
        inside.startswith("/") and isinstance(outside, str) and outside.startswith("/")
        for inside, outside in observed.items()
    ):
        message = f"{VARIABLE} is not a JSON object of absolute paths: {text[:200]}"
        raise HostPathError(message, next_step=f"unset {VARIABLE}, or make the container again")
    return {inside: Path(outside) for inside, outside in observed.items()}


def read_mounts(mounts: list[dict[str, Any]]) -> dict[str, Path | None]:
    """Return the mounts of a container: folders of the host, and volumes.

    Parameters
    ----------
    mounts : list of dict
        `Mounts` of `docker inspect`.

    Returns
    -------
    dict
        Path inside to path on the host; None for a tmpfs.
    """
    return {mount["Destination"]: Path(mount["Source"]) if mount.get("Source") else None for mount in mounts}


def own_id(mount_table: str) -> str | None:
    """Return this container's id from its mount table.

    Parameters
    ----------
    mount_table : str
        Content of /proc/self/mountinfo.

    Returns
    -------
    str or None
        None outside of a container.
    """
    for line in mount_table.splitlines():
        # Id, parent, device, path on its file system, path here, …
        fields = line.split(" ", 5)
        if len(fields) > 5 and fields[4] in ENGINE_FILES and (found := OWN_ID.search(fields[3])):
            return found[1]
    return None


def _roots() -> dict[str, Path | None] | None:
    """Return the mounts of this container; None where the daemon has the same paths as this process."""
    if text := os.environ.get(VARIABLE):
        return read_variable(text)
    try:
        identity = own_id(MOUNT_TABLE.read_text(encoding="utf-8"))
    except OSError:  # not Linux
        return None
    return None if identity is None else _mounts_of(identity)


@functools.cache
def _mounts_of(identity: str) -> dict[str, Path | None] | None:
    """Return the mounts of a container; None where another daemon started it."""
    from docker.errors import NotFound

    from spikecrate.engines.docker import docker_client, docker_errors

    client = docker_client()
    with docker_errors():
        try:
            return read_mounts(client.api.inspect_container(identity)["Mounts"])
        except NotFound:
            return None
