"""Docker: installed, accessible to this user, running, recent, with buildx and with space for images."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.process import answer, run
from spikecrate.doctor import space
from spikecrate.doctor.check import Checks, Facts, Verdict, fail, numbers, ok, warn
from spikecrate.engines.docker import docker_client, docker_errors, engine_url, is_socket, socket_of
from spikecrate.engines.host_paths import is_inside
from spikecrate.errors import EngineDownError
from spikecrate.images.buildx import builder

if TYPE_CHECKING:
    from docker import DockerClient


INSTALL: Final = "sudo apt-get install docker.io docker-buildx"
BUILDX_INSTALL: Final = (
    "sudo apt-get install docker-buildx (from Docker's own packages: docker-buildx-plugin)"
)
RESTART: Final = "sudo systemctl restart docker"
OWN_DAEMON: Final = "docker context use default (this machine's own daemon), or --runtime apptainer"
BUILDS: Final = (23, 0)
"""The first daemon whose BuildKit supports what the Dockerfiles use."""
REPRODUCIBLE: Final = (25, 0)
"""The first daemon that stores images by content and can set the dates of the files in them."""
BUILDX: Final = (0, 10)
SNAPSHOTTER: Final = "io.containerd.snapshotter.v1"
CONTAINERD: Final = Path("/var/lib/containerd")
CHECKS: Final = Checks()
INSTALLED: Final = ("docker.installed",)
DAEMON: Final = ("docker.daemon",)


@dataclass(frozen=True, kw_only=True)
class Access:
    """The permissions of the daemon's socket.

    Attributes
    ----------
    socket : Path
        The daemon's socket.
    allowed : bool
        Whether this process can read and write it.
    group, gid : str, int
        The socket's group.
    user : str
        The user of this process.
    listed : bool
        Whether the machine's list of groups has this user in that group.
    """

    socket: Path
    allowed: bool
    group: str
    gid: int
    user: str
    listed: bool


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A daemon that answers: a connection to it, and its answers to `docker info` and `docker version`."""

    client: DockerClient
    info: dict[str, Any]
    version: dict[str, Any]


def look_installed(_: Facts) -> tuple[str, str | None, bool]:
    """Return the daemon's address, the path of the docker command, and whether a socket exists."""
    url = engine_url()
    socket = socket_of(url)
    return url, shutil.which("docker"), socket is None or is_socket(socket)


@CHECKS.add("docker.installed", "a docker command or a daemon's socket exists", look_installed)
def judge_installed(facts: tuple[str, str | None, bool]) -> Verdict:
    """Judge whether Docker is installed.

    Parameters
    ----------
    facts : tuple[str, str or None, bool]
        As `look_installed` returns it.
    """
    url, command, reachable = facts
    if command is None and not reachable:
        message = "Docker is not installed; --runtime apptainer and --runtime host work without"
        return warn(message, INSTALL, ends=True)
    if command is None:
        return warn(f"the docker command is missing, so images cannot be built (daemon: {url})", INSTALL)
    return ok(f"{command}, for the daemon at {url}")


def look_permission(_: Facts) -> Access | None:
    """Return the permissions of the socket; None where there is no socket."""
    socket = socket_of(engine_url())
    if socket is None or not is_socket(socket):
        return None
    gid = socket.stat().st_gid
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    try:
        group = grp.getgrgid(gid)
        name, listed = group.gr_name, user in group.gr_mem
    except KeyError:
        name, listed = str(gid), False
    allowed = os.access(socket, os.R_OK | os.W_OK)
    return Access(socket=socket, allowed=allowed, group=name, gid=gid, user=user, listed=listed)


@CHECKS.add("docker.permission", "this user can use the daemon", look_permission, needs=INSTALLED)
def judge_permission(access: Access | None) -> Verdict:
    """Judge whether this user can use the daemon; a login session keeps the groups it started with.

    Parameters
    ----------
    access : Access or None
        As `look_permission` returns it.
    """
    if access is None:
        return ok("no local socket")
    if access.allowed:
        return ok(f"{access.user} can write to {access.socket}")
    message = f"{access.user} cannot write to {access.socket}, which belongs to group {access.group}"
    if access.listed:
        return fail(f"{message}; this login is older than the membership", "log out and in again")
    if access.gid == 0:
        return fail(message, "ask for a docker group: sudo groupadd docker, and restart the daemon")
    return fail(message, f"sudo usermod -aG {access.group} {access.user}, then log out and in again")


