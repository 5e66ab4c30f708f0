"""The command lines of a development container, as pure functions: `--dry-run` prints them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.runtimes.contract import Mount
from spikecrate_dev.definition import SOCKET, Definition, labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path, PurePosixPath

    from spikecrate_dev.options import Options

CONFIG_LABEL: Final = "spikecrate.config"
RECIPE_LABEL: Final = "spikecrate.recipe"
PASSED: Final = (
    *("TERM", "COLORTERM", "NO_COLOR", "TZ"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""Variables passed to each shell, by name only, so that a proxy's password appears in no command line."""
DETACH_KEYS: Final = "ctrl-@"
"""Docker's default, Ctrl-P Ctrl-Q, swallows the shell's Ctrl-P: https://github.com/moby/moby/issues/12510."""
WITHOUT_DOCKER: Final[tuple[str, ...]] = (
    "--device=/dev/fuse",
    "--security-opt=seccomp=unconfined",
    "--security-opt=systempaths=unconfined",
)
"""Options that Apptainer needs as an unprivileged user: FUSE for the image, a user namespace, its own /proc."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The facts of the machine that a container's command line depends on.

    Attributes
    ----------
    socket : Path
        The Docker daemon's socket on the host.
    user : tuple of int
        uid and gid inside: the caller's, or 0 where the daemon maps root to the caller.
    gpu : tuple of str
        Options that pass the GPUs.
    devices : tuple of str
        Options that pass the graphics card.
    fuse : bool
        Whether /dev/fuse exists.
    apparmor : bool
        Whether the daemon confines containers with AppArmor.
    """

    socket: Path
    user: tuple[int, int]
    gpu: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    fuse: bool = False
    apparmor: bool = False


def image_name(definition: Definition) -> str:
    """Return the image's name, which contains the hash of its recipe.

    Parameters
    ----------
    definition : Definition
        The project's description.
    """
    return f"spikecrate/dev:{definition.recipe()[:12]}"


def mounts(
    definition: Definition, options: Options, machine: Machine, more: Sequence[Mount] = ()
) -> list[Mount]:
    """Return the mounts of a container.

    Parameters
    ----------
    definition : Definition
        Its mounts come first; the Docker socket is taken from this machine, or left out.
    options : Options
        The data folders, which come next.
    machine : Machine
        The place of the socket.
    more : sequence of Mount
        Mounts that only `invoke dev` adds; targets that are taken are left out.
    """
    found: dict[PurePosixPath, Mount] = {}
    for mount in (*definition.mounts, *options.mounts, *more):
        if mount.target == SOCKET:
            if options.docker:
                found[SOCKET] = Mount(source=machine.socket, target=SOCKET, read_only=False)
            continue
        found.setdefault(mount.target, mount)
    return list(found.values())


def run_argv(
    definition: Definition,
    options: Options,
    machine: Machine,
    *,
    more_mounts: Sequence[Mount] = (),
    ports: Mapping[int, int] | None = None,
) -> list[str]:
    """Return the command line that creates and starts a container.

    Parameters
    ----------
    definition, options, machine
        As in `mounts`.
    more_mounts : sequence of Mount, optional
        Mounts that only `invoke dev` adds: git's identity, the display, the ssh agent.
    ports : mapping, optional
        Port inside to port of this machine.
    """
    from spikecrate.runtimes.mounts import mount_option

    shown = mounts(definition, options, machine, more_mounts)
    host_paths = {str(mount.target): str(mount.source) for mount in shown}
    environment = {
        **definition.environment,
        "SPIKECRATE_HOST_PATHS": json.dumps(host_paths, ensure_ascii=False),
        "HOST_UID": str(machine.user[0]),
        "HOST_GID": str(machine.user[1]),
    }
    named = {
        **labels(definition.project),
        CONFIG_LABEL: definition.config(),
        RECIPE_LABEL: definition.recipe(),
    }
    loosened = () if options.docker or not machine.fuse else WITHOUT_DOCKER
    if loosened and machine.apparmor:
        loosened += ("--security-opt=apparmor=unconfined",)
    return [
        *("docker", "run", "--detach", "--pull=never", "--name", definition.name, "--hostname", "spikecrate"),
        *(word for name, value in named.items() for word in ("--label", f"{name}={value}")),
        *(word for mount in shown for word in ("--mount", mount_option(mount))),
        *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
        *("--workdir", str(definition.folder)),
        *definition.run_arguments,
        *loosened,
        *machine.gpu,
        *machine.devices,
        # Only this machine can reach them.
        *(f"--publish=127.0.0.1:{outside}:{inside}" for inside, outside in (ports or {}).items()),
        image_name(definition),
    ]


def exec_argv(
    definition: Definition,
    name: str,
    *,
    command: str,
    folder: PurePosixPath,
    environment: Mapping[str, str],
    environ: Mapping[str, str],
    terminal: bool,
) -> list[str]:
    """Return the command line that enters a running container.

    Parameters
    ----------
    name : str
        The container's name.
    command : str
        A command for a login shell; empty for an interactive shell.
    folder : PurePosixPath
        The working folder inside.
    environment : mapping
        Variables for this shell only.
    environ : mapping
        The caller's variables; those of `PASSED` are passed on.
    terminal : bool
        Whether the caller's input and output are a terminal.
    """
    return [
        *("docker", "exec", "--interactive"),
        *(("--tty", f"--detach-keys={DETACH_KEYS}") if terminal else ()),
        *("--user", definition.user, "--workdir", str(folder)),
        *(word for passed in PASSED if environ.get(passed) for word in ("--env", passed)),
        *(word for key, value in environment.items() for word in ("--env", f"{key}={value}")),
        name,
        *("bash", "-l"),
        *(("-c", command) if command else ()),
    ]


def inside(working: Path, shown: Sequence[Mount], otherwise: PurePosixPath) -> PurePosixPath:
    """Return the path inside of a host folder, through the longest mount that contains it.

    Parameters
    ----------
    working : Path
        A folder on the host.
    shown : sequence of Mount
        The container's mounts.
    otherwise : PurePosixPath
        The result where no mount contains it.
    """
    holding = [mount for mount in shown if working.is_relative_to(mount.source)]
    if not holding:
        return otherwise
    longest = max(holding, key=lambda mount: len(mount.source.parts))
    return longest.target / working.relative_to(longest.source)
