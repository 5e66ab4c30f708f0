"""Jobs in Docker containers."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, Final

from spikecrate.engines.docker import docker_client, docker_errors, engine_url, socket_of
from spikecrate.engines.host_paths import host_path
from spikecrate.errors import EngineError
from spikecrate.runtimes import gpu
from spikecrate.runtimes.contract import PIDS_LIMIT, SCRATCH, Image, Mount, Task
from spikecrate.runtimes.mounts import mount_option, read_only_throughout

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import DockerClient
    from docker.models.containers import Container

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest
    from spikecrate.runtimes.contract import Exit

ENDED_S: Final = 60
"""How long the daemon may take to say how a container ended whose output has ended: an engine that was killed meanwhile
may have missed it, and would never say."""
PULSE_S: Final = 30
MISSED: Final = 2
"""How often a daemon is asked for its containerd while a container runs, and how often in turn it may have none."""
SHARED_MEMORY: Final = "1g"
"""Of /dev/shm; the engine's 64 MB is too little for joblib and torch."""


class Docker:
    """The runtime of a machine with a Docker daemon.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
        When no daemon can be used.
    EngineError
        When the daemon is reached by network: it mounts the folders of its own machine, not those of this one.
    """

    name: Final = "docker"

    def __init__(self) -> None:
        if socket_of(engine_url()) is None:
            message = f"the Docker daemon at {engine_url()} does not see this machine's folders"
            mend = "unset DOCKER_HOST (or: docker context use default); or work on that machine"
            raise EngineError(message, next_step=mend)
        self.client: DockerClient = docker_client()

    def prepare(self, request: BuildRequest, progress: Progress) -> Image:
        """Find the sorter's image, or build it; a prebuilt one is only found."""
        from spikecrate.images.build import build

        built = build(request, progress)
        return Image(
            reference=built.reference,
            digest=built.digest,
            entrypoint=request.entrypoint,
            facts=self._facts(),
        )

    def preview(self, request: BuildRequest) -> Image:
        """Name the image that `prepare` would give."""
        return Image(reference=request.origin, digest="", entrypoint=request.entrypoint)

    def command(self, task: Task) -> list[str]:
        """Give the `docker run` that does the same."""
        return run_argv(task)

    def run(self, task: Task, on_output: Callable[[bytes], None]) -> Exit:
        """Run a task in a container, and remove the container whatever happens."""
        with docker_errors():
            container = self.client.containers.create(**create_arguments(task))
        try:
            with docker_errors():
                return self._run(container, task, on_output)
        finally:
            with docker_errors():
                _remove(container)

    def sweep(self, store_label: str, is_orphan: Callable[[str], bool]) -> list[str]:
        """Remove containers whose owner is gone."""
        removed = []
        with docker_errors():
            found = self.client.containers.list(
                all=True, filters={"label": f"spikecrate.store={store_label}"}, ignore_removed=True
            )
            for container in found:
                if is_orphan(container.labels.get("spikecrate.key", "")):
                    # One that the engine has lost it removes only once it was itself started again; it harms nobody.
                    with suppress(EngineError), docker_errors():
                        _remove(container)
                        removed.append(str(container.name))
        return removed

    def _run(self, container: Container, task: Task, on_output: Callable[[bytes], None]) -> Exit:
        from docker.utils.socket import frames_iter

        from spikecrate.runtimes.contract import Exit

        # Attached before the start, so that no line is missed; the engine itself keeps no log.
        socket = self.client.api.attach_socket(str(container.id), {"stdout": 1, "stderr": 1, "stream": 1})
        container.start()
        expired, ended = threading.Event(), threading.Event()
        threading.Thread(target=_end_when_lost, args=(self.client, socket, ended), daemon=True).start()

        def expire() -> None:
            expired.set()
            container.kill()

        timer = None
        if task.limits.timeout_s is not None:
            timer = threading.Timer(task.limits.timeout_s, expire)
            timer.daemon = True
            timer.start()
        try:
            for _, data in frames_iter(socket, tty=False):  # type: ignore[no-untyped-call]
                on_output(data)
            # The output ends with the container: its first process, the engine's own, holds it open till then.
            code = int(container.wait(timeout=ENDED_S)["StatusCode"])
        finally:
            ended.set()
            # The library hangs the response on the socket, and with it the connection.
            socket._response.close()
            if timer is not None:
                timer.cancel()
        container.reload()
        return Exit(
            code=code,
            out_of_memory=bool(container.attrs["State"].get("OOMKilled")),
            timed_out=expired.is_set(),
        )

    def _facts(self) -> dict[str, Any]:
        version = self.client.version()
        return {
            "engine": "docker",
            "engine_version": version["Version"],
            "api_version": version["ApiVersion"],
            "kernel": version.get("KernelVersion", ""),
        }


