"""The facts of the machine that a development container depends on."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import answer
from spikecrate.engines.docker import gpu_words
from spikecrate.errors import GpuMissingError
from spikecrate.runtimes.contract import Mount
from spikecrate_dev import daemon
from spikecrate_dev.command import Machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate_dev.definition import Definition
    from spikecrate_dev.options import Options
    from spikecrate_dev.state import Found

GRAPHICS: Final = Path("/dev/dri")


def ask(definition: Definition, options: Options) -> Machine:
    """Return the facts of the machine for a container's command line.

    Parameters
    ----------
    definition : Definition
        The project's description.
    options : Options
        The validated options.

    Raises
    ------
    GpuMissingError
        For `--gpu on` on a machine without one.
    EngineMissingError, EngineDownError, EnginePermissionError
    """
    info = daemon.info()
    security = " ".join(info.get("SecurityOptions") or ())
    mapped = "name=rootless" in security or "name=userns" in security
    gpu = gpu_words(info) if options.gpu == "on" or (options.gpu == "auto" and definition.wants_gpu) else ()
    if options.gpu == "on" and not gpu:
        message = "--gpu on: the Docker daemon cannot pass a GPU to a container"
        fix = "install nvidia-container-toolkit and restart the daemon"
        raise GpuMissingError(message, next_step=fix, doctor="gpu.docker")
    return Machine(
        socket=daemon.engine_socket(),
        user=(0, 0) if mapped else (os.getuid(), os.getgid()),
        gpu=gpu,
        devices=(f"--device={GRAPHICS}",) if options.x11 and GRAPHICS.is_dir() else (),
        fuse=Path("/dev/fuse").exists(),
        apparmor="name=apparmor" in security,
    )


def run_folder(definition: Definition, environ: Mapping[str, str]) -> Path:
    """Make and return the host folder of the files and sockets that a running container receives.

    Parameters
    ----------
    definition : Definition
        The project's description.
    environ : mapping
        The caller's variables.
    """
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    base = runtime / "spikecrate" if runtime.is_dir() else Path.home() / ".cache" / "spikecrate-dev" / "run"
    folder = base / definition.name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def worktree(project: Path) -> list[Mount]:
    """Return the mount of a git worktree's common folder, without which git does not work in it.

    Parameters
    ----------
    project : Path
        The folder that contains `.devcontainer/`.
    """
    if not (project / ".git").is_file():
        return []
    common = answer(["git", "rev-parse", "--path-format=absolute", "--git-common-dir"], cwd=project)
    if common is None:
        return []
    return [Mount(source=Path(common).resolve(), target=PurePosixPath(common), read_only=False)]


def is_free(port: int) -> bool:
    """Whether a port of this machine is free.

    Parameters
    ----------
    port : int
        The port.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def lacks_source(found: Found) -> list[Path]:
    """Return the mounted folders that no longer exist on the host; Docker cannot start the container without them.

    Parameters
    ----------
    found : Found
        The container.
    """
    gone = []
    for mount in found.mounts:
        # A folder that this user cannot see may exist.
        with suppress(PermissionError):
            if not mount.source.exists():
                gone.append(mount.source)
    return gone
