"""One file that brings a sorter to a machine without a network: image, sorter, wheels, and the library itself."""

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
from spikecrate.environments import environment, library
from spikecrate.errors import (
    BundleError,
    CommandError,
    EngineError,
    EngineMissingError,
    EnginePermissionError,
    ImageInvalidError,
    SorterInvalidError,
    UsageError,
)
from spikecrate.images import sif
from spikecrate.images.archive import machine_architecture, read_archive
from spikecrate.images.build import build, unpacked_size
from spikecrate.images.recipe import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest
    from spikecrate.store import Store

INSTALLER: Final = Path(__file__).with_name("install.py")
PYTHON: Final = re.compile(r"3\.(1[1-9]|[2-9]\d)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle that was written.

    Attributes
    ----------
    path : Path
        The file.
    size_bytes : int
        Its size.
    manifest : Manifest
        What is in it.
    """

    path: Path
    size_bytes: int
    manifest: Manifest

    def as_dict(self) -> dict[str, Any]:
        """Give it in JSON types."""
        said = self.manifest
        return {
            "bundle": str(self.path),
            "size_bytes": self.size_bytes,
            "sorter": said.sorter,
            "version": said.version,
            "recipe": said.recipe,
            "image_digest": said.image_digest,
            "parts": list(said.parts),
            "architecture": said.architecture,
            "python": said.python,
            "files": len(said.members),
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
    """Write a bundle: whole or not at all; the same bytes from the same image and wheels.

    Parameters
    ----------
    request : BuildRequest
        The sorter.
    store : Store
        Gives the SIF, and keeps what is fetched.
    progress : Progress
        Told what is done.
    target : Path
        The file; one that is there is replaced.
    parts : tuple of str
        Of `sif`, `docker` and `host`; by default the SIF, where Apptainer is here, else Docker's image, and the
        wheels for the host.
    python : str
        `3.12`: the Python that the other side has; by default the one that the sorter would run in here.

    Raises
    ------
    UsageError
        For an unknown part, no version of Python, or a folder that is not there.
    EnvironmentBuildError
        Where the host's wheels are asked for and this machine has no such Python to build them with.
    BundleError
        Where wheels cannot be had.
    EngineMissingError and its kin, ImageBuildError
        Where the image cannot be had.
    DiskFullError
    """
    chosen = parts or _default_parts(request, progress)
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        message = f"--parts {','.join(chosen)}: {unknown[0]!r} is no part of a bundle"
        raise UsageError(message, next_step=f"some of: {','.join(PARTS)}")
    if not target.parent.is_dir() or target.is_dir():
        message = f"--output {target} is a folder, or lies in one that is not there"
        raise UsageError(message, next_step="name a file in a folder that is there")
    if python:
        if PYTHON.fullmatch(python) is None:
            message = f"--python {python!r} is no version of Python that spikecrate runs in"
            raise UsageError(message, next_step="--python 3.12")
        # So the interpreter of that version is found, or the lack of it told.
        request = replace(request, python=f"{request.python},=={python}.*")
    work = target.parent / f".{target.name}.new-{secrets.token_hex(4)}"
    try:
        work.mkdir(mode=0o700)
    except OSError as error:
        message = f"--output {target}: {error.strerror}"
        raise UsageError(message, next_step="name a file in a folder that you may write to") from None
    try:
        python = python or _python(request, chosen)
        files = {**_sorter(request.folder), "install.py": INSTALLER}
        files |= _library(python, store, work, progress)
        if "host" in chosen:
            environment.require_harness(request)
            files |= _host(request, python, store, work, progress)
        digests = []
        for part, give in (("sif", _sif), ("docker", _docker)):
            if part in chosen:
                digest, found = give(request, store, work, progress)
                digests.append(digest)
                files |= found
        if len(set(digests)) > 1:
            message = f"the image of {request.name} changed while it was bundled"
            raise BundleError(message, next_step="bundle again")
        (work / "README.txt").write_text(_readme(request, chosen, python), encoding="utf-8")
        files["README.txt"] = work / "README.txt"
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
        pack.write(work / "bundle.tar", manifest, files, progress)
        sync_folder(work)
        size = (work / "bundle.tar").stat().st_size
        (work / "bundle.tar").replace(target)
    finally:
        remove_tree(work)
    progress.note(f"wrote {target}: {format_bytes(size)}")
    return Bundle(path=target, size_bytes=size, manifest=manifest)


def _default_parts(request: BuildRequest, progress: Progress) -> tuple[str, ...]:
    host = ("host",) if request.has_harness else ()
    try:
        find_program()
    except (EngineMissingError, EnginePermissionError, EngineError, ImageInvalidError) as error:
        progress.note(f"{error}: the bundle gets Docker's image in place of a SIF")
        return ("docker", *host)
    return ("sif", *host)


def _python(request: BuildRequest, chosen: tuple[str, ...]) -> str:
    """Say for which Python: the sorter's, which the library can run in too."""
    version = platform.python_version()
    if "host" in chosen:
        _, version = environment.find_interpreter(request)
    return ".".join(version.split(".")[:2])


def _sorter(folder: Path) -> dict[str, Path]:
    """Find the files of a sorter's folder; hidden ones are no part of it."""
    found = {}
    for path in _visible(folder):
        if not path.is_file():
            message = f"{path} is not a regular file"
            raise SorterInvalidError(message, next_step="take it out of the folder")
        found[f"sorter/{folder.name}/{path.relative_to(folder).as_posix()}"] = path
    return found


def _visible(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from _visible(path)
        else:
            yield path


def _library(python: str, store: Store, work: Path, progress: Progress) -> dict[str, Path]:
    folder = work / "library"
    folder.mkdir()
    own = library.own_wheel(folder)
    needed = wheels.collect(library.needed_lock(own), python, store, progress)
    sources = [file.filename for file in needed if not file.is_wheel]
    if sources:
        message = f"the library needs {', '.join(sources)}, which has no wheel for Python {python}"
        raise BundleError(message, next_step="bundle with another Python")
    return _with_lock("library", [own, *needed.values()], folder)


def _host(
    request: BuildRequest, python: str, store: Store, work: Path, progress: Progress
) -> dict[str, Path]:
    found = wheels.collect((request.folder / LOCK).read_text(encoding="utf-8"), python, store, progress)
    sources = [path for file, path in found.items() if not file.is_wheel]
    ready = [path for file, path in found.items() if file.is_wheel]
    folder = work / "host"
    folder.mkdir()
    if sources:
        build_lock = request.folder / environment.BUILD_LOCK
        if not build_lock.exists():
            message = (
                f"{', '.join(path.name for path in sources)} has no wheel, and {request.name} no build.lock"
            )
            raise BundleError(message, next_step="write a build.lock; docs/add-a-sorter.md says how")
        tools = wheels.collect(build_lock.read_text(encoding="utf-8"), python, store, progress)
        interpreter, _ = environment.find_interpreter(request)
        environ = environment.build_environ(request, store, progress, portable=True)
        ready += wheels.build(sources, list(tools.values()), interpreter, environ, folder, progress)
    return _with_lock("wheels", ready, folder)


def _with_lock(name: str, ready: list[Path], folder: Path) -> dict[str, Path]:
    lock = folder / LOCK
    lock.write_text(wheels.lock_of(ready), encoding="utf-8")
    return {f"{name}/{path.name}": path for path in (lock, *ready)}


def _sif(request: BuildRequest, store: Store, work: Path, progress: Progress) -> tuple[str, dict[str, Path]]:
    made = sif.ensure(request, store, progress)
    entry = json.loads(made.path.with_suffix(".json").read_bytes())
    # Where it lies here is nobody's business there.
    entry["sif"]["path"] = made.path.name
    provenance = work / "sif.json"
    provenance.write_text(json.dumps(entry, indent=1, sort_keys=True), encoding="utf-8")
    return made.image_digest, {"sif/image.sif": made.path, "sif/image.json": provenance}


def _docker(
    request: BuildRequest,
    store: Store,  # noqa: ARG001
    work: Path,
    progress: Progress,
) -> tuple[str, dict[str, Path]]:
    built = build(request, progress)
    with docker_errors():
        image = docker_client().images.get(built.digest)
    # The archive, and the bundle that it is copied into; compressed layers take less.
    pack.require_space(work, unpacked_size(image), "the image's archive")
    archive = work / "image.tar"
    try:
        run(["docker", "save", "--output", archive, request.reference], on_line=progress.line)
    except CommandError as error:
        message = f"docker could not save {request.reference}: {error.tail}"
        raise EngineError(
            message, next_step="docker system df shows what fills the disk", doctor="docker.space"
        ) from None
    return read_archive(archive).digest, {"docker/image.tar": archive}


def _readme(request: BuildRequest, parts: tuple[str, ...], python: str) -> str:
    title = f"{request.title} {request.version}, for a machine without a network"
    return README.format(
        title=title,
        rule="=" * len(title),
        parts=", ".join(parts),
        python=python,
        sorter=request.name,
        recipe=request.recipe,
    )


README: Final = """\
{title}
{rule}

FILE, the bundle that this comes from, holds spikecrate, the sorter, and what it runs in ({parts}).
Linux and Python {python} are all that the machine must have; root is not needed.

Install all of it, into ~/spikecrate:

    tar -xf FILE install.py
    python3 install.py FILE

Sort:

    ~/spikecrate/bin/spikecrate sort RECORDING --sorter {sorter}

Where spikecrate is installed already:

    spikecrate image.unbundle FILE

Both check every file before anything is put into place. To check the files by hand:

    tar -xf FILE && sha256sum --check SHA256SUMS

recipe {recipe}
"""
