"""What is in an image: every file, every Debian and Python package.

Read from the image's own archive, layer by layer; nothing of the image is started. Debian's packages are those
of /var/lib/dpkg/status, Python's those with a `.dist-info` folder. Both kinds bring a list of their files with the hash
of each, dpkg's `.md5sums` and Python's RECORD; the hash of that list stands for the package.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from spikecrate.errors import ImageInvalidError
from spikecrate.images.archive import ZSTD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spikecrate._util.progress import Progress

DPKG_STATUS: Final = "var/lib/dpkg/status"
DPKG_PARTS: Final = "var/lib/dpkg/status.d/"
"""One file each for packages of which an image has some files only, and which dpkg does not know; without a list of files."""
DPKG_LISTS: Final = "var/lib/dpkg/info"
METADATA: Final = ".dist-info/METADATA"
WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
CHUNK: Final = 1 << 20


class File(NamedTuple):
    """What counts of a file.

    `content` is the SHA-256 of a regular file, the target of a link, the numbers of a device.
    """

    kind: str
    mode: int
    owner: str
    date: float
    content: str


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is in an image.

    Attributes
    ----------
    title : str
        The image's reference, or the path of the lock.
    digest : str or None
        Its id; None in a lock that was made by an engine whose digests are its own.
    debian : dict
        `{"version", "record"}` by package, named as `dpkg --list` does, `libc6:amd64`; `record` is the SHA-256 of its
        list of files, or None.
    python : dict
        The same by folder and package.
    settings : dict or None
        Entrypoint, labels and the like, each as JSON; None in a lock.
    files : dict or None
        By path, without the first slash; None in a lock.
    """

    title: str
    digest: str | None
    debian: dict[str, dict[str, str | None]]
    python: dict[str, dict[str, dict[str, str | None]]]
    settings: dict[str, str] | None = None
    files: dict[str, File] | None = None


def read_archive(archive: IO[bytes], progress: Progress, title: str) -> Contents:
    """Read the archive of one image, as `docker save` writes it.

    Returns
    -------
    Contents
        Its digest is left to the caller: an archive alone does not tell what the engine calls it.

    Raises
    ------
    ImageInvalidError
        Where the archive is damaged, or packed in a way that Python cannot read (zstd).
    """
    try:
        with tarfile.open(fileobj=archive) as opened:
            (manifest,) = json.loads(_bytes(opened, "manifest.json"))
            config = json.loads(_bytes(opened, manifest["Config"]))
            files, texts = _walk(opened, manifest["Layers"], progress, title)
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
        message = f"the archive of {title} cannot be read: {type(error).__name__}: {error}"
        raise ImageInvalidError(message, next_step="build the image anew, with --no-cache") from None
    known = [path for path in files if path == DPKG_STATUS or path.startswith(DPKG_PARTS)]
    status = "\n\n".join(texts[files[path].content].decode() for path in known if files[path].kind == "file")
    return Contents(
        title=title,
        digest=None,
        debian=debian_packages(status, files),
        python=python_packages(files, texts),
        settings=_settings(config),
        files=files,
    )


def debian_packages(status: str, files: Mapping[str, File]) -> dict[str, dict[str, str | None]]:
    r"""Read the installed packages from dpkg's status file.

    >>> debian_packages("Package: adduser\nStatus: install ok installed\nVersion: 3.134\n", {})
    {'adduser': {'version': '3.134', 'record': None}}
    """
    found: dict[str, dict[str, str | None]] = {}
    for paragraph in status.split("\n\n"):
        lines = [line.partition(":") for line in paragraph.splitlines() if not line[:1].isspace()]
        fields = {name: value.strip() for name, _, value in lines}
        if fields.get("Status", "").split()[-1:] != ["installed"]:
            continue
        # The architecture belongs to the name where several may be installed at once.
        also = f":{fields['Architecture']}" if fields.get("Multi-Arch") == "same" else ""
        name = fields["Package"] + also
        found[name] = _package(fields["Version"], files.get(f"{DPKG_LISTS}/{name}.md5sums"))
    return dict(sorted(found.items()))


