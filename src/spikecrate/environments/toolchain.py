"""The Python and the C++ compiler of environments; compilers build for the processor's baseline, whatever the flags."""

from __future__ import annotations

import functools
import os
import platform
import secrets
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import capture
from spikecrate.errors import CommandError, EnvironmentBuildError

if TYPE_CHECKING:
    from spikecrate.images.request import BuildRequest
    from spikecrate.store import Store

COMPILERS: Final = ("g++", "c++", "clang++")
WRAPPER: Final = "spikecrate-compiler"
WRAPPED: Final = Path(__file__).with_name("compiler.sh").read_text(encoding="utf-8")

ZIG_FLAGS: Final = (
    # The oldest glibc in use, and the processor's baseline instead of this processor.
    *("-target", f"{platform.machine()}-linux-gnu.2.28", "-mcpu=baseline", "-fno-sanitize=undefined"),
    # Debian's pyconfig.h needs /usr/include, which must come after zig's own headers.
    *("-idirafter", "/usr/include"),
)


def baseline_compiler(compiler: str, store: Store) -> dict[str, str]:
    """Wrap a compiler so that it compiles for the processor's baseline.

    Parameters
    ----------
    compiler : str
        Path of the compiler.
    store : Store
        Gets the wrapper.

    Returns
    -------
    dict
        Environment variables that make build tools use the wrapper. They find it on PATH, because they split paths at
        spaces.
    """
    folder = store.environments / "compiler"
    folder.mkdir(exist_ok=True)
    staging = folder / f".{WRAPPER}-{secrets.token_hex(4)}"
    staging.write_text(WRAPPED, encoding="utf-8")
    staging.chmod(0o755)
    staging.rename(folder / WRAPPER)
    path = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
    return {**_variables(WRAPPER), "PATH": path, "SPIKECRATE_COMPILER": compiler}


def zig_compiler(folder: Path) -> dict[str, str]:
    """Return the variables that make build tools use the compiler of the ziglang package.

    Parameters
    ----------
    folder : Path
        Virtual environment with the package.

    Returns
    -------
    dict
        Environment variables.
    """
    words = [str(folder / "bin" / "python"), "-m", "ziglang", "c++", *ZIG_FLAGS]
    caches = {name: str(folder / "cache") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    return {**_variables(shlex.join(words)), **caches}


def _variables(compiler: str) -> dict[str, str]:
    """Return the variables that make setuptools use a C++ compiler, for C too, without Python's own linker options."""
    shared = f"{compiler} -shared"
    return {"CC": compiler, "CXX": compiler, "LDSHARED": shared, "LDCXXSHARED": shared}


def require_headers(request: BuildRequest, interpreter: Path) -> None:
    """Check that an interpreter has its headers, for packages that are compiled.

    Parameters
    ----------
    request : BuildRequest
        The sorter.
    interpreter : Path
        The Python, from `find_interpreter`.

    Raises
    ------
    EnvironmentBuildError
        The headers are missing.
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

    Parameters
    ----------
    request : BuildRequest
        The sorter.

    Returns
    -------
    tuple of Path and str

    Raises
    ------
    EnvironmentBuildError
        None fits.
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
        f"{request.name} needs Python {request.python}; this one is {own}, and PATH has no other that fits"
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
