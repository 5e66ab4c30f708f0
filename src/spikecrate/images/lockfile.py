"""The contents of an image: read from the engine, written to `image.lock`, compared.

`image.lock` is not part of the recipe: it records what the recipe made on the machine where it was built.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from spikecrate._util.files import disk_full_named, write_atomically
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.errors import ImageInvalidError, OutputError, UsageError
from spikecrate.images.build import build, has_containerd_store
from spikecrate.images.layers import changed_files, debian_packages, debian_status, python_packages
from spikecrate.images.lookup import find_image
from spikecrate.images.oci import read_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import DockerClient
    from docker.models.images import Image

    from spikecrate._util.progress import Progress
    from spikecrate.images.layers import File, Package
    from spikecrate.images.request import BuildRequest

SCHEMA: Final = 1
LOCK: Final = "image.lock"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of an image.

    Attributes
    ----------
    title : str
        The image's reference, or the path of the lock.
    digest : str or None
        The image's id; None in a lock from an engine whose digests hold on its machine alone.
    debian : dict
        Packages by name, as `debian_packages`.
    python : dict
        Packages by folder and name, as `python_packages`.
    settings : dict or None
        Entrypoint, labels and the like, each as JSON; None in a lock.
    files : dict or None
        Files by path, without the first slash; None in a lock.
    """

    title: str
    digest: str | None
    debian: dict[str, Package]
    python: dict[str, dict[str, Package]]
    settings: dict[str, str] | None = None
    files: dict[str, File] | None = None


@dataclass(frozen=True)
class Change:
    """A package or setting that differs.

    Attributes
    ----------
    name : str
        Its name.
    first, second : object
        Its value on each side; None where a side lacks it.
    """

    name: str
    first: Any
    second: Any


@dataclass(frozen=True)
class FileChange:
    """A file that differs: its path, and what of it."""

    name: str
    difference: str


