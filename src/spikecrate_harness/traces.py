"""A recording as a tool sees it: traces on demand from its files, mapped into memory, read-only."""

from __future__ import annotations

import os
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np

    from spikecrate_harness.layout import Layout, Part


class TraceReader:
    """The samples of a layout.

    Parameters
    ----------
    layout : Layout
        Where the samples lie.
    samples : sequence of callables
        Each maps a part's file and returns its samples, num_samples x file_channels. One file is mapped at a
        time: a map holds a file descriptor, and a recording may be joined of thousands of files.
    files : sequence of Path
        The file of each part.
    """

    def __init__(
        self, layout: Layout, samples: Sequence[Callable[[], np.ndarray[Any, Any]]], files: Sequence[Path]
    ) -> None:
        self.layout = layout
        self.files = tuple(files)
        self._samples = tuple(samples)
        self._last: tuple[int, np.ndarray[Any, Any]] | None = None
        self._ends = tuple(accumulate(part.num_samples for part in layout.parts))

    @property
    def num_samples(self) -> int:
        """Samples per channel."""
        return self._ends[-1]

    @property
    def num_channels(self) -> int:
        """Channels of the recording (a file may hold more)."""
        return self.layout.num_channels

    @property
    def sampling_frequency(self) -> float:
        """Hz."""
        return self.layout.sampling_frequency

    @property
    def locations(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Channels x 2 float64, um: x and y; a third coordinate stays in the layout."""
        import numpy as np

        return np.array([row[:2] for row in self.layout.locations], dtype=np.float64)

    @property
    def gains(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Channels float64, uV per count."""
        import numpy as np

        return np.array(self.layout.gains, dtype=np.float64)

    @property
    def offsets(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Channels float64, uV."""
        import numpy as np

        return np.array(self.layout.offsets, dtype=np.float64)

    def traces(self, start: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
        """Read samples `start` to `stop` (exclusive) of every channel.

        Returns
        -------
        numpy.ndarray
            Samples x channels, C order, the files' type in the machine's byte order; a copy, the caller's to change.

        Raises
        ------
        ValueError
            If the range reaches outside the recording.
        """
        import numpy as np

        stop = self.num_samples if stop is None else stop
        if not 0 <= start <= stop <= self.num_samples:
            message = f"samples {start} to {stop} of a recording with {self.num_samples}"
            raise ValueError(message)
        native = np.dtype(self.layout.dtype).newbyteorder("=")
        traces = np.empty((stop - start, self.num_channels), dtype=native)
        for place, (part, end) in enumerate(zip(self.layout.parts, self._ends, strict=True)):
            begin = end - part.num_samples
            first, last = max(start, begin), min(stop, end)
            if first < last:
                block = self._part(place)[first - begin : last - begin]
                if part.channels != tuple(range(part.file_channels)):
                    block = block[:, list(part.channels)]
                traces[first - start : last - start] = block
        return traces

    def _part(self, place: int) -> np.ndarray[Any, Any]:
        """Return the samples of a part, whose file stays mapped until another one is read."""
        last = self._last
        if last is None or last[0] != place:
            last = self._last = (place, self._samples[place]())
        return last[1]


def open_traces(layout: Layout, files: Sequence[Path]) -> TraceReader:
    """Open the sample files of a layout; nothing is read yet.

    Parameters
    ----------
    layout : Layout
        Where the samples lie.
    files : sequence of Path
        The file of each part.

    Raises
    ------
    ValueError
        If a file is shorter than the layout says.
    OSError
        If it cannot be opened.
    """
    for part, path in zip(layout.parts, files, strict=True):
        found = path.stat().st_size
        if found < part.file_bytes:
            message = f"{path}: {part.file_bytes} bytes are needed, the file holds {found}"
            raise ValueError(message)
    return TraceReader(
        layout, [partial(_mapped, *place) for place in zip(layout.parts, files, strict=True)], files
    )


def _mapped(part: Part, path: Path) -> np.ndarray[Any, Any]:
    """Map a file into memory; return the samples of the part, num_samples x file_channels."""
    import numpy as np

    by_time = part.time_axis == 0
    shape = (part.file_samples, part.file_channels)
    samples = np.memmap(
        path, dtype=part.dtype, mode="r", offset=part.offset, shape=shape if by_time else shape[::-1]
    )
    return (samples if by_time else samples.T)[part.start : part.start + part.num_samples]


def file_identity(path: Path) -> dict[str, int]:
    """Return what tells a file from every other, for the report: the library compares it with what it hashed.

    Returns
    -------
    dict
        `inode`, `size` in bytes and `mtime_ns`. The device is left out: a virtual machine's differs from its host's.
    """
    status = os.stat(path)  # noqa: PTH116  (the same for a folder that is mounted)
    return {"inode": status.st_ino, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
