"""A recording as a tool sees it: traces on demand from one flat file, mapped into memory, read-only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from spikecrate_harness.layout import Layout


class TraceReader:
    """The samples of a layout.

    Parameters
    ----------
    layout : Layout
        Where the samples lie.
    samples : numpy.ndarray
        num_samples x file_channels, a view of the file.
    folder : Path
        The recording's folder.
    """

    def __init__(self, layout: Layout, samples: np.ndarray[Any, Any], folder: Path) -> None:
        self.layout = layout
        self._samples = samples
        self.folder = folder

    @property
    def path(self) -> Path:
        """The sample file."""
        return self.folder / self.layout.file

    @property
    def num_samples(self) -> int:
        """Samples per channel."""
        return self.layout.num_samples

    @property
    def num_channels(self) -> int:
        """Channels of the recording (the file may hold more)."""
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
            Samples x channels, C order, the file's type in the machine's byte order; a copy, the caller's to change.

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
        block = self._samples[start:stop]
        if self.layout.channels != tuple(range(self.layout.file_channels)):
            block = block[:, list(self.layout.channels)]
        return np.array(block, dtype=block.dtype.newbyteorder("="), order="C", subok=False)


def open_traces(layout: Layout, folder: str | Path) -> TraceReader:
    """Open the sample file of a layout; nothing is read yet.

    Parameters
    ----------
    layout : Layout
        Where the samples lie.
    folder : str or Path
        The recording's folder.

    Raises
    ------
    ValueError
        If the file is shorter than the layout says.
    OSError
        If it cannot be opened.
    """
    import numpy as np

    path = Path(folder) / layout.file
    needed, found = layout.offset + layout.num_bytes, path.stat().st_size
    if found < needed:
        message = f"{path}: {needed} bytes are needed, the file holds {found}"
        raise ValueError(message)
    by_time = layout.time_axis == 0
    shape = (layout.num_samples, layout.file_channels)
    samples = np.memmap(
        path, dtype=layout.dtype, mode="r", offset=layout.offset, shape=shape if by_time else shape[::-1]
    )
    return TraceReader(layout, samples if by_time else samples.T, Path(folder))


def file_identity(path: Path) -> dict[str, int]:
    """Return what tells a file from every other, for the report: the library compares it with what it hashed.

    Returns
    -------
    dict
        `inode`, `size` in bytes and `mtime_ns`. The device is left out: a virtual machine's differs from its host's.
    """
    status = os.stat(path)  # noqa: PTH116  (the same for a folder that is mounted)
    return {"inode": status.st_ino, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
