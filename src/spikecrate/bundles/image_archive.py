"""Check that an image archive can set only one tag.

`docker load` sets every tag that the archive names, also one that another image has. The archive is read here as
strictly as the engines read it loosely, so that both see the same names.
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from typing import TYPE_CHECKING, Any, Final

from spikecrate.bundles.manifest import FORGED
from spikecrate.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INDEXES: Final = ("index.json", "manifest.json", "repositories")
"""Members that name images: of an OCI layout, of `docker save`, and of a `docker save` before Docker 1.10."""
INDEX_LIMIT: Final = 1 << 20
NAME: Final = "io.containerd.image.name"
SHORT_NAME: Final = "org.opencontainers.image.ref.name"
"""Annotations of an OCI index that containerd takes an image's name from."""
PAX: Final = frozenset({"atime", "ctime", "mtime", "size"})
"""Extended headers that cannot change a member's name or kind."""
CHUNK: Final = 1 << 20


def require_own_tag(path: Path, reference: str) -> None:
    """Check that an archive holds one image and names it only by one reference.

    Parameters
    ----------
    path : Path
        The archive, as `docker save` writes it.
    reference : str
        Name and tag that the archive can set.

    Raises
    ------
    BundleError
        The archive names another image, holds more than one, or is not a plain archive.
    """
    # Docker writes the full name for containerd, and the short one for people.
    allowed = {reference, f"docker.io/{reference}"}
    try:
        foreign = [name for name in _names(_read_indexes(path)) if name not in allowed]
    except (tarfile.TarError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        message = f"the bundle's image archive cannot be checked: {error}"
        raise BundleError(message, next_step="bundle again, or do not use it") from None
    if foreign:
        message = f"the bundle's image archive sets the tag {foreign[0]!r}; only {reference} is allowed"
        raise BundleError(message, next_step=FORGED)


def _names(indexes: dict[str, Any]) -> list[str]:
    """Return every name that an engine can take from the archive."""
    names: list[str] = []
    oci = indexes.get("index.json", {"manifests": [{}]})["manifests"]
    for kind, images in (("index.json", oci), ("manifest.json", indexes.get("manifest.json", [{}]))):
        if len(images) != 1:
            message = f"its {kind} names {len(images)} images"
            raise ValueError(message)
        names += images[0].get("repotags") or []
        annotations = images[0].get("annotations") or {}
        # containerd takes the short name where the long one is missing or empty.
        name = annotations.get(NAME) or annotations.get(SHORT_NAME)
        names += [name] if name else []
    for repository, tags in indexes.get("repositories", {}).items():
        names += [f"{repository}:{tag}" for tag in tags]
    return names


def _read_indexes(path: Path) -> dict[str, Any]:
    """Read the members that name images; refuse an archive that two readers could read differently."""
    indexes = {}
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for entry in _entries(archive):
            if entry.name in INDEXES:
                content = archive.extractfile(entry) if entry.size <= INDEX_LIMIT and entry.isreg() else None
                if content is None:
                    message = f"{entry.name} is not a small file"
                    raise ValueError(message)
                indexes[entry.name] = json.loads(content.read().decode(), object_pairs_hook=_folded)
        file.seek(archive.offset)
        while chunk := file.read(CHUNK):
            if chunk.strip(b"\0"):
                message = "it has data after its end"
                raise ValueError(message)
    if not indexes:
        message = "it names no image"
        raise ValueError(message)
    return indexes


def _entries(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive, each once, by its plain path and of a plain kind."""
    seen: set[str] = set()
    for entry in archive:
        # An older Docker saves a layer that it has saved already as a link.
        ends = {posixpath.basename(entry.name), posixpath.basename(entry.linkname)}
        is_layer_link = entry.issym() and ends == {"layer.tar"}
        is_plain = entry.type in (tarfile.REGTYPE, tarfile.DIRTYPE) and entry.size >= 0
        is_inside = not entry.name.startswith(("/", "../")) and posixpath.normpath(entry.name) == entry.name
        is_named_once = entry.name not in seen and PAX.issuperset(entry.pax_headers)
        if not (is_inside and is_named_once and (is_plain or is_layer_link)):
            message = f"{entry.name!r} is not a plain file, or the archive holds it twice"
            raise ValueError(message)
        seen.add(entry.name)
        yield entry


def _folded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object with its keys in lower case: Go, in which Docker is written, ignores their case."""
    folded = {name.casefold(): value for name, value in pairs}
    if len(folded) != len(pairs):
        message = "an object has a key twice"
        raise ValueError(message)
    return folded
