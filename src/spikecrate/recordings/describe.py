"""A recording as JSON, for people and scripts: `spikecrate recording.info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecrate.recordings.identity import dtype_name

if TYPE_CHECKING:
    from spikecrate.recordings.model import Recording


def describe(recording: Recording, samples_hash: str | None = None) -> dict[str, Any]:
    """Give everything that is known of a recording.

    Parameters
    ----------
    recording : Recording
        The recording.
    samples_hash : str, optional
        What `hash_samples` gave; None where it was not asked for.

    Returns
    -------
    dict
        JSON types only, the most telling first.
    """
    layout = recording.layout
    return {
        "format": recording.format,
        "path": str(recording.path),
        "folder": str(recording.folder),
        "sample_file": str(recording.sample_file),
        "num_channels": layout.num_channels,
        "num_samples": layout.num_samples,
        "sampling_frequency": layout.sampling_frequency,
        "duration_s": recording.duration_s,
        "dtype": dtype_name(layout),
        "byte_order": "big" if layout.dtype[0] == ">" else "little",
        "time_axis": layout.time_axis,
        "offset": layout.offset,
        "file_channels": layout.file_channels,
        "size_bytes": recording.size_bytes,
        "spike_sign": recording.spike_sign,
        "samples_hash": samples_hash,
        "notes": list(recording.notes),
        "channels": [
            {
                "id": name,
                "column": column,
                "location_um": list(location),
                "gain_uv": gain,
                "offset_uv": offset,
            }
            for name, column, location, gain, offset in zip(
                recording.channel_ids,
                layout.channels,
                layout.locations,
                layout.gains,
                layout.offsets,
                strict=True,
            )
        ],
    }
