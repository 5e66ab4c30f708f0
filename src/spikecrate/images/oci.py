"""Image archives: what they hold, and where two of them differ.

An archive is what `docker save` writes, or `docker buildx build` with `--output type=oci` or `type=tar` (a root file
system). Nothing of the image is started.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from spikecrate.errors import ImageInvalidError
from spikecrate.images.layers import apply_layer, first_change, read_layer

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.images.layers import File

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""Names of processors: the kernel's, and those of images."""
ZSTD: Final = b"\x28\xb5\x2f\xfd"
COMPRESSED: Final = (b"\x1f\x8b", ZSTD)
"""First bytes of gzip and zstd."""
UNPACKED_RATIO: Final = 4
"""Upper estimate of how much a compressed layer grows when unpacked: 3.6 for a sorter's image."""
DAMAGED: Final = (tarfile.TarError, zlib.error, EOFError, ValueError, LookupError, TypeError)
"""What reading a damaged archive raises."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Summary of an image archive.

    Attributes
    ----------
    path : Path
        The file.
    transport : str
        `docker-archive` or `oci-archive`.
    digest : str
        The image's id: its manifest's digest, or its configuration's where the archive has no OCI index.
    architecture : str
        As images name it: `amd64`.
    labels : dict
        Labels of the image.
    unpacked_bytes : int
        Estimated size of all layers.
    """

    path: Path
    transport: str
    digest: str
    architecture: str
    labels: dict[str, str] = field(default_factory=dict)
    unpacked_bytes: int


@dataclass(frozen=True)
class ImageFiles:
    """Everything in an image.

    Attributes
    ----------
    config : dict
        The image's configuration.
    files : dict
        Files by path, without the first slash.
    texts : dict
        Bytes of the files that name packages, by their SHA-256.
    """

    config: dict[str, Any]
    files: dict[str, File]
    texts: dict[str, bytes]


class _Layout(NamedTuple):
    """Where an archive keeps its parts; `layers` are names of members, from the lowest."""

    transport: str
    digest: str
    config: dict[str, Any]
    layers: list[str]


