"""What the Docker daemon says of a container, an image and itself, asked for in milliseconds.

The library that speaks to the daemon everywhere else takes longer to import than a shell takes to open, so the few
questions that opening one needs are put to the daemon's socket directly.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from spikecrate.engines.docker import DEFAULT_URL, engine_url, socket_of
from spikecrate.errors import DevContainerError

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S: Final = 30


def engine_socket() -> Path:
    """Give the daemon's socket.

    Raises
    ------
    DevContainerError
        For a daemon on another machine: it does not see this one's folders.
    """
    url = _url()
    path = socket_of(url)
    if path is None:
        message = f"the Docker daemon is on another machine ({url}) and does not see this one's folders"
        mend = "unset DOCKER_HOST (or: docker context use default); or work on that machine"
        raise DevContainerError(message, next_step=mend)
    return path


def _url() -> str:
    """Give the daemon's address; the library, which reads contexts, is asked only where one may be named."""
    if os.environ.get("DOCKER_HOST"):
        return os.environ["DOCKER_HOST"]
    settings = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        named = os.environ.get("DOCKER_CONTEXT") or json.loads(settings.read_bytes()).get("currentContext")
    except (OSError, ValueError, AttributeError):  # no file, or none that the Docker client could read
        named = None
    return engine_url() if named else DEFAULT_URL


def container(name: str) -> dict[str, Any] | None:
    """Give what the daemon knows of a container; None where there is none of that name.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
        Where the daemon does not answer.
    DevContainerError
        As `engine_socket`.
    """
    status, body = _ask("GET", f"/containers/{quote(name)}/json")
    return json.loads(body) if status == 200 else None


def labelled(labels: Mapping[str, str]) -> list[str]:
    """Name the containers, running or not, that have all of these labels.

    Raises
    ------
    As `container`.
    """
    wanted = json.dumps({"label": [f"{name}={value}" for name, value in labels.items()]})
    status, body = _ask("GET", f"/containers/json?all=1&filters={quote(wanted)}")
    return [found["Id"] for found in json.loads(body)] if status == 200 else []


def has_image(name: str) -> bool:
    """Say whether the daemon has an image of that name.

    Raises
    ------
    As `container`.
    """
    return _ask("GET", f"/images/{quote(name)}/json")[0] == 200


def info() -> dict[str, Any]:
    """Give what the daemon says of itself.

    Raises
    ------
    As `container`.
    """
    return dict(json.loads(_ask("GET", "/info")[1]))


def holds(name: str, path: str) -> bool:
    """Say whether a container has a file of that path.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
    """
    return _ask("HEAD", f"/containers/{quote(name)}/archive?path={quote(path)}")[0] == 200


def _ask(method: str, path: str) -> tuple[int, bytes]:
    """Ask one thing; HTTP/1.0, so that the answer ends where the connection does."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(engine_socket()))
            connection.sendall(f"{method} {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    except OSError as error:
        # The library finds out which of three things it is, and says so.
        from spikecrate.engines.docker import docker_client

        docker_client()
        message = f"the Docker daemon did not answer: {error}"
        raise DevContainerError(message, next_step="docker info") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(maxsplit=2)[1]), body
