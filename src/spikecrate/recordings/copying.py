"""Write a recording, or a view of one, as a flat file with a recording.json: the same samples, places and job key."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import OutputError
from spikecrate.recordings.formats import absolute, open_recording
from spikecrate.recordings.new_folder import new_folder
from spikecrate.recordings.probe import PITCH_UM

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.recordings.model import Recording

SAMPLES: Final = "traces.raw"
PROBE: Final = "probe.json"
PIECE_BYTES: Final = 16 * 2**20


def write_copy(recording: Recording, destination: str | Path, progress: Progress) -> Recording:
    """Write a recording to a new folder.

    Parameters
    ----------
    recording : Recording
        The recording.
    destination : str or Path
        A folder that does not exist. It is complete or absent, also after an interruption.
    progress : Progress
        Shows the samples written.

    Returns
    -------
    Recording
        The copy, with the gaps of the recording.

    Raises
    ------
    OutputError, DiskFullError
        The destination exists, lies in the recording, or cannot be written.
    """
    target = absolute(destination)
    if os.path.lexists(target):
        message = f"{target} exists already"
        raise OutputError(message, next_step="name a folder that does not exist, or remove this one")
    for folder in (recording.path, *recording.folders):
        if target.resolve().is_relative_to(folder.resolve()):
            message = f"{target} is inside {folder}, where nothing is written"
            raise OutputError(message, next_step="name a folder elsewhere")
    with new_folder(target) as staging:
        _write_samples(recording, staging / SAMPLES, progress)
        description = _describe(recording)
        if "probe" in description:
            _write_probe(recording, staging / PROBE)
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (staging / "recording.json").write_text(text, encoding="utf-8")
    return open_recording(target)


def _describe(recording: Recording) -> dict[str, Any]:
    """Return the content of recording.json; what was assumed is left out, so that the copy notes it as well."""
    layout, assumed = recording.layout, {found.field for found in recording.assumptions}
    column = tuple((0.0, PITCH_UM * channel) for channel in range(layout.num_channels))
    known = {
        "gain_uv": None if "gain_uv" in assumed else list(layout.gains),
        "offset_uv": None if "offset_uv" in assumed else list(layout.offsets),
        "probe": None if "probe" in assumed and layout.locations == column else PROBE,
        "spike_sign": recording.spike_sign,
        "gaps": [[gap.sample, gap.missing] for gap in recording.gaps] or None,
    }
    return {
        "title": f"{recording.path.name}, copied from {recording.format}",
        "file": SAMPLES,
        "dtype": f"<{layout.dtype[1:]}" if layout.itemsize > 1 else layout.dtype,
        "num_channels": layout.num_channels,
        "num_samples": layout.num_samples,
        "sampling_frequency": layout.sampling_frequency,
        "channel_ids": list(recording.channel_ids),
        **{name: value for name, value in known.items() if value is not None},
    }


def _write_samples(recording: Recording, path: Path, progress: Progress) -> None:
    """Write the samples in pieces, sample after sample."""
    layout = recording.layout
    step = max(1, PIECE_BYTES // (layout.num_channels * layout.itemsize))
    with (
        path.open("wb") as file,
        progress.bar(f"copying {recording.path.name}", layout.num_samples) as advance,
    ):
        for start in range(0, layout.num_samples, step):
            traces = recording.traces(start, min(start + step, layout.num_samples))
            file.write(traces.astype(traces.dtype.newbyteorder("<"), copy=False).data)
            advance(len(traces))


def _write_probe(recording: Recording, path: Path) -> None:
    """Write the places and groups of the channels in probeinterface's format."""
    import numpy as np
    from probeinterface import Probe, write_probeinterface

    places = np.array(recording.layout.locations)
    probe = Probe(ndim=places.shape[1], si_units="um")
    probe.set_contacts(positions=places, shapes="circle", shape_params={"radius": 5})
    if recording.groups is not None:
        probe.set_shank_ids(list(recording.groups))
    probe.set_device_channel_indices(np.arange(len(places)))
    write_probeinterface(path, probe)