def create_arguments(task: Task) -> dict[str, Any]:
    """Give the arguments of `containers.create` for a task: the contract, in the engine's words."""
    from docker.types import DeviceRequest, LogConfig
    from docker.types import Mount as DockerMount

    first, *rest = task.image.entrypoint
    return {
        "image": task.image.digest or task.image.reference,
        "name": task.name,
        "entrypoint": [first],
        "command": rest,
        "labels": task.labels,
        "user": f"{task.user[0]}:{task.user[1]}",
        "working_dir": str(SCRATCH),
        "environment": environment(task),
        "mounts": [
            DockerMount(
                target=str(mount.target), source=str(mount.source), type="bind", read_only=mount.read_only
            )
            for mount in mounts(task)
        ],
        "read_only": True,
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": PIDS_LIMIT,
        "init": True,
        "shm_size": SHARED_MEMORY,
        "nano_cpus": task.limits.cores * 1_000_000_000,
        "log_config": LogConfig(type=LogConfig.types.NONE),
        **(
            {"mem_limit": task.limits.memory_bytes, "memswap_limit": task.limits.memory_bytes}
            if task.limits.memory_bytes is not None
            else {}
        ),
        **({"device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])]} if task.gpu else {}),
    }


def mounts(task: Task) -> list[Mount]:
    """List a task's mounts with each source as the daemon knows it: this process may be in a container itself.

    Raises
    ------
    HostPathError
        Where the daemon does not see one of them.
    """
    return [replace(mount, source=host_path(mount.source)) for mount in read_only_throughout(task.mounts)]


def environment(task: Task) -> dict[str, str]:
    """Give the variables of a task's container that its image does not set."""
    return {"HOME": str(SCRATCH), **(gpu.visible() if task.gpu else {})}


def run_argv(task: Task) -> list[str]:
    """Give the `docker run` command line of a task: what `create_arguments` says, for people and tests."""
    first, *rest = task.image.entrypoint
    return [
        "docker",
        "run",
        "--rm",
        *(word for key, value in task.labels.items() for word in ("--label", f"{key}={value}")),
        "--name",
        task.name,
        "--user",
        f"{task.user[0]}:{task.user[1]}",
        "--workdir",
        str(SCRATCH),
        *(word for name, value in environment(task).items() for word in ("--env", f"{name}={value}")),
        *(word for mount in mounts(task) for word in ("--mount", mount_option(mount))),
        "--read-only",
        "--network=none",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--pids-limit={PIDS_LIMIT}",
        "--init",
        f"--shm-size={SHARED_MEMORY}",
        f"--cpus={task.limits.cores}",
        *(
            [f"--memory={task.limits.memory_bytes}", f"--memory-swap={task.limits.memory_bytes}"]
            if task.limits.memory_bytes is not None
            else []
        ),
        "--log-driver=none",
        *(["--gpus=all"] if task.gpu else []),
        "--entrypoint",
        first,
        task.image.digest or task.image.reference,
        *rest,
    ]


def _end_when_lost(client: DockerClient, socket: Any, ended: threading.Event) -> None:
    """End the reading of a container's output where the daemon has lost its containerd, and so would never end it."""
    if not _has_containerd(client):
        # An engine of another kind.
        return
    missed = 0
    while missed < MISSED:
        if ended.wait(PULSE_S):
            return
        missed = 0 if _has_containerd(client) else missed + 1
    with suppress(OSError):
        socket._sock.shutdown(SHUT_RDWR)


def _has_containerd(client: DockerClient) -> bool:
    with suppress(Exception):
        # A daemon that does not answer says nothing of it; that the output ends then is seen without this.
        return "containerd" in {part["Name"] for part in client.version()["Components"]}
    return False


def _remove(container: Container) -> None:
    from docker.errors import APIError, NotFound

    try:
        container.remove(force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        # Someone else is removing it at this moment: gone is gone.
        if error.status_code != 409:
            raise
