"""Hash what an image is made from: the recipe names the image and is part of every job key.

Every cache hit computes it, so this module imports only the standard library and BLAKE3.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from spikecrate._util.canonical import digest
from spikecrate.errors import SorterInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA: Final = 1
"""Increment when spikecrate builds a different image from the same files."""

NOT_IN_IMAGE: Final = frozenset(
    {"sorter.json", "tool.json", "README.md", "compiler.lock", "image.lock", "quality.json", "measured.json"}
)
"""Files of a sorter's folder that no image contains. The fields of sorter.json that count are hashed separately."""

LOCK: Final = "requirements.lock"
GPU_LOCK: Final = "requirements.gpu.lock"
"""Packages of the GPU image, for a sorter that has two images."""

Entry = tuple[str, bool, str]
"""Relative path, executable flag, hash of the bytes."""


def recipe_hash(
    folder: Path,
    *,
    version: str,
    entrypoint: tuple[str, ...],
    python: str,
    harness: Path,
    base: Path,
    package: Path | None = None,
    library: tuple[str, ...] = (),
) -> str:
    """Return the hash of everything that a sorter's image is made from.

    Parameters
    ----------
    folder : Path
        The sorter's folder. Hidden files, sources of locks (`*.in`), the README and files that only the host
        runtime uses are left out.
    version, entrypoint, python
        As in its sorter.json.
    harness : Path
        The harness's package; only its modules are hashed.
    base : Path
        The folder of the base images.
    package : Path, optional
        The folder of the package `spikecrate`.
    library : tuple of str
        Modules of that package which the tool runs, as in its tool.json.

    Returns
    -------
    str
        64 hex digits.

    Raises
    ------
    SorterInvalidError
        A link leads out of its folder, or a file cannot be read.
    """
    parts = ingredients(folder, harness=harness, base=base, package=package, library=library)
    return digest(
        [
            "recipe",
            SCHEMA,
            version,
            entrypoint,
            python,
            *parts.values(),
        ]
    )


def prebuilt_recipe(image_digest: str, *, version: str, entrypoint: tuple[str, ...]) -> str:
    """Return the recipe of a prebuilt image, which does not depend on its registry.

    Parameters
    ----------
    image_digest : str
        Digest of the image's manifest: `sha256:…`.
    version, entrypoint
        As in its sorter.json.

    Returns
    -------
    str
        64 hex digits.
    """
    return digest(["prebuilt", SCHEMA, version, entrypoint, image_digest])


def ingredients(
    folder: Path,
    *,
    harness: Path,
    base: Path,
    package: Path | None = None,
    library: tuple[str, ...] = (),
) -> dict[str, list[Entry]]:
    """Return the files that a recipe hashes.

    Parameters
    ----------
    folder, harness, base, package, library
        As in `recipe_hash`.

    Returns
    -------
    dict
        Sorted entries of the `sorter`, the `harness` and the `base`, and of the `library` where the tool runs modules
        of it: the recipes of all other tools do not depend on it.

    Raises
    ------
    SorterInvalidError
        A link leads out of its folder, or a file cannot be read.
    """
    return {
        "sorter": sorted(entry for entry in _entries(folder) if entry[0] not in NOT_IN_IMAGE),
        "harness": sorted(entry for entry in _entries(harness) if entry[0].endswith(".py")),
        "base": sorted(_entries(base)),
        **({"library": _modules(package, library)} if package is not None and library else {}),
    }


def base_hash(base: Path) -> str:
    """Return the hash of everything that the base images are made from.

    Parameters
    ----------
    base : Path
        The folder of the base images.

    Returns
    -------
    str

    Raises
    ------
    SorterInvalidError
        A link leads out of its folder, or a file cannot be read.
    """
    return digest(["base", SCHEMA, sorted(_entries(base))])


def file_names(folder: Path) -> list[str]:
    """Return the paths of the files below a folder that a recipe can hash: not hidden, no source of a lock.

    Parameters
    ----------
    folder : Path
        A folder.

    Returns
    -------
    list of str

    Raises
    ------
    SorterInvalidError
        A link leads out of its folder, or a file cannot be read.
    """
    return sorted(name for name, _, _ in _entries(folder))


def same_files(first: Path, second: Path) -> bool:
    """Whether two folders hold the same files; hidden files and sources of locks are ignored.

    Parameters
    ----------
    first : Path
        A folder.
    second : Path
        A folder.

    Returns
    -------
    bool

    Raises
    ------
    SorterInvalidError
        A link leads out of its folder, or a file cannot be read.
    """
    return sorted(_entries(first)) == sorted(_entries(second))


def gpu_recipe(recipe: str) -> str:
    """Return the recipe of the GPU image, for a sorter that has two images.

    Parameters
    ----------
    recipe : str
        Recipe of the other image.

    Returns
    -------
    str
    """
    return digest(["recipe", SCHEMA, "gpu", recipe])


def image_reference(name: str, version: str, recipe: str) -> str:
    """Return the name of an image: sorter, version and recipe.

    Parameters
    ----------
    name : str
        Name of the sorter.
    version : str
        Version of the sorter.
    recipe : str
        Recipe of the other image.

    Returns
    -------
    str

    Examples
    --------
    >>> image_reference("ms4", "1.0.7", "0123456789abcdef")
    'spikecrate/ms4:1.0.7-0123456789ab'
    """
    # A version may hold a plus (1.0+cpu), a tag may not.
    return f"spikecrate/{name}:{version.replace('+', '_')}-{recipe[:12]}"


def _modules(package: Path, names: tuple[str, ...]) -> list[Entry]:
    try:
        return [(name, *_content(os.fspath(package / name))) for name in sorted(names)]
    except OSError as error:
        message = f"library: {error.filename}: {error.strerror}"
        step = "name modules of the package spikecrate in tool.json"
        raise SorterInvalidError(message, next_step=step) from None


def _entries(root: Path) -> Iterator[Entry]:
    """Yield the files below a folder that count; a link counts as its target."""
    try:
        yield from _walk(os.fspath(root), "", os.path.realpath(root))
    except OSError as error:
        message = f"{error.filename or root}: {error.strerror}"
        raise SorterInvalidError(message, next_step="fix the file, or remove it from the folder") from None


def _walk(root: str, inside: str, real_root: str) -> Iterator[Entry]:
    # pathlib would take a third of the time of a cache hit.
    with os.scandir(os.path.join(root, inside)) as found:  # noqa: PTH118
        for item in found:
            name = item.name
            if name.startswith(".") or name == "__pycache__" or name.endswith(".in"):
                continue
            path = inside + name
            if item.is_symlink():
                _require_inside(item.path, real_root)
            if item.is_dir():
                yield from _walk(root, f"{path}/", real_root)
            else:
                yield path, *_content(item.path)


def _content(path: str) -> tuple[bool, str]:
    # Opening a pipe blocks without O_NONBLOCK.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            message = f"{path} is not a regular file"
            raise SorterInvalidError(message, next_step="remove it from the folder")
        return bool(mode & stat.S_IXUSR), blake3(file.read()).hexdigest()


def _require_inside(path: str, real_root: str) -> None:
    target = os.path.realpath(path)
    if not target.startswith(f"{real_root}/"):
        message = f"{path} is a link that leads out of its folder, to {target}"
        raise SorterInvalidError(message, next_step="replace it by a copy of the file")
