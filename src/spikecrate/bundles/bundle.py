"""Write a bundle: image, sorter, wheels and the library in one file, for a machine without a network."""

from __future__ import annotations

import json
import platform
import re
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.files import remove_tree, sync_folder
from spikecrate._util.process import run
from spikecrate._util.quantities import format_bytes
from spikecrate._version import __version__
from spikecrate.bundles import pack, wheels
from spikecrate.bundles.manifest import PARTS, Manifest
from spikecrate.engines.apptainer import find_program
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.environments import environment
from spikecrate.environments.toolchain import find_interpreter
from spikecrate.errors import BundleError, CommandError, EngineError, SpikecrateError, UsageError
from spikecrate.images import sif
from spikecrate.images.build import build, unpacked_size
from spikecrate.images.oci import machine_architecture, read_archive
from spikecrate.images.recipe import LOCK
from spikecrate.images.staging import staged

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.images.request import BuildRequest
    from spikecrate.store import Store

INSTALLER: Final = Path(__file__).with_name("install.py")
README: Final = Path(__file__).with_name("README.txt")
PYTHON: Final = re.compile(r"3\.(1[1-9]|[2-9]\d)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A written bundle.

    Attributes
    ----------
    path : Path
        The file.
    size_bytes : int
        Size of the file.
    manifest : Manifest
        Contents of the bundle.
    """

    path: Path
    size_bytes: int
    manifest: Manifest

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        manifest = self.manifest
        return {
            "bundle": str(self.path),
            "size_bytes": self.size_bytes,
            "sorter": manifest.sorter,
            "version": manifest.version,
            "recipe": manifest.recipe,
            "image_digest": manifest.image_digest,
            "parts": list(manifest.parts),
            "architecture": manifest.architecture,
            "python": manifest.python,
            "files": len(manifest.members),
        }


def bundle(
    request: BuildRequest,
    store: Store,
    progress: Progress,
    *,
    target: Path,
    parts: tuple[str, ...] = (),
    python: str = "",
) -> Bundle:
    """Write a bundle, whole or not at all; the same image and wheels give the same bytes.

    Parameters
    ----------
    request : BuildRequest
        The sorter.
    store : Store
        Holds the SIF, and keeps fetched wheels.
    progress : Progress
        Receives notes and shows bars.
    target : Path
        File to write; an existing one is replaced.
    parts : tuple of str
        Some of `sif`, `docker` and `host`. By default the SIF where Apptainer is available, else the Docker image;
        and the wheels for the host runtime.
    python : str
        Python version of the other machine: `3.12`. By default the one that the sorter would run in here.

    Returns
    -------
    Bundle

    Raises
    ------
    UsageError
        A part or the Python version is unknown, or the target's folder does not exist.
    EnvironmentBuildError
        The wheels for the host are requested, and this machine lacks the Python to build them with.
    BundleError
        A wheel is not available.
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError, ImageBuildError
        The image is not available.
    DiskFullError
        The disk has too little space.
    """
    chosen = parts or _default_parts(request, progress)
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        message = f"--parts {','.join(chosen)}: {unknown[0]!r} is not a part of a bundle"
        raise UsageError(message, next_step=f"choose from: {','.join(PARTS)}")
    if not target.parent.is_dir() or target.is_dir():
        message = f"--output {target} is a folder, or its folder does not exist"
        raise UsageError(message, next_step="name a file in a folder that exists")
    if python and PYTHON.fullmatch(python) is None:
        message = f"--python {python!r} is not a version of Python that spikecrate runs in"
        raise UsageError(message, next_step="--python 3.12")
    # `find_interpreter` then finds that version, or raises.
    wanted = f"{request.python},=={python}.*" if python else request.python
    work = target.parent / f".{target.name}.new-{secrets.token_hex(4)}"
    try:
        work.mkdir(mode=0o700)
    except OSError as error:
        message = f"--output {target}: {error.strerror}"
        raise UsageError(message, next_step="name a file in a folder that you can write to") from None
    try:
        # An edit of the folder during the bundling does not reach the copy.
        with staged(request, extra=_visible(request.folder)) as copy:
            host = replace(copy, python=wanted)
            python = python or _python(host, chosen)
            files = {"install.py": INSTALLER, "README.txt": _readme(request, chosen, python, work)}
            files |= _library(python, store, work, progress)
            for path in copy.folder.rglob("*"):
                if path.is_file():
                    files[f"sorter/{request.folder.name}/{path.relative_to(copy.folder).as_posix()}"] = path
            if "host" in chosen:
                files |= _host(host, python, store, work, progress)
            images = []
            if "sif" in chosen:
                images.append(_sif(request, store, work, progress))
            if "docker" in chosen:
                images.append(_docker(request, work, progress))
            files |= {name: path for _, found in images for name, path in found.items()}
            digests = sorted({digest for digest, _ in images})
            if len(digests) > 1:
                message = f"the image of {request.name} changed while it was bundled"
                raise BundleError(message, next_step="bundle again")
            manifest = Manifest(
                spikecrate=__version__,
                sorter=request.name,
                version=request.version,
                recipe=request.recipe,
                reference=request.reference,
                image_digest=digests[0] if digests else "",
                architecture=machine_architecture(),
                python=python,
                parts=tuple(part for part in PARTS if part in chosen),
                members=pack.describe(files, progress),
            )
            # A folder of its own, because the build tools in `work` need no flush.
            written = work / "done" / "bundle.tar"
            written.parent.mkdir()
            pack.write(written, manifest, files, progress)
        sync_folder(written.parent)
        size = written.stat().st_size
        written.replace(target)
    finally:
        remove_tree(work)
    progress.note(f"wrote {target}: {format_bytes(size)}")
    return Bundle(path=target, size_bytes=size, manifest=manifest)


def _default_parts(request: BuildRequest, progress: Progress) -> tuple[str, ...]:
    host = ("host",) if request.has_harness else ()
    try:
        find_program()
    except SpikecrateError as error:
        progress.note(f"{error}: the bundle gets the Docker image instead of a SIF")
        return ("docker", *host)
    return ("sif", *host)


def _python(request: BuildRequest, chosen: tuple[str, ...]) -> str:
    """Return the Python version of the wheels: the sorter's, which the library runs in too."""
    version = platform.python_version()
    if "host" in chosen:
        _, version = find_interpreter(request)
    return ".".join(version.split(".")[:2])


def _visible(folder: Path) -> list[str]:
    """Return the files of a sorter's folder without the hidden ones, also those that no recipe hashes."""
    paths = [path.relative_to(folder) for path in folder.rglob("*")]
    return [
        path.as_posix()
        for path in paths
        if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    ]


def _library(python: str, store: Store, work: Path, progress: Progress) -> dict[str, Path]:
    folder = work / "library"
    folder.mkdir()
    own = wheels.own_wheel(folder)
    needed = wheels.download(wheels.needed_lock(own), python, folder, store, progress)
    return _with_lock("library", [own, *needed], folder)


def _host(
    request: BuildRequest, python: str, store: Store, work: Path, progress: Progress
) -> dict[str, Path]:
    environment.require_harness(request)
    folder = work / "host"
    folder.mkdir()
    return _with_lock("wheels", wheels.of_sorter(request, python, folder, store, progress), folder)


def _with_lock(name: str, ready: list[Path], folder: Path) -> dict[str, Path]:
    lock = folder / LOCK
    lock.write_text(wheels.lock_of(ready), encoding="utf-8")
    return {f"{name}/{path.name}": path for path in (lock, *ready)}


def _sif(request: BuildRequest, store: Store, work: Path, progress: Progress) -> tuple[str, dict[str, Path]]:
    made = sif.ensure(request, store, progress)
    entry = json.loads(made.path.with_suffix(".json").read_bytes())
    # The path on this machine means nothing on the other one.
    entry["sif"]["path"] = made.path.name
    provenance = work / "sif.json"
    provenance.write_text(json.dumps(entry, indent=1, sort_keys=True), encoding="utf-8")
    return made.image_digest, {"sif/image.sif": made.path, "sif/image.json": provenance}


def _docker(request: BuildRequest, work: Path, progress: Progress) -> tuple[str, dict[str, Path]]:
    built = build(request, progress)
    with docker_errors():
        image = docker_client().images.get(built.digest)
    # The archive is copied into the bundle, which needs as much again; `pack.write` checks that.
    pack.require_space(work, unpacked_size(image), "the image's archive")
    archive = work / "image.tar"
    try:
        run(["docker", "save", "--output", archive, request.reference], on_line=progress.line)
    except CommandError as error:
        message = f"docker cannot save {request.reference}: {error.tail}"
        raise EngineError(
            message, next_step="docker system df shows what fills the disk", doctor="docker.space"
        ) from None
    return read_archive(archive).digest, {"docker/image.tar": archive}


def _readme(request: BuildRequest, parts: tuple[str, ...], python: str, work: Path) -> Path:
    title = f"{request.title} {request.version}, for a machine without a network"
    text = README.read_text(encoding="utf-8").format(
        title=title,
        rule="=" * len(title),
        parts=", ".join(parts),
        python=python,
        sorter=request.name,
        recipe=request.recipe,
    )
    (work / "README.txt").write_text(text, encoding="utf-8")
    return work / "README.txt"
