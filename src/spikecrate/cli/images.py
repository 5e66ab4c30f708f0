"""Tasks on sorters' images."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.tasks import task

from spikecrate.cli.main import reported


@task(
    help={
        "sorter": "name or alias of a sorter",
        "gpu": "the image for a GPU, of a sorter that has two",
        "verify": "build twice from nothing and compare the digests",
        "no-cache": "build every step again",
        "wheelhouse": "a folder of wheels, for packages that this site has only on disk",
        "json": "print one JSON object as the last line",
    },
    auto_shortflags=False,
)
@reported
def build(
    context: Context,  # noqa: ARG001
    sorter: str = "ms4",
    gpu: bool = False,
    verify: bool = False,
    no_cache: bool = False,
    wheelhouse: str = "",
    json: bool = False,
) -> None:
    """Build a sorter's image; returns at once where its recipe is unchanged. A prebuilt one is only looked for."""
    from spikecrate.cli import request_images as request
    from spikecrate.cli.text import fields

    fields(
        request.build(sorter, gpu=gpu, verify=verify, no_cache=no_cache, wheelhouse=wheelhouse), to_json=json
    )


@task(
    help={
        "sorter": "name or alias of a sorter",
        "gpu": "the image for a GPU, of a sorter that has two",
        "compression": "zstd, gzip, lz4 or xz",
        "archive": "the image as `docker save` wrote it, for a machine without Docker",
        "json": "print one JSON object as the last line",
    },
    auto_shortflags=False,
)
@reported
def convert(
    context: Context,  # noqa: ARG001
    sorter: str = "ms4",
    gpu: bool = False,
    compression: str = "zstd",
    archive: str = "",
    json: bool = False,
) -> None:
    """Make a sorter's image one file for Apptainer; returns at once where it is there."""
    from spikecrate.cli import request_images as request
    from spikecrate.cli.text import fields

    fields(request.convert(sorter, gpu=gpu, compression=compression, archive=archive), to_json=json)


@task(name="list", help={"json": "print one JSON array"}, auto_shortflags=False, default=True)
@reported
def image_list(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """List the images in Docker and the SIFs in the store: size, results made with them, stale or not."""
    from spikecrate.cli import report_images as report
    from spikecrate.cli import request_images as request

    found = request.inventory()
    report.images(found, None if json else request.on_disk(found), to_json=json)


@task(
    name="pull",
    help={"sorter": "name or alias of a sorter", "json": "print one JSON object as the last line"},
    auto_shortflags=False,
)
@reported
def image_pull(context: Context, sorter: str, json: bool = False) -> None:  # noqa: ARG001
    """Pull a sorter's prebuilt image, by its digest; returns at once where it is here."""
    from spikecrate.cli import request_images as request
    from spikecrate.cli.text import fields

    fields(request.pull(sorter), to_json=json)


@task(
    name="bundle",
    help={
        "sorter": "name or alias of a sorter",
        "output": "the file to write; by default SORTER.crate.tar",
        "python": "version of Python on the other side, such as 3.12; by default this side's",
        "parts": "some of sif, docker, host (its wheels); by default sif,host, without Apptainer docker,host",
        "json": "print one JSON object as the last line",
    },
    auto_shortflags=False,
)
@reported
def image_bundle(
    context: Context,  # noqa: ARG001
    sorter: str = "ms4",
    output: str = "",
    parts: str = "",
    python: str = "",
    json: bool = False,
) -> None:
    """Write one file that brings a sorter, its image and spikecrate to a machine without a network."""
    from spikecrate.cli import request_images as request
    from spikecrate.cli.text import fields

    fields(request.bundle(sorter, output=output, parts=parts, python=python), to_json=json)


@task(
    name="unbundle",
    help={
        "file": "a bundle",
        "docker": "also load its image into Docker",
        "json": "print one JSON object as the last line",
    },
    auto_shortflags=False,
)
@reported
def image_unbundle(
    context: Context,  # noqa: ARG001
    file: str,
    docker: bool = False,
    json: bool = False,
) -> None:
    """Check every file of a bundle, then install what it brings; needs no network."""
    from spikecrate.cli import report_images as report
    from spikecrate.cli import request_images as request

    report.unbundled(request.unbundle(file, docker=docker), to_json=json)


@task(
    name="prune",
    help={
        "sorter": "only the images of this sorter",
        "dry-run": "only say what would be removed",
        "json": "print one JSON object",
    },
    auto_shortflags=False,
)
@reported
def image_prune(
    context: Context,  # noqa: ARG001
    sorter: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Remove the images and SIFs of recipes that no sorter of the catalogue has any more."""
    from spikecrate.cli import report_images as report
    from spikecrate.cli import request_images as request

    report.pruned(request.prune(sorter, dry_run=dry_run), to_json=json)


@task(
    name="lock",
    help={"sorter": "name or alias of a sorter", "json": "print one JSON object"},
    auto_shortflags=False,
)
@reported
def image_lock(context: Context, sorter: str = "ms4", json: bool = False) -> None:  # noqa: ARG001
    """Write a sorter's image.lock: digest, and every Debian and Python package of its image."""
    from spikecrate.cli import request_images as request
    from spikecrate.cli.text import fields

    fields(request.lock(sorter), to_json=json)


@task(
    name="diff",
    help={
        "first": "reference or digest of an image in Docker, or the path of an image.lock",
        "second": "another",
        "json": "print one JSON object, with all files",
    },
    auto_shortflags=False,
)
@reported
def image_diff(context: Context, first: str, second: str, json: bool = False) -> None:  # noqa: ARG001
    """Name the packages and files that differ between two images."""
    from spikecrate.cli import report_images as report
    from spikecrate.cli import request_images as request

    report.differences(request.compare(first, second), to_json=json)
