"""The wheels in a bundle: the library's own, and those that locks name for one Python.

pip reads the index with the user's settings and checks every file against the lock's hashes. A source is built with the
sorter's pinned build tools for the oldest C library in use, so that the other machine needs neither a compiler nor
Python's headers. uv has no `pip download` (https://github.com/astral-sh/uv/issues/3163).
"""

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
from spikecrate._util.files import disk_full_named, write_atomically
from spikecrate._util.process import run
from spikecrate.environments import environment
from spikecrate.environments.toolchain import find_interpreter
from spikecrate.errors import BundleError, CommandError, DiskFullError
from spikecrate.images.buildx import is_disk_full
from spikecrate.images.recipe import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate._util.progress import Progress
    from spikecrate.images.request import BuildRequest
    from spikecrate.store import Store

MANYLINUX: Final = re.compile(r"manylinux_2_(\d+)_")
OLDEST_GLIBC: Final = 28
"""Minor version of glibc, as in toolchain.ZIG_FLAGS: wheels for a newer one than 2.28 are the second choice."""
NAME: Final = "spikecrate"
BLOCK: Final = re.compile(r"^([A-Za-z0-9][\w.-]*)==.*\n(?:[ \t].*\n)*", re.MULTILINE)
"""A package in a lock, with its lines of hashes."""
OF_THE_INSTALLATION: Final = frozenset({"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"})
"""Files that an installer adds to those of the wheel."""
DATE: Final = (1980, 1, 1, 0, 0, 0)


def download(
    lock: str,
    python: str,
    folder: Path,
    store: Store,
    progress: Progress,
    *,
    tools: Path | None = None,
) -> list[Path]:
    """Download one file of every package in a lock.

    Parameters
    ----------
    lock : str
        Text of a lock with hashes.
    python : str
        Python version that the wheels must fit: `3.11`.
    folder : Path
        Folder for the files.
    store : Store
        Keeps the files for the next bundle, under `environments/downloads/`.
    progress : Progress
        Shows a bar and receives the log.
    tools : Path, optional
        Environment with build tools, in which pip reads the metadata of sources. Without it only wheels are taken.

    Returns
    -------
    list of Path
        Wheels, and sources where no wheel fits.

    Raises
    ------
    BundleError
        The index is out of reach, or has no file that the lock allows.
    DiskFullError
        The disk is full.
    """
    names = folder / "wanted.txt"
    downloaded = folder / "downloaded"
    # By Python: a file for another one may fit as well, but not best.
    kept = store.environments / "downloads" / python
    with disk_full_named(folder):
        names.write_text(lock, encoding="utf-8")
        kept.mkdir(parents=True, exist_ok=True)
    argv = [
        *(sys.executable, "-m", "pip"),
        *([] if tools is None else [f"--python={tools}"]),
        *("download", "--no-deps", "--require-hashes", "--disable-pip-version-check"),
        # Half a minute in all: a name server or proxy that fails is often up again by then.
        "--retries=7",
        # pip asks a source for its metadata even with --no-deps: https://github.com/pypa/pip/issues/1884
        "--only-binary=:all:" if tools is None else "--no-build-isolation",
        *(f"--python-version={python}", "--implementation=cp"),
        *(f"--platform={platform}" for platform in platforms()),
        *(f"--dest={downloaded}", f"--requirement={names}"),
    ]

    def on_line(line: str) -> None:
        progress.line(line)
        if line.startswith("WARNING: Retrying"):
            progress.note("the package index does not answer; pip tries again")

    try:
        with progress.bar("downloading wheels", 0):
            try:
                # What an earlier bundle has downloaded needs no index, which may be out of reach today.
                run([*argv, "--no-index", f"--find-links={kept}"], on_line=progress.line)
            except CommandError:
                run(argv, on_line=on_line)
    except CommandError as error:
        if is_disk_full(error):
            message = f"the wheels cannot be downloaded: the disk is full\n{error.tail}"
            raise DiskFullError(message, next_step="free some space, or choose a larger disk") from None
        message = f"the wheels for Python {python} cannot be downloaded:\n{error.tail}"
        raise BundleError(
            message,
            next_step="check that the package index is in reach; a package without a wheel for this Python needs "
            "a build.lock (docs/add-a-sorter.md)",
        ) from None
    files = sorted(downloaded.iterdir())
    with disk_full_named(kept):
        for path in files:
            if not (kept / path.name).exists():
                write_atomically(kept / path.name, path.read_bytes())
    return files


