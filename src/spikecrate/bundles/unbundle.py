"""Install a bundle: unpack it into a staging folder, check every member, then move its contents into the store."""

from __future__ import annotations

import json
import secrets
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.files import disk_full_named, remove_tree, sync_folder
from spikecrate.bundles import pack
from spikecrate.bundles.image_archive import require_own_tag
from spikecrate.catalogue.tools import description, find
from spikecrate.engines.apptainer import find_program
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.environments import environment
from spikecrate.errors import (
    BundleError,
    ImageInvalidError,
    SorterInvalidError,
    SorterNotFoundError,
    SpikecrateError,
    UsageError,
)
from spikecrate.images import lookup, sif, sif_build
from spikecrate.images.oci import machine_architecture
from spikecrate.images.recipe import same_files
from spikecrate.store.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from docker import DockerClient

    from spikecrate._util.progress import Progress
    from spikecrate.bundles.manifest import Manifest
    from spikecrate.images.request import BuildRequest
    from spikecrate.store import Store

    Describe = Callable[[Path], BuildRequest]

ARCHIVE: Final = "docker/image.tar"


@dataclass(frozen=True, kw_only=True)
class Unbundled:
    """An installed bundle.

    Attributes
    ----------
    manifest : Manifest
        Contents of the bundle.
    sif : Path or None
        The SIF in the store.
    wheels : Path or None
        Folder of the wheels for the environment of the host runtime.
    image : str or None
        Reference of the image that was loaded into Docker.
    sorters : Path or None
        Folder to name in SPIKECRATE_SORTERS; None where the catalogue already has this sorter.
    """

    manifest: Manifest
    sif: Path | None
    wheels: Path | None
    image: str | None
    sorters: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {
            "sorter": self.manifest.sorter,
            "version": self.manifest.version,
            "recipe": self.manifest.recipe,
            "sif": None if self.sif is None else str(self.sif),
            "wheels": None if self.wheels is None else str(self.wheels),
            "docker": self.image,
            "sorters": None if self.sorters is None else str(self.sorters),
        }


def unbundle(
    path: Path, store: Store, progress: Progress, *, describe: Describe, docker: bool = False
) -> Unbundled:
    """Check every member of a bundle, then install its contents.

    A second call changes nothing, and replaces what was damaged since the first.

    Parameters
    ----------
    path : Path
        The bundle; it can be a pipe.
    store : Store
        Store that takes the contents.
    progress : Progress
        Receives notes and shows a bar.
    describe : callable
        Return the build request of a sorter's folder, with its recipe under this spikecrate.
    docker : bool
        Whether to load the image into Docker as well.

    Returns
    -------
    Unbundled

    Raises
    ------
    BundleError
        The bundle is damaged, or is for another machine or recipe; nothing is installed.
    UsageError
        The file does not exist, or the bundle has no image for Docker.
    EngineMissingError, EngineDownError, EnginePermissionError
        Docker is requested and not available.
    DiskFullError
        The disk has too little space; checked before the first member is unpacked.
    """
    client = docker_client() if docker else None
    try:
        stream = path.open("rb")
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise UsageError(message, next_step="name the file that image.bundle wrote") from None
    with stream, ExitStack() as stack:
        archive, manifest = pack.open_bundle(stream)
        _require_fitting(manifest, docker=docker)
        with disk_full_named(store.root):
            store.sifs.mkdir(exist_ok=True)
        stack.enter_context(Lock(store.lock(f"sif-{_name(manifest)}")))
        for left in store.sifs.glob(f"{sif_build.NEW}{_name(manifest)}-*"):
            remove_tree(left)
        size = sum(member.size for member in manifest.members)
        pack.require_space(store.root, size, f"{path.name}, unpacked,")
        staging = store.sifs / f"{sif_build.NEW}{_name(manifest)}-{secrets.token_hex(4)}"
        stack.callback(remove_tree, staging)
        with disk_full_named(staging):
            staging.mkdir(mode=0o700)
            pack.unpack(stream, archive, manifest, staging, progress)
            request = _described(manifest, staging, describe)
            entry = _provenance(manifest, staging)
            if (staging / ARCHIVE).exists():
                _require_own_archive(manifest, request, staging / ARCHIVE)
            sync_folder(staging)
            # The bundle is whole: nothing was installed before this line.
            wheels = sorters = placed = image = None
            # Before the sorter moves: its locks name the folder.
            if "host" in manifest.parts:
                wheels = environment.wheels_folder(request, store, manifest.python)
                _swap(staging / "wheels", wheels, staging)
            if not _in_catalogue(request, describe):
                sorters = store.sorters
                _swap(request.folder, sorters / request.name, staging)
            if entry is not None:
                placed = sif.adopt(request, store, progress, image=staging / "sif" / "image.sif", entry=entry)
            elif (staging / ARCHIVE).exists() and _has_apptainer():
                placed = sif.convert(request, store, progress, archive=staging / ARCHIVE).path
            elif (staging / ARCHIVE).exists() and client is None:
                progress.note("no Apptainer here, and --docker is not given: the image is not installed")
            if client is not None:
                image = _load(client, request, staging / ARCHIVE, progress)
    return Unbundled(manifest=manifest, sif=placed, wheels=wheels, image=image, sorters=sorters)


