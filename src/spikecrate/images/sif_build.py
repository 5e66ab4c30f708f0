"""One conversion by `apptainer build`: its folders, its room on the disk, its command line, its failures."""

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
from spikecrate.errors import CommandError, DiskFullError, ImageBuildError

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.engines.apptainer import Program
    from spikecrate.images.oci import Archive

COMPRESSIONS: Final = {
    "zstd": "-comp zstd -Xcompression-level 3",
    "gzip": "-comp gzip",
    "lz4": "-comp lz4",
    "xz": "-comp xz",
}
"""What mksquashfs is told, by the name of the compression."""
NEW: Final = ".new-"
SCRATCH: Final = "scratch"
PLAIN: Final = re.compile(r"[\w./+@%=-]+", re.ASCII)
"""A path that Apptainer's build reads as it is meant."""
GONE: Final = re.compile(r"no such image|content digest \S+ not found", re.IGNORECASE)
"""What the engine says of an image that was removed; and, within the same moment, of a part of one."""
LAST_LINES: Final = 20
IMAGE: Final = "image.sif"
ARCHIVE: Final = "image.tar"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a SIF is made from: an archive at hand, or an image in Docker."""

    digest: str
    unpacked_bytes: int
    archive: Archive | None = None


def build_argv(program: Program, transport: str, compression: str | None) -> list[str]:
    """Give the command line of a conversion, in a folder that holds the archive.

    Names without a folder: a colon in a path would be read as the end of it.
    """
    packing = ["--mksquashfs-args", COMPRESSIONS[compression]] if compression is not None else []
    # Its cache would keep a second copy of every layer.
    return [program.path, "build", "--disable-cache", *packing, IMAGE, f"{transport}:{ARCHIVE}"]


def write_image(
    name: str, source: Source, program: Program, compression: str, work: Path, progress: Progress
) -> str:
    """Write the SIF in a folder that `make_folders` made; give the compression that it has.

    Raises
    ------
    ImageBuildError
        With the last lines of the log.
    DiskFullError
    """
    packed: str | None = compression
    if "--mksquashfs-args" not in capture([program.path, "build", "--help"]):
        progress.note(f"{program.engine} {program.version} does not let the compression be chosen: gzip")
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
        if "no space left on device" in error.tail.lower():
            message = f"the SIF of {name} could not be made: the disk is full\n{last}"
            raise DiskFullError(message, next_step="set SPIKECRATE_STORE to a larger disk") from None
        if error.argv[0] == "docker" and GONE.search(error.tail):
            message = f"the image of {name} was removed while its SIF was made"
            raise ImageBuildError(message, next_step="run it again: the image is built anew") from None
        message = f"the SIF of {name} could not be made; the last lines:\n{last}"
        raise ImageBuildError(message, details={"code": error.code, "argv": error.argv}) from None
    (work / ARCHIVE).unlink()
    return packed or "gzip"


def environment(scratch: Path) -> dict[str, str]:
    """Give the environment of the program: nothing of the user's settings for it, all its files in one folder."""
    folders = {
        f"{prefix}_{name}": str(scratch)
        for prefix in ("APPTAINER", "SINGULARITY")
        for name in ("TMPDIR", "CACHEDIR")
    }
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(scratch), **folders}


def scratch_place(sifs: Path) -> Path:
    """Choose where the image is unpacked: beside the SIF, unless the program would misread the path.

    Apptainer takes a colon in its temporary folder for the end of a path, and quotes for its own.
    """
    places = [sifs, Path(tempfile.gettempdir()), Path("/var/tmp")]
    return next((place for place in places if PLAIN.fullmatch(str(place.resolve()))), places[-1])


def require_space(name: str, source: Source, sifs: Path) -> None:
    """Make sure that there is room for the archive, the unpacked image and the SIF.

    Raises
    ------
    DiskFullError
    """
    # The SIF is no larger than half the image; an archive that is there is read in place.
    kept = source.unpacked_bytes * (1.0 if source.archive is None else 0.5)
    needed: dict[int, float] = {}
    for folder, size in ((sifs, kept), (scratch_place(sifs), source.unpacked_bytes)):
        device = folder.stat().st_dev
        needed[device] = needed.get(device, 0.0) + size
        free = shutil.disk_usage(folder).free
        if free < needed[device]:
            message = (
                f"making the SIF of {name} takes some {format_bytes(needed[device])} in {folder}, "
                f"{format_bytes(free)} are free"
            )
            raise DiskFullError(
                message,
                next_step="free some space, or set SPIKECRATE_STORE to a larger disk",
                doctor="apptainer.temp",
            )


def make_folders(sifs: Path, work: Path) -> None:
    """Make the folder of a conversion, and in it the scratch folder or a link to it."""
    work.mkdir()
    place = scratch_place(sifs)
    if place == sifs:
        (work / SCRATCH).mkdir()
    else:
        (work / SCRATCH).symlink_to(tempfile.mkdtemp(prefix="spikecrate-sif-", dir=place.resolve()))


def remove(work: Path) -> None:
    """Remove the folder of a conversion with its scratch folder, and end what still works in it."""
    for entry in Path("/proc").glob("[0-9]*"):
        # A conversion whose owner was killed runs on.
        with suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(work.resolve()):
                os.kill(int(entry.name), signal.SIGKILL)
    scratch = work / SCRATCH
    if scratch.is_symlink():
        remove_tree(scratch.readlink())
    remove_tree(work)
