"""The development container's image: found by its recipe, or built."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from spikecrate.images.buildx import CREATED, build_argv, engine_output
from spikecrate_dev.command import RECIPE_LABEL, image_name

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate_dev.definition import Definition


def build_command(definition: Definition) -> list[str]:
    """Return the command line that builds the image.

    Parameters
    ----------
    definition : Definition
        The project's description.
    """
    return build_argv(
        definition.context,
        dockerfile=definition.dockerfile,
        output=engine_output(image_name(definition)),
        target=definition.target,
        labels={
            "org.opencontainers.image.title": "spikecrate development container",
            "org.opencontainers.image.created": CREATED,
            RECIPE_LABEL: definition.recipe(),
        },
        arguments=definition.build_arguments,
        options=definition.build_options,
    )


def build(definition: Definition, progress: Progress) -> None:
    """Build the image, and report its size and build time.

    Parameters
    ----------
    definition : Definition
        The project's description.
    progress : Progress
        Receives notes.

    Raises
    ------
    BaseImageMissingError, ImageBuildError, DiskFullError, EngineMissingError
    """
    from spikecrate.engines.docker import docker_client, docker_errors
    from spikecrate.images.base import ensure_debian
    from spikecrate.images.buildx import build_logged

    client = docker_client()
    ensure_debian(client, progress)
    name = image_name(definition)
    progress.note(f"building {name}, the development container (a few minutes, once)")
    started = time.monotonic()
    build_logged(build_command(definition), name, progress)
    with docker_errors():
        size = client.images.get(name).attrs["Size"]
    progress.note(f"built {name} in {time.monotonic() - started:.0f} s, {size / 1e6:.0f} MB")
