"""Options that choose what of a recording is read: `sort`, `recording.info`, `recording.check` and `job.explain`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """What is read of a recording.

    Attributes
    ----------
    stream : NAME
        one of several streams of a recording; example: imec0.ap
    segment : N
        one of several segments (t0, t1 …; recording1, recording2 …), from 0; example: 1
    concatenate : flag
        join all segments, and several recordings in the given order, end to end
    start : TIME
        from this time on: seconds, 10m, 1h or 30000samples; example: 60
    end : TIME
        up to this time; example: 10m
    channels : NAMES
        only these channels, by name or range, with commas; example: 1-16,20
    exclude_channels : NAMES
        all but these channels; example: 7,12
    group : NAME
        only the channels of one shank, tetrode or probe; example: 0
    probe : PROBE
        locations of the channels: a geom.csv, .prb, chanMap.mat or probeinterface JSON file, tetrode, column or the
        part number of a Neuropixels probe; example: tetrode
    allow_truncated : flag
        read what is there of a file that is shorter than its description says
    """

    stream: str = ""
    segment: int | None = None
    concatenate: bool = False
    start: str = ""
    end: str = ""
    channels: str = ""
    exclude_channels: str = ""
    group: str | None = None
    probe: str = ""
    allow_truncated: bool = False

    def open(
        self, paths: "Sequence[str]", progress: "Progress", runtime: str = "auto", *, reader: str = ""
    ) -> "Recording":
        """Open recordings, join several, and return the chosen view.

        Parameters
        ----------
        paths : sequence of str
            One, or several to join.
        progress : Progress
            Shows the import of another format.
        runtime : str
            Where an import runs.
        reader : str
            SpikeInterface's name of the format, to import in any case.

        Returns
        -------
        Recording

        Raises
        ------
        RecordingError, UsageError
            A recording cannot be read, or lacks what the options name.
        """
        from spikecrate.recordings.views import concatenate
        from spikecrate.steps.opening import open_any
        from spikecrate.store import open_store

        if len(paths) > 1 and not self.concatenate:
            message = f"{len(paths)} recordings are named"
            raise UsageError(message, next_step="name one, or join them with --concatenate")
        same = ("stream", "segment", "concatenate", "probe", "allow_truncated")
        values = {name: getattr(self, name) for name in same}
        # Segment 0 is one of them, and equal to False.
        given = {
            name: value for name, value in values.items() if value not in ("", None) and value is not False
        }
        store = open_store()
        opened = concatenate(
            [
                open_any(path, store=store, progress=progress, runtime=runtime, reader=reader, **given)
                for path in paths
            ]
        )
        return opened.view(
            start=self.start or None,
            end=self.end or None,
            channels=_names("--channels", self.channels),
            exclude_channels=_names("--exclude-channels", self.exclude_channels),
            group=self.group,
        )


def _names(flag: str, words: str) -> list[str]:
    """Return the names between the commas."""
    names = [word.strip() for word in words.split(",") if word.strip()]
    if words and not names:
        message = f"{flag} {words!r} names no channel"
        raise UsageError(message, next_step=f"name channels, or leave out {flag}")
    return names
