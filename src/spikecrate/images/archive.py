"""An image in one file: what `docker save` and `docker buildx build --output type=oci` write."""

from __future__ import annotations

import json
import platform
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from spikecrate.errors import ImageInvalidError

if TYPE_CHECKING:
    from pathlib import Path

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""Names of processors: the kernel's, and those of images."""
ZSTD: Final = b"\x28\xb5\x2f\xfd"
COMPRESSED: Final = (b"\x1f\x8b", ZSTD)
"""How gzip's and zstd's bytes begin."""
UNPACKED_RATIO: Final = 4
"""How much larger a compressed layer is unpacked, guessed high: a sorter's image is 3.6 times its archive."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An image's archive.

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
        Of the image.
    unpacked_bytes : int
        A guess at the size of all layers.
    """

    path: Path
    transport: str
    digest: str
    architecture: str
    labels: dict[str, str] = field(default_factory=dict)
    unpacked_bytes: int


def machine_architecture() -> str:
    """Name this machine's processor as images do."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def read_archive(path: Path) -> Archive:
    """Read what an archive of an image says of itself.

    Raises
    ------
    ImageInvalidError
        Where the file is missing, is no archive of one image, or is damaged.
    """
    try:
        with tarfile.open(path) as opened:
            names = set(opened.getnames())
            if "manifest.json" in names:
                return _docker(path, opened, names)
            if "index.json" in names:
                return _oci(path, opened)
        problem = "it has neither a manifest.json nor an index.json"
    except (OSError, tarfile.TarError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    message = f"{path} is not an archive of an image: {problem}"
    raise ImageInvalidError(message, next_step="write one with: docker save IMAGE --output FILE.tar")


def _docker(path: Path, opened: tarfile.TarFile, names: set[str]) -> Archive:
    images = _json(opened, "manifest.json")
    if len(images) != 1:
        message = f"it holds {len(images)} images"
        raise ValueError(message)
    (image,) = images
    digest = f"sha256:{image['Config'].removesuffix('.json').rsplit('/', 1)[-1]}"
    if "index.json" in names:
        digest = str(_json(opened, "index.json")["manifests"][0]["digest"])
    config = _json(opened, image["Config"])
    return _archive(path, "docker-archive", digest, config, opened, image["Layers"])


def _oci(path: Path, opened: tarfile.TarFile) -> Archive:
    descriptor = _of_this_machine(_json(opened, "index.json")["manifests"])
    manifest = _json(opened, _blob(descriptor))
    while "manifests" in manifest:
        descriptor = _of_this_machine(manifest["manifests"])
        manifest = _json(opened, _blob(descriptor))
    config = _json(opened, _blob(manifest["config"]))
    layers = [_blob(layer) for layer in manifest["layers"]]
    return _archive(path, "oci-archive", str(descriptor["digest"]), config, opened, layers)


def _archive(
    path: Path,
    transport: str,
    digest: str,
    config: dict[str, Any],
    opened: tarfile.TarFile,
    layers: list[str],
) -> Archive:
    return Archive(
        path=path,
        transport=transport,
        digest=digest,
        architecture=str(config["architecture"]),
        labels=dict((config.get("config") or {}).get("Labels") or {}),
        unpacked_bytes=sum(_unpacked(opened, layer) for layer in layers),
    )


def _of_this_machine(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Choose the image of this machine's processor; the only one, where there is one."""
    if len(manifests) == 1:
        return manifests[0]
    wanted = machine_architecture()
    for manifest in manifests:
        if manifest.get("platform", {}).get("architecture") == wanted:
            return manifest
    message = f"none of its {len(manifests)} images is for {wanted}"
    raise ValueError(message)


def _unpacked(opened: tarfile.TarFile, layer: str) -> int:
    with _open(opened, layer) as file:
        compressed = file.read(4).startswith(COMPRESSED)
    return opened.getmember(layer).size * (UNPACKED_RATIO if compressed else 1)


def _blob(descriptor: dict[str, Any]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def _json(opened: tarfile.TarFile, name: str) -> Any:
    with _open(opened, name) as file:
        return json.load(file)


def _open(opened: tarfile.TarFile, name: str) -> IO[bytes]:
    file = opened.extractfile(name)
    if file is None:
        message = f"{name} is not a file"
        raise ValueError(message)
    return file
