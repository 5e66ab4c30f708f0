"""From the words of a command line to the library's arguments."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate import api, output
from spikecrate.errors import ParameterValueError, UsageError
from spikecrate.progress import Terminal
from spikecrate.quantities import parse_bytes, parse_seconds
from spikecrate.sorters import find, parse_assignments
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.api import Forecast, Result
    from spikecrate.jobs.job import Job


def read(
    recording: str,
    *,
    sorter: str,
    param: list[str],
    params: str,
    runtime: str,
    cores: str,
    memory: str,
    timeout: str,
    seed: int,
    force: bool,
) -> dict[str, Any]:
    """Read the words of `sort` into the arguments of `spikecrate.sort`.

    Raises
    ------
    UsageError, ParameterValueError, SorterNotFoundError
        Naming the word that cannot be read.
    """
    return {
        "recording": recording,
        "sorter": sorter,
        "params": {**read_parameters(params), **parse_assignments(find(sorter), param)},
        "runtime": runtime,
        "cores": _whole_number("--cores", cores),
        "memory_bytes": parse_bytes(memory) if memory else None,
        "timeout_s": parse_seconds(timeout) if timeout else None,
        "seed": seed,
        "force": force,
        "progress": Terminal(),
    }


def _whole_number(option: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        message = f"{option} {text!r} is not a whole number"
        raise UsageError(message, next_step=f"{option} 1")
    return int(text)


def read_parameters(path: str) -> dict[str, Any]:
    """Read a file of parameters, a JSON object; none for no path.

    Raises
    ------
    ParameterValueError
        Naming the file, and where in it.
    """
    if not path:
        return {}
    try:
        found = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        message = f"--params {path}: {error}"
        raise ParameterValueError(message, next_step="give a JSON file with one object") from None
    if not isinstance(found, dict):
        message = f"--params {path} holds a {type(found).__name__}, not an object"
        raise ParameterValueError(message, next_step='write it as {"detect_threshold": 4}')
    return found


def sort(asked: dict[str, Any], folder: str) -> Result:
    """Sort, and put a copy of the result where the user keeps things.

    Parameters
    ----------
    asked : dict
        As `read` gives it.
    folder : str
        The word of `--output`; empty for the default place, `-` for no copy.
    """
    progress = asked["progress"]

    def default(job: Job) -> Path | None:
        place = output.default_output(job.recording, job.sorter.name, job.key)
        if output.is_inside(place, job.recording):
            progress.note("the current folder is the recording's own: the result stays in the store alone")
            return None
        return place

    if folder == output.STORE_ONLY:
        return api.sort(**asked)
    return api.sort(**asked, output=Path(folder) if folder else default)


def forecast(asked: dict[str, Any]) -> Forecast:
    """Say what `sort` would do."""
    return api.forecast(**asked)


def build(sorter: str, *, verify: bool, no_cache: bool, wheelhouse: str) -> dict[str, Any]:
    """Build a sorter's image, or build it twice and compare."""
    from spikecrate.images import build as images
    from spikecrate.jobs.job import recipe
    from spikecrate.sorters import check

    found = find(sorter)
    check(found.folder)
    asked = api.build_request(found, recipe(found))
    wheels = Path(wheelhouse).absolute() if wheelhouse else None
    if verify:
        return asdict(images.verify(asked, Terminal(), wheelhouse=wheels))
    return asdict(images.build(asked, Terminal(), no_cache=no_cache, wheelhouse=wheels))


def convert(sorter: str, *, compression: str, archive: str) -> dict[str, Any]:
    """Make a sorter's SIF for Apptainer, or find it."""
    from spikecrate.images import sif
    from spikecrate.jobs.job import recipe
    from spikecrate.sorters import check

    found = find(sorter)
    check(found.folder)
    asked = api.build_request(found, recipe(found))
    file = Path(archive).absolute() if archive else None
    return sif.convert(asked, open_store(), Terminal(), compression=compression, archive=file).as_dict()


def images() -> list[dict[str, Any]]:
    """List the images in the engine and the SIFs in the store."""
    from spikecrate.images.inventory import inventory

    return inventory(open_store(), _recipes(), Terminal())


def prune_images(*, dry_run: bool) -> dict[str, Any]:
    """Remove stale images and SIFs."""
    from spikecrate.images.prune import prune
    from spikecrate.jobs.listing import sorters_running

    store = open_store()
    busy = sorters_running(store, "apptainer")
    return prune(store, _recipes(), Terminal(), busy=busy, dry_run=dry_run)


def lock_image(sorter: str) -> dict[str, Any]:
    """Write a sorter's `image.lock`, and sum it up."""
    from spikecrate.images import lockfile
    from spikecrate.jobs.job import recipe
    from spikecrate.sorters import check

    found = find(sorter)
    check(found.folder)
    path = lockfile.lock(api.build_request(found, recipe(found)), Terminal())
    locked = lockfile.read_lock(path)
    python = sum(map(len, locked.python.values()))
    return {"lock": str(path), "digest": locked.digest, "debian": len(locked.debian), "python": python}


def compare_images(first: str, second: str) -> dict[str, Any]:
    """Name what differs between two images or locks."""
    from spikecrate.images.lockfile import compare
    from spikecrate.images.lockfile import read as read_image

    progress = Terminal()
    return compare(read_image(first, progress), read_image(second, progress))


def _recipes() -> dict[str, str]:
    from spikecrate.jobs.job import recipe
    from spikecrate.sorters import catalogue

    return {name: recipe(sorter) for name, sorter in catalogue().items()}


def recording_info(path: str, *, with_hash: bool) -> dict[str, Any]:
    """Describe a recording."""
    from spikecrate.jobs.job import samples_hash
    from spikecrate.recordings import open_recording
    from spikecrate.recordings.describe import describe
    from spikecrate.store.memo import FileState, Memo

    recording = open_recording(path)
    samples = None
    if with_hash:
        state = FileState.of(recording.sample_file)
        samples = samples_hash(recording, state, Memo(open_store().memo), Terminal())
    return describe(recording, samples)


def recording_import(
    source: str, destination: str, *, reader: str, stream: str, segment: str
) -> dict[str, Any]:
    """Convert another format through SpikeInterface, and describe what came of it.

    Raises
    ------
    UsageError
        For a segment that is not a whole number.
    """
    from spikecrate.recordings.imports import import_recording

    import_recording(
        source,
        destination,
        Terminal(),
        reader=reader or None,
        stream=stream or None,
        segment=_whole_number("--segment", segment),
    )
    return recording_info(destination, with_hash=True)


def collect_garbage() -> list[str]:
    """Remove what stopped runs left, in every runtime that this machine has."""
    from spikecrate.jobs.sweep import sweep
    from spikecrate.runtimes.choice import usable

    store = open_store()
    return [name for runtime in usable(store) for name in sweep(store, runtime)]
