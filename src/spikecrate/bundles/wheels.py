"""Download the wheels that a lock names for one Python with pip, and build those that the index has only as a source.

pip reads the index with the user's settings and checks every file against the lock's hashes. A source is built with the
sorter's pinned build tools for the oldest C library in use, so that the other machine needs neither a compiler nor
Python's headers. uv has no `pip download` (https://github.com/astral-sh/uv/issues/3163).
"""

from __future__ import annotations

import hashlib
import re
import sys
from typing import TYPE_CHECKING, Final

from spikecrate._util.files import disk_full_named
from spikecrate._util.process import run
from spikecrate.environments import environment
from spikecrate.environments.toolchain import find_interpreter
from spikecrate.errors import BundleError, CommandError, DiskFullError
from spikecrate.images.buildx import is_disk_full
from spikecrate.images.recipe import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.images.request import BuildRequest
    from spikecrate.store import Store

MANYLINUX: Final = re.compile(r"manylinux_2_(\d+)_")
OLDEST_GLIBC: Final = 28
"""Minor version of glibc, as in toolchain.ZIG_FLAGS: wheels for a newer one than 2.28 are the second choice."""


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
    with disk_full_named(folder):
        names.write_text(lock, encoding="utf-8")
    argv = [
        *(sys.executable, "-m", "pip"),
        *([] if tools is None else [f"--python={tools}"]),
        *("download", "--no-deps", "--require-hashes", "--disable-pip-version-check"),
        # pip asks a source for its metadata even with --no-deps: https://github.com/pypa/pip/issues/1884
        "--only-binary=:all:" if tools is None else "--no-build-isolation",
        *(f"--python-version={python}", "--implementation=cp"),
        *(f"--platform={platform}" for platform in platforms()),
        f"--cache-dir={store.environments / 'downloads'}",
        *(f"--dest={downloaded}", f"--requirement={names}"),
    ]
    try:
        with progress.bar("downloading wheels", 0):
            run(argv, on_line=progress.line)
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
    return sorted(downloaded.iterdir())


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
        The sorter, with a folder that nobody edits.
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
        with path.open("rb") as file:
            lines.append(
                f"{name}=={version} --hash=sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}\n"
            )
    return "".join(lines)
