"""A sorter's virtual environment on the host: the same hashed lock that its image is made from."""

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
from spikecrate.errors import CommandError, EnvironmentBuildError
from spikecrate.images.recipe import GPU_LOCK, LOCK
from spikecrate.store.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest
    from spikecrate.store import Store

DEBIAN_LOCK: Final = "debian.lock"
"""Names Debian packages that an image takes besides; the image for a GPU, where there are two, takes none."""
BUILD_LOCK: Final = "build.lock"
"""Pins what packages without a wheel are built with; a sorter of wheels alone has none."""
COMPILER_LOCK: Final = "compiler.lock"
"""Pins a C++ compiler from the Python package index, for a machine that has none."""
COMPILERS: Final = ("g++", "c++", "clang++")

C_FLAGS: Final = "-O2 -g0 -DNDEBUG -fwrapv -ffp-contract=off"
"""As docker/base/make-environment: the processor's baseline, no fused multiply-add, no path of the build."""
ZIG_FLAGS: Final = (
    # The oldest glibc that a machine of today has, and its processor's baseline instead of the one at hand.
    *("-target", f"{platform.machine()}-linux-gnu.2.28", "-mcpu=baseline", "-fno-sanitize=undefined"),
    # Debian's pyconfig.h is found by way of /usr/include, which must not come before zig's own headers.
    *("-idirafter", "/usr/include"),
)


WRAPPER: Final = "spikecrate-compiler"
WRAPPED: Final = """#!/bin/sh
# Whatever a package asks for: the processor's baseline, not the very processor that it is compiled on.
for word; do
    shift
    case $word in
        -march=* | -mtune=*) ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec "$SPIKECRATE_COMPILER" "$@"
"""


@dataclass(frozen=True)
class Environment:
    """Where a sorter runs on the host.

    Attributes
    ----------
    python : Path
        The environment's interpreter.
    code : Path
        The folder it runs: the harness and the sorter's run.py, copied, so that an edit of the catalogue
        cannot change a job that is running.
    hash : str
        Of the locks and the interpreter's version.
    """

    python: Path
    code: Path
    hash: str


def place(request: BuildRequest, store: Store) -> Environment:
    """Name the environment of a sorter, making nothing.

    Raises
    ------
    EnvironmentBuildError
        Where no Python of this machine fits the lock, or the sorter has no harness.
    """
    require_harness(request)
    interpreter, version = find_interpreter(request)
    locks = _locks(request)
    made_from = digest(
        ["environment", locks, version, platform.machine(), C_FLAGS, WRAPPED, str(interpreter)]
    )
    return Environment(
        # Sorters of the same lock share it.
        python=store.environments / f"lock-{made_from[:16]}" / "bin" / "python",
        code=store.environments / f"{request.name}-code-{request.recipe[:16]}",
        hash=made_from,
    )


def wheels_folder(request: BuildRequest, store: Store, version: str) -> Path:
    """Name the folder of the wheels that a bundle brought for an environment; it need not be there.

    Parameters
    ----------
    request : BuildRequest
        The sorter.
    store : Store
        Where the folder lies.
    version : str
        Of Python: `3.11`, or longer.
    """
    minor = ".".join(version.split(".")[:2])
    made_for = digest(["wheels", _locks(request), minor, platform.machine()])
    return store.wheels / f"{request.name}-{made_for[:16]}"


def make(request: BuildRequest, store: Store, progress: Progress) -> Environment:
    """Find a sorter's environment, or make it: all or nothing, once whoever else asks.

    Raises
    ------
    EnvironmentBuildError
        With the last lines of what the installer said, and the one command that mends it where it is known.
    DiskFullError
    """
    _require_index_alone(request)
    environment = place(request, store)
    store.environments.mkdir(exist_ok=True)
    with Lock(store.lock(f"environment-{environment.hash[:16]}")):
        folder = environment.python.parents[1]
        if not folder.exists():
            progress.note(f"making the environment of {request.name} {request.version} in {folder}")
            _whole(folder, functools.partial(_install, request, store, progress))
        if not environment.code.exists():
            _whole(environment.code, functools.partial(_copy_code, request))
    return environment


