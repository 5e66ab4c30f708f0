"""The manifest of a bundle: the size and the SHA-256 of every member.

The manifest is the first member. A reader trusts nothing else of the archive: it accepts regular files that the
manifest names, and compares the bytes of each with its hash.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Final

from spikecrate.errors import BundleError

SCHEMA: Final = 1
"""Raise it when an older spikecrate would misread the layout of a bundle."""
KIND: Final = "spikecrate bundle"
PARTS: Final = ("sif", "docker", "host")
"""The optional parts; every bundle holds the sorter's folder and the library."""
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"
MANIFEST_LIMIT: Final = 1 << 24
"""Largest manifest in bytes: it is read into memory before it is checked."""
SORTER: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", re.ASCII)
HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
DIGEST: Final = re.compile(r"(sha256:[0-9a-f]{64})?", re.ASCII)
COPY_AGAIN: Final = "copy the bundle again, and compare with: sha256sum FILE"
FORGED: Final = "do not use it: spikecrate does not write such bundles"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of a bundle.

    Attributes
    ----------
    path : str
        Relative path with slashes.
    size : int
        Size in bytes.
    sha256 : str
        Hash of its bytes.
    executable : bool
        Whether the owner can execute it; the recipe hash includes this bit.
    """

    path: str
    size: int
    sha256: str
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The contents of a bundle.

    Attributes
    ----------
    spikecrate : str
        Version of the library in the bundle.
    sorter, version, recipe, reference : str
        The sorter and its image, as the image's labels name them.
    image_digest : str
        Digest of the image in the SIF and in the archive; empty where the bundle has neither.
    architecture : str
        Processor in the spelling of images: `amd64`.
    python : str
        Python version of the wheels: `3.11`.
    parts : tuple of str
        Some of `sif`, `docker` and `host`.
    members : tuple of Member
        Every file except the manifest and the sums.
    """

    spikecrate: str
    sorter: str
    version: str
    recipe: str
    reference: str
    image_digest: str
    architecture: str
    python: str
    parts: tuple[str, ...]
    members: tuple[Member, ...] = field(repr=False)

    def as_bytes(self) -> bytes:
        """Return the bytes of the bundle's first member."""
        text = json.dumps({"kind": KIND, "schema": SCHEMA, **asdict(self)}, indent=1, sort_keys=True)
        return f"{text}\n".encode()

    def sums(self) -> bytes:
        """Return the hashes in the format of `sha256sum --check`, the manifest's included."""
        lines = [(sha256(self.as_bytes()).hexdigest(), MANIFEST)]
        lines += [(member.sha256, member.path) for member in self.members]
        return "".join(f"{digest}  {path}\n" for digest, path in lines).encode()

    def expected(self) -> dict[str, Member]:
        """Return every member that follows the manifest, by path."""
        sums = self.sums()
        own = Member(path=SUMS, size=len(sums), sha256=sha256(sums).hexdigest())
        return {member.path: member for member in (own, *self.members)}


def read_manifest(data: bytes) -> Manifest:
    """Parse a manifest and check its paths.

    Parameters
    ----------
    data : bytes
        The bundle's first member.

    Returns
    -------
    Manifest

    Raises
    ------
    BundleError
        The manifest is damaged, has a newer schema, or names a path outside the bundle.
    """
    try:
        fields = json.loads(data)
        if fields.pop("kind") != KIND:
            raise ValueError  # noqa: TRY301
        schema = int(fields.pop("schema"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = f"the bundle's {MANIFEST} is damaged, or spikecrate did not write it"
        raise BundleError(message, next_step=COPY_AGAIN) from None
    if schema > SCHEMA:
        message = f"a newer spikecrate wrote the bundle (schema {schema}; this one reads {SCHEMA})"
        raise BundleError(message, next_step="install the spikecrate in the bundle: python3 install.py FILE")
    try:
        members = tuple(_member(entry) for entry in fields.pop("members"))
        manifest = Manifest(**{**fields, "parts": tuple(fields["parts"])}, members=members)
        sound = manifest.as_bytes() == data and _is_sound(manifest)
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        message = f"the bundle's {MANIFEST} is damaged"
        raise BundleError(message, next_step=COPY_AGAIN)
    require_paths([member.path for member in members])
    return manifest


def require_paths(paths: list[str]) -> None:
    """Check that all paths stay inside the bundle and that no two collide.

    Parameters
    ----------
    paths : list of str
        Member paths.

    Raises
    ------
    BundleError
        Naming the path.
    """
    files = {MANIFEST, SUMS}
    folders: set[str] = set()
    for path in paths:
        printable = path.isprintable() and "\\" not in path
        if not printable or path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
            message = f"the bundle names {path!r}, which is outside the bundle"
            raise BundleError(message, next_step=FORGED)
        above = {str(folder) for folder in PurePosixPath(path).parents}
        if path in files or path in folders or above & files:
            message = f"the bundle names {path!r} twice, as file or as folder"
            raise BundleError(message, next_step=FORGED)
        files.add(path)
        folders |= above


def _is_sound(manifest: Manifest) -> bool:
    # The sorter, the recipe and the digest become parts of paths.
    words = {name: value for name, value in vars(manifest).items() if name not in ("parts", "members")}
    return (
        all(isinstance(word, str) for word in words.values())
        and SORTER.fullmatch(manifest.sorter) is not None
        and HASH.fullmatch(manifest.recipe) is not None
        and DIGEST.fullmatch(manifest.image_digest) is not None
        and set(manifest.parts) <= set(PARTS)
    )


def _member(entry: dict[str, Any]) -> Member:
    kinds = {"path": str, "size": int, "sha256": str, "executable": bool}
    if any(type(entry[name]) is not kind for name, kind in kinds.items()):
        raise TypeError
    member = Member(**entry)
    if member.size < 0 or HASH.fullmatch(member.sha256) is None:
        raise ValueError
    member.path.encode()
    return member
