"""Make a sorter's virtual environment on the host, from the same hashed lock as its image."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.canonical import digest
from spikecrate._util.files import disk_full_named, remove_tree
from spikecrate._util.process import run
from spikecrate.environments.toolchain import (
    COMPILERS,
    WRAPPED,
    baseline_compiler,
    find_interpreter,
    require_headers,
    zig_compiler,
)
from spikecrate.errors import CommandError, EnvironmentBuildError
from spikecrate.images.buildx import build_log
from spikecrate.images.recipe import GPU_LOCK, LOCK
from spikecrate.images.staging import staged
from spikecrate.store.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.images.request import BuildRequest
    from spikecrate.store import Store

DEBIAN_LOCK: Final = "debian.lock"
"""Names the Debian packages that an image installs; a GPU image installs none."""
BUILD_LOCK: Final = "build.lock"
"""Pins the build tools of packages without a wheel; a sorter that needs only wheels has none."""
COMPILER_LOCK: Final = "compiler.lock"
"""Pins a C++ compiler from the Python package index, for a machine without one."""

C_FLAGS: Final = "-O2 -g0 -DNDEBUG -fwrapv -ffp-contract=off"
"""As in docker/base/make-environment: the processor's baseline, no fused multiply-add, no build path."""


@dataclass(frozen=True)
class Environment:
    """A sorter's environment on the host.

    Attributes
    ----------
    python : Path
        The environment's interpreter.
    code : Path
        The folder that it runs: copies of the harness, of the sorter's run.py and the modules beside it, so that
        an edit of the catalogue cannot change a running job.
    hash : str
        Hash of the locks, the interpreter and the compiler's flags.
    """

    python: Path
    code: Path
    hash: str


def place(request: BuildRequest, store: Store) -> Environment:
    """Return the place of a sorter's environment, whether it exists or not.

    Parameters
    ----------
    request : BuildRequest
        The sorter.
    store : Store
        Holds the environments.

    Returns
    -------
    Environment

    Raises
    ------
    EnvironmentBuildError
        If no Python of this machine fits the lock, or the sorter does not use the harness.
    """
    require_harness(request)
    interpreter, version = find_interpreter(request)
    locks = _locks(request)
    made_from = digest(
        ["environment", locks, version, platform.machine(), C_FLAGS, WRAPPED, str(interpreter)]
    )
    return Environment(
        # Sorters with the same lock share an environment.
        python=store.environments / f"lock-{made_from[:16]}" / "bin" / "python",
        code=store.environments / f"{request.name}-code-{request.recipe[:16]}",
        hash=made_from,
    )


def wheels_folder(request: BuildRequest, store: Store, version: str) -> Path:
    """Return the folder for the wheels of a bundle, whether it exists or not.

    Parameters
    ----------
    request : BuildRequest
        The sorter.
    store : Store
        Holds the folder.
    version : str
        Version of Python: `3.11`, or longer.

    Returns
    -------
    Path
    """
    minor = ".".join(version.split(".")[:2])
    made_for = digest(["wheels", _locks(request), minor, platform.machine()])
    return store.wheels / f"{request.name}-{made_for[:16]}"


def make(request: BuildRequest, store: Store, progress: Progress) -> Environment:
    """Find a sorter's environment, or make it. Concurrent calls make it once.

    Parameters
    ----------
    request : BuildRequest
        The sorter.
    store : Store
        Holds the environments, and the log of a failed build.
    progress : Progress
        Shows the step, and gets the log.

    Returns
    -------
    Environment

    Raises
    ------
    EnvironmentBuildError
        With the last lines of the installer, and the command that fixes the cause where it is known.
    SorterInvalidError
        If a file of the sorter changed after its recipe was hashed.
    DiskFullError
    """
    _require_no_debian(request)
    environment = place(request, store)
    if environment.python.parents[1].exists() and environment.code.exists():
        return environment
    store.environments.mkdir(exist_ok=True)
    folder = environment.python.parents[1]
    # An edit of the folder during the installation does not reach the copy.
    with (
        staged(request, extra=[COMPILER_LOCK]) as copy,
        Lock(store.lock(f"environment-{environment.hash[:16]}")),
    ):
        if not folder.exists():
            progress.note(f"making the environment of {request.name} {request.version} in {folder}")
            _make_whole(folder, lambda staging: _install(copy, store, progress, staging))
        if not environment.code.exists():
            _make_whole(environment.code, lambda staging: _copy_code(copy, staging))
    return environment


