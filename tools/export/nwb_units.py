"""The units of a sorting as a table of an NWB file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from sorted_units import UNIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sorted_units import SortedUnits

    from spikecrate_harness.traces import TraceReader

UNITS: Final = "units"
MODULE: Final = "ecephys"
VOLTS: Final = 1e-6
"""V per uV: NWB has waveforms in volts."""
PIECE_BYTES: Final = 2**20
"""Larger columns are compressed, in pieces of this size."""
TWICE: Final = {
    "events": "num_spikes",
    "rate": "firing_rate",
    "isi_violations": "isi_violations_ratio",
    "amplitude": "amplitude_median",
}
"""Columns of units.csv that metrics.csv has under other names."""
RENAMED: Final = {"waveforms": "waveform_count"}
"""`waveforms` has another meaning in NWB."""
OF_NWB: Final = (
    "id",
    "spike_times",
    "obs_intervals",
    "electrodes",
    "electrode_group",
    "waveform_mean",
    "waveform_sd",
)
CHANNEL: Final = "channel"
OF_SORTING: Final = {
    "events": "number of events",
    "rate": "events per second of the recording (Hz)",
    "snr": "largest |mean waveform| on the primary channel / noise (1.4826 median |x - median|) there",
    "isi_violations": "v T / (2 n² t), n events in the duration T, v intervals shorter than t = 1.5 ms; source: Hill, "
    "Mehta & Kleinfeld 2011, J. Neurosci. 31:8699",
    "amplitude": "median of the trace, where the mean waveform is largest, over the events (µV)",
}
"""Columns of the sorting's own units.csv."""


class Units(NamedTuple):
    """A sorting in the terms of an NWB file.

    Attributes
    ----------
    sorting : SortedUnits
        The sorting.
    seconds : numpy.ndarray
        float64, s, of each of its events.
    intervals : numpy.ndarray
        Stretches x 2 float64, s: what was recorded.
    rows : numpy.ndarray
        Row of each channel in the table of electrodes.
    """

    sorting: SortedUnits
    seconds: np.ndarray[Any, Any]
    intervals: np.ndarray[Any, Any]
    rows: np.ndarray[Any, Any]


def add_units(file: Any, units: Units, inputs: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Add the table of units, and as JSON in the scratch space how it was made.

    Parameters
    ----------
    file : pynwb.NWBFile
        With electrodes.
    units : Units
        The sorting.
    inputs : mapping
        As `write_nwb` is given them.
    given : mapping
        `parameters["nwb"]`.

    Raises
    ------
    ValueError
        The analysis has other units than the sorting.
    """
    from hdmf.common import ElementIdentifiers
    from pynwb.misc import Units as Table

    sorting, name, recording = units.sorting, given["units_name"], inputs["recording"]
    labels = sorting.units
    # A clock that was set back has the events of a unit in another order than the samples.
    order = np.lexsort((units.seconds, sorting.labels))
    ends = np.searchsorted(sorting.labels[order], labels, side="right")
    primary = primary_channels(sorting, order, ends)
    if "analysis" in inputs and len(labels):
        channels, waveforms, before_ms = mean_waveforms(inputs["analysis"], recording)
        about = "electrodes of the waveforms"
        rate = recording.sampling_frequency
    else:
        channels, waveforms, before_ms = [[one] if one >= 0 else [] for one in primary], {}, None
        about, rate = "electrode of the primary channel", None
    spread = len(units.intervals) * np.arange(1, len(labels) + 1)
    picked = np.array([channel for own in channels for channel in own], dtype=np.int64)
    counts = np.cumsum([len(own) for own in channels], dtype=np.int64)
    columns = [
        *ragged(
            "spike_times", "times of the events from the session's start (s)", units.seconds[order], ends
        ),
        *ragged("obs_intervals", "what was recorded (s)", np.tile(units.intervals, (len(labels), 1)), spread),
        *(
            ragged("electrodes", about, units.rows[picked], counts, table=file.electrodes)
            if len(picked)
            else ()
        ),
        *(plain(column, *told) for column, told in waveforms.items()),
        *(plain(column, *told) for column, told in unit_columns(sorting, primary, inputs).items()),
    ]
    table = Table(
        name=name,
        description=given["provenance"]["description"],
        id=ElementIdentifiers(name="id", data=labels),
        columns=columns,
        resolution=1 / recording.sampling_frequency,
        waveform_rate=rate,
        waveform_time_before_peak_in_ms=before_ms,
    )
    if name == UNITS:
        file.units = table
    else:
        if MODULE not in file.processing:
            file.create_processing_module(MODULE, "processed extracellular electrophysiology")
        file.processing[MODULE].add(table)
    file.add_scratch(
        json.dumps(given["provenance"], indent=1, ensure_ascii=False),
        name="spikecrate" if name == UNITS else f"spikecrate_{name}",
        description=f"how spikecrate made the table {name}, as JSON",
    )


def primary_channels(
    sorting: SortedUnits, order: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]
) -> list[int]:
    """Return the primary channel of each unit: of its table, or the one that most of its events name; -1 for none."""
    by_unit = np.split(sorting.channels[order], ends[:-1]) if len(ends) else []
    most = [int(np.bincount(own + 1).argmax()) - 1 for own in by_unit]
    told = sorting.table.get(CHANNEL, [""] * len(most))
    return [int(cell) if cell else channel for cell, channel in zip(told, most, strict=True)]


def unit_columns(
    sorting: SortedUnits, primary: Sequence[int], inputs: Mapping[str, Any]
) -> dict[str, tuple[str, Any]]:
    """Return the description and the values of each column of the tables of units; one without a value is left out.

    Parameters
    ----------
    sorting : SortedUnits
        With the tables.
    primary : sequence of int
        Primary channel of each unit; -1 for none.
    inputs : mapping
        As `write_nwb` is given them.
    """
    about = dict(OF_SORTING)
    if "analysis" in inputs:
        for table in json.loads((inputs["analysis"] / "metrics.json").read_bytes()).values():
            about |= meanings(table)
    names = [sorting.channel_ids[one] if one >= 0 else "" for one in primary]
    columns: dict[str, tuple[str, Any]] = {"unit_name": ("label of the unit in the sorting", sorting.units)}
    if any(names):
        columns["primary_channel"] = "name of the channel where the unit is largest", names
    for name, cells in sorting.table.items():
        if any(cells) and name not in {UNIT, CHANNEL} and TWICE.get(name) not in sorting.table:
            own = own_name(RENAMED.get(name, name))
            own += "_" if own in {*columns, *OF_NWB} else ""
            columns[own] = about.get(name, f"label of the curation, category {name}"), typed(cells)
    return columns


def meanings(table: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return what each column of a table of metrics.json is, in one line."""
    about, full = {}, ""
    for name, told in table.items():
        if "the same" not in told["formula"]:
            full = name
        formula = told["formula"].replace("the same", f"the same as in {full}")
        unit = f" ({told['unit']})" if told["unit"] not in {"", "1"} else ""
        source = f"; source: {told['source']}" if told["source"] else ""
        about[name] = f"{formula}{unit}{source}"
    return about


def typed(cells: Sequence[str]) -> Any:
    """Return cells as whole numbers, as numbers with NaN where one is missing, or as text."""
    try:
        return np.array([int(cell) for cell in cells])
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(cell or "nan") for cell in cells])
    except ValueError:
        return list(cells)


