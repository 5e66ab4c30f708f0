"""The image that a SIF is made from: in Docker, or in an archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spikecrate.errors import (
    EngineDownError,
    EngineMissingError,
    EnginePermissionError,
    ImageInvalidError,
)
from spikecrate.images.oci import machine_architecture, read_archive
from spikecrate.images.prebuilt import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.images.oci import Archive
    from spikecrate.images.request import BuildRequest


@dataclass(frozen=True, kw_only=True)
class Source:
    """The image that a SIF is made from.

    Attributes
    ----------
    digest : str
        The image's id.
    unpacked_bytes : int
        Size of all layers.
    archive : Archive or None
        The image's archive; None for an image in Docker.
    """

    digest: str
    unpacked_bytes: int
    archive: Archive | None = None


def from_docker(request: BuildRequest, progress: Progress) -> Source:
    """Return a sorter's image in Docker, built where Docker does not have it.

    Parameters
    ----------
    request : BuildRequest
        The image.
    progress : Progress
        Shows the work and gets its log.

    Returns
    -------
    Source

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
        Without Docker; the next step names the way by an archive.
    ImageBuildError, BaseImageMissingError, ImageMissingError, SorterInvalidError, DiskFullError
        Where the image cannot be built.
    """
    from spikecrate.images.build import build

    try:
        built = build(request, progress)
    except (EngineMissingError, EngineDownError, EnginePermissionError) as error:
        message = f"a SIF of {request.name} is made from its Docker image: {error}"
        raise type(error)(
            message,
            next_step=f"on a machine with Docker: docker save {request.origin} --output {request.name}.tar; "
            f"then here: spikecrate convert --sorter {request.name} --archive {request.name}.tar",
            doctor=error.doctor,
        ) from None
    return Source(digest=built.digest, unpacked_bytes=built.size_bytes)


def from_archive(request: BuildRequest, path: Path) -> Source:
    """Return the image in an archive.

    Parameters
    ----------
    request : BuildRequest
        The image.
    path : Path
        The archive.

    Returns
    -------
    Source

    Raises
    ------
    ImageInvalidError
        Where the archive is damaged, or of another recipe, digest or architecture.
    """
    archive = read_archive(path)
    recipe = archive.labels.get("spikecrate.recipe", "")
    if request.image and archive.digest != digest_of(request.image):
        message = f"{path} holds the image {archive.digest}; {request.name} is {request.image}"
        raise ImageInvalidError(
            message,
            next_step=f"docker save {request.image}, with a Docker that has the containerd image store: "
            "only that writes the registry's digest",
        )
    if not request.image and recipe != request.recipe:
        what = f"has recipe {recipe[:12]}" if recipe else "is not an image of spikecrate"
        message = f"{path} {what}; {request.name} has recipe {request.recipe[:12]}"
        raise ImageInvalidError(
            message, next_step="save the image again, with the same version of spikecrate on both machines"
        )
    if archive.architecture != machine_architecture():
        message = f"{path} is for {archive.architecture}, this machine is {machine_architecture()}"
        raise ImageInvalidError(message, next_step="build the image on a machine with this processor")
    return Source(digest=archive.digest, unpacked_bytes=archive.unpacked_bytes, archive=archive)
