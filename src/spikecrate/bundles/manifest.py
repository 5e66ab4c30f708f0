"""What a bundle is: one tar whose first member names every other, with its size and hash.

A bundle is written in one way only: members in the order of the manifest, with one date, one owner and two
modes. So every byte of it follows from the manifest and the files, and a reader need not trust the tar: it
compares each header with the one that it expects. A link, an absolute path, a member too many cannot pass.
"""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from spikecrate.errors import BundleError

SCHEMA: Final = 1
"""Raised when a bundle is laid out in a way that an older spikecrate would misread."""
KIND: Final = "spikecrate bundle"
PARTS: Final = ("sif", "docker", "host")
"""What a bundle may hold besides the sorter's folder and the library."""
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"
MANIFEST_LIMIT: Final = 1 << 24
"""A manifest is read before anything can be checked: no larger than this."""
DATE: Final = 315532800
"""1980-01-01, the first date that a zip archive can hold; every file's."""
SORTER: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", re.ASCII)
HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
DIGEST: Final = re.compile(r"(sha256:[0-9a-f]{64})?", re.ASCII)
BLOCK: Final = tarfile.BLOCKSIZE
MEND: Final = "copy the bundle again, and compare with: sha256sum FILE"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of a bundle.

    Attributes
    ----------
    path : str
        Relative, with slashes.
    size : int
        In bytes.
    sha256 : str
        Of its bytes.
    executable : bool
        Part of a recipe's hash, so it must survive.
    """

    path: str
    size: int
    sha256: str
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle says of itself.

    Attributes
    ----------
    spikecrate : str
        Version of the library inside.
    sorter, version, recipe, reference : str
        Of what: as the image's labels.
    image_digest : str
        Of the image that SIF and archive hold; empty where neither is in it.
    architecture : str
        As images name it: `amd64`.
    python : str
        `3.11`: what the wheels are for.
    parts : tuple of str
        Of `sif`, `docker` and `host`.
    members : tuple of Member
        Every file but this manifest and the sums, in order.
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
        """Write it as the bundle's first member."""
        text = json.dumps({"kind": KIND, "schema": SCHEMA, **asdict(self)}, indent=1, sort_keys=True)
        return f"{text}\n".encode()

    def sums(self) -> bytes:
        """Write the hashes as `sha256sum --check` reads them; the manifest is among them."""
        from hashlib import sha256

        lines = [(sha256(self.as_bytes()).hexdigest(), MANIFEST)]
        lines += [(member.sha256, member.path) for member in self.members]
        return "".join(f"{digest}  {path}\n" for digest, path in lines).encode()


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest, and hold its paths to the rules.

    Raises
    ------
    BundleError
        Where it is damaged, of a newer schema, or names a path that would lead out.
    """
    try:
        said = json.loads(data)
        if said.pop("kind") != KIND:
            raise ValueError  # noqa: TRY301
        schema = int(said.pop("schema"))
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"the bundle's {MANIFEST} is not one of spikecrate's, or is damaged"
        raise BundleError(message, next_step=MEND) from None
    if schema > SCHEMA:
        message = f"the bundle is of a newer spikecrate (schema {schema}; this one knows {SCHEMA})"
        raise BundleError(message, next_step="install the spikecrate that is in it: python3 install.py FILE")
    try:
        members = tuple(_member(entry) for entry in said.pop("members"))
        manifest = Manifest(**{**said, "parts": tuple(said["parts"])}, members=members)
        sound = manifest.as_bytes() == data and _is_sound(manifest)
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        message = f"the bundle's {MANIFEST} is damaged"
        raise BundleError(message, next_step=MEND)
    require_paths([member.path for member in members])
    return manifest


def require_paths(paths: list[str]) -> None:
    """Make sure that paths stay inside, and that none is in another's way.

    Raises
    ------
    BundleError
        Naming the path.
    """
    seen = {MANIFEST, SUMS}
    folders: set[str] = set()
    for path in paths:
        parts = path.split("/")
        printable = path.isprintable() and "\\" not in path
        if not printable or path.startswith("/") or {"", ".", ".."} & set(parts):
            message = f"the bundle names {path!r}, which does not stay inside it"
            raise BundleError(message, next_step="do not use it: spikecrate does not write such bundles")
        above = {str(folder) for folder in PurePosixPath(path).parents}
        if path in seen or path in folders or above & seen:
            message = f"the bundle names {path!r} twice, as file or as folder"
            raise BundleError(message, next_step="do not use it: spikecrate does not write such bundles")
        seen.add(path)
        folders |= above


def header(path: str, size: int, *, executable: bool = False) -> bytes:
    """Give the tar header of a member: the same for the same file, whoever writes it."""
    entry = tarfile.TarInfo(path)
    entry.size, entry.mtime, entry.mode = size, DATE, 0o755 if executable else 0o644
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """Give the zeros between a member's last byte and the next header."""
    return bytes(-size % BLOCK)


def trailer(manifest: Manifest) -> bytes:
    """Give the zeros that end a bundle: two blocks, and what fills the last record."""
    first = [(MANIFEST, len(manifest.as_bytes())), (SUMS, len(manifest.sums()))]
    files = first + [(member.path, member.size) for member in manifest.members]
    written = sum(len(header(path, size)) + size + len(padding(size)) for path, size in files)
    return bytes(2 * BLOCK + -(written + 2 * BLOCK) % tarfile.RECORDSIZE)


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
