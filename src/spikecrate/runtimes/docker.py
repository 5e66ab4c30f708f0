"""Run steps in Docker containers."""

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
from spikecrate.runtimes.contract import OUT, PIDS_LIMIT, SCRATCH, ContainerSpec, ExitStatus, Image
from spikecrate.runtimes.mounts import mount_option, read_only_throughout
from spikecrate.runtimes.permissions import make_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from docker import DockerClient
    from docker.models.containers import Container

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest

EXIT_CODE_S: Final = 60
"""Seconds to wait for the exit code after the output stream closes: dockerd can miss the end of a container
(https://github.com/moby/moby/issues/33820)."""
PULSE_S: Final = 30
"""Seconds between two checks for dockerd's containerd while a container runs."""
MISSED: Final = 2
"""Consecutive checks without a containerd after which the container counts as lost."""
SHARED_MEMORY: Final = "1g"
"""Size of /dev/shm; the engine's default of 64 MB is too little for joblib and torch."""
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
"""Variables that Docker's command line sets in a container, in upper and lower case, where ~/.docker/config.json
names a proxy: https://docs.docker.com/engine/cli/proxy/"""


class Docker:
    """The runtime of a machine with a Docker daemon.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
        When no daemon can be used.
    EngineError
        When the daemon is reached over the network: it would mount folders of its machine, not of this one.
    """

    name: Final = "docker"

    def __init__(self) -> None:
        if socket_of(engine_url()) is None:
            message = f"the Docker daemon at {engine_url()} cannot mount folders of this machine"
            fix = "unset DOCKER_HOST (or: docker context use default), or run spikecrate on that machine"
            raise EngineError(message, next_step=fix)
        self.client: DockerClient = docker_client()

    def prepare(self, request: BuildRequest, progress: Progress) -> Image:
        """Find the tool's image, or build it; only look up a prebuilt image.

        Parameters
        ----------
        request : BuildRequest
            Sources of the image.
        progress : Progress
            Receives the lines of a build.

        Returns
        -------
        Image
        """
        from spikecrate.images.build import build

        built, version = build(request, progress), self.client.version()
        return Image(
            reference=built.reference,
            digest=built.digest,
            entrypoint=request.entrypoint,
            facts={
                "engine": "docker",
                "engine_version": version["Version"],
                "api_version": version["ApiVersion"],
                "kernel": version.get("KernelVersion", ""),
            },
        )

    def preview(self, request: BuildRequest) -> Image:
        """Return the image that `prepare` would return, without building it.

        Parameters
        ----------
        request : BuildRequest
            Sources of the image.

        Returns
        -------
        Image
        """
        return Image(reference=request.origin, digest="", entrypoint=request.entrypoint)

    def command(self, spec: ContainerSpec) -> list[str]:
        """Return the `docker run` command line that is equivalent to `run`.

        Parameters
        ----------
        spec : ContainerSpec
            Container to run.

        Returns
        -------
        list of str
        """
        return run_argv(spec)

    def run(self, spec: ContainerSpec, on_output: Callable[[bytes], None]) -> ExitStatus:
        """Run a step in a container, and remove the container however the call ends.

        Parameters
        ----------
        spec : ContainerSpec
            Container to run.
        on_output : callable
            Receives the output in pieces.

        Returns
        -------
        ExitStatus
        """
        with docker_errors():
            container = self.client.containers.create(**create_arguments(spec))
        try:
            return self._run(container, spec, on_output)
        finally:
            with docker_errors():
                _remove(container)
            make_readable(spec.source(OUT))

    def sweep(self, store_label: str, is_orphan: Callable[[str], bool]) -> list[str]:
        """Remove the containers of a store whose owner is gone.

        Parameters
        ----------
        store_label : str
            The store whose containers are swept.
        is_orphan : callable
            Returns whether the owner of a job key is gone.

        Returns
        -------
        list of str
            Names of the removed containers.
        """
        removed = []
        with docker_errors():
            found = self.client.containers.list(
                all=True, filters={"label": f"spikecrate.store={store_label}"}, ignore_removed=True
            )
            for container in found:
                if is_orphan(container.labels.get("spikecrate.key", "")):
                    # dockerd drops a container it lost track of only after a restart; skip it.
                    with suppress(EngineError), docker_errors():
                        _remove(container)
                        removed.append(str(container.name))
        return removed

    def _run(
        self, container: Container, spec: ContainerSpec, on_output: Callable[[bytes], None]
    ) -> ExitStatus:
        with docker_errors():
            # Attach before the start, so that no line is missed; the daemon keeps no log.
            socket = self.client.api.attach_socket(str(container.id), {"stdout": 1, "stderr": 1, "stream": 1})
            container.start()
        expired, ended = threading.Event(), threading.Event()
        threading.Thread(target=_end_when_lost, args=(self.client, socket, ended), daemon=True).start()

        def expire() -> None:
            expired.set()
            container.kill()

        timer = None
        if spec.limits.timeout_s is not None:
            timer = threading.Timer(spec.limits.timeout_s, expire)
            timer.daemon = True
            timer.start()
        try:
            # An exception of `on_output`, such as a closed pipe, is not an error of the engine.
            for data in _output(socket):
                on_output(data)
            with docker_errors():
                # The output ends with the container: its first process, docker-init, keeps the stream open.
                code = int(container.wait(timeout=EXIT_CODE_S)["StatusCode"])
        finally:
            ended.set()
            # docker-py keeps the response on the socket and closes neither, which leaks the connection
            # (https://github.com/docker/docker-py/issues/3282).
            socket._response.close()
            if timer is not None:
                timer.cancel()
        with docker_errors():
            container.reload()
        return ExitStatus(
            code=code,
            out_of_memory=bool(container.attrs["State"].get("OOMKilled")),
            timed_out=expired.is_set(),
        )