def _name(manifest: Manifest) -> str:
    # The name of a conversion's folder: `sif.sweep` then removes what a killed process leaves.
    return f"bundle_{manifest.recipe[:16]}"


def _require_fitting(manifest: Manifest, *, docker: bool) -> None:
    if manifest.architecture != machine_architecture():
        message = f"the bundle is for {manifest.architecture}, this machine is {machine_architecture()}"
        raise BundleError(message, next_step="write one on a machine with this processor")
    if docker and "docker" not in manifest.parts:
        message = "the bundle has no image for Docker"
        raise UsageError(message, next_step="write one that has: spikecrate image.bundle --parts docker")


def _described(manifest: Manifest, staging: Path, describe: Describe) -> BuildRequest:
    """Read the sorter's folder and check that its recipe is the bundle's."""
    try:
        request = describe(staging / "sorter" / manifest.sorter)
    except SorterInvalidError as error:
        message = f"the bundle's sorter cannot be used: {error}"
        raise BundleError(message, next_step="bundle again") from None
    if request.recipe != manifest.recipe:
        message = (
            f"this spikecrate builds {manifest.sorter} from recipe {request.recipe[:12]}; the bundle's image "
            f"is of recipe {manifest.recipe[:12]} (spikecrate {manifest.spikecrate})"
        )
        raise BundleError(message, next_step="install the spikecrate in the bundle: python3 install.py FILE")
    return request


def _provenance(manifest: Manifest, staging: Path) -> dict[str, Any] | None:
    """Read the SIF's metadata and check that it matches the SIF and the manifest."""
    if "sif" not in manifest.parts:
        return None
    hashes = {member.path: member.sha256 for member in manifest.members}
    with suppress(OSError, ValueError, KeyError, TypeError):
        entry: dict[str, Any] = json.loads((staging / "sif" / "image.json").read_bytes())
        expected = {
            "recipe": manifest.recipe,
            "sha256": hashes["sif/image.sif"],
            "sorter": manifest.sorter,
            "image_digest": manifest.image_digest,
        }
        if all(entry["sif"][name] == value for name, value in expected.items()):
            return entry
    message = "the bundle's SIF metadata does not match its SIF file"
    raise BundleError(message, next_step="bundle again")


def _require_own_archive(manifest: Manifest, request: BuildRequest, path: Path) -> None:
    """Check that the image archive holds the bundle's image and sets its tag alone."""
    require_own_tag(path, request.reference)
    try:
        digest = sif_build.from_archive(request, path).digest
        problem = "" if digest == manifest.image_digest else f"it holds the image {digest}"
    except ImageInvalidError as error:
        problem = str(error)
    if problem:
        message = f"the bundle's image archive does not match its manifest: {problem}"
        raise BundleError(message, next_step="bundle again")


def _in_catalogue(request: BuildRequest, describe: Describe) -> bool:
    """Whether the catalogue has this sorter with the same recipe, parameters and defaults."""
    try:
        present = describe(find(request.name).folder)
    except (SorterNotFoundError, SorterInvalidError):
        return False
    described = [description(sorter.folder).read_bytes() for sorter in (present, request)]
    return present.recipe == request.recipe and described[0] == described[1]


def _swap(source: Path, target: Path, staging: Path) -> None:
    """Move a folder into place and an older one aside; keep the older one where both are equal."""
    if target.exists():
        if same_files(source, target):
            return
        target.rename(staging / f"old-{target.name}")
    target.parent.mkdir(exist_ok=True)
    source.rename(target)


def _has_apptainer() -> bool:
    try:
        find_program()
    except SpikecrateError:
        return False
    return True


def _load(client: DockerClient, request: BuildRequest, archive: Path, progress: Progress) -> str:
    progress.note(f"loading {request.reference} into Docker")
    with docker_errors(), archive.open("rb") as file:
        client.images.load(file)
    if lookup.find(client, request) is None:
        message = f"Docker loaded the archive, but {request.reference} is not the image of this recipe"
        raise BundleError(message, next_step=f"docker image rm {request.reference}, and unbundle again")
    return request.reference