def look_daemon(_: Facts) -> Daemon:
    """Connect to the daemon.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError
    """
    try:
        with docker_errors():
            client = docker_client()
            return Daemon(client=client, info=client.info(), version=client.version())
    except EngineDownError as error:
        if named := os.environ.get("DOCKER_HOST"):
            error.next_step = f"unset DOCKER_HOST, or start the daemon at {named}"
        raise


@CHECKS.add(
    "docker.daemon",
    "the daemon answers",
    look_daemon,
    needs=("docker.installed", "docker.permission"),
    stuck=RESTART,
)
def judge_daemon(daemon: Daemon) -> Verdict:
    """Return the system of a daemon that answers.

    Parameters
    ----------
    daemon : Daemon
        As `look_daemon` returns it.
    """
    return ok(f"running; {daemon.info.get('OperatingSystem', 'unknown system')}")


@CHECKS.add(
    "docker.version",
    "the daemon's version and API",
    lambda facts: facts["docker.daemon"].version,
    needs=DAEMON,
)
def judge_version(version: dict[str, Any]) -> Verdict:
    """Judge whether the daemon is recent enough.

    Parameters
    ----------
    version : mapping
        The daemon's answer to `docker version`.
    """
    number = str(version.get("Version", ""))
    message = f"Docker {number}, API {version.get('ApiVersion', '?')}"
    names = " ".join(str(part.get("Name", "")) for part in version.get("Components") or ())
    if "podman" in names.lower():
        return warn(f"{message}: this is Podman, which spikecrate is not tested with", "--runtime apptainer")
    fix = "upgrade Docker to 25 or newer"
    if numbers(number) < BUILDS:
        return fail(f"{message}: too old to build images", fix)
    if numbers(number) < REPRODUCIBLE:
        return warn(f"{message}: too old for reproducible image builds", fix)
    return ok(message)


def look_info(facts: Facts) -> Any:
    """Return the daemon's answer to `docker info`.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    return facts["docker.daemon"].info


@CHECKS.add(
    "docker.mode", "neither rootless nor remapped: results belong to the caller", look_info, needs=DAEMON
)
def judge_mode(info: dict[str, Any]) -> Verdict:
    """Judge whether a uid in a container is the same uid outside; jobs run as the caller's.

    Parameters
    ----------
    info : mapping
        As `look_info` returns it.
    """
    security = " ".join(info.get("SecurityOptions") or ())
    if "name=rootless" in security:
        return warn("rootless: results belong to a subordinate uid", OWN_DAEMON)
    if "name=userns" in security:
        return warn("users are remapped (userns-remap): results belong to another uid", OWN_DAEMON)
    if "Docker Desktop" in str(info.get("OperatingSystem", "")):
        return ok("Docker Desktop: it must share the folders of the store and the recordings")
    return ok("this machine's own daemon; uids inside are uids outside")


@CHECKS.add("docker.storage", "storage driver and containerd image store", look_info, needs=DAEMON)
def judge_storage(info: dict[str, Any]) -> Verdict:
    """Judge how the daemon stores images.

    Parameters
    ----------
    info : mapping
        As `look_info` returns it.
    """
    driver = str(info.get("Driver", "unknown"))
    if driver == "vfs":
        fix = f"remove it from daemon.json, then {RESTART}"
        return warn("storage driver vfs copies every layer in full", fix)
    if SNAPSHOTTER not in str(info.get("DriverStatus")):
        message = f"storage driver {driver} without the containerd image store: digests differ between builds"
        fix = f'"features": {{"containerd-snapshotter": true}} in /etc/docker/daemon.json, then {RESTART}'
        return warn(message, fix)
    return ok(f"{driver}, containerd image store")


@CHECKS.add(
    "docker.buildx",
    "buildx, which builds the images",
    lambda _: answer(["docker", "buildx", "version"], timeout=10),
    needs=INSTALLED,
)
def judge_buildx(line: str | None) -> Verdict:
    """Judge whether buildx can build the images.

    Parameters
    ----------
    line : str or None
        The version line of buildx; None where it is missing.
    """
    if line is None:
        return fail("docker buildx is missing, so images cannot be built", BUILDX_INSTALL)
    words = line.split()
    version = words[1] if len(words) > 1 else line
    if numbers(version) < BUILDX:
        return fail(f"buildx {version} is too old", BUILDX_INSTALL)
    return ok(f"buildx {version}")


def look_builder(_: Facts) -> tuple[str, str]:
    """Return the name of the builder that a build uses, and the output of `buildx inspect`."""
    name = builder(os.environ)
    done = run(["docker", "buildx", "inspect", f"--builder={name}"], timeout=8, check=False)
    return name, done.output


@CHECKS.add(
    "docker.builder",
    "buildx can use the builder inside the daemon",
    look_builder,
    needs=("docker.daemon", "docker.buildx"),
)
def judge_builder(facts: tuple[str, str]) -> Verdict:
    """Judge whether buildx can use the builder inside the daemon.

    Parameters
    ----------
    facts : tuple
        As `look_builder` returns it.
    """
    name, output = facts
    fields = dict(line.partition(":")[::2] for line in output.splitlines())
    if fields.get("Status", "").strip() == "running" and "Error" not in fields:
        return ok(f"{name} is running")
    last = output.splitlines()[-1] if output.strip() else "no output"
    fix = "docker context use default; docker buildx ls lists the builders"
    return fail(f"buildx cannot use {name}: {fields.get('Error', last).strip()}", fix)


def look_space(facts: Facts) -> list[space.Space]:
    """Return the free space of the daemon's image folders; empty where they are on another machine.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    info = look_info(facts)
    if socket_of(engine_url()) is None or is_inside(os.environ):
        return []
    places = [Path(str(info.get("DockerRootDir", "/var/lib/docker")))]
    if SNAPSHOTTER in str(info.get("DriverStatus")):
        places.append(CONTAINERD)
    return [space.look(place) for place in places if space.exists(place)]


@CHECKS.add("docker.space", "space and inodes where the daemon keeps images", look_space, needs=DAEMON)
def judge_space(found: list[space.Space]) -> Verdict:
    """Judge whether there is space for images.

    Parameters
    ----------
    found : list
        As `look_space` returns it.
    """
    if not found:
        return ok("the daemon's folders are not visible from here")
    fix = "run docker system df to see what fills it; spikecrate image.prune removes stale images"
    return space.judge(min(found, key=lambda one: one.free_bytes), fix)


@CHECKS.add("docker.limits", "cgroups enforce the limits of a job", look_info, needs=DAEMON)
def judge_limits(info: dict[str, Any]) -> Verdict:
    """Judge whether the kernel enforces a container's limits: memory, swap, processors, processes.

    Parameters
    ----------
    info : mapping
        As `look_info` returns it.
    """
    group = f"cgroup {info.get('CgroupVersion', '?')}, {info.get('CgroupDriver', '?')}"
    if info.get("CgroupDriver") == "none" or not info.get("MemoryLimit", True):
        fix = "boot with cgroup_enable=memory (rootless: with cgroup 2 and systemd)"
        return warn(f"{group}: memory limits are not enforced", fix)
    fields = {"swap": "SwapLimit", "processor": "CpuCfsQuota", "process": "PidsLimit"}
    lacking = [kind for kind, field in fields.items() if not info.get(field, True)]
    if lacking:
        fix = "boot with swapaccount=1" if lacking == ["swap"] else "boot with cgroup 2"
        return warn(f"{group}: {' and '.join(lacking)} limits are not enforced", fix)
    return ok(f"{group}: memory, processor and process limits are enforced")
