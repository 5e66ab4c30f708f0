"""Apptainer: making and starting the SIF with spikecrate, against Apptainer itself; and the size of the SIF."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.bench_run import container_by_hand, our_sort, small
from benchmarks.measure import Row, at_most, interleaved, process, size, timed
from spikecrate import api
from spikecrate._util.process import run
from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import find
from spikecrate.engines.apptainer import find_program, lacks_capabilities
from spikecrate.images import sif
from spikecrate.images.build import build
from spikecrate.runtimes.apptainer import Apptainer
from spikecrate.runtimes.contract import INPUTS, JOB, OUT, SCRATCH, ContainerSpec, Limits, Mount
from spikecrate.steps.job import build_request, recipe
from spikecrate.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spikecrate.images.build import BuildRequest

CONVERSIONS = 3
STARTS = 15
SORTS = 7
DOES_NOTHING = "/bin/true"


def conversion_and_start(scratch: Path) -> list[Row]:
    """Time conversion, start-up and a whole run; compare the SIF with the image, unpacked and as saved."""
    sorter = find("ms4")
    request = build_request(sorter, recipe(sorter))
    image = build(request, Silent())
    archive = scratch / "ms4.tar"
    run(["docker", "save", "--output", archive, image.digest])
    store = open_store(scratch / "store")
    row = _conversion(request, store, archive, scratch)
    (made,) = sif.stored(request, store)
    return [
        row,
        _start(request, store, made.path, scratch),
        _whole_run(store, scratch),
        size("(h) SIF", made.size_bytes, "image, unpacked", image.size_bytes, ratio=0.5),
        size("(h) SIF", made.size_bytes, "image, as docker save packs it", archive.stat().st_size, ratio=1.1),
    ]


def _conversion(request: BuildRequest, store: Store, archive: Path, scratch: Path) -> Row:
    program = find_program()
    plain = process(
        [program.path, "build", "--force", str(scratch / "plain.sif"), f"docker-archive:{archive}"],
        env={**os.environ, "APPTAINER_CACHEDIR": str(scratch / "cache")},
    )
    convert = timed(lambda: sif.convert(request, store, Silent(), archive=archive))

    def anew() -> float:
        for there in sif.stored(request, store):
            sif.remove(store, there.path)
        return convert()

    found = interleaved({"spikecrate": anew, "apptainer build": plain}, CONVERSIONS)
    return at_most(
        "(f) image to SIF, from its archive", found, "spikecrate", "apptainer build", ratio=0.5, seconds=None
    )


def _start(request: BuildRequest, store: Store, image: Path, scratch: Path) -> Row:
    """From the call to the end of a program that does nothing: program and SIF found and checked, and run."""
    found = interleaved(
        {
            "spikecrate": _nothing(request, store, scratch / "start"),
            "apptainer exec": process(
                [
                    *(find_program().path, "exec", *(["--userns"] if lacks_capabilities() else [])),
                    *(str(image), DOES_NOTHING),
                ]
            ),
        },
        STARTS,
    )
    return at_most("(g) start in Apptainer", found, "spikecrate", "apptainer exec", ratio=1.3, seconds=None)


def _nothing(request: BuildRequest, store: Store, attempt: Path) -> Callable[[], float]:
    """Return a timed start of `true` in place of the sorter, in a container with the options of a job."""
    targets = {
        JOB: attempt / "job",
        INPUTS / "recording": attempt / "rec",
        OUT: attempt / "out",
        SCRATCH: attempt / "tmp",
    }
    for folder in targets.values():
        folder.mkdir(parents=True)

    def start() -> None:
        runtime = Apptainer(store)
        image = runtime.prepare(request, Silent())
        ended = runtime.run(
            ContainerSpec(
                name="start",
                labels={},
                image=replace(image, entrypoint=(DOES_NOTHING,)),
                mounts=tuple(
                    Mount(source=source, target=target, read_only=target not in (OUT, SCRATCH))
                    for target, source in targets.items()
                ),
                limits=Limits(cores=1),
                user=(os.getuid(), os.getgid()),
            ),
            lambda _: None,
        )
        assert ended.code == 0

    return timed(start)


def _whole_run(store: Store, scratch: Path) -> Row:
    """Time `spikecrate sort` against `apptainer exec` of the same container, both as whole processes."""
    recording = small(scratch)
    done = api.sort(recording, runtime="apptainer", store=store.root, progress=Silent())
    by_hand = container_by_hand(done.record, done.folder / "job.json", scratch / "by-hand")
    found = interleaved(
        {
            "spikecrate sort": our_sort(recording, store.root, "apptainer"),
            "apptainer exec by hand": by_hand,
        },
        SORTS,
    )
    return at_most(
        "(g) sort of 20 s × 4 channels in Apptainer, whole process",
        found,
        "spikecrate sort",
        "apptainer exec by hand",
        ratio=1.3,
        seconds=None,
    )
