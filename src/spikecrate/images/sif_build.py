"""Convert one image, in Docker or in an archive, with `apptainer build`: folders, disk space, command, failures."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.files import remove_tree
from spikecrate._util.process import capture, run
from spikecrate._util.quantities import format_bytes
from spikecrate.errors import (
    CommandError,
    DiskFullError,
    EngineDownError,
    EngineMissingError,
    EnginePermissionError,
    ImageBuildError,
    ImageInvalidError,
)
from spikecrate.images.buildx import is_disk_full
from spikecrate.images.lookup import digest_of
from spikecrate.images.oci import machine_architecture, read_archive

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.engines.apptainer import Program
    from spikecrate.images.oci import Archive
    from spikecrate.images.request import BuildRequest

COMPRESSIONS: Final = {
    "zstd": "-comp zstd -Xcompression-level 3",
    "gzip": "-comp gzip",
    "lz4": "-comp lz4",
    "xz": "-comp xz",
}
"""Options of mksquashfs for each compression."""
NEW: Final = ".new-"
SCRATCH: Final = "scratch"
PLAIN: Final = re.compile(r"[\w./+@%=-]+", re.ASCII)
"""A path that `apptainer build` does not misread."""
GONE: Final = re.compile(r"no such image|content digest \S+ not found", re.IGNORECASE)
"""Messages of the engine for an image that was removed, or is being removed."""
LAST_LINES: Final = 20
IMAGE: Final = "image.sif"
ARCHIVE: Final = "image.tar"


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
        Docker is not available; the next step names the way by an archive.
    ImageBuildError, BaseImageMissingError, ImageMissingError, SorterInvalidError, DiskFullError
        If the image cannot be built.
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
        If the archive is damaged, or of another recipe, digest or architecture.
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


def build_argv(program: Program, transport: str, compression: str | None) -> list[str]:
    """Return the command line of a conversion, to be run in the folder that holds the archive.

    It names no folder: Apptainer ends a path at a colon (https://github.com/containers/image/issues/460).

    Parameters
    ----------
    program : Program
        Apptainer or Singularity.
    transport : str
        `docker-archive` or `oci-archive`.
    compression : str or None
        One of `COMPRESSIONS`; None for the default.

    Returns
    -------
    list of str
    """
    packing = ["--mksquashfs-args", COMPRESSIONS[compression]] if compression is not None else []
    # The cache would keep a second copy of every layer.
    return [program.path, "build", "--disable-cache", *packing, IMAGE, f"{transport}:{ARCHIVE}"]


def write_image(
    name: str, source: Source, program: Program, compression: str, work: Path, progress: Progress
) -> str:
    """Write a SIF.

    Parameters
    ----------
    name : str
        The sorter, for messages.
    source : Source
        The image.
    program : Program
        Apptainer or Singularity.
    compression : str
        One of `COMPRESSIONS`.
    work : Path
        A folder from `make_folders`, which gets the SIF as `IMAGE`.
    progress : Progress
        Shows the step, and gets every line of the log.

    Returns
    -------
    str
        The compression of the SIF: `gzip` where the program does not let it be chosen.

    Raises
    ------
    ImageBuildError
        A step of the build fails; with the last lines of the log.
    DiskFullError
    """
    packed: str | None = compression
    if "--mksquashfs-args" not in capture([program.path, "build", "--help"]):
        progress.note(f"{program.engine} {program.version} cannot choose the compression: using gzip")
        packed = None
    try:
        if source.archive is None:
            with progress.bar(f"making the SIF of {name}: saving the image", 0):
                run(["docker", "save", "--output", work / ARCHIVE, source.digest], on_line=progress.line)
        else:
            (work / ARCHIVE).symlink_to(source.archive.path.absolute())
        transport = "docker-archive" if source.archive is None else source.archive.transport
        with progress.bar(f"making the SIF of {name}: packing", 0):
            run(
                build_argv(program, transport, packed),
                cwd=work,
                env=environment((work / SCRATCH).resolve()),
                on_line=progress.line,
            )
    except CommandError as error:
        last = "\n".join(error.tail.splitlines()[-LAST_LINES:])
        if is_disk_full(error):
            message = f"the SIF of {name} could not be made: the disk is full\n{last}"
            raise DiskFullError(
                message, next_step="set SPIKECRATE_STORE to a folder on a larger disk"
            ) from None
        if error.argv[0] == "docker" and GONE.search(error.tail):
            message = f"the image of {name} was removed while its SIF was made"
            raise ImageBuildError(
                message, next_step="run the command again: it builds the image again"
            ) from None
        message = f"the SIF of {name} could not be made; the log ends with:\n{last}"
        raise ImageBuildError(message, details={"code": error.code, "argv": error.argv}) from None
    (work / ARCHIVE).unlink()
    return packed or "gzip"


def environment(scratch: Path) -> dict[str, str]:
    """Return the program's environment: none of the user's settings for it, all its files in one folder.

    Parameters
    ----------
    scratch : Path
        Folder for temporary files.

    Returns
    -------
    dict
    """
    folders = {
        f"{prefix}_{name}": str(scratch)
        for prefix in ("APPTAINER", "SINGULARITY")
        for name in ("TMPDIR", "CACHEDIR")
    }
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(scratch), **folders}


def scratch_place(sifs: Path) -> Path:
    """Return the folder in which the image is unpacked: beside the SIF, unless Apptainer would misread the path.

    Apptainer takes a colon in the path of its temporary folder for the end of the path, and interprets quotes.

    Parameters
    ----------
    sifs : Path
        Folder of the SIFs.

    Returns
    -------
    Path
    """
    places = [sifs, Path(tempfile.gettempdir()), Path("/var/tmp")]
    return next((place for place in places if PLAIN.fullmatch(str(place.resolve()))), places[-1])


def require_space(name: str, source: Source, sifs: Path) -> None:
    """Check that the disk has room for the archive, the unpacked image and the SIF.

    Parameters
    ----------
    name : str
        Name of the sorter, for messages.
    source : Source
        The image.
    sifs : Path
        Folder of the SIFs.

    Raises
    ------
    DiskFullError
    """
    # The SIF is at most half as large as the image; a given archive is read in place.
    kept = source.unpacked_bytes * (1.0 if source.archive is None else 0.5)
    needed: dict[int, float] = {}
    for folder, size in ((sifs, kept), (scratch_place(sifs), source.unpacked_bytes)):
        device = folder.stat().st_dev
        needed[device] = needed.get(device, 0.0) + size
        free = shutil.disk_usage(folder).free
        if free < needed[device]:
            message = (
                f"making the SIF of {name} takes about {format_bytes(needed[device])} in {folder}, "
                f"{format_bytes(free)} are free"
            )
            raise DiskFullError(
                message,
                next_step="free some space, or set SPIKECRATE_STORE to a larger disk",
                doctor="apptainer.temp",
            )


def make_folders(sifs: Path, work: Path) -> None:
    """Create the folder of a conversion, and in it the scratch folder or a link to it.

    Parameters
    ----------
    sifs : Path
        Folder of the SIFs.
    work : Path
        Folder of the conversion.
    """
    work.mkdir()
    place = scratch_place(sifs)
    if place == sifs:
        (work / SCRATCH).mkdir()
    else:
        (work / SCRATCH).symlink_to(tempfile.mkdtemp(prefix="spikecrate-sif-", dir=place.resolve()))


def remove(work: Path) -> None:
    """Remove the folder of a conversion with its scratch folder, and kill the processes that still work in it.

    Parameters
    ----------
    work : Path
        Folder of the conversion.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        # A conversion outlives a killed owner.
        with suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(work.resolve()):
                os.kill(int(entry.name), signal.SIGKILL)
    scratch = work / SCRATCH
    if scratch.is_symlink():
        remove_tree(scratch.readlink())
    remove_tree(work)
