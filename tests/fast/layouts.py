"""The layout of one small flat file, as job.json has it."""

from __future__ import annotations

from typing import Any


def layout_of(num_channels: int = 2, num_samples: int = 100, **changes: Any) -> dict[str, Any]:
    """Return the layout of an int16 file, channels 20 um apart; `changes` are of its part or of the layout."""
    part = {
        "file": "raw.dat",
        "dtype": "<i2",
        "offset": 0,
        "time_axis": 0,
        "file_channels": num_channels,
        "file_samples": num_samples,
        "channels": list(range(num_channels)),
        "start": 0,
        "num_samples": num_samples,
    }
    layout = {
        "sampling_frequency": 30000.0,
        "gains": [1.0] * num_channels,
        "offsets": [0.0] * num_channels,
        "locations": [[0.0, 20.0 * channel] for channel in range(num_channels)],
    }
    return {"parts": [changed(part, changes)], **changed(layout, changes)}


def changed(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the fields, those with a change changed."""
    return {name: changes.get(name, value) for name, value in fields.items()}