def require_harness(request: BuildRequest) -> None:
    """Refuse a sorter without the harness: it runs only in its image.

    Parameters
    ----------
    request : BuildRequest
        The sorter.

    Raises
    ------
    EnvironmentBuildError
        The harness does not call the sorter.
    """
    if not request.has_harness:
        message = f"the host runtime needs a sorter with the harness; {request.name} runs only in its image"
        raise EnvironmentBuildError(
            message, next_step="use --runtime docker or --runtime apptainer", doctor="runtime.auto"
        )


def _require_no_debian(request: BuildRequest) -> None:
    """Refuse a sorter that needs Debian packages."""
    lock = request.folder / DEBIAN_LOCK
    if request.gpu or not lock.exists():
        return
    names = " and ".join(line.partition("=")[0] for line in lock.read_text(encoding="utf-8").split())
    message = f"{request.name} takes {names} from Debian, which only its image has"
    on_gpu = ", or --gpu on" if (request.folder / GPU_LOCK).exists() else ""
    raise EnvironmentBuildError(message, next_step=f"use --runtime docker or --runtime apptainer{on_gpu}")


def _locks(request: BuildRequest) -> dict[str, str]:
    paths = {LOCK: request.lock, BUILD_LOCK: request.folder / BUILD_LOCK}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.exists()}


