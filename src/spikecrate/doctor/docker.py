"""Docker: installed, for this user, answering, new enough, with buildx and room for images."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.process import capture, run
from spikecrate.doctor import space
from spikecrate.doctor.check import Check, fail, ok, warn
from spikecrate.engines.docker import START, docker_client, engine_url, socket_of
from spikecrate.errors import CommandError, EngineDownError, SpikecrateError
from spikecrate.images.buildx import builder
from spikecrate_dev.session import is_inside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import DockerClient

    from spikecrate.doctor.check import Verdict
    from spikecrate.doctor.space import Space

INSTALL: Final = "sudo apt-get install docker.io docker-buildx"
WITHOUT: Final = "Docker is not installed: --runtime apptainer needs none, nor does --runtime host"
BUILDS: Final = (23, 0)
"""From here on, the daemon's BuildKit knows what our Dockerfiles ask of it."""
REPRODUCIBLE: Final = (25, 0)
"""From here on, the daemon keeps images by content and can date the files in them."""
BUILDX: Final = (0, 10)
SNAPSHOTTER: Final = "io.containerd.snapshotter.v1"
CONTAINERD: Final = Path("/var/lib/containerd")
RESTART: Final = "sudo systemctl restart docker"


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may talk to the daemon, and who asks.

    Attributes
    ----------
    socket : Path
        The daemon's.
    allowed : bool
        Whether this process may read and write it.
    group : str
        The socket's group, by name where it has one.
    gid : int
        The same, as a number.
    user : str
        Who asks.
    listed : bool
        Whether the machine's list of groups has this user in it.
    """

    socket: Path
    allowed: bool
    group: str
    gid: int
    user: str
    listed: bool


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A daemon that answers.

    Attributes
    ----------
    client : DockerClient
        Connected to it.
    info, version : dict
        What it says of itself.
    """

    client: DockerClient
    info: dict[str, Any]
    version: dict[str, Any]


def look_installed(_: Mapping[str, Any]) -> tuple[str, str | None, bool]:
    """See where the daemon should be, the command's path, and whether there is a socket."""
    url = engine_url()
    socket = socket_of(url)
    return url, shutil.which("docker"), socket is None or _is_socket(socket)


def judge_installed(seen: tuple[str, str | None, bool]) -> Verdict:
    """Judge whether there is anything of Docker here."""
    url, command, reachable = seen
    if command is None and not reachable:
        return warn(WITHOUT, INSTALL, ends=True)
    if command is None:
        return warn(f"a daemon at {url}, and no docker command: images cannot be built", INSTALL)
    return ok(f"{command}, for the daemon at {url}")


def look_permission(_: Mapping[str, Any]) -> Access | None:
    """See the socket's group, and the caller's; None where there is no socket."""
    socket = socket_of(engine_url())
    if socket is None or not _is_socket(socket):
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
    return Access(
        socket=socket,
        allowed=os.access(socket, os.R_OK | os.W_OK),
        group=name,
        gid=gid,
        user=user,
        listed=listed,
    )


def judge_permission(seen: Access | None) -> Verdict:
    """Judge whether this user may talk to the daemon; a login gets its groups once, at its beginning."""
    if seen is None:
        return ok("no socket here that could forbid it")
    if seen.allowed:
        return ok(f"{seen.user} may write to {seen.socket}")
    said = f"{seen.user} may not write to {seen.socket}, which is for group {seen.group}"
    if seen.listed:
        return fail(f"{said}; this login is older than its membership", "log out and in again")
    if seen.gid == 0:
        return fail(said, "ask for a group: sudo groupadd docker, and restart the daemon")
    return fail(said, f"sudo usermod -aG {seen.group} {seen.user}, then log out and in again")