def platforms() -> list[str]:
    """Return the platforms of wheels for this processor, those for an old C library first.

    Returns
    -------
    list of str
        The best first.
    """
    from packaging import tags

    def is_new(platform: str) -> bool:
        found = MANYLINUX.match(platform)
        return found is not None and int(found[1]) > OLDEST_GLIBC

    return sorted(tags.platform_tags(), key=is_new)


def of_sorter(
    request: BuildRequest, python: str, folder: Path, store: Store, progress: Progress
) -> list[Path]:
    """Download the wheels of a sorter's lock and build the missing ones; the same sources give the same bytes.

    Parameters
    ----------
    request : BuildRequest
        The sorter, with its folder in a verified copy.
    python : str
        Python version that the wheels must fit: `3.11`.
    folder : Path
        Folder to work in.
    store : Store
        Keeps downloads and the compiler.
    progress : Progress
        Receives the log.

    Returns
    -------
    list of Path
        The wheels.

    Raises
    ------
    BundleError
        The index is out of reach, or a build fails; with the last lines of its log.
    EnvironmentBuildError
        A wheel must be built, and this machine lacks the Python, its headers or a compiler.
    DiskFullError
        The disk is full.
    """
    import uv

    lock = (request.folder / LOCK).read_text(encoding="utf-8")
    build_lock = request.folder / environment.BUILD_LOCK
    if not build_lock.exists():
        return download(lock, python, folder, store, progress)
    tools = folder / "tools" / "bin" / "python"
    interpreter, _ = find_interpreter(request)
    environ = environment.build_environ(request, store, progress, portable=True)
    # Assertions in headers compile their path into the code.
    nowhere = f" -ffile-prefix-map={folder}=."
    environ |= {name: environ.get(name, "") + nowhere for name in ("CFLAGS", "CXXFLAGS")}
    environ["UV_CACHE_DIR"] = str(folder / "cache")
    words = ["--wheel", "--no-build-isolation", "--no-config", "--offline", f"--python={tools}"]
    ready = []
    try:
        environment.install_locked(folder / "tools", interpreter, build_lock)
        for path in download(lock, python, folder, store, progress, tools=tools):
            if path.suffix == ".whl":
                ready.append(path)
                continue
            progress.note(f"building a wheel of {path.name}")
            argv = [uv.find_uv_bin(), "build", *words, f"--out-dir={folder / 'built'}", str(path)]
            run(argv, env=environ, on_line=progress.line)
    except CommandError as error:
        message = f"a wheel could not be built; {error}"
        raise BundleError(message, next_step="the lines above name what the build lacks") from None
    return [*ready, *sorted((folder / "built").glob("*.whl"))]


def lock_of(wheels: Iterable[Path]) -> str:
    """Return the text of a lock that allows only these files.

    Parameters
    ----------
    wheels : iterable of Path
        Wheels.

    Returns
    -------
    str
        A requirements file with hashes.
    """
    from packaging.utils import parse_wheel_filename

    lines = []
    for path in sorted(wheels, key=lambda path: path.name):
        name, version, *_ = parse_wheel_filename(path.name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


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
    from packaging.utils import canonicalize_name

    blocks: dict[str, str] = {}
    for found in BLOCK.finditer(data_path("requirements.lock").read_text(encoding="utf-8")):
        # A lock can hold several versions of a package, one for each Python.
        name = canonicalize_name(found[1])
        blocks[name] = blocks.get(name, "") + found[0]
    with zipfile.ZipFile(wheel) as opened:
        metadata = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        wanted = _required(email.message_from_bytes(opened.read(metadata)).get_all("Requires-Dist", []))
    needed: set[str] = set()
    while wanted - needed:
        package = min(wanted - needed)
        needed.add(package)
        wanted |= _required(importlib.metadata.requires(package) or [])
    missing = sorted(needed - set(blocks))
    if missing:
        message = f"requirements.lock lacks {', '.join(missing)}, which spikecrate needs"
        raise BundleError(message, next_step="resolve requirements.lock again from pyproject.toml")
    return "".join(blocks[name] for name in sorted(needed))


def _built(root: Path, folder: Path) -> Path:
    import uv

    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    words = ["--quiet", "--wheel", *isolation, f"--python={sys.executable}", f"--out-dir={folder}", str(root)]
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
    from packaging.utils import canonicalize_name

    found = map(Requirement, lines)
    return {
        canonicalize_name(one.name)
        for one in found
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }
