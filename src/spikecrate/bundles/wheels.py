"""The wheels that a lock names: chosen for one Python, fetched, and built where there is only a source.

uv reads the index, as it is set for it, and says which files there are; what is fetched must have one of the
lock's hashes. What has no wheel is built with the sorter's pinned build tools, for the oldest C library that
machines of today have, so that the other side needs neither a compiler nor Python's headers.
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
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from spikecrate._util.canonical import digest
from spikecrate._util.files import disk_full_named, remove_tree, write_atomically
from spikecrate._util.process import run
from spikecrate.errors import BundleError, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spikecrate._util.progress import Progress
    from spikecrate.store import Store

HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
MANYLINUX: Final = re.compile(r"manylinux_2_(\d+)_")
OLDEST_GLIBC: Final = 28
"""As environment.ZIG_FLAGS: wheels that need a newer C library than 2.28 are the second choice."""
FETCHERS: Final = 4
TIMEOUT_S: Final = 60
WAITS_S: Final = (1, 2, 4, 8, 16)
"""Before each further attempt to fetch a file: a name server or a proxy that stumbles is up again within that."""
SERVER_ERRORS: Final = 500
"""Codes of HTTP from here on are the server's fault, and may pass."""


@dataclass(frozen=True)
class File:
    """A file that the index has, and that a lock allows.

    Attributes
    ----------
    name, version : str
        The package's.
    filename, url, sha256 : str
        Of the file.
    """

    name: str
    version: str
    filename: str
    url: str
    sha256: str

    @property
    def is_wheel(self) -> bool:
        """Whether it can be installed as it is."""
        return self.filename.endswith(".whl")


def collect(lock: str, python: str, store: Store, progress: Progress) -> dict[File, Path]:
    """Fetch one file of every package that a lock names; what was fetched before is not fetched again.

    Parameters
    ----------
    lock : str
        Text of a lock with hashes.
    python : str
        `3.11`: what the wheels have to fit.
    store : Store
        Keeps them under `environments/downloads/`.
    progress : Progress
        Shows a bar.

    Raises
    ------
    BundleError
        Where the index is out of reach, or has no file that the lock allows.
    DiskFullError
    """
    folder = store.environments / "downloads"
    with disk_full_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files = _chosen(lock, python, folder)
    found: dict[File, Path] = {}
    stop = threading.Event()
    with progress.bar("fetching wheels", len(files)) as advance, ThreadPoolExecutor(FETCHERS) as pool:
        jobs = {file: pool.submit(fetch, file, folder, stop, progress) for file in files}
        try:
            for file, job in jobs.items():
                found[file] = job.result()
                advance(1)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return found


def choose(packages: Iterable[dict[str, Any]], allowed: set[str], tags: Sequence[str]) -> list[File]:
    """Choose of every package the wheel that fits best, else its source.

    Parameters
    ----------
    packages : iterable of dict
        The `packages` of a pylock.toml.
    allowed : set of str
        The hashes that the lock allows.
    tags : sequence of str
        What a wheel may be for, the best first.

    Raises
    ------
    BundleError
        Naming the package that has neither.
    """
    from packaging.utils import parse_wheel_filename

    rank = {tag: at for at, tag in enumerate(tags)}
    chosen = []
    for package in packages:
        best: tuple[int, File] | None = None
        for entry in _files([package]):
            filename = entry.get("name") or PurePosixPath(unquote(urlsplit(entry["url"]).path)).name
            file = File(
                package["name"], package["version"], filename, entry["url"], entry["hashes"].get("sha256", "")
            )
            if file.sha256 not in allowed:
                continue
            fits = len(rank)
            if file.is_wheel:
                fits = min(
                    (rank[str(tag)] for tag in parse_wheel_filename(filename)[3] if str(tag) in rank),
                    default=-1,
                )
            if fits >= 0 and (best is None or fits < best[0]):
                best = (fits, file)
        if best is None:
            message = f"the index has no file of {package['name']} {package['version']} that the lock allows"
            raise BundleError(message, next_step="make the lock anew, or bundle with another Python")
        chosen.append(best[1])
    return chosen


