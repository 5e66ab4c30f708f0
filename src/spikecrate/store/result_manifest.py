"""The manifest that seals a result folder: sizes and hashes of all its files, and a hash over these.

A folder that matches its intact manifest is exactly as it was published. A flipped, missing or added byte breaks the
seal, also in the manifest itself.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from spikecrate._util.canonical import digest
from spikecrate._util.files import entries, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAME: Final = "manifest.json"
PIECE_BYTES: Final = 64 * 2**20


@dataclass(frozen=True)
class Seal:
    """The content of a sealed folder.

    Attributes
    ----------
    files : dict
        By each file's path in the folder: `{"size": bytes, "blake3": hex}`.
    hash : str
        BLAKE3 over `files`; the identity of the folder's content.
    """

    files: dict[str, dict[str, int | str]]
    hash: str


class BrokenSealError(Exception):
    """The folder differs from its manifest; the message names the file."""


def hash_file(path: Path) -> str:
    """Return the BLAKE3 of a file's bytes, computed on all cores.

    Python handles a signal only between two calls into the hasher, so a file is hashed piece by piece: Ctrl-C is obeyed
    within one piece, whatever the size of the file. The file is mapped, which saves a copy. A mapped file that shrinks
    ends the process with SIGBUS: only files that nobody writes any more, such as the store's own, may be hashed so.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    OSError
        Where the file cannot be read.
    """
    hasher = blake3(max_threads=blake3.AUTO)
    with path.open("rb") as file:
        # An empty file cannot be mapped.
        if os.fstat(file.fileno()).st_size:
            with mmap(file.fileno(), 0, access=ACCESS_READ) as mapped, memoryview(mapped) as content:
                for start in range(0, len(content), PIECE_BYTES):
                    with content[start : start + PIECE_BYTES] as piece:
                        hasher.update(piece)
    return str(hasher.hexdigest())


def seal(folder: Path) -> Seal:
    """Write the manifest of a folder, over all regular files in it.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    Seal

    Raises
    ------
    BrokenSealError
        Where the folder contains a link or a special file, such as a socket.
    DiskFullError
    """
    files: dict[str, dict[str, int | str]] = {}
    for path in _entries(folder):
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "blake3": hash_file(path)}
    made = Seal(files, digest(["seal", files]))
    write_atomically(folder / NAME, json.dumps({"files": files, "seal": made.hash}, indent=1).encode())
    return made


def read(folder: Path) -> Seal:
    """Read a folder's manifest and check it against its own hash.

    Parameters
    ----------
    folder : Path
        The sealed folder.

    Returns
    -------
    Seal

    Raises
    ------
    BrokenSealError
    """
    path = folder / NAME
    try:
        entry = json.loads(path.read_bytes())
        found = Seal(entry["files"], entry["seal"])
        intact = digest(["seal", found.files]) == found.hash and all(
            facts.keys() == {"size", "blake3"} for facts in found.files.values()
        )
    except FileNotFoundError:
        message = f"{NAME} is missing"
        raise BrokenSealError(message) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        message = f"{NAME} cannot be read: {error}"
        raise BrokenSealError(message) from None
    if not intact:
        message = f"{NAME} does not match its own hash"
        raise BrokenSealError(message)
    return found


def check(folder: Path, found: Seal, names: Iterable[str] | None = None) -> None:
    """Check files against the manifest.

    Parameters
    ----------
    folder : Path
        The sealed folder.
    found : Seal
        Its manifest, as `read` returns it.
    names : iterable of str, optional
        The files to check; by default all, and that there is no other.

    Raises
    ------
    BrokenSealError
        Naming the first file that differs.
    """
    if names is None:
        names = sorted(found.files)
        extra = {path.relative_to(folder).as_posix() for path in _entries(folder)} - {*names}
        if extra:
            message = f"{min(extra)} was added"
            raise BrokenSealError(message)
    for name in names:
        problem = _problem_of(folder / name, found.files.get(name))
        if problem is not None:
            message = f"{name} {problem}"
            raise BrokenSealError(message)


def _problem_of(path: Path, entry: dict[str, int | str] | None) -> str | None:
    """Return how a file differs from its entry in the manifest; None where it matches."""
    if entry is None:
        return f"is not in {NAME}"
    if path.is_symlink() or not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != entry["size"]:
        return f"has {size} bytes, not {entry['size']}"
    return None if hash_file(path) == entry["blake3"] else "does not match its hash"


def _entries(folder: Path) -> list[Path]:
    found = []
    for path in entries(folder):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            message = f"{path.relative_to(folder).as_posix()} is a link or a special file"
            raise BrokenSealError(message)
        if path.is_file() and path.name != NAME:
            found.append(path)
    return found
