"""The files in an image's layers, how two of them differ, and the Debian and Python packages that they make.

Debian's packages are those of /var/lib/dpkg/status, Python's those with a `.dist-info` folder. Both come with a list of
their files and the hash of each, dpkg's `.md5sums` and Python's RECORD; the hash of that list stands for the package.

The format of a layer, whiteouts included, is that of https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterable, Mapping

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
XATTR: Final = "SCHILY.xattr."
DPKG_STATUS: Final = "var/lib/dpkg/status"
DPKG_PARTS: Final = "var/lib/dpkg/status.d/"
"""One file each for packages of which an image has only some files; dpkg does not know them, and they have no list."""
DPKG_LISTS: Final = "var/lib/dpkg/info"
METADATA: Final = ".dist-info/METADATA"

Package = dict[str, str | None]
"""`version`, and `record`: the SHA-256 of the package's list of files, or None."""


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
            # A hard link to an earlier file of the same layer.
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
    # Folders that lose their contents; a file in place of a folder removes them too.
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
            # Two hashes of contents tell a reader nothing.
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


def names_packages(path: str) -> bool:
    """Whether a file of an image has to be read to know its packages.

    Parameters
    ----------
    path : str
        Path in the image.

    Returns
    -------
    bool
    """
    return path == DPKG_STATUS or path.startswith(DPKG_PARTS) or path.endswith(METADATA)


def debian_status(files: Mapping[str, File], texts: Mapping[str, bytes]) -> str:
    """Return dpkg's status file, with the packages that only have some files in the image.

    Parameters
    ----------
    files : mapping
        All files of the image.
    texts : mapping
        Bytes of the files that name packages, by their SHA-256.

    Returns
    -------
    str
    """
    paths = [path for path in files if path == DPKG_STATUS or path.startswith(DPKG_PARTS)]
    return "\n\n".join(texts[files[path].content].decode() for path in paths if files[path].kind == "file")


def debian_packages(status: str, files: Mapping[str, File]) -> dict[str, Package]:
    r"""Read the installed packages from dpkg's status file.

    Parameters
    ----------
    status : str
        As `debian_status`.
    files : mapping
        All files of the image.

    Returns
    -------
    dict
        By package, named as `dpkg --list` does: `libc6:amd64`.

    Examples
    --------
    >>> debian_packages("Package: adduser\nStatus: install ok installed\nVersion: 3.134\n", {})
    {'adduser': {'version': '3.134', 'record': None}}
    """
    found: dict[str, Package] = {}
    for paragraph in status.split("\n\n"):
        lines = [line.partition(":") for line in paragraph.splitlines() if not line[:1].isspace()]
        fields = {name: value.strip() for name, _, value in lines}
        if fields.get("Status", "").split()[-1:] != ["installed"]:
            continue
        # The architecture is part of the name where several can be installed at once.
        suffix = f":{fields['Architecture']}" if fields.get("Multi-Arch") == "same" else ""
        name = fields["Package"] + suffix
        found[name] = _package(fields["Version"], files.get(f"{DPKG_LISTS}/{name}.md5sums"))
    return dict(sorted(found.items()))


def python_packages(files: Mapping[str, File], texts: Mapping[str, bytes]) -> dict[str, dict[str, Package]]:
    """Read the installed Python packages.

    Parameters
    ----------
    files : mapping
        All files of the image.
    texts : mapping
        Bytes of those of which `names_packages` holds, by their SHA-256.

    Returns
    -------
    dict
        By folder, then by package.
    """
    from email.parser import BytesHeaderParser

    from packaging.utils import canonicalize_name

    found: dict[str, dict[str, Package]] = {}
    for path in sorted(files):
        folder, _, _ = path.removesuffix(METADATA).rpartition("/")
        # Copies that a package vendors are not installed.
        if not path.endswith(METADATA) or not folder.endswith(("/site-packages", "/dist-packages")):
            continue
        headers = BytesHeaderParser().parsebytes(texts[files[path].content])
        record = files.get(path.removesuffix("METADATA") + "RECORD")
        package = _package(str(headers["Version"]), record)
        found.setdefault(f"/{folder}", {})[canonicalize_name(headers["Name"])] = package
    return found


def _package(version: str, record: File | None) -> Package:
    return {"version": version, "record": None if record is None else f"sha256:{record.content}"}
