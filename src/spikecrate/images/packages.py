"""The Debian and Python packages in an image.

Debian's packages are those of /var/lib/dpkg/status, Python's those with a `.dist-info` folder. Both come with a list of
their files and the hash of each, dpkg's `.md5sums` and Python's RECORD; the hash of that list stands for the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.images.layers import File

DPKG_STATUS: Final = "var/lib/dpkg/status"
DPKG_PARTS: Final = "var/lib/dpkg/status.d/"
"""One file each for packages of which an image has only some files; dpkg does not know them, and they have no list."""
DPKG_LISTS: Final = "var/lib/dpkg/info"
METADATA: Final = ".dist-info/METADATA"

Package = dict[str, str | None]
"""`version`, and `record`: the SHA-256 of the package's list of files, or None."""


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