def mean_waveforms(
    folder: Path, recording: TraceReader
) -> tuple[list[list[int]], dict[str, tuple[str, Any]], float]:
    """Return the templates of an analysis.

    Parameters
    ----------
    folder : Path
        The analysis.
    recording : TraceReader
        With the locations of the channels.

    Returns
    -------
    channels : list of list of int
        Of each unit: the channels of its template, and where another unit has more the nearest further ones, because
        in NWB each unit has as many.
    columns : dict
        `waveform_mean` and `waveform_sd` with descriptions and values: units x samples x channels float32, V; NaN on
        the further channels.
    before_ms : float
        Length of a waveform before its event.
    """
    mask = np.load(folder / "sparsity_mask.npy")
    most = int(mask.sum(axis=1).max())
    channels = []
    for own in mask:
        center = recording.locations[own].mean(axis=0)
        distance = np.linalg.norm(recording.locations - center, axis=1)
        channels.append(sorted(np.lexsort((distance, ~own))[:most].tolist()))
    templates, columns = folder / "extensions" / "templates", {}
    for name, file, about in (
        ("waveform_mean", "average.npy", "mean of the sampled waveforms of the filtered traces (V)"),
        ("waveform_sd", "std.npy", "standard deviation of the sampled waveforms of the filtered traces (V)"),
    ):
        dense = np.load(templates / file, mmap_mode="r")
        values = [
            np.where(own[chosen], template[:, chosen] * VOLTS, np.nan).astype(np.float32)
            for template, own, chosen in zip(dense, mask, channels, strict=True)
        ]
        columns[name] = about, np.stack(values)
    before_ms = json.loads((templates / "params.json").read_bytes())["ms_before"]
    return channels, columns, float(before_ms)


def ragged(
    name: str, about: str, values: np.ndarray[Any, Any], ends: np.ndarray[Any, Any], table: Any = None
) -> list[Any]:
    """Return a column with several values a unit, and its index."""
    from hdmf.common import DynamicTableRegion, VectorData, VectorIndex

    told = {"name": name, "description": about, "data": stored(values)}
    column = VectorData(**told) if table is None else DynamicTableRegion(**told, table=table)
    return [column, VectorIndex(name=f"{name}_index", data=ends, target=column)]


def plain(name: str, about: str, values: Any) -> Any:
    """Return a column with a value a unit."""
    from hdmf.common import VectorData

    return VectorData(name=name, description=about, data=stored(values))


def stored(values: Any) -> Any:
    """Return a column's values, compressed in pieces where they are many."""
    from hdmf.backends.hdf5 import H5DataIO

    if not isinstance(values, np.ndarray) or values.nbytes <= PIECE_BYTES:
        return values
    rows = max(1, PIECE_BYTES // values[:1].nbytes)
    chunks = (min(rows, len(values)), *values.shape[1:])
    return H5DataIO(values, compression="gzip", compression_opts=4, shuffle=True, chunks=chunks)


def own_name(text: str) -> str:
    """Return a text as the name of an object of NWB, which has no slash and no colon."""
    return text.replace("/", "_").replace(":", "_")
