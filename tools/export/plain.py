"""Exports that need the sorting alone: csv, npz, and a folder of SpikeInterface."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from sorted_units import SortedUnits

BLOCK = 100_000
"""Events that are text at once."""


def write_csv(sorting: SortedUnits, out: Path) -> None:
    """Write `spikes.csv`, a row for each event, and `units.csv`, a row for each unit.

    Parameters
    ----------
    sorting : SortedUnits
        The sorting.
    out : Path
        The folder.
    """
    # The last for -1, a channel that is not known.
    names = np.array([*sorting.channel_ids, ""])
    table = {}
    for name, cells in sorting.table.items():
        if name == "channel":
            # There it counts from 0.
            table["channel_id"] = [names[int(cell)] if cell else "" for cell in cells]
        else:
            table[name] = cells
    with (out / "spikes.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("unit", "sample", "time_s", "channel_id"))
        for start in range(0, len(sorting.samples), BLOCK):
            some = slice(start, start + BLOCK)
            columns = (sorting.labels, sorting.samples, sorting.seconds, names[sorting.channels[some]])
            writer.writerows(zip(*(column[some].tolist() for column in columns[:3]), columns[3], strict=True))
    with (out / "units.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))


def write_npz(sorting: SortedUnits, out: Path) -> None:
    """Write `sorting.npz`, under the names that SpikeInterface's `read_npz_sorting` reads.

    Parameters
    ----------
    sorting : SortedUnits
        The sorting.
    out : Path
        The folder.
    """
    arrays = {
        "unit_ids": sorting.units,
        "num_segment": np.array([1]),
        "sampling_frequency": np.array([sorting.sampling_frequency]),
        "spike_indexes_seg0": sorting.samples,
        "spike_labels_seg0": sorting.labels,
        "spike_channels_seg0": sorting.channels,
        "spike_times_s_seg0": sorting.seconds,
    }
    with zipfile.ZipFile(out / "sorting.npz", "w") as archive:
        for name, array in arrays.items():
            # numpy.savez writes the time of day, and sizes as the version of Python has them; a ZipInfo has a fixed time.
            written = io.BytesIO()
            np.lib.format.write_array(written, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), written.getbuffer())


def write_spikeinterface(sorting: SortedUnits, out: Path) -> None:
    """Write a folder that `spikeinterface.load` opens as a sorting, with a property for each column of the table.

    Parameters
    ----------
    sorting : SortedUnits
        The sorting.
    out : Path
        The folder.
    """
    from spikeinterface import NumpySorting
    from spikeinterface.core import NumpyFolderSorting

    found = NumpySorting.from_samples_and_labels(
        [sorting.samples], [sorting.labels], sorting.sampling_frequency, unit_ids=sorting.units
    )
    for name, cells in [*sorting.table.items()][1:]:
        if any(cells):
            found.set_property(name, as_values(cells))
    NumpyFolderSorting.write_sorting(found, out / "sorting")
    for path in (out / "sorting").iterdir():
        # The provenance names folders of the job.
        if not path.name.startswith("provenance"):
            path.rename(out / path.name)
        else:
            path.unlink()
    (out / "sorting").rmdir()


def as_values(cells: list[str]) -> np.ndarray[Any, Any]:
    """Return the cells of a column as numbers where all are numbers, NaN where one is empty; else as texts.

    Parameters
    ----------
    cells : list of str
        The cells.

    Returns
    -------
    numpy.ndarray
        float64 or str.
    """
    try:
        return np.array([float(cell or "nan") for cell in cells])
    except ValueError:
        return np.array(cells)
