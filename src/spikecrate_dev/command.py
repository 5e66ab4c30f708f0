"""The command lines of a development container, computed and not run: what `--dry-run` prints and tests compare."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.runtimes.contract import Mount
from spikecrate_dev.definition import SOCKET, labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path, PurePosixPath

    from spikecrate_dev.definition import Definition
    from spikecrate_dev.options import Options

CONFIG_LABEL: Final = "spikecrate.config"
RECIPE_LABEL: Final = "spikecrate.recipe"
PASSED: Final = (
    *("TERM", "COLORTERM", "NO_COLOR", "TZ"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""Variables of the caller's that each shell inside gets: by name, so that a proxy's password is in no command line."""
DETACH_KEYS: Final = "ctrl-@"
"""Docker's own, Ctrl-P Ctrl-Q, would swallow the shell's Ctrl-P."""
WITHOUT_DOCKER: Final = (
    "--device=/dev/fuse",
    "--security-opt=seccomp=unconfined",
    "--security-opt=systempaths=unconfined",
)
"""What Apptainer needs inside, as an unprivileged user: FUSE for the image, a user namespace, a /proc of its own."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a container's command line takes from the machine.

    Attributes
    ----------
    socket : Path
        Of the Docker daemon, on the host.
    user : tuple of int
        uid and gid inside: the caller's, or root's where the daemon maps that to the caller.
    gpu : tuple of str
        Words that give the GPUs.
    devices : tuple of str
        Words that give what draws windows.
    fuse : bool
        Whether there is a /dev/fuse.
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
    """Name the image: by its recipe, so that a changed recipe is another image."""
    return f"spikecrate/dev:{definition.recipe()[:12]}"


def mounts(
    definition: Definition, options: Options, machine: Machine, more: Sequence[Mount] = ()
) -> list[Mount]:
    """List all that a container sees of the host.

    Parameters
    ----------
    definition : Definition
        Its mounts come first, the Docker socket from where this machine has it, or not at all.
    options : Options
        Its data folders come next.
    machine : Machine
        Where the socket is.
    more : sequence of Mount
        What only a terminal needs; what is mounted already is left out.
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
    """Give the command line that makes a container and starts it.

    Parameters
    ----------
    definition, options, machine
        As `mounts`.
    more_mounts : sequence of Mount, optional
        What only a terminal needs: git's identity, the display, the ssh agent.
    ports : mapping, optional
        Port inside to port of this machine.
    """
    from spikecrate.runtimes.mounts import mount_option

    shown = mounts(definition, options, machine, more_mounts)
    environment = {
        **definition.environment,
        "SPIKECRATE_HOST_PATHS": host_paths(shown),
        "HOST_UID": str(machine.user[0]),
        "HOST_GID": str(machine.user[1]),
    }
    named = {
        **labels(definition.project),
        CONFIG_LABEL: definition.config(),
        RECIPE_LABEL: definition.recipe(),
    }
    return [
        *("docker", "run", "--detach", "--pull=never", "--name", definition.name, "--hostname", "spikecrate"),
        *(word for name, value in named.items() for word in ("--label", f"{name}={value}")),
        *(word for mount in shown for word in ("--mount", mount_option(mount))),
        *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
        *("--workdir", str(definition.folder)),
        *definition.run_arguments,
        *(_without_docker(machine) if not options.docker else ()),
        *machine.gpu,
        *machine.devices,
        # This machine alone can reach them.
        *(f"--publish=127.0.0.1:{outside}:{inside}" for inside, outside in (ports or {}).items()),
        image_name(definition),
    ]


def host_paths(shown: Sequence[Mount]) -> str:
    """Write, as JSON, where on the host each mounted folder is."""
    return json.dumps({str(mount.target): str(mount.source) for mount in shown}, ensure_ascii=False)


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
    """Give the command line that enters a running container.

    Parameters
    ----------
    name : str
        Of the container.
    command : str
        For a login shell; empty for a shell to type in.
    folder : PurePosixPath
        Where it starts, inside.
    environment : mapping
        Variables for this shell alone.
    environ : mapping
        The caller's variables, of which some are passed on.
    terminal : bool
        Whether the caller types into a terminal and reads from it.
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
    """Find where inside a folder of the host is seen: through the longest mount that holds it.

    Parameters
    ----------
    working : Path
        On the host.
    shown : sequence of Mount
        What the container sees.
    otherwise : PurePosixPath
        The answer where it sees nothing of it.
    """
    holding = [mount for mount in shown if working.is_relative_to(mount.source)]
    if not holding:
        return otherwise
    longest = max(holding, key=lambda mount: len(mount.source.parts))
    return longest.target / working.relative_to(longest.source)


def _without_docker(machine: Machine) -> tuple[str, ...]:
    if not machine.fuse:
        return ()
    return (*WITHOUT_DOCKER, *(("--security-opt=apparmor=unconfined",) if machine.apparmor else ()))
