"""What an image holds, written down beside its recipe; and two images, or locks, compared.

`image.lock` is no part of the recipe: it tells what came of it, on the machine where it was built.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.files import disk_full_named, write_atomically
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.errors import ImageInvalidError, OutputError, UsageError
from spikecrate.images.build import build, has_containerd_store
from spikecrate.images.contents import Contents, read_archive
from spikecrate.images.lookup import find_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import DockerClient
    from docker.models.images import Image

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest
    from spikecrate.images.contents import File

SCHEMA: Final = 1
LOCK: Final = "image.lock"


def lock(request: BuildRequest, progress: Progress) -> Path:
    """Write what a sorter's image holds to `image.lock` in the sorter's folder.

    Parameters
    ----------
    request : BuildRequest
        Which image; it is built where the engine does not have it.
    progress : Progress
        Told of the building and reading.

    Raises
    ------
    OutputError
        Where the folder cannot be written to.
    EngineMissingError, ImageBuildError and their kin
        As `spikecrate.images.build.build`.
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
            "this engine lacks the containerd image store: its digests are its own and are left out"
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
            message, next_step="lock a sorter of a folder of your own (SPIKECRATE_SORTERS)"
        ) from None
    return path


def read(name: str, progress: Progress) -> Contents:
    """Read an image of the engine, or a lock.

    Parameters
    ----------
    name : str
        Path of a lock; else a reference or digest of an image.
    progress : Progress
        Told of the reading.

    Raises
    ------
    UsageError
        Where there is neither.
    ImageInvalidError
        Where a lock is not one, or the engine's archive cannot be read.
    """
    if Path(name).is_file():
        return read_lock(Path(name))
    client = docker_client()
    image = find_image(client, name)
    if image is None:
        message = f"{name} is neither an image in Docker nor a lock on disk"
        raise UsageError(message, next_step="spikecrate image.list shows the images")
    return _read(client, image, name, progress)


def read_lock(path: Path) -> Contents:
    """Read an `image.lock`.

    Raises
    ------
    ImageInvalidError
        Naming the field.
    """
    problem = ""
    try:
        entry = json.loads(path.read_bytes())
        for name in ("debian", "python"):
            if not isinstance(entry[name], dict):
                problem = f"its {name} is {entry[name]!r}"
        if entry["schema"] > SCHEMA:
            problem = f"it is of a newer spikecrate (schema {entry['schema']})"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        message = f"{path} is not the lock of an image: {problem}"
        raise ImageInvalidError(message, next_step="write it anew: spikecrate image.lock --sorter NAME")
    return Contents(title=str(path), digest=entry["digest"], debian=entry["debian"], python=entry["python"])


def compare(first: Contents, second: Contents) -> dict[str, Any]:
    """Name the packages, settings and files that differ.

    Returns
    -------
    dict
        `first` and `second`: title and digest. `debian`, `python`, `settings`: list of `{"name", "first", "second"}`,
        None where a side lacks it. `files`: list of `{"name", "difference"}`. The last two are None where a
        side is a lock, which has neither.
    """
    settings, files = None, None
    if first.settings is not None and second.settings is not None:
        settings = _changes(first.settings, second.settings)
    if first.files is not None and second.files is not None:
        files = _changed_files(first.files, second.files)
    return {
        "first": {"title": first.title, "digest": first.digest},
        "second": {"title": second.title, "digest": second.digest},
        "debian": _changes(first.debian, second.debian),
        "python": _changes(_flat(first.python), _flat(second.python)),
        "settings": settings,
        "files": files,
    }


def _read(client: DockerClient, image: Image, title: str, progress: Progress) -> Contents:
    progress.note(f"reading {title}")
    with tempfile.TemporaryFile(prefix="spikecrate-contents-") as archive:
        with docker_errors(), disk_full_named(Path(tempfile.gettempdir())):
            for chunk in client.images.get(str(image.id)).save():
                archive.write(chunk)
            archive.seek(0)
        found = read_archive(archive, progress, title)
    return replace(found, digest=str(image.id))


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "first": first.get(name), "second": second.get(name)}
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]


def _changed_files(first: Mapping[str, File], second: Mapping[str, File]) -> list[dict[str, str]]:
    found = []
    for path in sorted(first.keys() | second.keys()):
        a, b = first.get(path), second.get(path)
        if a is None or b is None:
            found.append(
                {"name": f"/{path}", "difference": f"only in the {'second' if a is None else 'first'}"}
            )
        elif a != b:
            fields = [name for name, left, right in zip(a._fields, a, b, strict=True) if left != right]
            found.append({"name": f"/{path}", "difference": ", ".join(fields)})
    return found


def _flat(python: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"{folder}/{name}": said for folder, packages in python.items() for name, said in packages.items()
    }
