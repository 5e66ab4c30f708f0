"""Make a sorter's virtual environment on the host, from the same hashed lock as its image."""

from __future__ import annotations

import functools
import os
import platform
import secrets
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.canonical import digest
from spikecrate._util.files import disk_full_named, remove_tree
from spikecrate._util.process import capture, run
from spikecrate.environments.baseline import WRAPPED, baseline_compiler, compiler_words
from spikecrate.errors import CommandError, EnvironmentBuildError
from spikecrate.images.build_log import build_log
from spikecrate.images.recipe import GPU_LOCK, LOCK
from spikecrate.images.staging import staged
from spikecrate.store.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate._util.progress import Progress
    from spikecrate.images.request import BuildRequest
    from spikecrate.store import Store

DEBIAN_LOCK: Final = "debian.lock"
"""Names the Debian packages that an image installs; a GPU image installs none."""
BUILD_LOCK: Final = "build.lock"
"""Pins the build tools of packages without a wheel; a sorter that needs only wheels has none."""
COMPILER_LOCK: Final = "compiler.lock"
"""Pins a C++ compiler from the Python package index, for a machine without one."""
COMPILERS: Final = ("g++", "c++", "clang++")

C_FLAGS: Final = "-O2 -g0 -DNDEBUG -fwrapv -ffp-contract=off"
"""As in docker/base/make-environment: the processor's baseline, no fused multiply-add, no build path."""
ZIG_FLAGS: Final = (
    # The oldest glibc in use, and the processor's baseline instead of this processor.
    *("-target", f"{platform.machine()}-linux-gnu.2.28", "-mcpu=baseline", "-fno-sanitize=undefined"),
    # Debian's pyconfig.h needs /usr/include, which must come after zig's own headers.
    *("-idirafter", "/usr/include"),
)


@dataclass(frozen=True)
class Environment:
    """A sorter's environment on the host.

    Attributes
    ----------
    python : Path
        The environment's interpreter.
    code : Path
        The folder that it runs: copies of the harness and of the sorter's run.py, so that an edit of the
        catalogue cannot change a running job.
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

    Raises
    ------
    EnvironmentBuildError
        Where no Python of this machine fits the lock, or the sorter does not use the harness.
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
        Where a file of the sorter changed after its recipe was hashed.
    DiskFullError
    """
    _require_no_debian(request)
    environment = place(request, store)
    if environment.python.parents[1].exists() and environment.code.exists():
        return environment
    # An edit since the hashing must not enter an environment with the name of the old hash.
    with staged(request, extra=[COMPILER_LOCK]) as copy:
        return _make(copy, store, progress)


def _make(request: BuildRequest, store: Store, progress: Progress) -> Environment:
    environment = place(request, store)
    store.environments.mkdir(exist_ok=True)
    with Lock(store.lock(f"environment-{environment.hash[:16]}")):
        folder = environment.python.parents[1]
        if not folder.exists():
            progress.note(f"making the environment of {request.name} {request.version} in {folder}")
            _make_whole(folder, functools.partial(_install, request, store, progress))
        if not environment.code.exists():
            _make_whole(environment.code, functools.partial(_copy_code, request))
    return environment