@cache
def tags_of(python: str) -> tuple[str, ...]:
    """Give what wheels may be for, on this kind of machine: those of an old C library first."""
    from packaging import tags

    major, minor = map(int, python.split("."))
    platforms = list(tags.platform_tags())

    def is_new(platform: str) -> bool:
        found = MANYLINUX.match(platform)
        return found is not None and int(found[1]) > OLDEST_GLIBC

    ordered = sorted(platforms, key=is_new)
    interpreter = f"cp{major}{minor}"
    found = [
        *tags.cpython_tags((major, minor), platforms=ordered),
        *tags.compatible_tags((major, minor), interpreter, platforms=ordered),
    ]
    return tuple(map(str, found))


def build(
    sources: Sequence[Path],
    tools: Sequence[Path],
    interpreter: Path,
    environ: dict[str, str],
    folder: Path,
    progress: Progress,
) -> list[Path]:
    """Build wheels of sources; the same sources give the same bytes, in whatever folder.

    Parameters
    ----------
    sources, tools : sequence of Path
        Archives of sources; wheels of what they are built with.
    interpreter : Path
        What the wheels are for.
    environ : dict
        Names the compiler and its flags.
    folder : Path
        Where to work; the wheels are left in its `built/`.
    progress : Progress
        Gets the log.

    Raises
    ------
    BundleError
        With the last lines of the log.
    """
    import uv

    tool = uv.find_uv_bin()
    python = folder / "tools" / "bin" / "python"
    # Headers write their path into the code.
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
        raise BundleError(message, next_step="the lines above say what the build lacks") from None
    return sorted((folder / "built").glob("*.whl"))


def lock_of(wheels: Iterable[Path]) -> str:
    """Write a lock that allows these very files and no others."""
    from packaging.utils import parse_wheel_filename

    lines = []
    for path in sorted(wheels, key=lambda path: path.name):
        name, version, *_ = parse_wheel_filename(path.name)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{sha256}\n")
    return "".join(lines)


def _files(packages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for package in packages:
        yield from package.get("wheels", ())
        if "sdist" in package:
            yield package["sdist"]


def _chosen(lock: str, python: str, folder: Path) -> list[File]:
    """Ask the index once for each lock: what a lock allows does not change."""
    remembered = folder / f"{digest(['choice', lock, python, tags_of(python)])[:32]}.json"
    if remembered.exists():
        return [File(**entry) for entry in json.loads(remembered.read_bytes())]
    files = choose(_packages(lock, python, folder), set(HASH.findall(lock)), tags_of(python))
    write_atomically(remembered, json.dumps([asdict(file) for file in files]).encode())
    return files


def _packages(lock: str, python: str, folder: Path) -> list[dict[str, Any]]:
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
        message = f"the package index did not say where the wheels are; {error}"
        raise BundleError(
            message, next_step="bundling fetches wheels: is the package index in reach?"
        ) from None
    else:
        for entry in _files(packages):
            # A folder of wheels is named by path, from where the answer lies.
            entry.setdefault("url", (work / entry.get("path", "")).resolve().as_uri())
        return packages
    finally:
        remove_tree(work)


def fetch(file: File, folder: Path, stop: threading.Event, progress: Progress) -> Path:
    """Fetch a file and check its hash; what is there is not fetched again.

    Parameters
    ----------
    file : File
        Which.
    folder : Path
        Where files are kept, each in a folder named after its hash.
    stop : threading.Event
        Set where others have failed or the user has had enough: then nothing is tried again.
    progress : Progress
        Told of every failure that is followed by another attempt.

    Raises
    ------
    BundleError
        Where it cannot be had, or has another hash.
    DiskFullError
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
                raise BundleError(
                    message, next_step="bundling fetches wheels: is the package index in reach?"
                ) from None
            progress.note(f"{message}; again in {wait_s} s")
            stop.wait(wait_s)
    return target


def _download(file: File, target: Path, beside: Path) -> None:
    try:
        with disk_full_named(beside.parent):
            target.parent.mkdir(exist_ok=True)
            with _open(file.url) as reader, beside.open("xb") as writer:
                shutil.copyfileobj(reader, writer)
            if _sha256(beside) != file.sha256:
                message = f"{file.filename} is not the file that the lock names: its hash is another"
                raise BundleError(message, next_step="bundle again; is a proxy changing what it passes on?")
            beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _open(url: str) -> Any:
    if urlsplit(url).scheme not in ("https", "http", "file"):
        message = f"the index names {url}, which is no address of a file"
        raise BundleError(message)
    return urllib.request.urlopen(url, timeout=TIMEOUT_S)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
