"""The sorting that is exported: its events, and the table of its units."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spikecrate_harness import mda

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UNIT = "unit"


@dataclass(frozen=True, kw_only=True)
class SortedUnits:
    """A sorting.

    Attributes
    ----------
    samples, labels : numpy.ndarray
        Of each event: int64 sample from the recording's start, int64 label of its unit; in order of both.
    channels : numpy.ndarray
        Of each event: int64 primary channel from 0, -1 where it is not known.
    sampling_frequency : float
        Hz.
    seconds : numpy.ndarray
        Of each event: float64, s from the recording's start, the time of gaps included.
    channel_ids : tuple of str
        Names of the channels.
    table : dict
        Column to cells, a text for each unit in order, empty where a value does not exist; `unit` first.
    """

    samples: np.ndarray[Any, np.dtype[np.int64]]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    channels: np.ndarray[Any, np.dtype[np.int64]]
    sampling_frequency: float
    seconds: np.ndarray[Any, np.dtype[np.float64]]
    channel_ids: tuple[str, ...]
    table: dict[str, list[str]]

    @property
    def units(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The labels, each once, in order."""
        return np.unique(self.labels)

    @classmethod
    def read(cls, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> SortedUnits:
        """Read the sorting, its units from its own table and from those of the analysis.

        Parameters
        ----------
        inputs, parameters : mapping
            As `run` is given them.

        Returns
        -------
        SortedUnits

        Raises
        ------
        ValueError
            An event lies outside the recording.
        """
        recording = inputs["recording"]
        channels, samples, labels = (
            np.round(row).astype(np.int64) for row in mda.read(inputs["sorting"] / "firings.mda")[:3]
        )
        if len(samples) and not 0 <= samples.min() <= samples.max() < recording.num_samples:
            message = f"the sorting has events up to sample {samples.max()}, the recording {recording.num_samples} samples"
            raise ValueError(message)
        order = np.lexsort((labels, samples))
        channels, samples, labels = channels[order], samples[order], labels[order]
        units = np.unique(labels).tolist()
        folders = [inputs[name] for name in ("sorting", "analysis") if name in inputs]
        table: dict[str, list[str]] = {UNIT: list(map(str, units))}
        for path in (folder / name for folder in folders for name in ("units.csv", "metrics.csv")):
            table |= read_table(path, table[UNIT]) if path.is_file() else {}
        events = np.bincount(labels, minlength=1)[units] if units else []
        table.setdefault("events", list(map(str, events)))
        return cls(
            samples=samples,
            labels=labels,
            channels=channels - 1,
            sampling_frequency=recording.sampling_frequency,
            seconds=seconds(samples, recording.sampling_frequency, parameters["gaps"]),
            channel_ids=tuple(parameters["channel_ids"] or map(str, range(recording.num_channels))),
            table=table,
        )


def seconds(
    samples: np.ndarray[Any, Any], sampling_frequency: float, gaps: list[list[int]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the times of samples from the recording's start, the time of gaps included.

    Parameters
    ----------
    samples : numpy.ndarray
        Sample indices.
    sampling_frequency : float
        Hz.
    gaps : list
        The first sample after each gap, and the number of samples that are missing before it.

    Returns
    -------
    numpy.ndarray
        float64, s.
    """
    at, missing = np.array(gaps, dtype=np.int64).reshape(-1, 2).T
    before = np.concatenate([[0], np.cumsum(missing)])[np.searchsorted(at, samples, side="right")]
    return (samples.astype(np.float64) + before) / sampling_frequency


def read_table(path: Path, units: list[str]) -> dict[str, list[str]]:
    """Read a table of units.

    Parameters
    ----------
    path : Path
        A csv file with a column `unit`.
    units : list of str
        The units whose rows are wanted, in this order; one without a row has empty cells.

    Returns
    -------
    dict
        Column to cells.

    Raises
    ------
    ValueError
        The file has no column `unit`.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        rows = list(reader)
    names = list(reader.fieldnames or ())
    if UNIT not in names:
        message = f"{path.name} has no column {UNIT}: {', '.join(names)}"
        raise ValueError(message)
    found = {row[UNIT]: row for row in rows}
    return {
        UNIT: units,
        **{
            name: [found[unit][name] if unit in found else "" for unit in units]
            for name in names
            if name != UNIT
        },
    }
