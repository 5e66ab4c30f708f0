"""Write the library's own wheel, and select the part of the project's lock that it needs."""

from __future__ import annotations

import base64
import csv
import email
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.data import PACKAGE, data_path
from spikecrate._util.process import run
from spikecrate.errors import BundleError, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME: Final = "spikecrate"
BLOCK: Final = re.compile(r"^([A-Za-z0-9][\w.-]*)==.*\n(?:[ \t].*\n)*", re.MULTILINE)
"""A package in a lock, with its lines of hashes."""
OF_THE_INSTALLATION: Final = frozenset({"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"})
"""Files that an installer adds to those of the wheel."""
DATE: Final = (1980, 1, 1, 0, 0, 0)


def own_wheel(folder: Path) -> Path:
    """Write the wheel of the spikecrate that runs; the same files give the same bytes.

    A clone is built with the project's build backend, which is fetched where it is not installed. An installed
    spikecrate is packed again from its files, each compared with its hash in RECORD.

    Parameters
    ----------
    folder : Path
        Folder for the wheel.

    Returns
    -------
    Path
        The wheel.

    Raises
    ------
    BundleError
        The build fails, or an installed file has changed.
    """
    root = PACKAGE.parents[1]
    return _built(root, folder) if (root / "pyproject.toml").exists() else _repacked(folder)


def needed_lock(wheel: Path) -> str:
    """Return the part of the project's lock that the wheel and its dependencies need.

    Parameters
    ----------
    wheel : Path
        The library's wheel.

    Returns
    -------
    str
        A lock with hashes.

    Raises
    ------
    BundleError
        The lock lacks a package.
    """
    blocks: dict[str, str] = {}
    for found in BLOCK.finditer(data_path("requirements.lock").read_text(encoding="utf-8")):
        # A lock can hold several versions of a package, one for each Python.
        blocks[_canonical(found[1])] = blocks.get(_canonical(found[1]), "") + found[0]
    with zipfile.ZipFile(wheel) as opened:
        name = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        wanted = _required(email.message_from_bytes(opened.read(name)).get_all("Requires-Dist", []))
    needed: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            wanted |= _required(importlib.metadata.requires(name) or [])
    missing = sorted(needed - set(blocks))
    if missing:
        message = f"requirements.lock lacks {', '.join(missing)}, which spikecrate needs"
        raise BundleError(message, next_step="write the lock anew; its first lines name the command")
    return "".join(blocks[name] for name in sorted(needed))


def _built(root: Path, folder: Path) -> Path:
    import uv

    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    words = [
        "--quiet",
        "--wheel",
        *isolation,
        "--python",
        sys.executable,
        "--out-dir",
        str(folder),
        str(root),
    ]
    try:
        run([uv.find_uv_bin(), "build", *words], env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"})
    except CommandError as error:
        message = f"the wheel of spikecrate cannot be built; {error}"
        raise BundleError(
            message, next_step="pip install hatchling, which builds it without a network"
        ) from None
    (wheel,) = folder.glob("*.whl")
    return wheel


def _repacked(folder: Path) -> Path:
    distribution = importlib.metadata.distribution(NAME)
    info = f"{NAME}-{distribution.version}.dist-info"
    wheel = folder / f"{NAME}-{distribution.version}-py3-none-any.whl"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(wheel, "x", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(distribution.files or [], key=str):
            if file.hash is None or ".." in file.parts or _is_of_the_installation(file.parts, info):
                continue
            path = Path(str(file.locate()))
            data = path.read_bytes()
            if _urlsafe(data) != file.hash.value:
                message = f"{path} has changed since it was installed"
                raise BundleError(message, next_step="install spikecrate again")
            _add(archive, str(file), data, executable=bool(path.stat().st_mode & 0o100))
            rows.writerow((str(file), f"sha256={_urlsafe(data)}", len(data)))
        rows.writerow((f"{info}/RECORD", "", ""))
        _add(archive, f"{info}/RECORD", record.getvalue().encode(), executable=False)
    return wheel


def _is_of_the_installation(parts: tuple[str, ...], info: str) -> bool:
    mine = parts[0] == info and (parts[-1] in OF_THE_INSTALLATION or parts[-1].startswith("uv_"))
    return mine or "__pycache__" in parts


def _add(archive: zipfile.ZipFile, name: str, data: bytes, *, executable: bool) -> None:
    entry = zipfile.ZipInfo(name, DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    # The recipe hash includes the executable bit, which an installer takes from here.
    entry.external_attr = (0o100755 if executable else 0o100644) << 16
    archive.writestr(entry, data)


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _required(lines: Iterable[str]) -> set[str]:
    from packaging.requirements import Requirement

    found = map(Requirement, lines)
    return {_canonical(one.name) for one in found if one.marker is None or one.marker.evaluate({"extra": ""})}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
