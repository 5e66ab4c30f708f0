"""Connect to the Docker daemon, and turn its errors into errors with a next step.

An installed `docker` command can still fail: the daemon may be down, or this user may lack the permission. Each of
the three cases has its own error.
"""

from __future__ import annotations

import os
import shutil
import stat
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from spikecrate.errors import (
    DiskFullError,
    EngineDownError,
    EngineError,
    EngineMissingError,
    EnginePermissionError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import DockerClient

TIMEOUT_S: Final = 600
"""Seconds for one request. docker-py's 60 s are too short for a wait or a large removal on a busy disk."""


def docker_client() -> DockerClient:
    """Connect to the daemon of the environment, or of the current context.

    Raises
    ------
    EngineMissingError
        There is neither a command nor a socket.
    EnginePermissionError
        This user cannot open the socket.
    EngineDownError
        The socket is missing, or no daemon answers.
    """
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=TIMEOUT_S)
        client.ping()
    except (DockerException, OSError) as error:
        raise _diagnosis(error) from None
    # Close the connections when the last reference to the client goes.
    weakref.finalize(client, client.api.close)
    return client


@contextmanager
def docker_errors() -> Iterator[None]:
    """Turn the exceptions of docker-py inside the block into errors of spikecrate.

    Raises
    ------
    DiskFullError
        The daemon's disk is full.
    EngineDownError
        The daemon went away.
    EngineError
        The daemon refused; the message has its explanation.
    """
    from docker.errors import APIError, DockerException, ImageNotFound
    from requests.exceptions import ConnectionError as RequestsConnectionError
    from requests.exceptions import ReadTimeout
    from urllib3.exceptions import ProtocolError

    try:
        yield
    except ImageNotFound as error:
        # The caller found the image before: a prune from another checkout, or a person, removed it since.
        message = f"docker: the image was removed meanwhile ({error.explanation})"
        raise EngineError(
            message, next_step="run it again; the image is built again", doctor="images.sorters"
        ) from None
    except APIError as error:
        message = f"docker: {error.explanation or error}"
        if "no space left on device" in message.lower():
            raise DiskFullError(
                message, next_step="run docker system df to see what fills the disk", doctor="docker.space"
            ) from None
        if "[[gpu]]" in message:
            raise EngineError(message, next_step=NO_GPU, doctor="gpu.docker") from None
        raise EngineError(message, next_step="run docker info, and read the daemon's log") from None
    except (RequestsConnectionError, ProtocolError, ReadTimeout, ConnectionError) as error:
        message = f"docker: the daemon stopped answering ({_reason(error)})"
        raise EngineDownError(message, next_step=START) from None
    except DockerException as error:
        message = f"docker: {error}"
        raise EngineError(message, next_step="run docker info") from None


DEFAULT_URL: Final = "unix:///var/run/docker.sock"
START: Final = "start it: sudo systemctl start docker (or, without systemd, sudo dockerd &)"
NO_GPU: Final = (
    "install nvidia-container-toolkit and restart the daemon, or pass --runtime apptainer or --gpu off"
)


def engine_url() -> str:
    """Return the address of the daemon: from DOCKER_HOST, or from the current context."""
    from docker.context import ContextAPI
    from docker.errors import DockerException

    if named := os.environ.get("DOCKER_HOST"):
        return named
    try:
        context = ContextAPI.get_current_context()
    except (DockerException, OSError, ValueError):  # the named context is missing, or its file is damaged
        context = None
    return str(context.Host) if context is not None and context.Host else DEFAULT_URL


def socket_of(url: str) -> Path | None:
    """Return the socket of a daemon's address.

    Parameters
    ----------
    url : str
        Address of a daemon.

    Returns
    -------
    Path or None
        None for a daemon reached over the network.
    """
    parts = urlsplit(url)
    return Path(parts.path) if parts.scheme == "unix" else None


def _diagnosis(error: Exception) -> EngineMissingError | EnginePermissionError | EngineDownError:
    socket = socket_of(engine_url())
    command = shutil.which("docker") or shutil.which("dockerd")
    if socket is not None and is_socket(socket) and not os.access(socket, os.R_OK | os.W_OK):
        return EnginePermissionError(
            f"no permission on the Docker daemon's socket {socket}",
            next_step="sudo usermod -aG docker $USER, then log out and in again",
            details={"socket": str(socket)},
        )
    if command is None and (socket is None or not is_socket(socket)):
        return EngineMissingError(
            "Docker is not installed: there is neither a docker command nor a socket of a daemon",
            next_step="sudo apt-get install docker.io docker-buildx, or run with --runtime host",
        )
    return EngineDownError(
        f"Docker is installed but its daemon does not answer ({_short(error)})", next_step=START
    )


def is_socket(path: Path) -> bool:
    """Whether a path is a socket that this user can see.

    Parameters
    ----------
    path : Path
        The path.
    """
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _reason(error: BaseException) -> str:
    """Return the message of the innermost error; requests and urllib3 nest errors in each other's arguments."""
    inner = [part for part in error.args if isinstance(part, BaseException)]
    return _reason(inner[-1]) if inner else str(error)


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 200 else f"{text[:200]}…"


def gpu_words(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of `docker run` that pass the GPUs to a container.

    Parameters
    ----------
    info : mapping
        The daemon's answer to `docker info`.

    Returns
    -------
    tuple of str
        Empty where the daemon offers no GPU.
    """
    devices = info.get("DiscoveredDevices") or ()
    if any(str(device.get("ID", "")).startswith("nvidia.com/gpu=") for device in devices):
        return ("--device=nvidia.com/gpu=all",)
    return ("--gpus=all",) if "nvidia" in (info.get("Runtimes") or {}) else ()
