"""The files in an image's layers, and how two of them differ.

The format of a layer, whiteouts included, is that of https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final, NamedTuple

from spikecrate.images.packages import names_packages

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterable, Mapping

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
XATTR: Final = "SCHILY.xattr."


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


def read_layer(layer: tarfile.TarFile, texts: dict[str, bytes] | None = None) -> dict[str, File]:
    """Read the files of one layer.

    Parameters
    ----------
    layer : TarFile
        The layer.
    texts : dict, optional
        Gets the bytes of the files that name packages, by their SHA-256.

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
            found[path] = _file(layer, member, texts if names_packages(path) else None)
    return found


def _plain(name: str) -> str:
    return name.removeprefix("./").strip("/")


def _file(layer: tarfile.TarFile, member: tarfile.TarInfo, texts: dict[str, bytes] | None) -> File:
    if member.isdir():
        kind, content = "folder", ""
    elif member.issym():
        kind, content = "link", member.linkname
    elif member.isreg():
        kind, content = "file", _hash(layer, member, texts)
    else:
        kind, content = "device", f"{member.type!r} {member.devmajor}:{member.devminor}"
    xattrs = {name: value for name, value in sorted(member.pax_headers.items()) if name.startswith(XATTR)}
    attributes = json.dumps(xattrs) if xattrs else ""
    return File(kind, member.mode, f"{member.uid}:{member.gid}", float(member.mtime), content, attributes)


def _hash(layer: tarfile.TarFile, member: tarfile.TarInfo, texts: dict[str, bytes] | None) -> str:
    """Return the SHA-256 of a regular file; keep its bytes in `texts`."""
    file = layer.extractfile(member)
    assert file is not None
    if texts is None:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    data = file.read()
    digest = hashlib.sha256(data).hexdigest()
    texts[digest] = data
    return digest


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
