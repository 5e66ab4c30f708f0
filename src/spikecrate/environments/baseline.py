"""Compile packages for the processor's baseline, whatever flags they ask for."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spikecrate.store import Store

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
    return {**compiler_words(WRAPPER), "PATH": path, "SPIKECRATE_COMPILER": compiler}


def compiler_words(compiler: str) -> dict[str, str]:
    """Return the variables that make setuptools use a C++ compiler, for C too, without Python's own linker options.

    Parameters
    ----------
    compiler : str
        Path or name of the compiler.

    Returns
    -------
    dict
    """
    shared = f"{compiler} -shared"
    return {"CC": compiler, "CXX": compiler, "LDSHARED": shared, "LDCXXSHARED": shared}
