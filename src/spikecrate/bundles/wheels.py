"""Fetch the wheels that a lock names for one Python, and build those that the index has only as a source.

uv reads the index with the user's settings and lists its files; every fetched file must have one of the lock's
hashes. A source is built with the sorter's pinned build tools for the oldest C library in use, so that the other
machine needs neither a compiler nor Python's headers. uv has no `pip download`
(https://github.com/astral-sh/uv/issues/3163), so the files are fetched here.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import threading
import tomllib
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from spikecrate._util.canonical import digest
from spikecrate._util.files import disk_full_named, remove_tree, write_atomically
from spikecrate._util.process import run
from spikecrate.errors import BundleError, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from packaging.tags import Tag

    from spikecrate._util.progress import Progress
    from spikecrate.store import Store

HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
MANYLINUX: Final = re.compile(r"manylinux_2_(\d+)_")
OLDEST_GLIBC: Final = 28
"""Minor version of glibc, as in environment.ZIG_FLAGS: wheels for a newer one than 2.28 are the second choice."""
FETCHERS: Final = 4
TIMEOUT_S: Final = 60
WAITS_S: Final = (1, 2, 4, 8, 16)
"""Seconds before each further attempt: a name server or proxy that stumbles is up again within their sum."""
SERVER_ERRORS: Final = 500
"""HTTP status codes from here on are faults of the server, which can pass."""
INDEX_NEXT: Final = "bundling fetches wheels: is the package index in reach?"


@dataclass(frozen=True)
class File:
    """A file in the index that the lock allows.

    Attributes
    ----------
    filename, url, sha256 : str
        Name, address and hash of the file.
    """

    filename: str
    url: str
    sha256: str


def collect(lock: str, python: str, store: Store, progress: Progress) -> list[Path]:
    """Fetch one file of every package in a lock; a file that the store has is not fetched again.

    Parameters
    ----------
    lock : str
        Text of a lock with hashes.
    python : str
        Python version that the wheels must fit: `3.11`.
    store : Store
        Keeps the files under `environments/downloads/`.
    progress : Progress
        Shows a bar.

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
    folder = store.environments / "downloads"
    with disk_full_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files = _chosen(lock, python, folder)
    found = []
    stop = threading.Event()
    with progress.bar("fetching wheels", len(files)) as advance, ThreadPoolExecutor(FETCHERS) as pool:
        jobs = [pool.submit(fetch, file, folder, stop, progress) for file in files]
        try:
            for job in jobs:
                found.append(job.result())
                advance(1)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return found


def choose(packages: Iterable[dict[str, Any]], allowed: set[str], tags: Sequence[Tag]) -> list[File]:
    """Choose the best wheel of every package, or its source where no wheel fits.

    Parameters
    ----------
    packages : iterable of dict
        The `packages` of a pylock.toml.
    allowed : set of str
        SHA-256 hashes in the lock.
    tags : sequence of Tag
        Tags that a wheel can have, the best first.

    Returns
    -------
    list of File
        One for each package.

    Raises
    ------
    BundleError
        Naming a package that has neither.
    """
    from packaging.pylock import PackageSdist, PackageWheel, Pylock, PylockSelectError, PylockValidationError

    chosen = []
    for package in packages:
        kept: dict[str, Any] = {"name": package["name"], "version": package["version"]}
        kept["wheels"] = [entry for entry in package.get("wheels", ()) if _sha256_of(entry) in allowed]
        if _sha256_of(package.get("sdist", {})) in allowed:
            kept["sdist"] = package["sdist"]
        lock = {"lock-version": "1.0", "created-by": "uv", "packages": [kept]}
        try:
            ((_, file),) = Pylock.from_dict(lock).select(tags=tags)
        except (PylockSelectError, PylockValidationError):
            message = f"the index has no file of {kept['name']} {kept['version']} that the lock allows"
            raise BundleError(
                message, next_step="write the lock anew, or bundle with another Python"
            ) from None
        assert isinstance(file, PackageWheel | PackageSdist)
        chosen.append(File(file.filename, file.url or "", file.hashes["sha256"]))
    return chosen


def tags_of(python: str) -> list[Tag]:
    """Return the tags of wheels for this processor, those for an old C library first.

    Parameters
    ----------
    python : str
        Python version: `3.11`.

    Returns
    -------
    list of Tag
        The best first.
    """
    from packaging import tags

    version = tuple(map(int, python.split(".")))

    def is_new(platform: str) -> bool:
        found = MANYLINUX.match(platform)
        return found is not None and int(found[1]) > OLDEST_GLIBC

    platforms = sorted(tags.platform_tags(), key=is_new)
    interpreter = f"cp{version[0]}{version[1]}"
    return [
        *tags.cpython_tags(version, platforms=platforms),
        *tags.compatible_tags(version, interpreter, platforms=platforms),
    ]