def machine_architecture() -> str:
    """Return the name that images have for this machine's processor."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def read_archive(path: Path) -> Archive:
    """Read the summary of an archive.

    Parameters
    ----------
    path : Path
        An archive of one image, or of several with one for this machine's processor.

    Returns
    -------
    Archive

    Raises
    ------
    ImageInvalidError
        If the file is missing, is not an archive of an image, or is damaged.
    """
    try:
        with tarfile.open(path) as opened:
            layout = _layout(opened)
            return Archive(
                path=path,
                transport=layout.transport,
                digest=layout.digest,
                architecture=str(layout.config["architecture"]),
                labels=dict((layout.config.get("config") or {}).get("Labels") or {}),
                unpacked_bytes=sum(_unpacked_size(opened, layer) for layer in layout.layers),
            )
    except (OSError, *DAMAGED) as error:
        message = f"{path} is not an archive of an image: {type(error).__name__}: {error}"
        raise ImageInvalidError(
            message, next_step="write one with: docker save IMAGE --output FILE.tar"
        ) from None


def read_files(archive: IO[bytes], progress: Progress, title: str) -> ImageFiles:
    """Read all files of an image, its layers laid one on another.

    Parameters
    ----------
    archive : binary file
        The archive, seekable.
    progress : Progress
        Gets a bar.
    title : str
        Name of the image, for progress and errors.

    Returns
    -------
    ImageFiles

    Raises
    ------
    ImageInvalidError
        If the archive is damaged, or compressed in a way that Python cannot read (zstd).
    """
    files: dict[str, File] = {}
    texts: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=archive) as opened:
            layout = _layout(opened)
            sizes = {name: opened.getmember(name).size for name in layout.layers}
            with progress.bar(f"reading {title}", sum(sizes.values())) as advance:
                for name in layout.layers:
                    with _open(opened, name) as packed:
                        _require_readable(packed, title)
                        apply_layer(files, _read_layer(packed, texts))
                    advance(sizes[name])
    except DAMAGED as error:
        message = f"the archive of {title} cannot be read: {type(error).__name__}: {error}"
        raise ImageInvalidError(message, next_step="build the image again, with --no-cache") from None
    return ImageFiles(layout.config, files, texts)


def archive_digest(path: Path) -> str:
    """Return the digest of an image's manifest, or of the file where it is a root file system.

    The engine uses the manifest's digest as the id of the image.

    Parameters
    ----------
    path : Path
        The archive.

    Returns
    -------
    str
    """
    with tarfile.open(path) as opened:
        if _is_image(opened):
            return _layout(opened).digest
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def first_difference(first: Path, second: Path) -> str:
    """Return the first difference between two archives: a file, the number of layers, or a setting.

    Parameters
    ----------
    first, second : Path
        Archives of two builds of one recipe.

    Returns
    -------
    str
        Empty where nothing differs.
    """
    with tarfile.open(first) as one, tarfile.open(second) as other:
        if not _is_image(one) or not _is_image(other):
            return first_change(read_layer(one), read_layer(other))
        layouts = _layout(one), _layout(other)
        layers = [layout.layers for layout in layouts]
        for number, names in enumerate(zip(*layers, strict=False), 1):
            if names[0] == names[1]:
                continue
            with _open(one, names[0]) as packed, _open(other, names[1]) as other_packed:
                change = first_change(_read_layer(packed), _read_layer(other_packed))
            return f"layer {number}: {change or 'order of the files, or compression'}"
        if len(layers[0]) != len(layers[1]):
            return f"{len(layers[0])} layers and {len(layers[1])}"
        configs = [layout.config for layout in layouts]
        for name in sorted(configs[0].keys() | configs[1].keys()):
            if configs[0].get(name) != configs[1].get(name):
                return f"the image's {name}: {configs[0].get(name)!r} and {configs[1].get(name)!r}"
    return ""


def _is_image(opened: tarfile.TarFile) -> bool:
    return not {"manifest.json", "index.json"}.isdisjoint(opened.getnames())


def _layout(opened: tarfile.TarFile) -> _Layout:
    names = set(opened.getnames())
    if "manifest.json" in names:
        images = _json(opened, "manifest.json")
        if len(images) != 1:
            message = f"it holds {len(images)} images"
            raise ValueError(message)
        (image,) = images
        digest = f"sha256:{image['Config'].removesuffix('.json').rsplit('/', 1)[-1]}"
        if "index.json" in names:
            digest = str(_json(opened, "index.json")["manifests"][0]["digest"])
        return _Layout("docker-archive", digest, _json(opened, image["Config"]), list(image["Layers"]))
    if "index.json" not in names:
        message = "it has neither a manifest.json nor an index.json"
        raise ValueError(message)
    descriptor: dict[str, Any] = {}
    manifest = _json(opened, "index.json")
    while "manifests" in manifest:
        descriptor = _of_this_machine(manifest["manifests"])
        manifest = _json(opened, _blob(descriptor))
    layers = [_blob(layer) for layer in manifest["layers"]]
    return _Layout("oci-archive", str(descriptor["digest"]), _json(opened, _blob(manifest["config"])), layers)


def _of_this_machine(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the only image, or the one for this machine's processor."""
    if len(manifests) == 1:
        return manifests[0]
    wanted = machine_architecture()
    for manifest in manifests:
        if manifest.get("platform", {}).get("architecture") == wanted:
            return manifest
    message = f"none of its {len(manifests)} images is for {wanted}"
    raise ValueError(message)


def _unpacked_size(opened: tarfile.TarFile, layer: str) -> int:
    with _open(opened, layer) as file:
        compressed = file.read(len(ZSTD)).startswith(COMPRESSED)
    return opened.getmember(layer).size * (UNPACKED_RATIO if compressed else 1)


def _read_layer(packed: IO[bytes], texts: dict[str, bytes] | None = None) -> dict[str, File]:
    with tarfile.open(fileobj=packed, mode="r|*") as layer:
        return read_layer(layer, texts)


def _require_readable(packed: IO[bytes], title: str) -> None:
    # tarfile reads zstd from Python 3.14 on: https://peps.python.org/pep-0784/
    if packed.read(len(ZSTD)) == ZSTD and sys.version_info < (3, 14):
        message = f"a layer of {title} is packed with zstd, which Python reads only from 3.14 on"
        raise ImageInvalidError(
            message,
            next_step="run spikecrate with Python 3.14, or build the image here instead of pulling it: "
            "spikecrate build --sorter NAME --no-cache",
        )
    packed.seek(0)


def _blob(descriptor: dict[str, Any]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def _json(opened: tarfile.TarFile, name: str) -> Any:
    with _open(opened, name) as file:
        return json.load(file)


def _open(opened: tarfile.TarFile, member: str | tarfile.TarInfo) -> IO[bytes]:
    file = opened.extractfile(member)
    if file is None:
        message = f"{member} is not a file"
        raise ValueError(message)
    return file
