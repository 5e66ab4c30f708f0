"""Verified copies of the files that an image or environment is built from.

A build takes minutes, and a tool's folder may be edited in the meantime. The recipe is hashed first, so a build that
read the folder itself could file edited bytes under the old recipe. The build reads a copy instead, and the copy is
hashed again before it is used. The copy holds only the files that the recipe hashes: `COPY .` in a Dockerfile cannot
pick up anything else.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from spikecrate._util.files import disk_full_named
from spikecrate.errors import SorterInvalidError
from spikecrate.images.recipe import file_names, gpu_recipe, ingredients, recipe_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from spikecrate.images.request import BuildRequest

SOURCE_DATE_EPOCH: Final = 1767225600
"""The date of everything in an image, in seconds since 1970. Newer than any file that matters; it only has to be the
same for everyone."""

PREFIX: Final = "spikecrate-build-"


@contextmanager
def staged(request: BuildRequest, *, extra: Collection[str] = ()) -> Iterator[BuildRequest]:
    """Copy the files of a recipe and check that the copy still has that recipe.

    Parameters
    ----------
    request : BuildRequest
        Whose files to copy.
    extra : collection of str
        Files of the sorter's folder to copy as well, although the recipe does not hash them.

    Yields
    ------
    BuildRequest
        The same request, with all its folders in the copy. The copy is removed at the end.

    Raises
    ------
    SorterInvalidError
        If a file changed after the recipe was hashed, or cannot be read.
    DiskFullError
    """
    parts = ingredients(
        request.folder,
        harness=request.harness,
        base=request.base,
        package=request.package,
        library=request.library,
    )
    names = {part: [name for name, *_ in entries] for part, entries in parts.items()}
    names["sorter"] += [name for name in {*extra} - {*names["sorter"]} if (request.folder / name).is_file()]
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        root = Path(name)
        copy = replace(
            request,
            folder=root / "sorter",
            harness=root / "harness",
            base=root / "base",
            package=root / "library",
        )
        _copy_files(request.folder, names["sorter"], copy.folder)
        _copy_files(request.harness, names["harness"], copy.harness)
        _copy_files(request.base, names["base"], copy.base)
        _copy_files(request.package, names.get("library", ()), copy.package)
        _level_folders(root)
        # The recipe of a prebuilt image hashes no files.
        if not request.image and _hash(copy) != request.recipe:
            message = f"the files of {request.name} changed after its recipe was hashed: {request.folder}"
            raise SorterInvalidError(message, next_step="run the command again once the files are saved")
        yield copy


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Copy the files of a folder that a recipe hashes; the caller hashes the copy.

    Parameters
    ----------
    folder : Path
        A folder.

    Yields
    ------
    Path
        The copy. It is removed at the end.

    Raises
    ------
    SorterInvalidError
        If a file cannot be read.
    DiskFullError
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        copy = Path(name, "copy")
        _copy_files(folder, file_names(folder), copy)
        _level_folders(copy.parent)
        yield copy


def _copy_files(source: Path, names: Iterable[str], target: Path) -> None:
    """Copy files; links become files, and modes and dates depend on nothing but what the recipe hashes."""
    target.mkdir()
    for name in names:
        copy = target / name
        try:
            with disk_full_named(copy):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, copy)
                executable = (source / name).stat().st_mode & stat.S_IXUSR
                copy.chmod(0o755 if executable else 0o644)
                os.utime(copy, ns=(_date_ns(copy), _date_ns(copy)))
        except OSError as error:
            message = f"{source / name} cannot be copied: {error.strerror or error}"
            raise SorterInvalidError(
                message, next_step="run the command again once the files are saved"
            ) from None


def _date_ns(path: Path) -> int:
    """Return a date for a file that follows from its content.

    BuildKit keeps the context of the build before, of another folder too, and takes from there every file whose path,
    size, mode and date are the same (https://github.com/moby/buildkit/issues/4950). With one date for all, an edit that
    leaves the size as it is would not reach the image.
    """
    # 48 bits of nanoseconds: up to three days before the date of everything in an image.
    return SOURCE_DATE_EPOCH * 10**9 - int(blake3(path.read_bytes()).hexdigest()[:12], 16)


def _level_folders(root: Path) -> None:
    """Set one mode and date on all folders below: `COPY` takes both into the image."""
    for path, folders, _ in os.walk(root):
        for name in folders:
            folder = Path(path, name)
            folder.chmod(0o755)
            os.utime(folder, (SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH))


def _hash(request: BuildRequest) -> str:
    recipe = recipe_hash(
        request.folder,
        version=request.version,
        entrypoint=request.entrypoint,
        python=request.python,
        harness=request.harness,
        base=request.base,
        package=request.package,
        library=request.library,
    )
    return gpu_recipe(recipe) if request.gpu else recipe
