"""Queries to the Docker daemon over its socket, without docker-py.

`import docker` takes about 0.2 s, as long as the rest of `invoke dev` into a running container: with it, the row
"(i) invoke dev --cmd true, running" of benchmarks/README.md misses its goal against invoke's own start. Errors are still
explained by the library: `spikecrate.engines.docker`.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from spikecrate.engines.docker import DEFAULT_URL, engine_url, socket_of
from spikecrate.errors import DevContainerError

TIMEOUT_S: Final = 30


def engine_socket() -> Path:
    """Return the daemon's socket.

    Raises
    ------
    DevContainerError
        For a daemon on another machine, which cannot mount folders of this one.
    """
    url = _url()
    path = socket_of(url)
    if path is None:
        message = f"the Docker daemon is on another machine ({url}), which cannot mount folders of this one"
        fix = "unset DOCKER_HOST (or: docker context use default); or work on that machine"
        raise DevContainerError(message, next_step=fix)
    return path


def _url() -> str:
    """Return the daemon's address; import docker-py only where a Docker context may be set."""
    if os.environ.get("DOCKER_HOST"):
        return os.environ["DOCKER_HOST"]
    settings = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        named = os.environ.get("DOCKER_CONTEXT") or json.loads(settings.read_bytes()).get("currentContext")
    except (OSError, ValueError, AttributeError):  # no file, or not one of the Docker client
        named = None
    return engine_url() if named else DEFAULT_URL


def container(name: str) -> dict[str, Any] | None:
    """Return the output of `docker inspect` for a container; None where no container has the name.

    Parameters
    ----------
    name : str
        The container's name or id.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
        Where the daemon does not answer.
    DevContainerError
        As `engine_socket`.
    """
    status, body = _ask("GET", f"/containers/{quote(name)}/json")
    return json.loads(body) if status == 200 else None


def labelled(labels: dict[str, str]) -> list[str]:
    """Return the ids of the containers, running or stopped, that have all of these labels.

    Parameters
    ----------
    labels : dict
        Label names and values.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, DevContainerError
        As `container`.
    """
    wanted = json.dumps({"label": [f"{name}={value}" for name, value in labels.items()]})
    status, body = _ask("GET", f"/containers/json?all=1&filters={quote(wanted)}")
    return [found["Id"] for found in json.loads(body)] if status == 200 else []


def has_image(name: str) -> bool:
    """Whether the daemon has an image of this name.

    Parameters
    ----------
    name : str
        The image's name.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, DevContainerError
        As `container`.
    """
    return _ask("GET", f"/images/{quote(name)}/json")[0] == 200


def info() -> dict[str, Any]:
    """Return the output of `docker info`.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, DevContainerError
        As `container`.
    """
    return dict(json.loads(_ask("GET", "/info")[1]))


def holds(name: str, path: str) -> bool:
    """Whether a container has a file at a path.

    Parameters
    ----------
    name : str
        The container's name or id.
    path : str
        A path in the container.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
    """
    return _ask("HEAD", f"/containers/{quote(name)}/archive?path={quote(path)}")[0] == 200


def _ask(method: str, path: str) -> tuple[int, bytes]:
    """Send one request and return status and body; HTTP/1.0, so that the answer ends with the connection."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(engine_socket()))
            connection.sendall(f"{method} {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    except OSError as error:
        # docker_client raises the error that tells missing, stopped and forbidden daemons apart.
        from spikecrate.engines.docker import docker_client

        docker_client()
        message = f"the Docker daemon did not answer: {error}"
        raise DevContainerError(message, next_step="docker info") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(maxsplit=2)[1]), body
