"""A recording: flat files of samples read in place, and the facts that their folders give."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate._util.quantities import counted
from spikecrate.errors import UsageError
from spikecrate.recordings.formats.files import reading, regular_file, truncated

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from spikecrate.recordings.assumptions import Assumption
    from spikecrate_harness.layout import Layout, Part


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A jump of the clock between two samples that follow one another in a file.

    Attributes
    ----------
    sample : int
        The first sample after the jump, counted from the recording's start.
    missing : int
        Samples that the clock counts and the file lacks; negative where the clock was set back.
    """

    sample: int
    missing: int


def require_utf8(path: Path) -> None:
    """Raise where a path is not UTF-8: a run record, which is JSON, and a container's mount cannot hold it.

    Parameters
    ----------
    path : Path
        The path.

    Raises
    ------
    UsageError
        The message shows the bytes as escapes.
    """
    escaped = os.fsencode(path).decode("utf-8", "backslashreplace")
    if os.fsencode(path) != escaped.encode():
        message = f"{escaped} is not a path in UTF-8, so the run record cannot name it"
        raise UsageError(message, next_step="rename the file or folder")


@dataclass(frozen=True, kw_only=True, repr=False)
class Recording:
    """Raw traces with a sampling frequency and a probe, where they lie.

    Attributes
    ----------
    path : Path
        Absolute, as the user named it.
    format : str
        "mountainsort", "spikeinterface", "spikeglx", "openephys" or "flat".
    files : tuple of Path
        Absolute, the sample file of each part of the layout; a job sees their folders read-only. A file may be a link.
    layout : Layout
        Place of the samples in the files, their type, and the facts of the channels.
    channel_ids : tuple of str
        Names of the channels, in the layout's order.
    groups : tuple of str or None
        Shank, tetrode or probe of each channel; None where the files do not say.
    gaps : tuple of Gap
        Where samples are missing, in order.
    spike_sign : int or None
        -1, 0 or 1 where the files give the direction of the spikes.
    assumptions : tuple of Assumption
        Facts that the reader assumed, parts of the file that it leaves out.
    origin : dict
        How `reopen` opens it again, as JSON: the path and options, the views, the recordings that it joins.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    layout: Layout
    channel_ids: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    gaps: tuple[Gap, ...] = ()
    spike_sign: int | None = None
    assumptions: tuple[Assumption, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return one line, however many channels there are."""
        rate = f"{self.layout.sampling_frequency:g} Hz"
        shape = f"{counted(self.layout.num_channels, 'channel')}, {self.duration_s:.6g} s at {rate}"
        return f"<Recording {str(self.path)!r}: {self.format}, {shape}>"

    @property
    def notes(self) -> tuple[str, ...]:
        """The assumptions as sentences, each with its next step."""
        return tuple(map(str, self.assumptions))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the layout; `files` has the file of each."""
        return self.layout.parts

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the sample files, each once."""
        return tuple(dict.fromkeys(file.parent for file in self.files))

    @property
    def duration_s(self) -> float:
        """Seconds of samples, gaps not counted."""
        return self.layout.num_samples / self.layout.sampling_frequency

    @property
    def size_bytes(self) -> int:
        """Bytes of the samples in the files, all of their channels."""
        return self.layout.num_bytes

    def seconds(self, samples: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the times of samples from the recording's start, the time of gaps included.

        Parameters
        ----------
        samples : numpy.ndarray
            Sample indices.

        Returns
        -------
        numpy.ndarray
            float64, s, of the same shape.
        """
        from spikecrate.recordings.views import seconds

        return seconds(samples, self.layout.sampling_frequency, self.gaps)

    def view(
        self,
        *,
        start: float | str | None = None,
        end: float | str | None = None,
        channels: Sequence[str] | None = None,
        exclude_channels: Sequence[str] | None = None,
        group: str | int | None = None,
    ) -> Recording:
        """Return a part of the recording; nothing is read or copied.

        Parameters
        ----------
        start, end : float or str, optional
            From and to (exclusive): seconds, or text such as `90s`, `10m`, `1h` or `30000samples`.
        channels, exclude_channels : sequence of str, optional
            Names of the channels to keep or to leave out, or ranges of them such as `3-8`.
        group : str or int, optional
            The shank, tetrode or probe whose channels are kept.

        Returns
        -------
        Recording
            Its channels are in the recording's order.

        Raises
        ------
        UsageError
            A channel or group is not known, or the times leave no samples.
        """
        from spikecrate.recordings.views import View, apply

        # One name is not its letters.
        kept, left_out = (
            (names,) if isinstance(names, str) else tuple(map(str, names or ()))
            for names in (channels, exclude_channels)
        )
        named = None if group is None else str(group)
        return apply(View(start=start, end=end, channels=kept, exclude_channels=left_out, group=named), self)

    def by_group(self) -> dict[str, Recording]:
        """Return a view of each shank, tetrode or probe, by its name.

        Returns
        -------
        dict
            In the order of their first channels; channels within 100 um of one another are a group where the files
            name none.
        """
        from spikecrate.recordings.views import group_names

        return {name: self.view(group=name) for name in dict.fromkeys(group_names(self))}

    def require_utf8_paths(self) -> None:
        """Raise where a path of the recording, or the target of a link, is not UTF-8.

        A run record, which is JSON, and a container's mount cannot hold such a path.

        Raises
        ------
        UsageError
            The message shows the bytes as escapes.
        """
        for path in (self.path, *self.files):
            for name in (path, Path(os.path.realpath(path.parent)), Path(os.path.realpath(path))):
                require_utf8(name)

    def traces(self, start: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
        """Read a stretch of every channel.

        Parameters
        ----------
        start : int
            The first sample.
        stop : int, optional
            The sample after the last one; by default the recording's end.

        Returns
        -------
        numpy.ndarray
            Samples x channels in the files' type, the machine's byte order.

        Raises
        ------
        RecordingTruncatedError
            If a file has shrunk since it was opened.
        ValueError
            If the range reaches outside the recording.
        """
        from spikecrate_harness.traces import open_traces

        for part, file in zip(self.layout.parts, self.files, strict=True):
            found = regular_file(file).st_size
            if found < part.file_bytes:
                raise truncated(file, part.file_bytes, found)
        with reading(self.files[0]):
            return open_traces(self.layout, self.files).traces(start, stop)