def build(
    sources: Sequence[Path],
    tools: Sequence[Path],
    interpreter: Path,
    environ: dict[str, str],
    folder: Path,
    progress: Progress,
) -> list[Path]:
    """Build wheels from sources; the same sources give the same bytes in any folder.

    Parameters
    ----------
    sources, tools : sequence of Path
        Source archives, and the wheels of their build tools.
    interpreter : Path
        Python that the wheels are for.
    environ : dict
        Environment with the compiler and its flags.
    folder : Path
        Folder to work in.
    progress : Progress
        Receives the log.

    Returns
    -------
    list of Path
        The wheels, in the folder's `built/`.

    Raises
    ------
    BundleError
        A build fails; with the last lines of its log.
    """
    import uv

    tool = uv.find_uv_bin()
    python = folder / "tools" / "bin" / "python"
    # Assertions in headers compile their path into the code.
    nowhere = f" -ffile-prefix-map={folder}=."
    environ = {
        **environ,
        "UV_CACHE_DIR": str(folder / "cache"),
        "CFLAGS": environ.get("CFLAGS", "") + nowhere,
        "CXXFLAGS": environ.get("CXXFLAGS", "") + nowhere,
    }
    try:
        run([tool, "venv", "--quiet", "--python", interpreter, folder / "tools"], env=environ)
        run([tool, "pip", "install", "--python", python, "--no-index", "--no-deps", *tools], env=environ)
        for source in sources:
            progress.note(f"building a wheel of {source.name}")
            words = ["--wheel", "--no-build-isolation", "--no-config", "--offline", "--python", str(python)]
            run(
                [tool, "build", *words, "--out-dir", str(folder / "built"), str(source)],
                env=environ,
                on_line=progress.line,
            )
    except CommandError as error:
        message = f"a wheel could not be built; {error}"
        raise BundleError(message, next_step="the lines above name what the build lacks") from None
    return sorted((folder / "built").glob("*.whl"))


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
        lines.append(f"{name}=={version} --hash=sha256:{_sha256(path)}\n")
    return "".join(lines)


def _sha256_of(entry: dict[str, Any]) -> str:
    return str(entry.get("hashes", {}).get("sha256", ""))


def _chosen(lock: str, python: str, folder: Path) -> list[File]:
    """Choose the files of a lock; ask the index once, because what a lock allows does not change."""
    tags = tags_of(python)
    remembered = folder / f"{digest(['files', lock, python, list(map(str, tags))])[:32]}.json"
    if remembered.exists():
        return [File(**entry) for entry in json.loads(remembered.read_bytes())]
    files = choose(_packages(lock, python, folder), set(HASH.findall(lock)), tags)
    write_atomically(remembered, json.dumps([asdict(file) for file in files]).encode())
    return files


def _packages(lock: str, python: str, folder: Path) -> list[dict[str, Any]]:
    """Return the files that the index has of every package in a lock."""
    import uv

    work = folder / f"asked-{secrets.token_hex(4)}"
    work.mkdir()
    try:
        (work / "lock.txt").write_text(lock, encoding="utf-8")
        words = ["--quiet", "--no-deps", "--no-header", "--format", "pylock.toml", "--python-version", python]
        output = work / "pylock.toml"
        run([uv.find_uv_bin(), "pip", "compile", *words, "--output-file", output, work / "lock.txt"])
        packages: list[dict[str, Any]] = tomllib.loads(output.read_text(encoding="utf-8")).get("packages", [])
    except CommandError as error:
        message = f"the package index does not list the wheels; {error}"
        raise BundleError(message, next_step=INDEX_NEXT) from None
    finally:
        remove_tree(work)
    for package in packages:
        for entry in [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]:
            # uv names a file of a local folder by its path, relative to pylock.toml.
            if "path" in entry:
                entry["url"] = (work / entry.pop("path")).resolve().as_uri()
    return packages


def fetch(file: File, folder: Path, stop: threading.Event, progress: Progress) -> Path:
    """Fetch a file and check its hash.

    Parameters
    ----------
    file : File
        File to fetch.
    folder : Path
        Folder of all files; each lies in a folder named after its hash.
    stop : threading.Event
        No attempt follows a failed one once this is set.
    progress : Progress
        Receives a note before every further attempt.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    BundleError
        The file is out of reach, or has another hash.
    DiskFullError
        The disk is full.
    """
    target = folder / file.sha256 / file.filename
    if target.exists() and _sha256(target) == file.sha256:
        return target
    for wait_s in (*WAITS_S, None):
        try:
            _download(file, target, folder / f".new-{secrets.token_hex(8)}")
            break
        except (URLError, TimeoutError, ConnectionError) as error:
            is_final = False
            if isinstance(error, HTTPError):
                error.close()
                is_final = error.code < SERVER_ERRORS
            message = f"{file.filename} could not be fetched: {error}"
            if wait_s is None or is_final or stop.is_set():
                raise BundleError(message, next_step=INDEX_NEXT) from None
            progress.note(f"{message}; next attempt in {wait_s} s")
            stop.wait(wait_s)
    return target


def _download(file: File, target: Path, staging: Path) -> None:
    try:
        with disk_full_named(staging.parent):
            target.parent.mkdir(exist_ok=True)
            with _open(file.url) as reader, staging.open("xb") as writer:
                shutil.copyfileobj(reader, writer)
            if _sha256(staging) != file.sha256:
                message = f"{file.filename} does not have the hash that the lock names"
                raise BundleError(message, next_step="bundle again; does a proxy change what it passes on?")
            staging.replace(target)
    finally:
        staging.unlink(missing_ok=True)


def _open(url: str) -> Any:
    if urlsplit(url).scheme not in ("https", "http", "file"):
        message = f"the index names {url}, which is not the address of a file"
        raise BundleError(message, next_step="check the index that uv is configured with")
    return urllib.request.urlopen(url, timeout=TIMEOUT_S)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