def look_daemon(_: Mapping[str, Any]) -> Daemon | SpikecrateError:
    """Ask the daemon what it is."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        client = docker_client()
        return Daemon(client=client, info=client.info(), version=client.version())
    except EngineDownError as error:
        if named := os.environ.get("DOCKER_HOST"):
            error.next_step = f"unset DOCKER_HOST, or start the daemon at {named}"
        return error
    except SpikecrateError as error:
        return error
    except (DockerException, RequestException) as error:
        return SpikecrateError(f"the daemon stopped answering: {error}", next_step=START)


def judge_daemon(seen: Daemon | SpikecrateError) -> Verdict:
    """Judge whether the daemon can be used."""
    if isinstance(seen, SpikecrateError):
        return fail(str(seen), seen.next_step)
    return ok(f"answers; {seen.info.get('OperatingSystem', 'an unnamed system')}")


def look_version(seen: Mapping[str, Any]) -> dict[str, Any]:
    """See the daemon's version."""
    version: dict[str, Any] = seen["docker.daemon"].version
    return version


def judge_version(seen: Mapping[str, Any]) -> Verdict:
    """Judge whether the daemon is new enough."""
    text = str(seen.get("Version", ""))
    said = f"Docker {text}, API {seen.get('ApiVersion', '?')}"
    names = " ".join(str(part.get("Name", "")) for part in seen.get("Components") or ())
    if "podman" in names.lower():
        return warn(f"{said}: this is Podman, which spikecrate is not tested with", "--runtime apptainer")
    mend = "upgrade Docker to 25 or newer"
    if numbers(text) < BUILDS:
        return fail(f"{said}: too old to build images", mend)
    if numbers(text) < REPRODUCIBLE:
        return warn(f"{said}: too old for images that are the same at every build", mend)
    return ok(said)


def look_info(seen: Mapping[str, Any]) -> dict[str, Any]:
    """See what the daemon says of itself."""
    info: dict[str, Any] = seen["docker.daemon"].info
    return info


def judge_mode(seen: Mapping[str, Any]) -> Verdict:
    """Judge whether users inside are users outside: jobs run as the caller's uid."""
    security = " ".join(seen.get("SecurityOptions") or ())
    mend = "docker context use default (the machine's own daemon), or --runtime apptainer"
    if "name=rootless" in security:
        return warn("rootless: what jobs write belongs to a subordinate uid", mend)
    if "name=userns" in security:
        return warn("users are remapped (userns-remap): what jobs write belongs to another uid", mend)
    if "Docker Desktop" in str(seen.get("OperatingSystem", "")):
        return ok("Docker Desktop: folders must be among those that it shares")
    return ok("the machine's own daemon; users inside are users outside")


def judge_storage(seen: Mapping[str, Any]) -> Verdict:
    """Judge how the daemon keeps images."""
    driver = str(seen.get("Driver", "unknown"))
    if driver == "vfs":
        return warn(
            "storage driver vfs: every layer is a whole copy", f"remove it from daemon.json, then {RESTART}"
        )
    if SNAPSHOTTER not in str(seen.get("DriverStatus")):
        return warn(
            f"storage driver {driver}, without the containerd image store: digests differ from build to build",
            f'"features": {{"containerd-snapshotter": true}} in /etc/docker/daemon.json, then {RESTART}',
        )
    return ok(f"{driver}, containerd image store")


def look_buildx(_: Mapping[str, Any]) -> str | None:
    """See the version of buildx; None where there is none."""
    try:
        return capture(["docker", "buildx", "version"], timeout=10)
    except CommandError:
        return None


def judge_buildx(seen: str | None) -> Verdict:
    """Judge whether images can be built."""
    mend = "sudo apt-get install docker-buildx (from Docker's own packages: docker-buildx-plugin)"
    if seen is None:
        return fail("docker buildx is missing: no image can be built", mend)
    words = seen.split()
    version = words[1] if len(words) > 1 else seen
    if numbers(version) < BUILDX:
        return fail(f"buildx {version} is too old", mend)
    return ok(f"buildx {version}")


def look_builder(_: Mapping[str, Any]) -> tuple[str, str]:
    """Ask buildx for the builder that a build would use; give its name and what was said."""
    name = builder(os.environ)
    done = run(["docker", "buildx", "inspect", f"--builder={name}"], timeout=8, check=False)
    return name, done.output


