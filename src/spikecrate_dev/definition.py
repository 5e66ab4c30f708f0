"""Read `.devcontainer/devcontainer.json` as the Dev Container specification defines it.

VS Code and `invoke dev` must make the same environment from it, so a property that this module does not implement is an
error.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import DevContainerError
from spikecrate.runtimes.contract import Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILE: Final = PurePosixPath(".devcontainer/devcontainer.json")
SOCKET: Final = PurePosixPath("/var/run/docker.sock")
"""The path of the Docker daemon's socket in the container."""

PROPERTIES: Final = {
    "name", "build", "initializeCommand", "workspaceFolder", "workspaceMount", "mounts", "containerEnv",
    "overrideCommand", "remoteUser", "updateRemoteUserUID", "init", "securityOpt", "capAdd", "runArgs",
    "hostRequirements", "customizations",
}  # fmt: skip
BUILD_PROPERTIES: Final = {"dockerfile", "context", "target", "args", "options"}

COMMENT: Final = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
TRAILING_COMMA: Final = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')
VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, kw_only=True)
class Definition:
    """The description of one project's development container, with all variables expanded.

    Attributes
    ----------
    project : Path
        The folder that contains `.devcontainer/`; absolute.
    dockerfile, context : Path
        The Dockerfile and the build context.
    target : str
        The Dockerfile's stage; empty for the last one.
    build_arguments : dict
        The build arguments of the Dockerfile.
    build_options : tuple of str
        More options of the build.
    initialize : tuple of str
        The command to run on the host, in the project, before the container is created or started.
    folder : PurePosixPath
        The project's path inside.
    mounts : tuple of Mount
        All mounts, the project first.
    environment : dict
        The container's variables.
    user : str
        The user's name inside.
    run_arguments : tuple of str
        More options of `docker run`.
    wants_gpu : bool
        Whether the container receives a GPU where one is available.
    inputs : tuple of Path
        The files that the image is built from.
    """

    project: Path
    dockerfile: Path
    context: Path
    target: str
    build_arguments: dict[str, str]
    build_options: tuple[str, ...]
    initialize: tuple[str, ...]
    folder: PurePosixPath
    mounts: tuple[Mount, ...]
    environment: dict[str, str]
    user: str
    run_arguments: tuple[str, ...]
    wants_gpu: bool
    inputs: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The name of the project's container: readable, and unique to the project's path."""
        readable = re.sub(r"[^a-zA-Z0-9_.-]+", "-", self.project.name).strip("-.")[:40]
        short = hashlib.sha256(str(self.project).encode()).hexdigest()[:8]
        return "-".join(part for part in ("spikecrate", readable, short) if part)

    def recipe(self) -> str:
        """Return the hash of everything the image is built from."""
        hashed = hashlib.sha256()
        for part in (self.target, json.dumps(self.build_arguments, sort_keys=True)):
            hashed.update(f"{part}\0".encode())
        for path in self.inputs:
            content = path.read_bytes()
            mode = path.stat().st_mode & 0o111
            hashed.update(f"{path.relative_to(self.context)}\0{mode}\0{len(content)}\0".encode() + content)
        return hashed.hexdigest()

    def config(self) -> str:
        """Return the hash of everything the container is made from: recipe, mounts, variables, options, user."""
        parts = [
            self.recipe(),
            *(f"{mount.source}\0{mount.target}\0{mount.read_only}" for mount in self.mounts),
            json.dumps(self.environment, sort_keys=True),
            *self.run_arguments,
            self.user,
        ]
        return hashlib.sha256("\0\0".join(parts).encode()).hexdigest()


def find_project(start: Path) -> Path:
    """Return the nearest folder, at or above `start`, that describes a development container.

    Parameters
    ----------
    start : Path
        Where the search starts.

    Raises
    ------
    DevContainerError
    """
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder
    message = f"no {FILE} in {start} or a folder above it"
    raise DevContainerError(message, next_step="cd into a clone of spikecrate")


def read(project: Path, environ: Mapping[str, str]) -> Definition:
    """Read a project's devcontainer.json.

    Parameters
    ----------
    project : Path
        The absolute path of the folder that contains `.devcontainer/`.
    environ : mapping
        The variables for `${localEnv:…}`.

    Raises
    ------
    DevContainerError
        Naming the property that is malformed or not supported.
    """
    path = project / FILE
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path} is not readable: {error}"
        raise DevContainerError(message) from None
    _refuse_unknown(path, found, PROPERTIES, "")
    build = found.get("build", {})
    _refuse_unknown(path, build, BUILD_PROPERTIES, "build.")
    values = {
        "localWorkspaceFolder": str(project),
        "localWorkspaceFolderBasename": project.name,
        "devcontainerId": identity(labels(project)),
    }
    folder = expand(found["workspaceFolder"], values, environ)
    values |= {
        "containerWorkspaceFolder": folder,
        "containerWorkspaceFolderBasename": PurePosixPath(folder).name,
    }

    def filled(text: str) -> str:
        return expand(text, values, environ)

    context = (path.parent / build.get("context", ".")).resolve()
    dockerfile = path.parent / build["dockerfile"]
    mounts = [read_mount(entry, filled) for entry in (found["workspaceMount"], *found.get("mounts", ()))]
    followed = [follow_link(mount) for mount in mounts]
    # A variable that names such a link follows it too.
    led = {str(link.target): str(real.target) for link, real in zip(mounts, followed, strict=True)}
    environment = {name: filled(value) for name, value in found.get("containerEnv", {}).items()}
    return Definition(
        project=project,
        dockerfile=dockerfile,
        context=context,
        target=build.get("target", ""),
        build_arguments={name: filled(value) for name, value in build.get("args", {}).items()},
        build_options=tuple(map(filled, build.get("options", ()))),
        initialize=tuple(map(filled, found.get("initializeCommand", ()))),
        folder=PurePosixPath(folder),
        mounts=tuple(followed),
        environment={name: led.get(value, value) for name, value in environment.items()},
        user=found["remoteUser"],
        run_arguments=(
            *(["--init"] if found.get("init") else []),
            *(f"--security-opt={option}" for option in found.get("securityOpt", ())),
            *(f"--cap-add={name}" for name in found.get("capAdd", ())),
            *map(filled, found.get("runArgs", ())),
        ),
        wants_gpu=bool(found.get("hostRequirements", {}).get("gpu")),
        inputs=inputs(context, dockerfile),
    )


def parse(text: str) -> dict[str, Any]:
    """Parse JSON with comments and trailing commas.

    Parameters
    ----------
    text : str
        The text.

    Raises
    ------
    ValueError
    """
    # Line ends stay, so that an error names the right line.
    bare = COMMENT.sub(lambda found: found[1] or "", text)
    value = json.loads(TRAILING_COMMA.sub(lambda found: found[1] or "", bare))
    if not isinstance(value, dict):
        message = "it is not an object"
        raise ValueError(message)  # noqa: TRY004
    return value


def expand(text: str, values: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Expand the variables of a text.

    Parameters
    ----------
    text : str
        A text with `${name}`, `${localEnv:NAME}` or `${localEnv:NAME:default}`.
    values : mapping
        The values of the names.
    environ : mapping
        The host's variables; an unset one expands to nothing, as the specification defines.

    Raises
    ------
    DevContainerError
        For an unknown variable.
    """

    def one(found: re.Match[str]) -> str:
        kind, _, rest = found[1].partition(":")
        if kind in ("localEnv", "env") and rest:
            name, _, default = rest.partition(":")
            return environ.get(name, default)
        if found[1] in values:
            return values[found[1]]
        message = f"{FILE}: {found[0]} is not a variable that invoke dev supports"
        raise DevContainerError(message)

    return VARIABLE.sub(one, text)


