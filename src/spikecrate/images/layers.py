"""The files in an image's layers, and how two of them differ.

The format of a layer, whiteouts included, is that of https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import IO, TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
XATTR: Final = "SCHILY.xattr."
CHUNK: Final = 1 << 20


class File(NamedTuple):
    """One file of an image.

    `content` is the SHA-256 of a regular file, the target of a link, the numbers of a device; `attributes` are its
    extended attributes as JSON.
    """

    kind: str
    mode: int
    owner: str
    date: float
    content: str
    attributes: str = ""


def read_layer(
    packed: IO[bytes],
    keep: Callable[[str], bool] = lambda _path: False,
    texts: dict[str, bytes] | None = None,
) -> dict[str, File]:
    """Read the files of one layer.

    Parameters
    ----------
    packed : binary file
        The layer, compressed or not.
    keep, texts
        As in `read_members`.

    Returns
    -------
    dict
        Files by path, without the first slash; whiteouts included.
    """
    with tarfile.open(fileobj=packed, mode="r|*") as layer:
        return read_members(layer, keep, {} if texts is None else texts)


def read_members(
    layer: tarfile.TarFile,
    keep: Callable[[str], bool] = lambda _path: False,
    texts: dict[str, bytes] | None = None,
) -> dict[str, File]:
    """Read the files of one layer.

    Parameters
    ----------
    layer : TarFile
        The layer.
    keep : callable
        Whether to keep the bytes of the file at a path.
    texts : dict, optional
        Gets these bytes, by their SHA-256.

    Returns
    -------
    dict
        Files by path, without the first slash; whiteouts included.
    """
    found: dict[str, File] = {}
    for member in layer:
        path = _plain(member.name)
        if member.islnk():
            # A second name of a file that stands earlier in the same layer.
            found[path] = found[_plain(member.linkname)]
        elif path not in {"", "."}:
            content = _content(layer, member, None if texts is None or not keep(path) else texts)
            found[path] = _file(member, content)
    return found


def _plain(name: str) -> str:
    return name.removeprefix("./").strip("/")


def _file(member: tarfile.TarInfo, content: str) -> File:
    kind = "device"
    if member.isdir():
        kind = "folder"
    elif member.issym():
        kind = "link"
    elif member.isreg():
        kind = "file"
    xattrs = {name: value for name, value in sorted(member.pax_headers.items()) if name.startswith(XATTR)}
    attributes = json.dumps(xattrs) if xattrs else ""
    owner = f"{member.uid}:{member.gid}"
    return File(kind, member.mode, owner, float(member.mtime), content, attributes)


def _content(layer: tarfile.TarFile, member: tarfile.TarInfo, texts: dict[str, bytes] | None) -> str:
    """Return what `File.content` holds; keep the bytes of a regular file in `texts`."""
    if member.isdir():
        return ""
    if member.issym():
        return member.linkname
    if not member.isreg():
        return f"{member.type!r} {member.devmajor}:{member.devminor}"
    hashed = hashlib.sha256()
    kept = bytearray()
    file = layer.extractfile(member)
    assert file is not None
    with file:
        while chunk := file.read(CHUNK):
            hashed.update(chunk)
            if texts is not None:
                kept += chunk
    if texts is not None:
        texts[hashed.hexdigest()] = bytes(kept)
    return hashed.hexdigest()


def apply_layer(files: dict[str, File], layer: Mapping[str, File]) -> None:
    """Lay one layer on those below.

    Parameters
    ----------
    files : dict
        Files of the layers below; changed in place.
    layer : mapping
        Files of the layer, whiteouts included.
    """
    hidden: set[str] = set()
    # Folders that lose what they held. A file in place of a folder does that too.
    emptied = {path for path, file in layer.items() if file.kind != "folder"}
    for path in layer:
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            emptied.add(folder)
        elif name.startswith(WHITEOUT):
            hidden.add(f"{folder}/{name.removeprefix(WHITEOUT)}".strip("/"))
    gone = hidden | emptied
    for path in list(files):
        if path in hidden or "" in emptied or not gone.isdisjoint(_parents(path)):
            del files[path]
    files.update(
        (path, file) for path, file in layer.items() if not path.rpartition("/")[2].startswith(WHITEOUT)
    )


def _parents(path: str) -> Iterable[str]:
    return (path[:at] for at, letter in enumerate(path) if letter == "/")


def changed_files(first: Mapping[str, File], second: Mapping[str, File]) -> dict[str, str]:
    """Describe the files that differ, by path, in order.

    Parameters
    ----------
    first : mapping
        Files by path.
    second : mapping
        Files by path.

    Returns
    -------
    dict
        What differs, by path.

    Examples
    --------
    >>> changed_files({"run": File("file", 0o644, "0:0", 1.0, "aa")}, {"run": File("file", 0o755, "0:0", 1.0, "bb")})
    {'/run': 'mode 644 and 755, content'}
    """
    return {
        f"/{path}": _describe(first.get(path), second.get(path))
        for path in sorted(first.keys() | second.keys())
        if first.get(path) != second.get(path)
    }


def _describe(first: File | None, second: File | None) -> str:
    if first is None or second is None:
        return f"only in the {'second' if first is None else 'first'}"
    fields = []
    for name, one, other in zip(File._fields, first, second, strict=True):
        if name == "mode" and one != other:
            fields.append(f"mode {one:o} and {other:o}")
        elif one != other:
            # Two hashes of contents help nobody.
            fields.append(name if name == "content" else f"{name} {one} and {other}")
    return ", ".join(fields)


def first_change(first: Mapping[str, File], second: Mapping[str, File]) -> str:
    """Return the first of `changed_files` as text; empty where nothing differs.

    Parameters
    ----------
    first : mapping
        Files by path.
    second : mapping
        Files by path.

    Returns
    -------
    str
    """
    return next((f"{path}: {change}" for path, change in changed_files(first, second).items()), "")
