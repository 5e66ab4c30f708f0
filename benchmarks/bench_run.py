"""A whole run: our process against the container started by hand, and the container against the host."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Row, at_most, interleaved, process
from spikecrate import api
from spikecrate._util.progress import Silent
from spikecrate.recordings.toy import write_toy

if TYPE_CHECKING:
    from collections.abc import Callable

SPIKECRATE = str(Path(sys.executable).with_name("spikecrate"))
ROUNDS = 7


def small(scratch: Path) -> Path:
    """Write the recording of whole runs: 20 s of four channels."""
    return write_toy(scratch / "small", duration_s=20)


def whole_run(scratch: Path) -> list[Row]:
    """Time `spikecrate sort` against `docker run` of the same container, both as whole processes."""
    recording = small(scratch)
    done = api.sort(recording, runtime="docker", store=scratch / "store", progress=Silent())
    by_hand = container_by_hand(done.record, done.folder / "job.json", scratch / "by-hand")
    found = interleaved(
        {"spikecrate sort": our_sort(recording, scratch / "store"), "docker run by hand": by_hand}, ROUNDS
    )
    return [
        at_most(
            "(a) sort of 20 s × 4 channels, whole process",
            found,
            "spikecrate sort",
            "docker run by hand",
            ratio=1.3,
            seconds=None,
        )
    ]


def container_by_hand(record: dict[str, Any], job: Path, place: Path) -> Callable[[], float]:
    """Return a timed `docker run` or `apptainer exec` of the command in a run record, in new folders."""
    folders = {target: place / target.strip("/") for target in ("/job", "/out", "/tmp")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(job, folders["/job"] / "job.json")
    argv = [word for word in record["argv"] if not word.startswith("--log-driver")]
    for mount in record["mounts"]:
        if mount["target"] in folders:
            old, new = mount["source"], str(folders[mount["target"]])
            argv = [word.replace(old, new) for word in argv]
    run = process(argv)

    def cleaned() -> float:
        for name in ("/out", "/tmp"):
            shutil.rmtree(folders[name])
            folders[name].mkdir()
        return run()

    return cleaned


def container_against_host(scratch: Path) -> list[Row]:
    """Compare the harness's own wall time in the container and on the host, one core, 60 s of eight channels."""
    recording = write_toy(scratch / "larger", duration_s=60, num_channels=8)

    def harness_seconds(runtime: str) -> Callable[[], float]:
        def run() -> float:
            done = api.sort(
                recording, runtime=runtime, cores=1, force=True, store=scratch / "store", progress=Silent()
            )
            return float(done.record["inside"]["wall_s"])

        return run

    found = interleaved({"docker": harness_seconds("docker"), "host": harness_seconds("host")}, 5)
    return [
        at_most("(d) ms4 on 60 s × 8 channels, one core", found, "docker", "host", ratio=1.02, seconds=None)
    ]


def our_sort(recording: Path, store: Path, runtime: str = "docker") -> Callable[[], float]:
    """Return a timed whole process of `spikecrate sort` that runs its job each time."""
    return process(
        [SPIKECRATE, "sort", str(recording), "--runtime", runtime, "--force", "--output", "-"],
        env={**os.environ, "SPIKECRATE_STORE": str(store)},
    )


def native(recording: Path, scratch: Path) -> Callable[[], float]:
    """Return a timed whole process of the same job in the host's environment: harness and sorter alone."""
    done = api.sort(recording, runtime="host", force=True, store=scratch / "store", progress=Silent())
    place = scratch / "native"
    paths = {"--job": place / "job.json", "--out": place / "out", "--scratch": place / "scratch"}
    for name in ("--out", "--scratch"):
        paths[name].mkdir(parents=True)
    shutil.copyfile(done.folder / "job.json", paths["--job"])
    argv = list(done.record["argv"])
    for option, path in paths.items():
        argv[argv.index(option) + 1] = str(path)
    return process(argv)
