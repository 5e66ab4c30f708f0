"""A copy of an existing NWB file that takes the units of a sorting."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np
from nwb_units import MODULE, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

NAME_COLUMN: Final = "channel_name"
PLACES: Final = ("rel_x", "rel_y", "rel_z")
"""Columns of the table of electrodes: coordinates on the probe, um."""
TABLE: Final = "general/extracellular_ephys/electrodes"
GROUPS: Final = "/general/extracellular_ephys"
RATE_TOLERANCE: Final = 1e-3
"""Of sampling frequencies, which timestamps have only nearly."""
BLOCK_OF_RATE: Final = 1000
"""Timestamps that tell the sampling frequency."""
PLACE_TOLERANCE: Final = 1.0
"""um."""
BLOCK: Final = 2**20
"""Timestamps read at once."""


def copy(old: Path, new: Path, resources: Resources) -> None:
    """Copy an NWB file, and warn of what a copy elsewhere loses.

    Parameters
    ----------
    old, new : Path
        The file, which is not written to; the copy.
    resources : Resources
        Takes the warnings.

    Raises
    ------
    ValueError
        The file is not HDF5, or damaged.
    """
    if not h5py.is_hdf5(old):
        message = f"{old.name} is not an NWB file in HDF5"
        raise ValueError(message)
    with new.open("wb") as target, old.open("rb") as source:
        shutil.copyfileobj(source, target, BLOCK)
    linked: set[str] = set()

    def note(_name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            linked.add(link.filename)

    try:
        with h5py.File(new, "r") as file:
            file.visititems_links(note)
    except OSError as error:
        message = f"{old.name} is damaged: {error}"
        raise ValueError(message) from error
    for name in sorted(linked):
        resources.warn(f"{old.name} links to the file {name}: keep the copy where the link leads to it")


@contextmanager
def opened(path: Path, name: str) -> Iterator[tuple[Any, Any]]:
    """Open the copy to write to it; give pynwb's IO and file.

    Raises
    ------
    ValueError
        pynwb cannot read it.
    """
    from pynwb import NWBHDF5IO

    try:
        io = NWBHDF5IO(path, "a", load_namespaces=True)
        file = io.read()
    except MemoryError:
        raise
    except Exception as error:
        message = f"pynwb cannot read {name}: {' '.join(str(error).split())}"
        raise ValueError(message) from error
    with io:
        yield io, file


def require_no_units(file: Any, units_name: str, name: str) -> None:
    """Raise a ValueError where a file has a table of the name that the units are to have."""
    module = file.processing.get(MODULE)
    own = units_name == UNITS and file.units is not None
    if own or (module is not None and units_name in module.data_interfaces):
        message = f"{name} has a table {units_name} already; give the units another name: --units-name NAME"
        raise ValueError(message)


def find_series(file: Any, recording: TraceReader, resources: Resources) -> Any:
    """Return the ElectricalSeries that the recording was read from, by its sampling frequency and its shape.

    Returns
    -------
    pynwb.ecephys.ElectricalSeries or None
        None, with a warning, where none or several may be the one.
    """
    from pynwb.ecephys import ElectricalSeries

    series = [one for one in file.acquisition.values() if isinstance(one, ElectricalSeries)]
    alike = [one for one in series if abs(rate_of(one) / recording.sampling_frequency - 1) <= RATE_TOLERANCE]
    shape = recording.num_samples, recording.num_channels
    same = [one for one in alike if (*one.data.shape, 1)[:2] == shape]
    for found in (same, alike):
        if len(found) == 1:
            return found[0]
    if series:
        names = ", ".join(one.name for one in series)
        resources.warn(f"which of {names} was sorted is not clear: times count from the session's start")
    return None


def rate_of(series: Any) -> float:
    """Return the sampling frequency of a series, Hz: by its first timestamps where it has no other."""
    if series.rate is not None:
        return float(series.rate)
    some = np.asarray(series.timestamps[:BLOCK_OF_RATE])
    return 1 / float(np.median(np.diff(some))) if len(some) > 1 else 0.0


def by_timestamps(
    samples: np.ndarray[Any, Any], recording: TraceReader, timestamps: Any, start_s: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the times of samples by the timestamps of a series, and the stretches without a gap.

    Parameters
    ----------
    samples : numpy.ndarray
        Sample indices, ascending.
    recording : TraceReader
        With the sampling frequency and the length.
    timestamps : array
        s, of each sample of the series; read in blocks.
    start_s : float
        Time of the recording's first sample after the first of the series.

    Returns
    -------
    seconds : numpy.ndarray
        float64, s, of each sample.
    intervals : numpy.ndarray
        Stretches x 2 float64, s: from the first sample to the end of the last. Between two stretches the clock jumps
        by at least half a sample.

    Raises
    ------
    ValueError
        The series ends before the recording.
    """
    period = 1 / recording.sampling_frequency
    first = round(start_s * recording.sampling_frequency)
    if first + recording.num_samples > len(timestamps):
        message = f"the series has {len(timestamps)} timestamps, the recording ends at sample {first + recording.num_samples}"
        raise ValueError(message)
    seconds, begins, ends = np.empty(len(samples)), [], []
    last = -np.inf
    for start in range(0, recording.num_samples, BLOCK):
        stop = min(start + BLOCK, recording.num_samples)
        block = np.asarray(timestamps[first + start : first + stop], dtype=np.float64)
        some = slice(*np.searchsorted(samples, [start, stop]))
        seconds[some] = block[samples[some] - start]
        steps = np.diff(block, prepend=last)
        jumps = np.flatnonzero(np.abs(steps - period) > period / 2)
        begins += block[jumps].tolist()
        ends += [(block[jump - 1] if jump else last) + period for jump in jumps.tolist()]
        last = float(block[-1])
    return seconds, np.stack([begins, [*ends[1:], last + period]], axis=1)


