"""The identity of a recording in a job key: a hash of its samples, and the facts that a sorter sees."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from spikecrate.errors import RecordingChangedError, RecordingValueError
from spikecrate.recordings.formats.files import reading, regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from spikecrate._util.progress import Progress
    from spikecrate.recordings.model import Recording
    from spikecrate_harness.layout import Layout

    Block = np.ndarray[Any, Any]

PIECE_BYTES: Final = 4 * 2**20
"""Small enough to stay in the processor's cache between reading and hashing, large enough for threads."""
KINDS: Final = {"i": "int", "u": "uint", "f": "float"}


def hash_samples(recording: Recording, progress: Progress) -> str:
    """Hash the samples in their canonical form, checking them on the way.

    The canonical form is little-endian, sample after sample, the recording's channels in their order: the same
    samples have the same hash in every format. A file that is like that already is hashed as it lies. The file
    is read, not mapped: a mapped file that shrinks meanwhile would end the process.

    Parameters
    ----------
    recording : Recording
        The recording.
    progress : Progress
        Shows the bytes read.

    Returns
    -------
    str
        BLAKE3, 64 hexadecimal digits.

    Raises
    ------
    RecordingValueError
        At the first NaN or infinity in samples that are floating-point numbers.
    RecordingChangedError
        If the file changes while it is read.
    SpikecrateError
        As `regular_file`.
    """
    from blake3 import blake3

    layout, path = recording.layout, recording.sample_file
    regular_file(path)
    digest = blake3(max_threads=blake3.AUTO)
    with reading(path), path.open("rb", buffering=0) as file:
        before = _state(os.fstat(file.fileno()))
        with progress.bar(f"hashing {path.name}", layout.num_bytes) as advance:
            for block in _read_ahead(_blocks(recording, file)):
                digest.update(block.data.cast("B"))
                advance(len(block) * layout.file_channels * layout.itemsize)
        if not before == _state(os.fstat(file.fileno())) == _state(path.stat()):
            raise _changed(recording)
    return digest.hexdigest()


def identity(recording: Recording, samples_hash: str) -> dict[str, Any]:
    """Return everything of a recording that can change a sorting, and nothing else.

    Equal for the same samples, sampling frequency, locations and gains in any two formats: paths, byte order,
    channel names and notes are not in it.

    Parameters
    ----------
    recording : Recording
        The recording.
    samples_hash : str
        What `hash_samples` returns for it.

    Returns
    -------
    dict
        JSON types only.
    """
    layout = recording.layout
    return {
        "samples": samples_hash,
        "dtype": dtype_name(layout),
        "num_channels": layout.num_channels,
        "num_samples": layout.num_samples,
        "sampling_frequency": layout.sampling_frequency,
        # Adding 0.0 turns -0.0 into 0.0, which is the same place and must be the same text.
        "locations": [[value + 0.0 for value in row] for row in layout.locations],
        "gains": [value + 0.0 for value in layout.gains],
        "offsets": [value + 0.0 for value in layout.offsets],
    }


def dtype_name(layout: Layout) -> str:
    """Return the type of the samples without byte order, as numpy names it.

    Parameters
    ----------
    layout : Layout
        Layout of the recording.

    Returns
    -------
    str
        Such as "int16" or "float32".
    """
    return f"{KINDS[layout.dtype[1]]}{8 * layout.itemsize}"


def _read_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """Yield blocks; a thread reads the next one while the caller works on this one."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block


def _blocks(recording: Recording, file: BinaryIO) -> Iterator[Block]:
    """Read the samples piece by piece: samples x channels, C order, little-endian, all finite.

    Two buffers alternate: a block stays as it is while the next one is read.
    """
    import numpy as np

    layout = recording.layout
    little = np.dtype(layout.dtype).newbyteorder("<")
    by_channel = layout.time_axis == 1 and layout.file_channels > 1
    columns = layout.num_channels if by_channel else layout.file_channels
    step = max(1, PIECE_BYTES // (columns * layout.itemsize))
    buffers = itertools.cycle([np.empty(step * columns, dtype=layout.dtype) for _ in range(2)])
    # Columns that are neighbours are selected by a slice, which is copied fast or not at all.
    first, last = layout.channels[0], layout.channels[-1] + 1
    neighbours = layout.channels == tuple(range(first, last))
    selected = slice(first, last) if neighbours else list(layout.channels)
    for start in range(0, layout.num_samples, step):
        count = min(step, layout.num_samples - start)
        piece = next(buffers)[: count * columns]
        if by_channel:
            piece = piece.reshape(columns, count)
            for row, column in zip(piece, layout.channels, strict=True):
                _fill(recording, file, row, column * layout.num_samples + start)
            block = piece.T
        else:
            _fill(recording, file, piece, start * columns)
            block = piece.reshape(count, columns)[:, selected]
        if layout.dtype[1] == "f":
            _refuse_not_finite(recording, block, start)
        yield np.ascontiguousarray(block, dtype=little)


def _fill(recording: Recording, file: BinaryIO, array: Block, entry: int) -> None:
    """Read into an array, from an entry of the samples on."""
    layout = recording.layout
    view, place = array.data.cast("B"), layout.offset + entry * layout.itemsize
    while view:
        # One call may read less than asked for (a signal, a network file system), and reads 0 bytes at the end.
        got = os.preadv(file.fileno(), [view], place)
        if got == 0:
            raise _changed(recording)
        view, place = view[got:], place + got


def _refuse_not_finite(recording: Recording, block: Block, start: int) -> None:
    """Raise at the first NaN or infinity."""
    import numpy as np

    finite = np.isfinite(block)
    if finite.all():
        return
    sample, channel = np.argwhere(~finite)[0]
    name, value = recording.channel_ids[channel], float(block[sample, channel])
    message = f"{recording.sample_file}: {value} in sample {start + sample} of channel {name}"
    raise RecordingValueError(
        message,
        next_step="replace such samples, by 0 for example, or cut the recording before them",
        details={"file": str(recording.sample_file), "sample": int(start + sample), "channel": name},
    )


def _state(found: os.stat_result) -> tuple[int, int, int, int]:
    """Return the facts that change when a file is written or replaced."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _changed(recording: Recording) -> RecordingChangedError:
    """Return the error for a file that changed while it was read."""
    message = f"{recording.sample_file} changed while it was read"
    return RecordingChangedError(message, next_step="wait until the recording is complete, then try again")