def options(spec: ContainerSpec) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the container contract, option by option, for `docker run` and for docker-py.

    Parameters
    ----------
    spec : ContainerSpec
        Container to run.

    Returns
    -------
    list of tuple
        Arguments of `docker run`, and keyword arguments of `containers.create`.

    Raises
    ------
    HostPathError
        When the Docker host has no path for one of the mounts.
    """
    from docker.types import DeviceRequest, LogConfig
    from docker.types import Mount as DockerMount

    user = f"{spec.user[0]}:{spec.user[1]}"
    memory = spec.limits.memory_bytes
    variables = {"HOME": str(SCRATCH), **(gpu.visible() if spec.gpu else {})}
    no_proxies = [f"{name}=" for proxy in PROXIES for name in (proxy, proxy.lower())]
    shown = read_only_throughout(spec.mounts)
    # This process may run in a container: the daemon mounts paths of the Docker host.
    bound = [replace(mount, source=host_path(mount.source)) for mount in shown]
    rows: list[tuple[list[str], dict[str, Any]]] = [
        (_each("--label", map("=".join, spec.labels.items())), {"labels": spec.labels}),
        (["--name", spec.name], {"name": spec.name}),
        (["--user", user], {"user": user}),
        (["--workdir", str(SCRATCH)], {"working_dir": str(SCRATCH)}),
        (_each("--env", map("=".join, variables.items())), {"environment": variables}),
        # `docker run` has no option that leaves proxies out; an empty variable comes closest.
        (_each("--env", no_proxies), {"use_config_proxy": False}),
        (
            _each("--mount", [mount_option(mount) for mount in bound]),
            {
                "mounts": [
                    DockerMount(str(mount.target), str(mount.source), "bind", read_only=mount.read_only)
                    for mount in bound
                ]
            },
        ),
        (["--read-only"], {"read_only": True}),
        (["--network=none"], {"network_mode": "none"}),
        (["--cap-drop=ALL"], {"cap_drop": ["ALL"]}),
        (["--security-opt=no-new-privileges"], {"security_opt": ["no-new-privileges"]}),
        ([f"--pids-limit={PIDS_LIMIT}"], {"pids_limit": PIDS_LIMIT}),
        (["--init"], {"init": True}),
        ([f"--shm-size={SHARED_MEMORY}"], {"shm_size": SHARED_MEMORY}),
        ([f"--cpus={spec.limits.cores}"], {"nano_cpus": spec.limits.cores * 1_000_000_000}),
    ]
    if memory is not None:
        rows.append(([f"--memory={memory}"], {"mem_limit": memory}))
        rows.append(([f"--memory-swap={memory}"], {"memswap_limit": memory}))
    rows.append((["--log-driver=none"], {"log_config": LogConfig(type=LogConfig.types.NONE)}))
    if spec.gpu:
        every = DeviceRequest(count=-1, capabilities=[["gpu"]])
        rows.append((["--gpus=all"], {"device_requests": [every]}))
    return rows


def create_arguments(spec: ContainerSpec) -> dict[str, Any]:
    """Return the arguments of docker-py's `containers.create` for a step.

    Parameters
    ----------
    spec : ContainerSpec
        Container to run.

    Returns
    -------
    dict
    """
    first, *rest = spec.image.entrypoint
    arguments = {"image": spec.image.digest or spec.image.reference, "entrypoint": [first], "command": rest}
    for _, more in options(spec):
        arguments |= more
    return arguments


def run_argv(spec: ContainerSpec) -> list[str]:
    """Return the `docker run` command line of a step.

    Parameters
    ----------
    spec : ContainerSpec
        Container to run.

    Returns
    -------
    list of str
    """
    first, *rest = spec.image.entrypoint
    return [
        *("docker", "run", "--rm"),
        *(word for words, _ in options(spec) for word in words),
        *("--entrypoint", first),
        spec.image.digest or spec.image.reference,
        *rest,
    ]


def _each(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _output(socket: Any) -> Iterator[bytes]:
    """Yield the output of a container; an exception of the consumer does not become an error of the engine."""
    from docker.utils.socket import frames_iter

    with docker_errors():
        for _, data in frames_iter(socket, tty=False):  # type: ignore[no-untyped-call]
            yield data


def _end_when_lost(client: DockerClient, socket: Any, ended: threading.Event) -> None:
    """End the reading of a container's output when the daemon loses its containerd; it would never end otherwise.

    https://github.com/moby/moby/issues/46451
    """
    if not _has_containerd(client):
        # Another engine, such as Podman, has none.
        return
    missed = 0
    while missed < MISSED:
        if ended.wait(PULSE_S):
            return
        missed = 0 if _has_containerd(client) else missed + 1
    with suppress(OSError):
        # docker-py returns a SocketIO, whose close() does not wake a reader; the socket below it is private
        # (https://github.com/docker/docker-py/issues/2466).
        socket._sock.shutdown(SHUT_RDWR)


def _has_containerd(client: DockerClient) -> bool:
    with suppress(Exception):
        # A daemon that does not answer closes the output stream as well.
        return "containerd" in {part["Name"] for part in client.version()["Components"]}
    return False


def _remove(container: Container) -> None:
    from docker.errors import APIError, NotFound

    try:
        container.remove(force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        # 409: another process is removing it now.
        if error.status_code != 409:
            raise
