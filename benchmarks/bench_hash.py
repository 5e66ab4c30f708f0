"""Hashing a recording against reading it, against SHA-256, and against BLAKE3 alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from benchmarks.measure import Row, faster, interleaved, process, timed
from spikecrate._util.progress import Silent
from spikecrate.recordings import identity as content
from spikecrate.recordings import open_recording
from spikecrate_harness import mda

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS, SAMPLES = 64, 2**23
"""1 GiB of int16."""


def throughput(scratch: Path) -> list[Row]:
    """Time hash, SHA-256 and `cat` over the same warm file, and BLAKE3 over as many bytes in memory.

    A view has all samples but one, 16 tetrodes are the views of `--by-group`.
    """
    folder = scratch / "large"
    folder.mkdir()
    generator = np.random.default_rng(0)
    piece = generator.integers(-2000, 2000, (CHANNELS, 2**17), dtype=np.int16)
    mda.write(folder / "raw.mda", np.tile(piece, SAMPLES // 2**17))
    (folder / "params.json").write_text('{"samplerate": 30000}')
    recording = open_recording(folder)
    path = folder / "raw.mda"

    def sha256() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    in_memory = np.fromfile(path, dtype=np.uint8)

    def blake3_alone() -> str:
        return blake3(in_memory.data, max_threads=blake3.AUTO).hexdigest()

    stretch = recording.view(start="1samples")
    tetrodes = [recording.view(channels=[f"{first}-{first + 3}"]) for first in range(1, CHANNELS, 4)]
    found = interleaved(
        {
            "ours": timed(lambda: content.hash_samples(recording, Silent())),
            "a view": timed(lambda: content.hash_samples(stretch, Silent())),
            "16 tetrodes": timed(lambda: content.hash_together(tetrodes, Silent())),
            "SHA-256": timed(sha256),
            "BLAKE3 in memory": timed(blake3_alone),
            "cat": process(["cat", str(path)]),
        },
        5,
    )
    size = path.stat().st_size
    path.unlink()
    return [
        faster("(c) hash of 1 GiB", found, "ours", "SHA-256", size=size, ratio=2.5),
        faster("(c) hash of 1 GiB, against BLAKE3", found, "ours", "BLAKE3 in memory", size=size, ratio=0.8),
        faster("(c) hash of a view", found, "a view", "BLAKE3 in memory", size=size, ratio=0.8),
        faster("(c) hash of 16 tetrodes in one pass", found, "16 tetrodes", "cat", size=size, ratio=0),
        faster("(c) hash of 1 GiB, against reading", found, "ours", "cat", size=size, ratio=0),
    ]
