"""Two archives of an image: the same, or the first thing that differs.

An archive is an OCI layout (`type=oci`: manifests and layers under blobs/) or a root file system (`type=tar`).
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

INDEX: Final = "index.json"
CHUNK: Final = 1 << 20
FIELDS: Final = ("name", "type", "mode", "uid", "gid", "size", "mtime", "linkname", "pax_headers")


def archive_digest(archive: Path) -> str:
    """Give the digest of an image's manifest, or of the archive where it is a root file system.

    The manifest's digest is the id that the engine gives to the image.
    """
    with tarfile.open(archive) as opened:
        if INDEX in opened.getnames():
            return str(_json(opened, INDEX)["manifests"][0]["digest"])
    with archive.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def first_difference(first: Path, second: Path) -> str:
    """Say what differs first: the image's settings, the number of layers, or a file and what of it.

    Returns
    -------
    str
        Empty where nothing differs.
    """
    with tarfile.open(first) as one, tarfile.open(second) as other:
        if INDEX not in one.getnames() or INDEX not in other.getnames():
            return _first_member(one, other)
        layers = [_manifest(opened)["layers"] for opened in (one, other)]
        for number, pair in enumerate(zip(*layers, strict=False), 1):
            if pair[0]["digest"] == pair[1]["digest"]:
                continue
            with ExitStack() as stack:
                found = _first_member(
                    *(_layer(stack, *side) for side in zip((one, other), pair, strict=True))
                )
            return f"layer {number}: {found or 'its compression'}"
        if len(layers[0]) != len(layers[1]):
            return f"{len(layers[0])} layers and {len(layers[1])}"
        configs = [_json(opened, _blob(_manifest(opened)["config"]["digest"])) for opened in (one, other)]
        for name in sorted(configs[0].keys() | configs[1].keys()):
            if configs[0].get(name) != configs[1].get(name):
                return f"the image's {name}: {configs[0].get(name)!r} and {configs[1].get(name)!r}"
    return ""


def _first_member(one: tarfile.TarFile, other: tarfile.TarFile) -> str:
    left, right = iter(one), iter(other)
    while True:
        a, b = next(left, None), next(right, None)
        if a is None and b is None:
            return ""
        if a is None or b is None:
            return f"/{(a or b).name} is only in the {'second' if a is None else 'first'}"  # type: ignore[union-attr]
        for field in FIELDS:
            if getattr(a, field) != getattr(b, field):
                return f"/{a.name}: {field} is {getattr(a, field)!r} and {getattr(b, field)!r}"
        if a.isreg() and not _same_bytes(one, a, other, b):
            return f"/{a.name}: its content"


def _same_bytes(one: tarfile.TarFile, a: tarfile.TarInfo, other: tarfile.TarFile, b: tarfile.TarInfo) -> bool:
    left, right = one.extractfile(a), other.extractfile(b)
    assert left is not None
    assert right is not None
    with left, right:
        while True:
            chunk = left.read(CHUNK)
            if chunk != right.read(CHUNK):
                return False
            if not chunk:
                return True


def _layer(stack: ExitStack, archive: tarfile.TarFile, descriptor: dict[str, Any]) -> tarfile.TarFile:
    file = archive.extractfile(_blob(descriptor["digest"]))
    assert file is not None
    return stack.enter_context(tarfile.open(fileobj=stack.enter_context(file)))


def _manifest(archive: tarfile.TarFile) -> dict[str, Any]:
    return _json(archive, _blob(_json(archive, INDEX)["manifests"][0]["digest"]))


def _json(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    file = archive.extractfile(name)
    assert file is not None
    with file:
        found: dict[str, Any] = json.load(file)
    return found


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