def python_packages(
    files: Mapping[str, File], texts: Mapping[str, bytes]
) -> dict[str, dict[str, dict[str, str | None]]]:
    """Find Python's packages: by folder, then by name.

    Parameters
    ----------
    files : mapping
        All files of the image.
    texts : mapping
        Content of those that tell of packages, by their SHA-256.
    """
    from email.parser import BytesHeaderParser

    from packaging.utils import canonicalize_name

    found: dict[str, dict[str, dict[str, str | None]]] = {}
    for path in sorted(files):
        folder, _, _ = path.removesuffix(METADATA).rpartition("/")
        # Copies that a package has inside itself are not installed.
        if not path.endswith(METADATA) or not folder.endswith(("/site-packages", "/dist-packages")):
            continue
        said = BytesHeaderParser().parsebytes(texts[files[path].content])
        record = files.get(path.removesuffix("METADATA") + "RECORD")
        found.setdefault(f"/{folder}", {})[canonicalize_name(said["Name"])] = _package(
            str(said["Version"]), record
        )
    return found


def _package(version: str, record: File | None) -> dict[str, str | None]:
    return {"version": version, "record": None if record is None else f"sha256:{record.content}"}


def _walk(
    archive: tarfile.TarFile, layers: Iterable[str], progress: Progress, title: str
) -> tuple[dict[str, File], dict[str, bytes]]:
    """Lay the layers one on another."""
    files: dict[str, File] = {}
    texts: dict[str, bytes] = {}
    members = [archive.getmember(name) for name in layers]
    with progress.bar(title, sum(member.size for member in members)) as advance:
        for member in members:
            packed = archive.extractfile(member)
            assert packed is not None
            _require_readable(packed.read(len(ZSTD)), title)
            packed.seek(0)
            with packed, tarfile.open(fileobj=packed, mode="r|*") as layer:
                _lay(files, texts, layer)
            advance(member.size)
    return files, texts


def _require_readable(head: bytes, title: str) -> None:
    if head == ZSTD and sys.version_info < (3, 14):
        message = f"a layer of {title} is packed with zstd, which Python reads only from 3.14 on"
        raise ImageInvalidError(
            message,
            next_step="run spikecrate with Python 3.14, or build the image here instead of pulling it: "
            "spikecrate build --sorter NAME --no-cache",
        )


def _lay(files: dict[str, File], texts: dict[str, bytes], layer: tarfile.TarFile) -> None:
    new: dict[str, File] = {}
    hidden: set[str] = set()
    emptied: set[str] = set()
    for member in layer:
        path = member.name.removeprefix("./").strip("/")
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            emptied.add(folder)
        elif name.startswith(WHITEOUT):
            hidden.add(f"{folder}/{name.removeprefix(WHITEOUT)}".strip("/"))
        elif path not in {"", "."}:
            new[path] = _file(member, layer, new, texts)
            if not member.isdir():
                # Where a folder was before, what it held is gone too.
                emptied.add(path)
    for path in list(files):
        above = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        if path in hidden or any(folder in hidden or folder in emptied for folder in above) or "" in emptied:
            del files[path]
    files.update(new)


def _file(
    member: tarfile.TarInfo, layer: tarfile.TarFile, new: Mapping[str, File], texts: dict[str, bytes]
) -> File:
    if member.islnk():
        # A second name of a file that stands before it in the same layer.
        return new[member.linkname.removeprefix("./").strip("/")]
    kind, content = "file", ""
    if member.isdir():
        kind = "folder"
    elif member.issym():
        kind, content = "link", member.linkname
    elif not member.isreg():
        kind, content = "device", f"{member.type!r} {member.devmajor}:{member.devminor}"
    else:
        content = _hash(member, layer, texts)
    return File(kind, member.mode, f"{member.uid}:{member.gid}", float(member.mtime), content)


def _hash(member: tarfile.TarInfo, layer: tarfile.TarFile, texts: dict[str, bytes]) -> str:
    file = layer.extractfile(member)
    assert file is not None
    hashed = hashlib.sha256()
    tells = member.name.endswith((DPKG_STATUS, METADATA)) or DPKG_PARTS in member.name
    kept = bytearray()
    while chunk := file.read(CHUNK):
        hashed.update(chunk)
        if tells:
            kept += chunk
    digest = hashed.hexdigest()
    if tells:
        texts[digest] = bytes(kept)
    return digest


def _bytes(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    with file:
        return file.read()


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    said = dict(config.get("config") or {})
    labels = said.pop("Labels", None) or {}
    said |= {f"label {name}": value for name, value in labels.items()}
    said |= {name: config.get(name) for name in ("architecture", "os", "created")}
    return {name: json.dumps(value) for name, value in sorted(said.items()) if value is not None}
