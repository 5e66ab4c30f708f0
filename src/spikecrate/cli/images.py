"""Commands on images."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from spikecrate._util.progress import Progress, Silent
from spikecrate._util.quantities import format_bytes
from spikecrate.catalogue.tools import SORTER, catalogue, check, find, read
from spikecrate.cli.choices import FilePath, SorterName
from spikecrate.cli.command import command
from spikecrate.cli.option import Words
from spikecrate.cli.text import fields, say, table
from spikecrate.errors import UsageError
from spikecrate.steps.listing import sorters_running
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.images.build import BuildRequest

IMAGES: Final = "images"
FILES_SHOWN: Final = 40
Compression = Annotated[str, Words(one_of=("zstd", "gzip", "lz4", "xz"))]


def show_pruned(done: dict[str, Any]) -> None:
    """Print the removed images, the kept ones with the reason, and the freed space.

    Parameters
    ----------
    done : dict
        A `Pruned` in JSON types.
    """
    word, words = ("would remove", "would free") if done["dry_run"] else ("removed", "freed")
    for row in done["removed"]:
        say(f"{word} {row['what']}  {_size(row['size_bytes'])}")
    for row in done["kept"]:
        say(f"kept {row['what']}: {row['why']}")
    say(f"{words} {_size(done['freed_bytes'])}")


def show_unbundled(done: Any) -> None:
    """Print the contents of an installed bundle, and the next command.

    Parameters
    ----------
    done : Unbundled
        The installed bundle.
    """
    found = done.as_dict()
    fields({name: value for name, value in found.items() if value is not None})
    if found["sorters"] is not None:
        export = f"export SPIKECRATE_SORTERS={shlex.quote(found['sorters'])}"
        say(f"{found['sorter']} is not in the catalogue; to find it: {export}")
    runtimes = {"apptainer": found["sif"], "host": found["wheels"], "docker": found["docker"]}
    ready = [name for name, brought in runtimes.items() if brought is not None]
    tool = catalogue(kind="").get(found["sorter"])
    if ready and (tool is None or tool.kind == SORTER):
        say(f"next: spikecrate sort RECORDING --sorter {found['sorter']} --runtime {' | '.join(ready)}")


def show_differences(found: dict[str, Any]) -> None:
    """Print the differences between two images: packages, settings, and the first files.

    Parameters
    ----------
    found : dict
        A `Comparison` in JSON types.
    """
    for side in ("first", "second"):
        say(f"{side.ljust(6)}  {found[side]['title']}  {found[side]['digest'] or ''}".rstrip())
    for kind in ("debian", "python", "settings"):
        for row in found[kind] or []:
            say(f"{kind}  {row['name']}: {_version(row['first'])} | {_version(row['second'])}")
    files = found["files"] or []
    for row in files[:FILES_SHOWN]:
        say(f"file  {row['name']}: {row['difference']}")
    if len(files) > FILES_SHOWN:
        say(f"and {len(files) - FILES_SHOWN} more files; --json lists all")
    if found["files"] is None:
        say("files and settings are not compared: a lock lists packages only")
    if not any(found[kind] for kind in ("debian", "python", "settings", "files")):
        say("nothing differs")


def show_images(rows: list[dict[str, Any]]) -> None:
    """Print the images and SIFs, and the space of all images, which share layers.

    Parameters
    ----------
    rows : list of dict
        An `Entry` in JSON types each.
    """
    from spikecrate.images.inventory import on_disk

    def cells(row: dict[str, Any]) -> tuple[Any, ...]:
        sizes = _size(row["size_bytes"]), _size(row["sif_bytes"])
        digest = row["digest"].removeprefix("sha256:")
        return (row["name"], row["recipe"][:12], digest[:12], *sizes, row["results"], row["state"])

    table(("image", "recipe", "digest", "size", "SIF", "results", "state"), map(cells, rows))
    total = on_disk([row["digest"] for row in rows if row["reference"]], Silent())
    if total:
        say(f"all images together: {_size(total)} unpacked; shared layers count once")


@command("build", IMAGES, "building {sorter}")
def build(
    sorter: SorterName = "ms4",
    gpu: bool = False,
    verify: bool = False,
    no_cache: bool = False,
    wheelhouse: FilePath | None = None,
    *,
    progress: Progress,
) -> Any:
    """Build a sorter's image, or find it where its recipe is unchanged; a prebuilt one is only looked up.

    Parameters
    ----------
    sorter : NAME
        name or alias of a sorter; example: kilosort4
    gpu : flag
        the image for a GPU, of a sorter that has two
    verify : flag
        build twice from nothing and compare the digests
    no_cache : flag
        build every step again
    wheelhouse : DIR
        a folder of wheels, for packages that exist only on this disk; example: wheels/

    Examples
    --------
    spikecrate build --sorter ms4
    spikecrate build --sorter ms4 --verify
    """
    from spikecrate.images import build as images

    request = _request(sorter, gpu=gpu)
    if verify:
        return images.verify(request, progress, wheelhouse=wheelhouse)
    return images.build(request, progress, no_cache=no_cache, wheelhouse=wheelhouse)


@command("convert", IMAGES, "converting {sorter}")
def convert(
    sorter: SorterName = "ms4",
    gpu: bool = False,
    compression: Compression = "zstd",
    archive: FilePath | None = None,
    *,
    progress: Progress,
) -> Any:
    """Convert a sorter's image to one file for Apptainer (a SIF), or find it in the store.

    Parameters
    ----------
    sorter : NAME
        name or alias of a sorter; example: kilosort4
    gpu : flag
        the image for a GPU, of a sorter that has two
    compression : COMPRESSION
        of the file system in the SIF
    archive : FILE
        the image as `docker save` wrote it, for a machine without Docker; example: ms4.tar

    Examples
    --------
    spikecrate convert --sorter ms4
    spikecrate convert --sorter ms4 --archive ms4.tar
    """
    from spikecrate.images import sif

    request = _request(sorter, gpu=gpu)
    return sif.convert(request, open_store(), progress, compression=compression, archive=archive)


@command("image.list", IMAGES, "listing the images", alias="image", show=show_images)
def image_list(*, progress: Progress) -> list[dict[str, Any]]:
    """List the images in Docker and the SIFs in the store: size, results made with them, stale or not.

    Examples
    --------
    spikecrate image.list
    """
    from spikecrate.images.inventory import inventory

    return [row.as_dict() for row in inventory(open_store(), _recipes(), progress)]


@command("image.pull", IMAGES, "pulling {sorter}")
def image_pull(sorter: SorterName, *, progress: Progress) -> Any:
    """Pull a sorter's prebuilt image by its digest, unless it is here already.

    Parameters
    ----------
    sorter : NAME
        name or alias of a sorter; example: kilosort4

    Examples
    --------
    spikecrate image.pull mysorter
    """
    from spikecrate.images import build as images
    from spikecrate.images.lookup import pull

    request = _request(sorter)
    pull(request, progress)
    return images.build(request, progress)


@command("image.bundle", IMAGES, "bundling {sorter}")
def image_bundle(
    sorter: SorterName = "ms4", output: str = "", parts: str = "", python: str = "", *, progress: Progress
) -> Any:
    """Write one file that brings a sorter, its image and spikecrate to a machine without a network.

    Parameters
    ----------
    sorter : NAME
        name or alias of a sorter; example: kilosort4
    output : FILE
        the file to write; by default SORTER.crate.tar; example: ms4.crate.tar
    parts : PARTS
        some of sif, docker, host (its wheels); by default sif,host, without Apptainer docker,host; example: docker,host
    python : X.Y
        version of Python on the other machine; by default this machine's; example: 3.12

    Examples
    --------
    spikecrate image.bundle --sorter ms4 --output ms4.crate.tar
    """
    from spikecrate.bundles.bundle import bundle

    request = _request(sorter)
    target = Path(output or f"{request.name}.crate.tar").absolute()
    chosen = tuple(part.strip() for part in parts.split(",") if part.strip())
    return bundle(request, open_store(), progress, target=target, parts=chosen, python=python)


@command("image.unbundle", IMAGES, "installing {file}", show=show_unbundled)
def image_unbundle(file: FilePath, docker: bool = False, *, progress: Progress) -> Any:
    """Check every file of a bundle, then install what it brings; needs no network.

    Parameters
    ----------
    file : FILE
        a bundle; example: ms4.crate.tar
    docker : flag
        also load its image into Docker

    Examples
    --------
    spikecrate image.unbundle ms4.crate.tar
    """
    from spikecrate.bundles.unbundle import unbundle

    return unbundle(file, open_store(), progress, describe=_described, docker=docker)


@command("image.prune", IMAGES, "removing stale images", show=show_pruned)
def image_prune(sorter: SorterName = "", dry_run: bool = False, *, progress: Progress) -> dict[str, Any]:
    """Remove the images and SIFs of recipes that no sorter of the catalogue has any more.

    Parameters
    ----------
    sorter : NAME
        only the images of this sorter; example: ms4
    dry_run : flag
        only show what would be removed

    Examples
    --------
    spikecrate image.prune --dry-run
    """
    from spikecrate.images.prune import prune

    store = open_store()
    only = find(sorter).name if sorter else None
    busy = sorters_running(store, "apptainer")
    return asdict(prune(store, _recipes(), progress, only=only, busy=busy, dry_run=dry_run))


@command("image.lock", IMAGES, "reading the image of {sorter}")
def image_lock(sorter: SorterName = "ms4", *, progress: Progress) -> dict[str, Any]:
    """Write a sorter's image.lock: digest, and every Debian and Python package of its image.

    Parameters
    ----------
    sorter : NAME
        name or alias of a sorter; example: kilosort4

    Examples
    --------
    spikecrate image.lock --sorter ms4
    """
    from spikecrate.images import lockfile

    path = lockfile.lock(_request(sorter), progress)
    locked = lockfile.read_lock(path)
    python = sum(map(len, locked.python.values()))
    return {"lock": str(path), "digest": locked.digest, "debian": len(locked.debian), "python": python}


@command("image.diff", IMAGES, "comparing {first} and {second}", show=show_differences)
def image_diff(first: str, second: str, *, progress: Progress) -> dict[str, Any]:
    """Show the packages and files that differ between two images.

    Parameters
    ----------
    first : IMAGE
        reference or digest of an image in Docker, or the path of an image.lock
    second : IMAGE
        another image or lock

    Examples
    --------
    spikecrate image.diff sorters/ms4/image.lock spikecrate/ms4:0123456789ab
    """
    from spikecrate.images import lockfile

    return asdict(lockfile.compare(lockfile.read(first, progress), lockfile.read(second, progress)))


def _request(sorter: str, *, gpu: bool = False) -> "BuildRequest":

    request = _described(find(sorter).folder, gpu=gpu)
    if gpu and not request.gpu:
        message = f"{request.name} has no separate image for a GPU"
        raise UsageError(message, next_step="leave --gpu out")
    return request


def _described(folder: Path, *, gpu: bool = False) -> "BuildRequest":
    from spikecrate.steps.job import build_request, recipe

    found = read(folder)
    check(folder)
    return build_request(found, recipe(found), gpu=gpu)


def _recipes() -> dict[str, str]:
    from spikecrate.steps.job import recipe

    return {name: recipe(tool) for name, tool in catalogue(kind="").items()}


def _size(number: int | None) -> str | None:
    return None if number is None else format_bytes(number)


def _version(value: Any) -> str:
    """Return a package's version, with the first digits of the hash of its list of files."""
    if isinstance(value, dict):
        return f"{value['version']} ({(value['record'] or 'no list of files')[:15]})"
    return "–" if value is None else str(value)