@dataclass(frozen=True)
class Side:
    """One of two images that are compared: as in `Contents`."""

    title: str
    digest: str | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between two images.

    Attributes
    ----------
    first, second : Side
        The images.
    debian, python : list of Change
        Packages.
    settings : list of Change or None
        Entrypoint, labels and the like; None where a side is a lock, which has none.
    files : list of FileChange or None
        Files; None where a side is a lock.
    """

    first: Side
    second: Side
    debian: list[Change]
    python: list[Change]
    settings: list[Change] | None
    files: list[FileChange] | None


def lock(request: BuildRequest, progress: Progress) -> Path:
    """Write the contents of a sorter's image to `image.lock` in the sorter's folder.

    Parameters
    ----------
    request : BuildRequest
        The image; it is built where the engine does not have it.
    progress : Progress
        Shows building and reading.

    Returns
    -------
    Path
        The lock.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    ImageBuildError, BaseImageMissingError, ImageMissingError, SorterInvalidError
        If the image cannot be built.
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError, DiskFullError
        From the engine.
    """
    built = build(request, progress)
    client = docker_client()
    image = find_image(client, built.digest)
    assert image is not None
    found = _read(client, image, built.reference, progress)
    path = request.folder / LOCK
    portable = has_containerd_store(client)
    if not portable:
        progress.note(
            "this engine lacks the containerd image store: its digests hold on this machine alone, leaving them out"
        )
    base = image.labels.get("org.opencontainers.image.base.digest")
    entry = {
        "schema": SCHEMA,
        "sorter": request.name,
        "reference": built.reference,
        "recipe": request.recipe,
        "digest": built.digest if portable else None,
        "base": {
            "reference": image.labels.get("org.opencontainers.image.base.name"),
            "digest": base if portable else None,
        },
        "architecture": image.attrs["Architecture"],
        "debian": found.debian,
        "python": found.python,
    }
    try:
        write_atomically(path, f"{json.dumps(entry, indent=1)}\n".encode())
        path.chmod(0o644)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise OutputError(
            message, next_step="copy the sorter to a folder of your own and name that in SPIKECRATE_SORTERS"
        ) from None
    return path


def read(name: str, progress: Progress) -> Contents:
    """Read the contents of an image of the engine, or a lock.

    Parameters
    ----------
    name : str
        Path of a lock, or reference or digest of an image.
    progress : Progress
        Shows the reading.

    Returns
    -------
    Contents

    Raises
    ------
    UsageError
        If neither exists.
    ImageInvalidError
        If the lock is not valid, or the engine's archive cannot be read.
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError, DiskFullError
        From the engine.
    """
    if Path(name).is_file():
        return read_lock(Path(name))
    client = docker_client()
    image = find_image(client, name)
    if image is None:
        message = f"{name} is neither an image in Docker nor a lock on disk"
        raise UsageError(message, next_step="list the images with: spikecrate image.list")
    return _read(client, image, name, progress)


def read_lock(path: Path) -> Contents:
    """Read an `image.lock`.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Contents
        Without settings and files.

    Raises
    ------
    ImageInvalidError
        If a field is missing or wrong; the message names it.
    """
    problem = ""
    try:
        entry = json.loads(path.read_bytes())
        for name in ("debian", "python"):
            if not isinstance(entry[name], dict):
                problem = f"its {name} is {entry[name]!r}"
        if entry["schema"] > SCHEMA:
            problem = f"it comes from a newer spikecrate (schema {entry['schema']})"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        message = f"{path} is not the lock of an image: {problem}"
        raise ImageInvalidError(message, next_step="write it again: spikecrate image.lock --sorter NAME")
    return Contents(title=str(path), digest=entry["digest"], debian=entry["debian"], python=entry["python"])


def compare(first: Contents, second: Contents) -> Comparison:
    """Compare the packages, settings and files of two images.

    Parameters
    ----------
    first, second : Contents
        As `read` or `read_lock` return them.

    Returns
    -------
    Comparison
    """
    settings, files = None, None
    if first.settings is not None and second.settings is not None:
        settings = _changes(first.settings, second.settings)
    if first.files is not None and second.files is not None:
        files = [FileChange(*change) for change in changed_files(first.files, second.files).items()]
    return Comparison(
        first=Side(first.title, first.digest),
        second=Side(second.title, second.digest),
        debian=_changes(first.debian, second.debian),
        python=_changes(_flat(first.python), _flat(second.python)),
        settings=settings,
        files=files,
    )


def read_contents(archive: IO[bytes], progress: Progress, title: str, digest: str | None = None) -> Contents:
    """Read the contents of an archive of an image.

    Parameters
    ----------
    archive : binary file
        The archive, seekable.
    progress : Progress
        Gets a bar.
    title, digest
        As in `Contents`: an archive alone does not tell which id the engine gives to the image.

    Returns
    -------
    Contents

    Raises
    ------
    ImageInvalidError
        If the archive is damaged, or compressed in a way that Python cannot read (zstd).
    """
    image = read_files(archive, progress, title)
    return Contents(
        title=title,
        digest=digest,
        debian=debian_packages(debian_status(image.files, image.texts), image.files),
        python=python_packages(image.files, image.texts),
        settings=_settings(image.config),
        files=image.files,
    )


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    settings = dict(config.get("config") or {})
    labels = settings.pop("Labels", None) or {}
    settings |= {f"label {name}": value for name, value in labels.items()}
    settings |= {name: config.get(name) for name in ("architecture", "os", "created")}
    return {name: json.dumps(value) for name, value in sorted(settings.items()) if value is not None}


def _read(client: DockerClient, image: Image, title: str, progress: Progress) -> Contents:
    progress.note(f"reading {title}")
    with tempfile.TemporaryFile(prefix="spikecrate-contents-") as archive:
        with docker_errors(), disk_full_named(Path(tempfile.gettempdir())):
            for chunk in client.images.get(str(image.id)).save():
                archive.write(chunk)
            archive.seek(0)
        return read_contents(archive, progress, title, digest=str(image.id))


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Change]:
    return [
        Change(name, first.get(name), second.get(name))
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]


def _flat(python: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"{folder}/{name}": package
        for folder, packages in python.items()
        for name, package in packages.items()
    }
