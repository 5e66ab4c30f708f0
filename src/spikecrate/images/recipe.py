"""What an image is made from, as one hash: it names the image and is part of every job key.

Read on every cache hit, so nothing here imports more than the standard library and BLAKE3.
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
"""Raised whenever spikecrate builds something else from the same files."""

NOT_IN_IMAGE: Final = frozenset(
    {"sorter.json", "README.md", "compiler.lock", "image.lock", "quality.json", "measured.json"}
)
"""Files of a sorter's folder that no image is made from. Of sorter.json, what counts is given by itself."""

LOCK: Final = "requirements.lock"
GPU_LOCK: Final = "requirements.gpu.lock"
"""Of a sorter with two images: the packages of the one for a GPU."""

Entry = tuple[str, bool, str]
"""Relative path, whether it is executable, and the hash of its bytes."""


def recipe_hash(
    folder: Path, *, version: str, entrypoint: tuple[str, ...], python: str, harness: Path, base: Path
) -> str:
    """Hash everything that a sorter's image is made from.

    Parameters
    ----------
    folder : Path
        The sorter's folder. Hidden files, sources of locks (`*.in`), its README and the files that only the
        host runtime uses do not count.
    version, entrypoint, python
        As in its sorter.json.
    harness : Path
        The harness's package; its modules count.
    base : Path
        What the base images are made from.

    Returns
    -------
    str
        64 hex digits.

    Raises
    ------
    SorterInvalidError
        For a link that leads out of its folder, and a file that cannot be read.
    """
    return digest(
        [
            "recipe",
            SCHEMA,
            version,
            entrypoint,
            python,
            *ingredients(folder, harness=harness, base=base).values(),
        ]
    )


def prebuilt_recipe(image_digest: str, *, version: str, entrypoint: tuple[str, ...]) -> str:
    """Hash what a job runs whose image is not made here; in which registry it lies is nothing of that.

    Parameters
    ----------
    image_digest : str
        Of the image's manifest: `sha256:…`.
    version, entrypoint
        As in its sorter.json.

    Returns
    -------
    str
        64 hex digits.
    """
    return digest(["prebuilt", SCHEMA, version, entrypoint, image_digest])


def ingredients(folder: Path, *, harness: Path, base: Path) -> dict[str, list[Entry]]:
    """Give the files that a recipe hashes: of the `sorter`, the `harness` and the `base`, each sorted.

    Raises
    ------
    SorterInvalidError
        As `recipe_hash`.
    """
    return {
        "sorter": sorted(entry for entry in _entries(folder) if entry[0] not in NOT_IN_IMAGE),
        "harness": sorted(entry for entry in _entries(harness) if entry[0].endswith(".py")),
        "base": sorted(_entries(base)),
    }


def base_hash(base: Path) -> str:
    """Hash everything that the base images are made from.

    Raises
    ------
    SorterInvalidError
        As `recipe_hash`.
    """
    return digest(["base", SCHEMA, sorted(_entries(base))])


def file_names(folder: Path) -> list[str]:
    """Name the files below a folder that can count, by their paths in it: not hidden, no source of a lock.

    Raises
    ------
    SorterInvalidError
        As `recipe_hash`.
    """
    return sorted(name for name, _, _ in _entries(folder))


def same_files(first: Path, second: Path) -> bool:
    """Say whether two folders hold the same files, hidden ones and sources of locks left out.

    Raises
    ------
    SorterInvalidError
        As `recipe_hash`.
    """
    return sorted(_entries(first)) == sorted(_entries(second))


def gpu_recipe(recipe: str) -> str:
    """Give the recipe of the image for a GPU, where a sorter's folder makes two images."""
    return digest(["recipe", SCHEMA, "gpu", recipe])


def image_reference(name: str, version: str, recipe: str) -> str:
    """Name an image by its sorter, the sorter's version and its recipe.

    >>> image_reference("ms4", "1.0.7", "0123456789abcdef")
    'spikecrate/ms4:1.0.7-0123456789ab'
    """
    # A tag knows fewer letters than a version: 1.0+cpu is a version of Python's.
    return f"spikecrate/{name}:{version.replace('+', '_')}-{recipe[:12]}"


def _entries(root: Path) -> Iterator[Entry]:
    """Give the files below a folder that count; links inside it count as what they lead to."""
    try:
        yield from _walk(os.fspath(root), "", os.path.realpath(root))
    except OSError as error:
        message = f"{error.filename or root}: {error.strerror}"
        raise SorterInvalidError(message, next_step="mend the file, or take it out of the folder") from None


def _walk(root: str, inside: str, real_root: str) -> Iterator[Entry]:
    # os, not pathlib: this is a third of the time of a cache hit otherwise.
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
    # A pipe or a device would wait for ever: it is refused by O_NONBLOCK and the check.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            message = f"{path} is not a regular file"
            raise SorterInvalidError(message, next_step="take it out of the folder")
        return bool(mode & stat.S_IXUSR), blake3(file.read()).hexdigest()


def _require_inside(path: str, real_root: str) -> None:
    target = os.path.realpath(path)
    if not target.startswith(f"{real_root}/"):
        message = f"{path} is a link that leads out of its folder, to {target}"
        raise SorterInvalidError(message, next_step="put a copy of the file in its place")