def judge_builder(seen: tuple[str, str]) -> Verdict:
    """Judge whether the builder inside the daemon can be used."""
    name, said = seen
    fields = dict(line.partition(":")[::2] for line in said.splitlines())
    if fields.get("Status", "").strip() == "running" and "Error" not in fields:
        return ok(f"{name} is running")
    last = said.splitlines()[-1] if said.strip() else "it said nothing"
    return fail(
        f"buildx cannot use {name}: {fields.get('Error', last).strip()}",
        "docker context use default; docker buildx ls tells what there is",
    )


def look_space(seen: Mapping[str, Any]) -> list[Space]:
    """See what is free where the daemon keeps images; nothing where it has its folders elsewhere."""
    daemon: Daemon = seen["docker.daemon"]
    if socket_of(engine_url()) is None or is_inside(os.environ):
        return []
    places = [Path(str(daemon.info.get("DockerRootDir", "/var/lib/docker")))]
    if SNAPSHOTTER in str(daemon.info.get("DriverStatus")):
        places.append(CONTAINERD)
    return [space.look(place) for place in places if space.exists(place)]


def judge_space(seen: list[Space]) -> Verdict:
    """Judge whether there is room for images."""
    if not seen:
        return ok("the daemon's folders are not seen from here")
    mend = "docker system df shows what fills it; spikecrate image.prune removes stale images"
    return space.judge(min(seen, key=lambda one: one.free_bytes), mend)


def judge_limits(seen: Mapping[str, Any]) -> Verdict:
    """Judge whether the kernel holds containers to their memory, processors and number of processes."""
    group = f"cgroup {seen.get('CgroupVersion', '?')}, {seen.get('CgroupDriver', '?')}"
    if seen.get("CgroupDriver") == "none" or not seen.get("MemoryLimit", True):
        return warn(
            f"{group}: memory limits are not obeyed",
            "boot with cgroup_enable=memory (rootless: with cgroup 2 and systemd)",
        )
    lacking = [
        what
        for what, field in (("swap", "SwapLimit"), ("processor", "CpuCfsQuota"), ("process", "PidsLimit"))
        if not seen.get(field, True)
    ]
    if lacking:
        return warn(
            f"{group}: {' and '.join(lacking)} limits are not obeyed",
            "boot with swapaccount=1" if lacking == ["swap"] else "boot with cgroup 2",
        )
    return ok(f"{group}: memory, processor and process limits are obeyed")


def numbers(version: str) -> tuple[int, ...]:
    """Read the first numbers of a version; nothing of none."""
    found = re.search(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


DAEMON: Final = ("docker.daemon",)
CHECKS: Final = (
    Check(
        name="docker.installed",
        about="there is a docker command, or a daemon's socket",
        look=look_installed,
        judge=judge_installed,
    ),
    Check(
        name="docker.permission",
        about="this user may talk to the daemon",
        look=look_permission,
        judge=judge_permission,
        needs=("docker.installed",),
    ),
    Check(
        name="docker.daemon",
        about="the daemon answers",
        look=look_daemon,
        judge=judge_daemon,
        needs=("docker.installed", "docker.permission"),
        stuck=RESTART,
    ),
    Check(
        name="docker.version",
        about="the daemon is new enough; its API",
        look=look_version,
        judge=judge_version,
        needs=DAEMON,
    ),
    Check(
        name="docker.mode",
        about="not rootless and not remapped: what a job writes is yours",
        look=look_info,
        judge=judge_mode,
        needs=DAEMON,
    ),
    Check(
        name="docker.storage",
        about="storage driver, and the containerd image store",
        look=look_info,
        judge=judge_storage,
        needs=DAEMON,
    ),
    Check(
        name="docker.buildx",
        about="buildx, which builds the images",
        look=look_buildx,
        judge=judge_buildx,
        needs=("docker.installed",),
    ),
    Check(
        name="docker.builder",
        about="buildx reaches the builder inside the daemon",
        look=look_builder,
        judge=judge_builder,
        needs=("docker.daemon", "docker.buildx"),
    ),
    Check(
        name="docker.space",
        about="space and files where the daemon keeps images",
        look=look_space,
        judge=judge_space,
        needs=DAEMON,
    ),
    Check(
        name="docker.limits",
        about="control groups: are limits of memory obeyed",
        look=look_info,
        judge=judge_limits,
        needs=DAEMON,
    ),
)