def _make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a staging folder and rename it, so that the folder is complete or absent."""
    staging = folder.with_name(f"{folder.name}.new-{secrets.token_hex(4)}")
    try:
        with disk_full_named(folder):
            fill(staging)
            staging.rename(folder)
    finally:
        remove_tree(staging)


def _copy_code(request: BuildRequest, folder: Path) -> None:
    harness = folder / "spikecrate_harness"
    shutil.copytree(request.harness, harness, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(harness / "__main__.py", folder / "__main__.py")
    for module in request.folder.glob("*.py"):
        shutil.copyfile(module, folder / module.name)


def _install(request: BuildRequest, store: Store, progress: Progress, folder: Path) -> None:
    interpreter, version = find_interpreter(request)
    build_lock = request.folder / BUILD_LOCK
    brought = wheels_folder(request, store, version)
    environ = _environ(store) if brought.exists() else build_environ(request, store, progress)
    if brought.exists():
        progress.note(f"installing the wheels of a bundle, in {brought}")
        words = ["--no-build", "--no-index", f"--find-links={brought}", f"--requirements={brought / LOCK}"]
        steps = [["install", *words]]
    elif build_lock.exists():
        # Build tools go into the environment itself, as in docker/base/make-environment: not every package declares
        # what it is built with.
        steps = [
            ["install", "--no-build", f"--requirements={build_lock}"],
            ["sync", "--no-build-isolation", str(request.lock)],
        ]
    else:
        steps = [["install", "--no-build", f"--requirements={request.lock}"]]

    def failure(error: CommandError, log: Path) -> EnvironmentBuildError:
        message = f"the environment of {request.name} could not be made; {error}"
        next_step = f"read the whole log, {log}; check that the package index is in reach"
        return EnvironmentBuildError(message, next_step=next_step)

    title = f"making the environment of {request.name}"
    with build_log(f"environment-{request.name}", title, store.logs, progress, failure) as on_line:
        _run_uv(folder, interpreter, steps, env=environ, on_line=on_line)


def install_locked(folder: Path, interpreter: Path, lock: Path) -> None:
    """Create a virtual environment with the wheels of a lock.

    Parameters
    ----------
    folder : Path
        Folder of the environment.
    interpreter : Path
        Python of the environment.
    lock : Path
        Lock with hashes.

    Raises
    ------
    CommandError
        With the last lines of the installer.
    """
    _run_uv(folder, interpreter, [["install", "--no-build", f"--requirements={lock}"]])


def _run_uv(folder: Path, interpreter: Path, steps: list[list[str]], **options: Any) -> None:
    """Create a virtual environment and run `uv pip` in it; every package must have its hash."""
    import uv

    tool, python = uv.find_uv_bin(), folder / "bin" / "python"
    # Not relocatable: only the interpreter is called, by its path.
    run([tool, "venv", "--quiet", "--python", interpreter, folder], **options)
    for word, *words in steps:
        run([tool, "pip", word, f"--python={python}", "--require-hashes", *words], **options)


def _environ(store: Store) -> dict[str, str]:
    return {
        **os.environ,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        # The user's cache may hold a wheel that was compiled with other flags.
        "UV_CACHE_DIR": str(store.environments / "cache"),
    }


def build_environ(
    request: BuildRequest, store: Store, progress: Progress, *, portable: bool = False
) -> dict[str, str]:
    """Return the environment variables for building a sorter's packages.

    Parameters
    ----------
    request : BuildRequest
        The sorter.
    store : Store
        Gets a compiler where this machine has none.
    progress : Progress
        Gets a note where a compiler is installed.
    portable : bool
        Prefer the compiler of the sorter's compiler.lock: what it makes also runs with older C libraries than this
        machine's.

    Returns
    -------
    dict
        Environment variables.

    Raises
    ------
    EnvironmentBuildError
        If no compiler is found, or Python's headers are missing.
    """
    flags = {
        "CFLAGS": C_FLAGS,
        "CXXFLAGS": C_FLAGS,
        "LDFLAGS": "-Wl,-s",
        "SOURCE_DATE_EPOCH": "315532800",
        # A package may ship C code that an older Cython made for an older Python:
        # https://github.com/cython/cython/pull/5307
        "CYTHON_FORCE_REGEN": "1",
    }
    if (request.folder / BUILD_LOCK).exists():
        flags |= _compiler(request, store, progress, portable=portable)
    return {**_environ(store), **flags}


def _compiler(request: BuildRequest, store: Store, progress: Progress, *, portable: bool) -> dict[str, str]:
    """Return the variables of a C++ compiler: the machine's, or the one in the sorter's compiler.lock."""
    interpreter, _ = find_interpreter(request)
    require_headers(request, interpreter)
    lock = request.folder / COMPILER_LOCK
    for name in () if portable and lock.exists() else COMPILERS:
        if (found := shutil.which(name)) is not None:
            return baseline_compiler(found, store)
    if not lock.exists():
        message = f"{request.name} has a package that must be compiled, and this machine has no C++ compiler"
        raise EnvironmentBuildError(message, next_step="sudo apt-get install g++")
    why = "the wheels must run on other machines" if portable else "this machine has no C++ compiler"
    progress.note(f"{why}: installing the compiler of the sorter's compiler.lock")
    identity = digest(lock.read_text(encoding="utf-8"))
    folder = store.environments / f"compiler-{identity[:16]}"
    if not folder.exists():
        try:
            _make_whole(folder, lambda staging: install_locked(staging, interpreter, lock))
        except CommandError as error:
            message = f"the C++ compiler could not be installed; {error}"
            raise EnvironmentBuildError(message, next_step="sudo apt-get install g++") from None
    if any(sign.isspace() for sign in str(folder)):
        message = f"the path of the C++ compiler has a space, where build tools split it: {folder}"
        raise EnvironmentBuildError(
            message, next_step="sudo apt-get install g++, or set SPIKECRATE_STORE to a folder without spaces"
        )
    return zig_compiler(folder)