def require_harness(request: BuildRequest) -> None:
    """Refuse a sorter that the harness does not call: nothing of it runs outside its image.

    Raises
    ------
    EnvironmentBuildError
    """
    if not request.has_harness:
        message = (
            f"the host runtime runs only sorters with the harness; {request.name} runs only in its image"
        )
        raise EnvironmentBuildError(
            message, next_step="--runtime docker or --runtime apptainer", doctor="runtime.auto"
        )


def _require_index_alone(request: BuildRequest) -> None:
    """Refuse a sorter whose image has what this machine's package index has not."""
    lock = request.folder / DEBIAN_LOCK
    if request.gpu or not lock.exists():
        return
    names = " and ".join(line.partition("=")[0] for line in lock.read_text().split())
    message = f"{request.name} takes {names} from Debian: only its image has them"
    on_gpu = ", or --gpu on" if (request.folder / GPU_LOCK).exists() else ""
    raise EnvironmentBuildError(message, next_step=f"--runtime docker or --runtime apptainer{on_gpu}")


def _locks(request: BuildRequest) -> dict[str, str]:
    paths = {LOCK: request.lock, BUILD_LOCK: request.folder / BUILD_LOCK}
    return {name: path.read_text() for name, path in paths.items() if path.exists()}


def _whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder beside and rename it into place, so that it is complete or absent."""
    beside = folder.with_name(f"{folder.name}.new-{secrets.token_hex(4)}")
    try:
        with disk_full_named(folder):
            fill(beside)
            beside.rename(folder)
    finally:
        remove_tree(beside)


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
        progress.note(f"from the wheels of a bundle, in {brought}")
        lock, builds = brought / LOCK, ["--no-build", "--no-index", "--find-links", str(brought)]
        environ = _environ(store)
    else:
        environ = build_environ(request, store, progress)
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        progress.line(line)

    try:
        # Not relocatable on purpose: only the interpreter is ever called, by its path.
        run([tool, "venv", "--quiet", "--python", interpreter, folder], env=environ, on_line=on_line)
        install = install_argv(tool, folder)
        if "--no-build-isolation" in builds:
            # In the environment itself, as docker/base/make-environment: not every package says what it is built with.
            tools = ["--no-build", "--requirements", str(build_lock)]
            run([*install, *tools], env=environ, on_line=on_line)
            install[install.index("install")] = "sync"
            run([*install, *builds, str(lock)], env=environ, on_line=on_line)
        else:
            run([*install, *builds, "--requirements", str(lock)], env=environ, on_line=on_line)
    except CommandError as error:
        log = store.logs / f"environment-{request.name}.txt"
        log.write_text("\n".join(lines))
        message = f"the environment of {request.name} could not be made; {error}"
        raise EnvironmentBuildError(
            message, next_step=f"the whole log is {log}; is the package index in reach?"
        ) from None


def _environ(store: Store) -> dict[str, str]:
    return {
        **os.environ,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        # A cache of our own: the shared one may hold a wheel that was compiled with other flags.
        "UV_CACHE_DIR": str(store.environments / "cache"),
    }


def build_environ(
    request: BuildRequest, store: Store, progress: Progress, *, portable: bool = False
) -> dict[str, str]:
    """Give the variables under which the packages of a sorter are built.

    Parameters
    ----------
    request : BuildRequest
        The sorter.
    store : Store
        Where a compiler is put that this machine lacks.
    progress : Progress
        Told where one is fetched.
    portable : bool
        Prefer the compiler of the sorter's compiler.lock to the machine's: what it makes runs with older C
        libraries than this machine's too.

    Raises
    ------
    EnvironmentBuildError
        Where there is no compiler, or Python's headers are missing.
    """
    flags = {
        "CFLAGS": C_FLAGS,
        "CXXFLAGS": C_FLAGS,
        "LDFLAGS": "-Wl,-s",
        "SOURCE_DATE_EPOCH": "315532800",
        # C that a package brings ready was made by an older Cython, for an older Python.
        "CYTHON_FORCE_REGEN": "1",
    }
    if (request.folder / BUILD_LOCK).exists():
        flags |= _compiler(request, store, progress, portable=portable)
    return {**_environ(store), **flags}


def install_argv(tool: str, folder: Path) -> list[str]:
    """Begin the command line that installs a lock into an environment; nothing without a hash gets in."""
    return [tool, "pip", "install", "--python", str(folder / "bin" / "python"), "--require-hashes"]


def _compiler(request: BuildRequest, store: Store, progress: Progress, *, portable: bool) -> dict[str, str]:
    """Find a C++ compiler: the machine's, or the one that the sorter's compiler.lock names."""
    import uv

    interpreter, _ = find_interpreter(request)
    require_headers(request, interpreter)
    lock = request.folder / COMPILER_LOCK
    for name in () if portable and lock.exists() else COMPILERS:
        if (found := shutil.which(name)) is not None:
            return baseline_compiler(found, store)
    if not lock.exists():
        message = f"{request.name} has to be compiled and this machine has no C++ compiler"
        raise EnvironmentBuildError(message, next_step="sudo apt-get install g++")
    why = "for wheels that run elsewhere too" if portable else "no C++ compiler here"
    progress.note(f"{why}: installing the one that the sorter's compiler.lock names")
    folder = store.environments / f"compiler-{digest(lock.read_text())[:16]}"
    if not folder.exists():
        _whole(folder, functools.partial(_install_compiler, lock, interpreter, uv.find_uv_bin()))
    if any(sign.isspace() for sign in str(folder)):
        message = f"the C++ compiler lies in {folder}: build tools split its path at the blank"
        raise EnvironmentBuildError(message, next_step="sudo apt-get install g++, or set SPIKECRATE_STORE")
    words = [str(folder / "bin" / "python"), "-m", "ziglang", "c++", *ZIG_FLAGS]
    caches = {name: str(folder / "cache") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    return {**_compiler_words(shlex.join(words)), **caches}


def baseline_compiler(compiler: str, store: Store) -> dict[str, str]:
    """Put before a compiler what keeps it to the processor's baseline; give the variables that lead build tools there.

    It is found by its name: build tools split a path at its blanks.
    """
    folder = store.environments / "compiler"
    folder.mkdir(exist_ok=True)
    beside = folder / f".{WRAPPER}-{secrets.token_hex(4)}"
    beside.write_text(WRAPPED)
    beside.chmod(0o755)
    beside.rename(folder / WRAPPER)
    path = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
    return {**_compiler_words(WRAPPER), "PATH": path, "SPIKECRATE_COMPILER": compiler}


def _compiler_words(compiler: str) -> dict[str, str]:
    """Name a C++ compiler to setuptools, for C as well, and without the linker options of Python's own build."""
    shared = f"{compiler} -shared"
    return {"CC": compiler, "CXX": compiler, "LDSHARED": shared, "LDCXXSHARED": shared}


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
    """Make sure that an interpreter has its headers, for packages that are compiled.

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
            f"{request.name} has to be compiled and the headers of Python {short} are not here "
            f"({include}/Python.h)"
        )
        raise EnvironmentBuildError(message, next_step=f"sudo apt-get install libpython{short}-dev")


@functools.cache
def find_interpreter(request: BuildRequest) -> tuple[Path, str]:
    """Find a Python that the sorter's lock is made for: this one, else one on PATH.

    Parameters
    ----------
    request : BuildRequest
        The sorter.

    Returns
    -------
    tuple of Path and str
        The interpreter and its version.

    Raises
    ------
    EnvironmentBuildError
        When none fits.
    """
    from packaging.specifiers import SpecifierSet

    fits = SpecifierSet(request.python)
    own = platform.python_version()
    if fits.contains(own):
        return Path(getattr(sys, "_base_executable", sys.executable)), own
    for minor in range(20, 8, -1):
        found = shutil.which(f"python3.{minor}")
        answer = None if found is None else _ask_interpreter(found)
        if answer is not None and fits.contains(answer[1]):
            return answer
    message = (
        f"{request.name} needs Python {request.python}; this one is {own} and PATH has no other that fits"
    )
    raise EnvironmentBuildError(message, next_step="sudo apt-get install python3.11 python3.11-dev")


def _ask_interpreter(program: str) -> tuple[Path, str] | None:
    """Return the interpreter itself and its version; None for a program that starts none.

    A name on PATH can be a shim, a script of pyenv or asdf that looks up the interpreter by the user's variables, which
    a job does not have (https://github.com/pyenv/pyenv#understanding-shims).
    """
    code = "import platform, sys; print(sys._base_executable, platform.python_version(), sep='\\n')"
    try:
        path, version = capture([program, "-I", "-c", code]).splitlines()[-2:]
    except (CommandError, ValueError):
        return None
    return Path(path), version
