"""The base images of all sorters: Debian with Python, and the same with a compiler."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate._util.data import data_path
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.errors import BaseImageMissingError, CommandError
from spikecrate.images.buildx import CREATED, build_argv, build_logged, engine_output
from spikecrate.images.lookup import find_image, pull_image
from spikecrate.images.recipe import base_hash
from spikecrate.images.staging import staged_folder

if TYPE_CHECKING:
    from pathlib import Path

    from docker import DockerClient
    from docker.models.images import Image

    from spikecrate._util.progress import Progress

DEBIAN: Final = "debian:bookworm-slim"
PULL_TIMEOUT_S: Final = 600


@dataclass(frozen=True, kw_only=True)
class Bases:
    """The base images that a sorter's Dockerfile gets as BASE and BUILDER.

    Attributes
    ----------
    runtime, builder : str
        References of the two images.
    runtime_digest : str
        Id of the first, on which the sorter's image stands.
    """

    runtime: str
    builder: str
    runtime_digest: str


def ensure_bases(progress: Progress, folder: Path | None = None) -> Bases:
    """Find the two base images, or build them.

    Parameters
    ----------
    progress : Progress
        Shows pulling and building.
    folder : Path, optional
        Their Dockerfile's folder; by default that of this spikecrate.

    Returns
    -------
    Bases

    Raises
    ------
    BaseImageMissingError
        If Debian's image is not in the engine and cannot be pulled.
    ImageBuildError
        A step of the build fails; with the last lines of the log.
    DiskFullError, EngineMissingError, EngineDownError, EnginePermissionError, EngineError
        From the engine.
    """
    with staged_folder(folder or data_path("docker") / "base") as copy:
        recipe = base_hash(copy)
        digests = {
            name: _ensure(name, target, copy, recipe, progress)
            for target, name in (("runtime", "base"), ("builder", "builder"))
        }
    return Bases(
        runtime=f"spikecrate/base:{recipe[:12]}",
        builder=f"spikecrate/builder:{recipe[:12]}",
        runtime_digest=digests["base"],
    )


def _ensure(name: str, target: str, folder: Path, recipe: str, progress: Progress) -> str:
    """Find one base image, or build it; return its id."""
    client = docker_client()
    reference = f"spikecrate/{name}:{recipe[:12]}"
    image = find_image(client, reference)
    if image is not None:
        return str(image.id)
    debian = ensure_debian(client, progress)
    progress.note(f"building {reference}, shared by all sorters")
    started = time.monotonic()
    labels = {
        "org.opencontainers.image.title": f"spikecrate {name}",
        "org.opencontainers.image.created": CREATED,
        "org.opencontainers.image.base.name": f"docker.io/library/{DEBIAN}",
        "org.opencontainers.image.base.digest": str(debian.id),
        "spikecrate.base": recipe,
    }
    argv = build_argv(folder, output=engine_output(reference), target=target, labels=labels)
    build_logged(argv, reference, progress)
    progress.note(f"built {reference} in {time.monotonic() - started:.0f} s")
    with docker_errors():
        return str(client.images.get(reference).id)


def ensure_debian(client: DockerClient, progress: Progress) -> Image:
    """Find Debian's image, from which all others start, or pull it.

    Parameters
    ----------
    client : DockerClient
        The engine.
    progress : Progress
        Shows the work and gets its log.

    Returns
    -------
    Image

    Raises
    ------
    BaseImageMissingError
    """
    image = find_image(client, DEBIAN)
    if image is not None:
        return image
    try:
        pull_image(DEBIAN, progress, timeout=PULL_TIMEOUT_S)
    except CommandError as error:
        cause = error.tail.strip().rsplit("\n", 1)[-1] or f"no answer within {PULL_TIMEOUT_S} s"
        message = f"{DEBIAN} is not in the engine and cannot be pulled: {cause}"
        raise BaseImageMissingError(
            message,
            next_step=f"run docker pull {DEBIAN} where a registry is in reach; otherwise run sudo ci/base.sh in a "
            "clone of spikecrate, which makes it from Debian's packages",
        ) from None
    with docker_errors():
        return client.images.get(DEBIAN)
