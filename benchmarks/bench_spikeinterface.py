"""What a container costs: our overhead over the sorter itself, against SpikeInterface's own container mode.

SpikeInterface 0.105's wrapper of MountainSort 4 does not run with its numpy, so its overhead is that of
MountainSort 5, whole process in its container mode less whole process natively, on the same recording, with an
image that is complete (`installation_mode="no-install"`), compiled like ours. Ours is MountainSort 4 in Docker less
the same job by hand in the host's environment.

Its container's first process is a shell or an interpreter that is deaf to Docker's request to stop, as in the images
that it publishes: Docker waits 10 s and kills it. A second row takes this wait out, with an image that stops at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from uv import find_uv_bin

from benchmarks.bench_run import native, our_sort, small
from benchmarks.measure import Row, difference, interleaved, process
from spikecrate._util.process import run
from spikecrate._util.progress import Silent
from spikecrate.engines.docker import docker_client
from spikecrate.images.base import ensure_bases
from spikecrate.images.buildx import build_argv, build_logged, engine_output

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE: Final = Path(__file__).parent / "spikeinterface"
IMAGES: Final = {
    "as-published": "spikecrate-bench/spikeinterface:0.105.3",
    "stops-at-once": "spikecrate-bench/spikeinterface:0.105.3-stops-at-once",
}
"""By the stage of the Dockerfile."""
ROUNDS: Final = 5


def overhead(scratch: Path) -> list[Row]:
    """Time both tools in a container and without, interleaved; compare the medians of the paired differences."""
    python = environment(scratch, "requirements.lock")
    for stage, reference in IMAGES.items():
        _image(stage, reference)
    try:
        recording = small(scratch)
        words: Sequence[str] = (str(python), str(HERE / "sort.py"), str(recording))
        found = interleaved(
            {
                "spikecrate": our_sort(recording, scratch / "store"),
                "spikecrate, natively": native(recording, scratch),
                "SpikeInterface": process([*words, str(scratch / "si"), IMAGES["as-published"]]),
                "SpikeInterface, stopping at once": process(
                    [*words, str(scratch / "si-stops"), IMAGES["stops-at-once"]]
                ),
                "SpikeInterface, natively": process([*words, str(scratch / "natively")]),
            },
            ROUNDS,
        )
    finally:
        for reference in IMAGES.values():
            docker_client().images.remove(reference, force=True)
    ours = ("spikecrate", "spikecrate, natively")
    theirs = "SpikeInterface, natively"
    return [
        difference("(a) overhead of the container", found, ours, ("SpikeInterface", theirs), smaller=5),
        difference(
            "(a) the same without its wait for the stop",
            found,
            ours,
            ("SpikeInterface, stopping at once", theirs),
            smaller=1,
        ),
    ]


def environment(scratch: Path, lock: str) -> Path:
    """Install SpikeInterface in an environment of its own.

    Parameters
    ----------
    scratch : Path
        Parent of the environment.
    lock : str
        Name of the lock file.

    Returns
    -------
    Path
        Its interpreter.
    """
    python = scratch / "venv" / "bin" / "python"
    uv = find_uv_bin()
    run([uv, "venv", "--quiet", "--python", "3.11", scratch / "venv"])
    run(
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "--require-hashes",
            "-r",
            HERE / lock,
        ],
        # As ours, and as pip does it.
        env={**os.environ, "UV_COMPILE_BYTECODE": "1"},
    )
    return python


def _image(stage: str, reference: str) -> None:
    bases = ensure_bases(Silent())
    argv = build_argv(
        HERE,
        output=engine_output(reference),
        target=stage,
        arguments={"BASE": bases.runtime, "BUILDER": bases.builder},
    )
    build_logged(argv, reference, Silent())
