"""The Docker daemon: reached, or the reason why not.

That a `docker` command exists says nothing: the daemon may be down, or this user may not talk to it. The three
cases are told apart here, each with the next step, and every answer of the daemon is turned into one of our
errors.
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
"""For one request. The library's own 60 s is too short for a wait or a large removal on a busy disk."""


def docker_client() -> DockerClient:
    """Connect to the daemon of the environment, or of the current context.

    Raises
    ------
    EngineMissingError
        No command and no socket.
    EnginePermissionError
        The socket is there but not for this user.
    EngineDownError
        The socket is missing or nobody answers.
    """
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=TIMEOUT_S)
        client.ping()
    except (DockerException, OSError) as error:
        raise _diagnosis(error) from None
    # Its connections close with it, whoever holds it last.
    weakref.finalize(client, client.api.close)
    return client


@contextmanager
def docker_errors() -> Iterator[None]:
    """Turn what the Docker library raises inside the block into our errors.

    Raises
    ------
    DiskFullError
        The daemon's disk is full.
    EngineDownError
        The daemon went away.
    EngineError
        The daemon refused; with its own words.
    """
    from docker.errors import APIError, DockerException, ImageNotFound
    from requests.exceptions import ConnectionError as RequestsConnectionError
    from requests.exceptions import ReadTimeout
    from urllib3.exceptions import ProtocolError

    try:
        yield
    except ImageNotFound as error:
        # Who calls this has found it before: a prune from another checkout, or someone by hand.
        message = f"docker: the image was removed meanwhile ({error.explanation})"
        raise EngineError(
            message, next_step="run it again: the image is built anew", doctor="images.sorters"
        ) from None
    except APIError as error:
        message = f"docker: {error.explanation or error}"
        if "no space left on device" in message.lower():
            raise DiskFullError(
                message, next_step="docker system df shows what fills the disk", doctor="docker.space"
            ) from None
        if "[[gpu]]" in message:
            raise EngineError(message, next_step=NO_GPU, doctor="gpu.docker") from None
        raise EngineError(message, next_step="docker info; the daemon's log may say more") from None
    except (RequestsConnectionError, ProtocolError, ReadTimeout, ConnectionError) as error:
        message = f"docker: the daemon stopped answering ({_reason(error)})"
        raise EngineDownError(message, next_step=START) from None
    except DockerException as error:
        message = f"docker: {error}"
        raise EngineError(message, next_step="docker info") from None


DEFAULT_URL: Final = "unix:///var/run/docker.sock"
START: Final = "start it: sudo systemctl start docker (or, without systemd, sudo dockerd &)"


NO_GPU: Final = (
    "install nvidia-container-toolkit and restart the daemon; or --runtime apptainer, or --gpu off"
)


def engine_url() -> str:
    """Give the address of the daemon: of the environment, or of the current context."""
    from docker.context import ContextAPI
    from docker.errors import DockerException

    if named := os.environ.get("DOCKER_HOST"):
        return named
    try:
        context = ContextAPI.get_current_context()
    except (DockerException, OSError, ValueError):  # a context that is named and not there, or a torn file
        context = None
    return str(context.Host) if context is not None and context.Host else DEFAULT_URL


def socket_of(url: str) -> Path | None:
    """Give the socket of an address; None for a daemon reached by network."""
    parts = urlsplit(url)
    return Path(parts.path) if parts.scheme == "unix" else None


def _diagnosis(error: Exception) -> EngineMissingError | EnginePermissionError | EngineDownError:
    socket = socket_of(engine_url())
    command = shutil.which("docker") or shutil.which("dockerd")
    if socket is not None and _is_socket(socket) and not os.access(socket, os.R_OK | os.W_OK):
        return EnginePermissionError(
            f"you may not talk to the Docker daemon: no permission on {socket}",
            next_step="sudo usermod -aG docker $USER, then log out and in again",
            details={"socket": str(socket)},
        )
    if command is None and (socket is None or not _is_socket(socket)):
        return EngineMissingError(
            "Docker is not installed: there is no docker command and no daemon's socket",
            next_step="sudo apt-get install docker.io docker-buildx, or run with --runtime host",
        )
    return EngineDownError(
        f"Docker is installed but its daemon does not answer ({_short(error)})", next_step=START
    )


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _reason(error: BaseException) -> str:
    """Give the words of the innermost of the errors that are wrapped in each other's arguments."""
    inner = [part for part in error.args if isinstance(part, BaseException)]
    return _reason(inner[-1]) if inner else str(error)


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 200 else f"{text[:200]}…"


def gpu_words(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of `docker run` that pass the GPUs to a container; empty where the daemon has none.

    Parameters
    ----------
    info : mapping
        The daemon's answer to `docker info`.
    """
    devices = info.get("DiscoveredDevices") or ()
    if any(str(device.get("ID", "")).startswith("nvidia.com/gpu=") for device in devices):
        return ("--device=nvidia.com/gpu=all",)
    return ("--gpus=all",) if "nvidia" in (info.get("Runtimes") or {}) else ()
