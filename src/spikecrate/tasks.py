"""The Invoke collection: each task reads its words, calls the library, prints what came of it."""

from __future__ import annotations

from typing import Any

from invoke.collection import Collection
from invoke.context import Context  # noqa: TC002
from invoke.tasks import Task, task

from spikecrate.cli import reported

SORT_HELP = {
    "recording": "the recording: a folder or file in any format of docs/recordings.md; read in place",
    "sorter": "name or alias of a sorter in the catalogue (spikecrate sorters)",
    "param": "a parameter as name=value; may be given many times",
    "params": "a JSON file with an object of parameters; --param wins over it",
    "runtime": "auto, docker, apptainer or host",
    "output": "folder for a copy of the result, - for none; by default sortings/<recording>/<sorter>-<key>",
    "cores": "processors for the sorter; by default all that this process may use",
    "memory": "memory limit: 8G, 512M; by default none",
    "timeout": "time limit for the sorter: 2h, 90m; by default none",
    "seed": "handed to the sorter; part of the job key",
    "force": "run the job although its result is in the store",
    "dry-run": "print what would happen, why, and the exact command line",
    "json": "print one JSON object as the last line",
}


@task(help=SORT_HELP, iterable=["param"], auto_shortflags=False)
@reported
def sort(
    context: Context,  # noqa: ARG001
    recording: str,
    sorter: str = "ms4",
    param: list[str] | None = None,
    params: str = "",
    runtime: str = "auto",
    output: str = "",
    cores: str = "",
    memory: str = "",
    timeout: str = "",
    seed: int = 0,
    force: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Sort a recording in the sorter's pinned image, or find the result made before."""
    from spikecrate import report, request

    asked = request.read(
        recording,
        sorter=sorter,
        param=param or [],
        params=params,
        runtime=runtime,
        cores=cores,
        memory=memory,
        timeout=timeout,
        seed=seed,
        force=force,
    )
    if dry_run:
        report.forecast(request.forecast(asked), to_json=json)
    else:
        report.result(request.sort(asked, output), to_json=json)


@task(
    help={
        "sorter": "name or alias of a sorter",
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
    verify: bool = False,
    no_cache: bool = False,
    wheelhouse: str = "",
    json: bool = False,
) -> None:
    """Build a sorter's image; returns at once where its recipe is unchanged."""
    from spikecrate import report, request

    report.fields(
        request.build(sorter, verify=verify, no_cache=no_cache, wheelhouse=wheelhouse), to_json=json
    )


@task(
    help={
        "sorter": "name or alias of a sorter",
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
    compression: str = "zstd",
    archive: str = "",
    json: bool = False,
) -> None:
    """Make a sorter's image one file for Apptainer; returns at once where it is there."""
    from spikecrate import report, request

    report.fields(request.convert(sorter, compression=compression, archive=archive), to_json=json)


@task(
    help={
        "folder": "where the toy recording and its sorting go",
        "runtime": "auto, docker, apptainer or host",
    },
    auto_shortflags=False,
)
@reported
def demo(context: Context, folder: str = "demo", runtime: str = "auto") -> None:  # noqa: ARG001
    """Write a toy recording with ground truth, sort it with ms4, print how well each unit was found."""
    from spikecrate.demo import run
    from spikecrate.progress import Terminal

    run(folder, runtime=runtime, progress=Terminal())


@task(name="list", help={"json": "print one JSON array"}, auto_shortflags=False, default=True)
@reported
def sorters_list(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """List the catalogue."""
    from spikecrate import report
    from spikecrate.sorters import catalogue

    report.sorters(catalogue().values(), to_json=json)


@task(name="show", help={"sorter": "name or alias", "json": "print one JSON object"}, auto_shortflags=False)
@reported
def sorters_show(context: Context, sorter: str, json: bool = False) -> None:  # noqa: ARG001
    """Show a sorter and its parameters: default, range, unit, meaning."""
    from spikecrate import report
    from spikecrate.sorters import find

    report.sorter(find(sorter), to_json=json)


@task(
    name="info",
    help={
        "recording": "a folder or file in any format of docs/recordings.md",
        "no-hash": "leave out the hash of the samples (it reads the whole recording once)",
        "json": "print one JSON object",
    },
    auto_shortflags=False,
)
@reported
def recording_info(
    context: Context,  # noqa: ARG001
    recording: str,
    no_hash: bool = False,
    json: bool = False,
) -> None:
    """Describe a recording: format, channels, duration, probe, hash of its samples."""
    from spikecrate import report, request

    report.fields(request.recording_info(recording, with_hash=not no_hash), to_json=json)


@task(
    name="import",
    help={
        "source": "a file or folder in any format that SpikeInterface reads",
        "destination": "the folder to make; its samples are then read in place",
        "reader": "SpikeInterface's name of the format: intan, nwb, …; by default told by the file's name",
        "stream": "id or name of one of several streams",
        "segment": "number of one of several segments, from 0",
        "json": "print one JSON object",
    },
    auto_shortflags=False,
)
@reported
def recording_import(
    context: Context,  # noqa: ARG001
    source: str,
    destination: str,
    reader: str = "",
    stream: str = "",
    segment: str = "",
    json: bool = False,
) -> None:
    """Convert another format through SpikeInterface (the extra spikecrate[import])."""
    from spikecrate import report, request

    done = request.recording_import(source, destination, reader=reader, stream=stream, segment=segment)
    report.fields(done, to_json=json)


@task(
    name="toy",
    help={
        "destination": "the folder to make",
        "seed": "equal seeds give equal bytes",
        "duration": "seconds",
        "channels": "number of channels",
        "units": "number of units",
        "difficulty": "easy, medium or hard",
    },
    auto_shortflags=False,
)
@reported
def recording_toy(
    context: Context,  # noqa: ARG001
    destination: str,
    seed: int = 0,
    duration: float = 60.0,
    channels: int = 4,
    units: int = 6,
    difficulty: str = "easy",
) -> None:
    """Write a synthetic recording with ground truth, in MountainSort's format."""
    from spikecrate import report
    from spikecrate.progress import Terminal
    from spikecrate.recordings.toy import write_toy

    folder = write_toy(
        destination,
        seed=seed,
        duration_s=duration,
        num_channels=channels,
        num_units=units,
        difficulty=difficulty,
        progress=Terminal(),
    )
    report.say(str(folder))


@task(name="list", help={"json": "print one JSON array"}, auto_shortflags=False, default=True)
@reported
def job_list(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """List the jobs that the store knows, the latest first."""
    from spikecrate import report
    from spikecrate.jobs.listing import list_jobs
    from spikecrate.store import open_store

    report.jobs(list_jobs(open_store()), to_json=json)


@task(name="show", help={"key": "the first digits of a job key", "json": "one line"}, auto_shortflags=False)
@reported
def job_show(context: Context, key: str, json: bool = False) -> None:  # noqa: ARG001
    """Show a job's run record, or its failure."""
    from spikecrate import report
    from spikecrate.jobs.listing import show_job
    from spikecrate.store import open_store

    report.fields(show_job(open_store(), key), to_json=json)


@task(name="logs", help={"key": "the first digits of a job key"}, auto_shortflags=False)
@reported
def job_logs(context: Context, key: str) -> None:  # noqa: ARG001
    """Print what a job's sorter printed; of a running job, what it printed so far."""
    from spikecrate import report
    from spikecrate.jobs.listing import log_of
    from spikecrate.store import open_store

    report.say(log_of(open_store(), key).read_text(errors="replace").rstrip("\n"))


@task(name="list", help={"json": "print one JSON array"}, auto_shortflags=False, default=True)
@reported
def image_list(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """List the images in Docker and the SIFs in the store: size, results made with them, stale or not."""
    from spikecrate import report, request

    report.images(request.images(), to_json=json)


@task(
    name="prune",
    help={"dry-run": "only say what would be removed", "json": "print one JSON object"},
    auto_shortflags=False,
)
@reported
def image_prune(context: Context, dry_run: bool = False, json: bool = False) -> None:  # noqa: ARG001
    """Remove the images and SIFs of recipes that no sorter of the catalogue has any more."""
    from spikecrate import report, request

    report.pruned(request.prune_images(dry_run=dry_run), to_json=json)


@task(
    name="lock",
    help={"sorter": "name or alias of a sorter", "json": "print one JSON object"},
    auto_shortflags=False,
)
@reported
def image_lock(context: Context, sorter: str = "ms4", json: bool = False) -> None:  # noqa: ARG001
    """Write a sorter's image.lock: digest, and every Debian and Python package of its image."""
    from spikecrate import report, request

    report.fields(request.lock_image(sorter), to_json=json)


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
    from spikecrate import report, request

    report.image_differences(request.compare_images(first, second), to_json=json)


@task(name="gc", help={"json": "print one JSON object"}, auto_shortflags=False)
@reported
def store_gc(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """Remove the containers, processes and scratch folders that stopped runs left."""
    from spikecrate import report, request

    report.fields({"removed": request.collect_garbage()}, to_json=json)


def _collection(name: str, *members: Task[Any]) -> Collection:
    collection = Collection(name)
    for member in members:
        collection.add_task(member)
    return collection


namespace = Collection(sort, build, convert, demo)
namespace.add_collection(_collection("sorters", sorters_list, sorters_show))
namespace.add_collection(_collection("recording", recording_info, recording_import, recording_toy))
namespace.add_collection(_collection("job", job_list, job_show, job_logs))
namespace.add_collection(_collection("image", image_list, image_prune, image_lock, image_diff))
namespace.add_collection(_collection("store", store_gc))
