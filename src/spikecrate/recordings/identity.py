"""The identity of a recording in a job key: a hash of its samples, and the facts that a sorter sees."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from spikecrate.errors import RecordingChangedError, RecordingValueError
from spikecrate.recordings.formats.files import reading, regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from spikecrate._util.progress import Progress
    from spikecrate.recordings.model import Recording
    from spikecrate_harness.layout import Layout, Part

    Block = np.ndarray[Any, Any]

PIECE_BYTES: Final = 4 * 2**20
"""Small enough to stay in the processor's cache between reading and hashing, large enough for threads."""
KINDS: Final = {"i": "int", "u": "uint", "f": "float"}


def hash_samples(recording: Recording, progress: Progress) -> str:
    """Hash the samples of a recording, see `hash_together`.

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
    RecordingValueError, RecordingChangedError, SpikecrateError
        As `hash_together`.
    """
    return hash_together([recording], progress)[0]


def hash_together(recordings: Sequence[Recording], progress: Progress) -> list[str]:
    """Hash the samples of recordings in their canonical form, checking them on the way.

    The canonical form is little-endian, sample after sample, the recording's channels in their order: the same
    samples have the same hash in every format and view. A file that is like that already is hashed as it lies. The
    files are read once, not mapped: a mapped file that shrinks meanwhile would end the process.

    Parameters
    ----------
    recordings : sequence of Recording
        Views of the same stretches of the same files; they may differ in their channels.
    progress : Progress
        Shows the bytes read.

    Returns
    -------
    list of str
        For each recording BLAKE3, 64 hexadecimal digits.

    Raises
    ------
    RecordingValueError
        At the first NaN or infinity in samples that are floating-point numbers.
    RecordingChangedError
        If a file changes while it is read.
    SpikecrateError
        As `regular_file`.
    """
    from blake3 import blake3

    first = recordings[0]
    digests = [blake3(max_threads=blake3.AUTO) for _recording in recordings]
    with progress.bar(f"hashing {first.path.name}", first.layout.num_bytes) as advance:
        for place, (path, part) in enumerate(zip(first.files, first.parts, strict=True)):
            regular_file(path)
            with reading(path), path.open("rb", buffering=0) as file:
                before = _state(os.fstat(file.fileno()))
                for blocks in _read_ahead(_blocks(recordings, place, file)):
                    for digest, block in zip(digests, blocks, strict=True):
                        digest.update(block.data.cast("B"))
                    advance(len(blocks[0]) * part.file_channels * part.itemsize)
                if not before == _state(os.fstat(file.fileno())) == _state(path.stat()):
                    raise _changed(path)
    return [digest.hexdigest() for digest in digests]


def identity(recording: Recording, samples_hash: str) -> dict[str, Any]:
    """Return everything of a recording that can change a sorting, and nothing else.

    Equal for the same samples, sampling frequency, locations and gains in any two formats or views: paths, byte
    order, channel names and notes are not in it.

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


def _read_ahead(blocks: Iterator[list[Block]]) -> Iterator[list[Block]]:
    """Yield blocks; a thread reads the next ones while the caller works on these."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block


def _blocks(recordings: Sequence[Recording], place: int, file: BinaryIO) -> Iterator[list[Block]]:
    """Read a part piece by piece: for each recording samples x channels, C order, little-endian, all finite.

    Two buffers alternate: a block stays as it is while the next one is read.
    """
    import numpy as np

    parts = [recording.parts[place] for recording in recordings]
    part, path = parts[0], recordings[0].files[place]
    little = np.dtype(part.dtype).newbyteorder("<")
    by_channel = part.time_axis == 1 and part.file_channels > 1
    columns = sorted({column for each in parts for column in each.channels})
    columns = columns if by_channel else list(range(part.file_channels))
    step = max(1, PIECE_BYTES // (len(columns) * part.itemsize))
    buffers = itertools.cycle([np.empty(step * len(columns), dtype=part.dtype) for _ in range(2)])
    selected = [_neighbours([columns.index(column) for column in each.channels]) for each in parts]
    for start in range(0, part.num_samples, step):
        count = min(step, part.num_samples - start)
        piece = next(buffers)[: count * len(columns)]
        if by_channel:
            piece = piece.reshape(len(columns), count)
            for row, column in zip(piece, columns, strict=True):
                _fill(path, part, file, row, column * part.file_samples + part.start + start)
            piece = piece.T
        else:
            _fill(path, part, file, piece, (part.start + start) * len(columns))
            piece = piece.reshape(count, len(columns))
        blocks = [_select(piece, stretches) for stretches in selected]
        if part.dtype[1] == "f":
            for recording, block in zip(recordings, blocks, strict=True):
                _refuse_not_finite(recording, path, block, part.start + start)
        yield [np.ascontiguousarray(block, dtype=little) for block in blocks]


def _neighbours(columns: list[int]) -> list[tuple[int, int]]:
    """Return columns as stretches of neighbours, (first, after the last): they are copied fast or not at all."""
    edges = [0, *(at for at in range(1, len(columns)) if columns[at] != columns[at - 1] + 1), len(columns)]
    return [(columns[first], columns[last - 1] + 1) for first, last in itertools.pairwise(edges)]


def _select(piece: Block, stretches: list[tuple[int, int]]) -> Block:
    """Return some columns of a piece, samples x channels."""
    import numpy as np

    columns = [piece[:, first:last] for first, last in stretches]
    return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)


def _fill(path: Path, part: Part, file: BinaryIO, array: Block, entry: int) -> None:
    """Read into an array, from an entry of the file's samples on."""
    view, place = array.data.cast("B"), part.offset + entry * part.itemsize
    while view:
        # One call may read less than asked for (a signal, a network file system), and reads 0 bytes at the end.
        got = os.preadv(file.fileno(), [view], place)
        if got == 0:
            raise _changed(path)
        view, place = view[got:], place + got


def _refuse_not_finite(recording: Recording, path: Path, block: Block, start: int) -> None:
    """Raise at the first NaN or infinity in a block, which begins at the sample `start` of its file."""
    import numpy as np

    finite = np.isfinite(block)
    if finite.all():
        return
    sample, channel = np.argwhere(~finite)[0]
    name, value = recording.channel_ids[channel], float(block[sample, channel])
    message = f"{path}: {value} in sample {start + sample} of channel {name}"
    raise RecordingValueError(
        message,
        next_step="replace such samples, by 0 for example, or cut the recording before them with --end",
        details={"file": str(path), "sample": int(start + sample), "channel": name},
    )


def _state(found: os.stat_result) -> tuple[int, int, int, int]:
    """Return the facts that change when a file is written or replaced."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _changed(path: Path) -> RecordingChangedError:
    """Return the error for a file that changed while it was read."""
    message = f"{path} changed while it was read"
    return RecordingChangedError(message, next_step="wait until the recording is complete, then try again")