def read_mount(entry: str | Mapping[str, str], filled: Callable[[str], str]) -> Mount:
    """Parse a mount: a string in the syntax of `docker run --mount`, or an object.

    Parameters
    ----------
    entry : str or mapping
        One entry of `mounts`.
    filled : callable
        Expands the variables of a text.

    Raises
    ------
    DevContainerError
        For any other kind than a bind mount.
    """
    import csv

    if isinstance(entry, str):
        # Split before variables are expanded, because a path may contain a comma.
        fields = dict(word.partition("=")[::2] for word in next(csv.reader([entry])))
    else:
        fields = dict(entry)
    source = fields.get("source") or fields.get("src", "")
    target = fields.get("target") or fields.get("destination") or fields.get("dst", "")
    if fields.get("type") != "bind" or not source or not target:
        message = f"{FILE}: {entry} is not a bind mount with a source and a target"
        raise DevContainerError(message)
    read_only = fields.get("readonly", fields.get("ro")) in ("", "true")
    return Mount(source=Path(filled(source)), target=PurePosixPath(filled(target)), read_only=read_only)


def follow_link(mount: Mount) -> Mount:
    """Replace a link by its target, in a mount whose source and target are the same link.

    devcontainer.json cannot spell every path (it has no variable for the uid), so prepare.py makes links.

    Parameters
    ----------
    mount : Mount
        The mount.
    """
    if not mount.source.is_symlink() or str(mount.source) != str(mount.target):
        return mount
    real = mount.source.resolve()
    return replace(mount, source=real, target=PurePosixPath(real))


def inputs(context: Path, dockerfile: Path) -> tuple[Path, ...]:
    """Return the files that the Dockerfile's ignore file admits: all that the image can be built from.

    Parameters
    ----------
    context : Path
        The build context.
    dockerfile : Path
        The Dockerfile.

    Raises
    ------
    DevContainerError
        Where a file is missing.
    """
    allowed = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    try:
        lines = allowed.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        message = f"{allowed}: {error.strerror}"
        raise DevContainerError(message) from None
    found = [context / line[1:].strip() for line in lines if line.startswith("!")]
    missing = [str(path) for path in found if not path.is_file()]
    if missing:
        message = f"{allowed} names missing files: {', '.join(missing)}"
        raise DevContainerError(message)
    return tuple(sorted(found))


def labels(project: Path) -> dict[str, str]:
    """Return the labels by which VS Code and the devcontainer CLI find a project's container.

    Parameters
    ----------
    project : Path
        The folder that contains `.devcontainer/`.
    """
    return {"devcontainer.local_folder": str(project), "devcontainer.config_file": str(project / FILE)}


def identity(named: Mapping[str, str]) -> str:
    """Return `${devcontainerId}`: the SHA-256 of the labels as JSON, in base 32 with the digits 0 to v.

    Parameters
    ----------
    named : mapping
        Label names and values.
    """
    text = json.dumps(dict(sorted(named.items())), separators=(",", ":"), ensure_ascii=False)
    # Zeros in front make it a whole number of digits.
    digits = base64.b32hexencode(bytes(3) + hashlib.sha256(text.encode()).digest())
    return digits.decode().lower()[-52:]


def _refuse_unknown(path: Path, found: Mapping[str, Any], known: set[str], prefix: str) -> None:
    unknown = sorted(found.keys() - known)
    if unknown:
        message = f"{path}: invoke dev does not support {', '.join(f'{prefix}{name}' for name in unknown)}"
        raise DevContainerError(message, next_step="remove it, or implement it in spikecrate_dev.definition")