def require_harness(request: BuildRequest) -> None:
    """Refuse a sorter without the harness: it runs only in its image.

    Raises
    ------
    EnvironmentBuildError
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
    shutil.copyfile(request.folder / "run.py", folder / "run.py")


def _install(request: BuildRequest, store: Store, progress: Progress, folder: Path) -> None:
    import uv

    tool = uv.find_uv_bin()
    interpreter, version = find_interpreter(request)
    lock, build_lock = request.lock, request.folder / BUILD_LOCK
    builds = ["--no-build-isolation"] if build_lock.exists() else ["--no-build"]
    brought = wheels_folder(request, store, version)
    if brought.exists():
        progress.note(f"installing the wheels of a bundle, in {brought}")
        lock, builds = brought / LOCK, ["--no-build", "--no-index", "--find-links", str(brought)]
        environ = _environ(store)
    else:
        environ = build_environ(request, store, progress)
    title = f"making the environment of {request.name}"
    path = None
    try:
        with build_log(f"environment-{request.name}", title, store.logs, progress) as log:
            path = log.path
            # Not relocatable: only the interpreter is called, by its path.
            run([tool, "venv", "--quiet", "--python", interpreter, folder], env=environ, on_line=log.on_line)
            install = install_argv(tool, folder)
            if "--no-build-isolation" in builds:
                # In the environment itself, as docker/base/make-environment: not every package declares what it is
                # built with.
                tools = ["--no-build", "--requirements", str(build_lock)]
                run([*install, *tools], env=environ, on_line=log.on_line)
                install[install.index("install")] = "sync"
                run([*install, *builds, str(lock)], env=environ, on_line=log.on_line)
            else:
                run([*install, *builds, "--requirements", str(lock)], env=environ, on_line=log.on_line)
    except CommandError as error:
        message = f"the environment of {request.name} could not be made; {error}"
        raise EnvironmentBuildError(
            message, next_step=f"read the whole log, {path}; check that the package index is in reach"
        ) from None


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

    Raises
    ------
    EnvironmentBuildError
        Where no compiler is found, or Python's headers are missing.
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


def install_argv(tool: str, folder: Path) -> list[str]:
    """Return the first words of the command that installs a lock; every package must have its hash."""
    return [tool, "pip", "install", "--python", str(folder / "bin" / "python"), "--require-hashes"]


def _compiler(request: BuildRequest, store: Store, progress: Progress, *, portable: bool) -> dict[str, str]:
    """Return the variables of a C++ compiler: the machine's, or the one in the sorter's compiler.lock."""
    import uv

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
    folder = store.environments / f"compiler-{digest(lock.read_text(encoding='utf-8'))[:16]}"
    if not folder.exists():
        _make_whole(folder, functools.partial(_install_compiler, lock, interpreter, uv.find_uv_bin()))
    if any(sign.isspace() for sign in str(folder)):
        message = f"the path of the C++ compiler has a space, where build tools split it: {folder}"
        raise EnvironmentBuildError(
            message, next_step="sudo apt-get install g++, or set SPIKECRATE_STORE to a folder without spaces"
        )
    words = [str(folder / "bin" / "python"), "-m", "ziglang", "c++", *ZIG_FLAGS]
    caches = {name: str(folder / "cache") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    return {**compiler_words(shlex.join(words)), **caches}


def _install_compiler(lock: Path, interpreter: Path, tool: str, folder: Path) -> None:
    try:
        run([tool, "venv", "--quiet", "--python", interpreter, folder])
        run(
            [
                *install_argv(tool, folder),
                *("--no-build", "--requirements", str(lock)),
            ]
        )
    except CommandError as error:
        message = f"the C++ compiler could not be installed; {error}"
        raise EnvironmentBuildError(message, next_step="sudo apt-get install g++") from None


def require_headers(request: BuildRequest, interpreter: Path) -> None:
    """Check that an interpreter has its headers, for packages that are compiled.

    Raises
    ------
    EnvironmentBuildError
    """
    code = "import sysconfig; print(sysconfig.get_paths()['include'])"
    include = Path(capture([interpreter, "-I", "-c", code]))
    if not (include / "Python.h").exists():
        _, version = find_interpreter(request)
        short = ".".join(version.split(".")[:2])
        message = (
            f"{request.name} has a package that must be compiled, and the headers of Python {short} are missing "
            f"({include}/Python.h)"
        )
        raise EnvironmentBuildError(message, next_step=f"sudo apt-get install libpython{short}-dev")


@functools.cache
def find_interpreter(request: BuildRequest) -> tuple[Path, str]:
    """Return a Python that fits the sorter's lock, and its version: this one, or one on PATH.

    Raises
    ------
    EnvironmentBuildError
        Where none fits.
    """
    from packaging.specifiers import SpecifierSet

    fits = SpecifierSet(request.python)
    own = platform.python_version()
    if fits.contains(own):
        return Path(getattr(sys, "_base_executable", sys.executable)), own
    for minor in range(20, 8, -1):
        found = shutil.which(f"python3.{minor}")
        if found is None:
            continue
        version = capture([found, "-I", "-c", "import platform; print(platform.python_version())"])
        if fits.contains(version):
            return Path(found), version
    message = (
        f"{request.name} needs Python {request.python}; this one is {own}, and PATH has no other that fits"
    )
    raise EnvironmentBuildError(message, next_step="sudo apt-get install python3.11 python3.11-dev")
