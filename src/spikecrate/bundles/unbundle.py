"""A bundle on the other side: checked whole, then put where a sort will look."""

from __future__ import annotations

import json
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.files import disk_full_named, remove_tree, sync_folder
from spikecrate.bundles import pack
from spikecrate.catalogue.tools import find
from spikecrate.engines.apptainer import find_program
from spikecrate.engines.docker import docker_client, docker_errors
from spikecrate.environments import environment
from spikecrate.errors import (
    BundleError,
    EngineError,
    EngineMissingError,
    EnginePermissionError,
    ImageInvalidError,
    SorterInvalidError,
    SorterNotFoundError,
    UsageError,
)
from spikecrate.images import build, sif
from spikecrate.images import sif_build as squash
from spikecrate.images.oci import machine_architecture
from spikecrate.images.recipe import same_files
from spikecrate.store.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from docker import DockerClient

    from spikecrate._util.progress import Progress
    from spikecrate.bundles.manifest import Manifest
    from spikecrate.images.build import BuildRequest
    from spikecrate.store import Store

    Describe = Callable[[Path], BuildRequest]

STAGED: Final = ("sif/", "docker/", "sorter/", "wheels/")
"""What is unpacked; the library is only checked, for it runs already."""


@dataclass(frozen=True, kw_only=True)
class Unbundled:
    """What a bundle brought.

    Attributes
    ----------
    manifest : Manifest
        What was in it.
    sif : Path or None
        Where the SIF lies now.
    wheels : Path or None
        Where the wheels lie that the host's environment is made of.
    image : str or None
        The image that Docker has now.
    sorters : Path or None
        The folder to name in SPIKECRATE_SORTERS; None where the catalogue has the very sorter.
    """

    manifest: Manifest
    sif: Path | None
    wheels: Path | None
    image: str | None
    sorters: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Give it in JSON types."""
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
    """Check a bundle whole, then install what it brings; again does no harm.

    Parameters
    ----------
    path : Path
        The bundle.
    store : Store
        Where its contents are put.
    progress : Progress
        Told what is done.
    describe : callable
        Gives what a sorter's folder asks for, with the recipe as this spikecrate sees it.
    docker : bool
        Also load the image into Docker.

    Raises
    ------
    BundleError
        Where it is damaged, or of another machine or recipe; then nothing is installed.
    UsageError
        Where there is no such file, or no image for Docker in it.
    EngineMissingError and its kin
        Where Docker is asked for and cannot be used.
    DiskFullError
        Told before the work begins, where that can be foreseen.
    """
    client = docker_client() if docker else None
    try:
        stream = path.open("rb")
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise UsageError(message, next_step="name the file that image.bundle wrote") from None
    with stream, ExitStack() as held:
        manifest = pack.open_manifest(stream)
        _require_fitting(manifest, docker=docker)
        with disk_full_named(store.root):
            store.sifs.mkdir(exist_ok=True)
        held.enter_context(Lock(store.lock(f"sif-{_name(manifest)}")))
        for left in store.sifs.glob(f"{squash.NEW}{_name(manifest)}-*"):
            remove_tree(left)
        staged = sum(member.size for member in manifest.members if member.path.startswith(STAGED))
        pack.require_space(store.root, staged, f"what {path.name} brings")
        work = store.sifs / f"{squash.NEW}{_name(manifest)}-{secrets.token_hex(4)}"
        held.callback(remove_tree, work)
        with disk_full_named(work):
            work.mkdir(mode=0o700)
            pack.unpack(
                stream, manifest, lambda name: work / name if name.startswith(STAGED) else None, progress
            )
            request = _described(manifest, work, describe)
            entry = _provenance(manifest, work)
            sync_folder(work)
            known = _in_catalogue(request, describe)
            return _install(manifest, request, entry, work, store, progress, client, known=known)


def _name(manifest: Manifest) -> str:
    # As a conversion's folder is named, so that what a killed one leaves is swept with those.
    return f"bundle_{manifest.recipe[:16]}"


def _require_fitting(manifest: Manifest, *, docker: bool) -> None:
    if manifest.architecture != machine_architecture():
        message = f"the bundle is for {manifest.architecture}, this machine is {machine_architecture()}"
        raise BundleError(message, next_step="write one on a machine of this kind")
    if docker and "docker" not in manifest.parts:
        message = "the bundle holds no image for Docker"
        raise UsageError(message, next_step="write one that does: spikecrate image.bundle --parts docker")


def _described(manifest: Manifest, work: Path, describe: Describe) -> BuildRequest:
    """Read the sorter's folder, and see that it is here what it was there."""
    try:
        request = describe(work / "sorter" / manifest.sorter)
    except SorterInvalidError as error:
        message = f"the bundle's sorter cannot be used: {error}"
        raise BundleError(message) from None
    if request.recipe != manifest.recipe:
        message = (
            f"this spikecrate makes another image of {manifest.sorter} (recipe {request.recipe[:12]}) than "
            f"that in the bundle (recipe {manifest.recipe[:12]}, spikecrate {manifest.spikecrate})"
        )
        raise BundleError(message, next_step="install the spikecrate that is in it: python3 install.py FILE")
    return request