def electrode_names(file: Any) -> list[str]:
    """Return the name of each electrode: its channel_name, else its id."""
    table = file.electrodes
    if table is None:
        return []
    names = table[NAME_COLUMN].data if NAME_COLUMN in table.colnames else table.id
    return list(map(str, names[:]))


def match_electrodes(
    file: Any, series: Any, recording: TraceReader, channel_ids: Sequence[str], groups: Sequence[str]
) -> np.ndarray[Any, Any]:
    """Return the row of each channel in the table of electrodes; -1 where it has none.

    Channels are those of the series, in order, if it has as many; else they are found by their names. Where electrodes
    have only ids, these must be the names of all channels and no others, or lie at the very places of the channels:
    electrode 1 may be the second one, channel 1 is the first.

    Raises
    ------
    ValueError
        The electrodes lie elsewhere than the channels.
    """
    names, table = electrode_names(file), file.electrodes
    if series is not None and len(series.electrodes.data) == len(channel_ids):
        rows = np.array(series.electrodes.data[:], dtype=np.int64)
    else:
        rows = np.array([names.index(one) if one in names else -1 for one in channel_ids], dtype=np.int64)
    known = np.flatnonzero(rows >= 0)
    if len(known) == 0:
        return rows
    here, there = recording.locations[known], np.full((len(known), 2), np.nan)
    if set(PLACES[:2]) <= set(table.colnames):
        there = np.stack([table[name].data[:][rows[known]] for name in PLACES[:2]], axis=1)
    if series is None and NAME_COLUMN not in table.colnames:
        at_place = len(known) == len(rows) and np.allclose(here, there, atol=PLACE_TOLERANCE)
        if sorted(names) != sorted(channel_ids) and not at_place:
            return np.full(len(rows), -1)
    for place, following in pairwise(range(len(known))):
        one, other = known[place], known[following]
        # Files count from corners of their own: distances must be equal.
        mine, theirs = (float(np.hypot(*(of[following] - of[place]))) for of in (here, there))
        if groups[one] == groups[other] and abs(mine - theirs) > PLACE_TOLERANCE:
            message = (
                f"the electrodes of the file are others: channels {channel_ids[one]} and {channel_ids[other]} are "
                f"{mine:g} um apart, electrodes {names[rows[one]]} and {names[rows[other]]} {theirs:g} um"
            )
            raise ValueError(message)
    return rows


def extend_electrodes(
    path: Path,
    recording: TraceReader,
    channels: Sequence[int],
    groups: Sequence[tuple[str, str]],
    channel_ids: Sequence[str],
) -> np.ndarray[Any, Any]:
    """Append electrodes to the table of a file; return their rows.

    pynwb cannot: the columns of most files have a fixed length, and references to new objects no place yet.

    Parameters
    ----------
    path : Path
        The file, in which the groups are.
    recording : TraceReader
        With the locations.
    channels : sequence of int
        The channels to add.
    groups : sequence of tuple of str
        Name and location of the group of each.
    channel_ids : sequence of str
        Names of all channels.

    Raises
    ------
    ValueError
        A column has several values an electrode.
    """
    from hdmf import container

    with h5py.File(path, "r+") as file:
        table = file[TABLE]
        ids = table["id"][:]
        columns = list(table.attrs["colnames"])
        for name in columns:
            if f"{name}_index" in table:
                message = (
                    f"the column {name} of the electrodes has several values an electrode; none can be added"
                )
                raise ValueError(message)
        more = {
            "id": np.arange(len(channels)) + (ids.max() + 1 if len(ids) else 0),
            "group": [file[f"{GROUPS}/{name}"].ref for name, _location in groups],
            "group_name": [name for name, _location in groups],
            "location": [location for _name, location in groups],
            NAME_COLUMN: [channel_ids[channel] for channel in channels],
            **{
                name: [recording.layout.locations[channel][axis] for channel in channels]
                for axis, name in enumerate(PLACES[: len(recording.layout.locations[0])])
            },
        }
        if NAME_COLUMN not in columns:
            # Of the others the ids: a reader that takes this column for the names finds a name for each.
            made = table.create_dataset(
                NAME_COLUMN, data=[str(number) for number in ids], dtype=h5py.string_dtype()
            )
            made.attrs.update(table["location"].attrs)
            made.attrs["description"] = "name of the channel in the recording, else the id of the electrode"
            made.attrs["object_id"] = str(container.uuid4())
            columns.append(NAME_COLUMN)
            table.attrs["colnames"] = columns
        for name in ["id", *columns]:
            old = table[name]
            new = more.get(name, [nothing(old.dtype)] * len(channels))
            values = np.concatenate([old[:], np.array(new, dtype=old.dtype)])
            attributes = dict(old.attrs)
            del table[name]
            made = table.create_dataset(name, data=values, dtype=old.dtype, chunks=True, maxshape=(None,))
            made.attrs.update(attributes)
        return len(ids) + np.arange(len(channels))


def nothing(kind: np.dtype[Any]) -> Any:
    """Return the value of a column that is not known: NaN, an empty text, False or 0."""
    if kind.kind == "f":
        return np.nan
    return "" if kind.kind in "OSU" else kind.type(0)