def _provenance(manifest: Manifest, work: Path) -> dict[str, Any] | None:
    """Read what is known of the SIF, and see that it speaks of this one."""
    if "sif" not in manifest.parts:
        return None
    hashes = {member.path: member.sha256 for member in manifest.members}
    try:
        entry = json.loads((work / "sif" / "image.json").read_bytes())
        said = {name: entry["sif"][name] for name in ("recipe", "sha256", "sorter", "image_digest")}
        expected = {
            "recipe": manifest.recipe,
            "sha256": hashes["sif/image.sif"],
            "sorter": manifest.sorter,
            "image_digest": manifest.image_digest,
        }
        sound = said == expected
    except (OSError, ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        message = "what the bundle says of its SIF is not of this SIF"
        raise BundleError(message, next_step="bundle again")
    return dict(entry)


def _install(
    manifest: Manifest,
    request: BuildRequest,
    entry: dict[str, Any] | None,
    work: Path,
    store: Store,
    progress: Progress,
    client: DockerClient | None,
    *,
    known: bool,
) -> Unbundled:
    wheels = None
    if "host" in manifest.parts:
        wheels = environment.wheels_folder(request, store, manifest.python)
        _swap(work / "wheels", wheels, work)
    sorters = None
    if not known:
        sorters = store.sorters
        _swap(request.folder, sorters / request.name, work)
    placed = None
    if entry is not None:
        placed = sif.adopt(request, store, progress, image=work / "sif" / "image.sif", entry=entry)
    archive = work / "docker" / "image.tar"
    if archive.exists() and entry is None:
        if _has_apptainer():
            placed = sif.convert(request, store, progress, archive=archive).path
        elif client is None:
            progress.note("there is no Apptainer here, and --docker is not given: the image is not installed")
    image = None if client is None else _load(client, request, archive, progress)
    return Unbundled(manifest=manifest, sif=placed, wheels=wheels, image=image, sorters=sorters)


def _in_catalogue(request: BuildRequest, describe: Describe) -> bool:
    """Say whether the catalogue has the very sorter: its recipe, and its parameters with their defaults."""
    try:
        there = describe(find(request.name).folder)
    except (SorterNotFoundError, SorterInvalidError):
        return False
    described = [(sorter.folder / "sorter.json").read_bytes() for sorter in (there, request)]
    return there.recipe == request.recipe and described[0] == described[1]


def _swap(source: Path, target: Path, work: Path) -> None:
    """Put a folder into place, and what was there out of the way; nothing where both are the same."""
    if target.exists():
        if same_files(source, target):
            return
        target.rename(work / f"old-{target.name}")
    target.parent.mkdir(exist_ok=True)
    source.rename(target)


def _has_apptainer() -> bool:
    try:
        find_program()
    except (EngineMissingError, EnginePermissionError, EngineError, ImageInvalidError):
        return False
    return True


def _load(client: DockerClient, request: BuildRequest, archive: Path, progress: Progress) -> str:
    progress.note(f"loading {request.reference} into Docker")
    with docker_errors(), archive.open("rb") as file:
        client.images.load(file)
    if build.find(client, request) is None:
        message = f"Docker has loaded the archive, but {request.reference} is not the image of this recipe"
        raise BundleError(message, next_step=f"docker image rm {request.reference}, and unbundle again")
    return request.reference
