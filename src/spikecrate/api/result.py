"""What the public calls return."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from spikecrate._util.quantities import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from spikecrate.api.analyze import Analysis
    from spikecrate.api.compare import ComparisonResult
    from spikecrate.api.export import Export
    from spikecrate.api.plot import Picture
    from spikecrate.recordings import Recording
    from spikecrate.sortings import Sorting
    from spikecrate.sortings.join import GroupUnit
    from spikecrate.sortings.units import Unit
    from spikecrate_harness.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Result:
    """A sorting, and its run record.

    Attributes
    ----------
    key : str
        The job key, 64 hex digits.
    status : str
        `ran`: made by this call. `cached`: a cache hit. `loaded`: read from a folder.
    folder : Path
        The result in the store; for `loaded`, the folder that was read.
    output : Path or None
        The user's copy.
    record : dict
        The run record: inputs, run and outputs.
    elapsed_s : float
        Duration of this call; `record["wall_s"]` is that of the sorter's run.
    recording : Recording or None
        What this call sorted; the record names the recording of the first run, which has the same content. None for
        `loaded`.
    """

    key: str
    status: Literal["ran", "cached", "loaded"]
    folder: Path
    output: Path | None
    record: dict[str, Any]
    elapsed_s: float
    recording: Recording | None = field(default=None, compare=False)
    analyze: ClassVar[Callable[..., Analysis]]
    """`spikecrate.analyze` of this result."""
    compare: ClassVar[Callable[..., ComparisonResult]]
    """`spikecrate.compare` of this result and others."""
    plot: ClassVar[Callable[..., Picture]]
    """`spikecrate.plot` of this result."""
    curate: ClassVar[Callable[..., Result]]
    """`spikecrate.curate` of this result."""
    export: ClassVar[Callable[..., Export]]
    """`spikecrate.export` of this result."""

    def __repr__(self) -> str:
        """Return sorter, counts, status and folder, on one line."""
        record, sorter = self.record, self.record["tool"]
        counts = (
            f": {counted(record['units'], 'unit')}, {counted(record['events'], 'event')}"
            if "units" in record
            else ""
        )
        return f"Result({sorter['name']} {sorter['version']}{counts}; {self.status}; {str(self.output or self.folder)!r})"

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter of the run, defaults included."""
        parameters: dict[str, Any] = self.record["parameters"]
        return parameters

    @property
    def warnings(self) -> list[str]:
        """Reasons why the result may not be what you expect, such as too few spikes to make a unit."""
        # A record of an earlier version has none.
        warnings: list[str] = self.record.get("warnings", [])
        return warnings

    @property
    def run_facts(self) -> dict[str, Any]:
        """Key, status, the user's copy, runtime and times, as `--json` prints them of every step."""
        return {
            "key": self.key,
            "status": self.status,
            "output": None if self.output is None else str(self.output),
            "runtime": self.record["runtime"],
            "wall_s": self.record["wall_s"],
            "elapsed_s": round(self.elapsed_s, 4),
        }

    @cached_property
    def sorting(self) -> Sorting:
        """Spike times (samples), unit labels and channels (from 0), as numpy arrays."""
        from spikecrate.sortings import read_firings
        from spikecrate.steps.paths import FIRINGS

        layout = self._layout
        return read_firings(self.folder / FIRINGS, layout.sampling_frequency, num_samples=layout.num_samples)

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Events, rate, primary channel, SNR, ISI violations and amplitude of each unit, by label.

        A sorter that is not of the catalogue, or of an earlier version, may give no such table: then events, rate and ISI
        violations, which are those of `sorting`.
        """
        from spikecrate.sortings.units import SORTED, count_units, read_units
        from spikecrate.steps.paths import UNITS

        if UNITS in self.record.get("files", ()):
            return read_units(self.folder / UNITS, SORTED)
        return count_units(self.sorting)

    def channel_id(self, unit: Unit) -> str | None:
        """Return the recording's name of a unit's primary channel.

        Parameters
        ----------
        unit : Unit
            One of `units`.

        Returns
        -------
        str or None
            None for a unit whose channel is not known.
        """
        from spikecrate.steps.inputs import recording_facts

        names = (recording_facts(self.record) or {}).get("channel_ids", ())
        return None if unit.channel is None else str(names[unit.channel])

    def to_spikeinterface(self) -> Any:
        """Return the sorting as one of SpikeInterface, which must be installed where this is called.

        Returns
        -------
        spikeinterface.core.NumpySorting
            Unit ids are the labels; the columns of `units` are properties.

        Raises
        ------
        UsageError
            SpikeInterface is not installed.
        """
        from spikecrate.sortings.spikeinterface import as_spikeinterface

        return as_spikeinterface(self.sorting, self.units)

    @cached_property
    def times_s(self) -> NDArray[np.float64]:
        """Times of the events of `sorting` in seconds from the recording's start, the time of its gaps included."""
        from spikecrate.recordings.model import Gap
        from spikecrate.recordings.views import seconds
        from spikecrate.steps.inputs import recording_facts

        if self.recording is not None:
            return self.recording.seconds(self.sorting.times)
        recorded = (recording_facts(self.record) or {}).get("gaps", ())
        gaps = [Gap(sample=sample, missing=missing) for sample, missing in recorded]
        return seconds(self.sorting.times, self.sorting.sampling_frequency, gaps)

    @property
    def sortings(self) -> list[Sorting]:
        """The sorting of each recording of a joined one; times count from the start of each sample file."""
        from spikecrate.sortings.join import split

        return split(self.sorting, self._layout)

    @property
    def _layout(self) -> Layout:
        from spikecrate.steps.inputs import recording_facts
        from spikecrate_harness.layout import Layout

        if self.recording is not None:
            return self.recording.layout
        return Layout.from_dict((recording_facts(self.record) or {}).get("layout"))

    def _units_table(self) -> list[dict[str, Any]]:
        from spikecrate.sortings.units import SORTED

        labelled = any(unit.labels for unit in self.units)
        return [
            {name: getattr(unit, name) for name in SORTED}
            | ({"labels": dict(unit.labels)} if labelled else {})
            | {"channel_id": self.channel_id(unit)}
            for unit in self.units
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as `--json` prints it."""
        from spikecrate.steps.kinds import KINDS

        record = self.record
        return {
            "key": self.key,
            "status": self.status,
            "folder": str(self.folder),
            "output": None if self.output is None else str(self.output),
            "sorter": record["tool"]["name"],
            "version": record["tool"]["version"],
            "recipe": record["recipe"],
            "image": record["image"] or record["environment"],
            "runtime": record["runtime"],
            **{name: record[name] for name in ("units", "events") if name in record},
            **({"units_table": self._units_table()} if KINDS[record["tool"]["kind"]].is_sorting else {}),
            "warnings": self.warnings,
            "wall_s": record["wall_s"],
            "elapsed_s": round(self.elapsed_s, 4),
        }


@dataclass(frozen=True, kw_only=True)
class GroupedResult:
    """The sortings of the groups of one recording, and one sorting of all.

    Attributes
    ----------
    results : dict
        The result of each group by its name.
    sorting : Sorting
        All events; a label says group and unit, channels are those of the whole recording.
    units : tuple of GroupUnit
        Group and label in the group of every unit, and its events, rate, channel, SNR, ISI violations and amplitude.
    channel_ids : tuple of str
        Names of the channels of the whole recording.
    output : Path or None
        The user's folder.
    """

    results: dict[str, Result]
    sorting: Sorting
    units: tuple[GroupUnit, ...]
    channel_ids: tuple[str, ...]
    output: Path | None

    def channel_id(self, unit: GroupUnit) -> str | None:
        """Return the recording's name of a unit's primary channel.

        Parameters
        ----------
        unit : GroupUnit
            One of `units`.

        Returns
        -------
        str or None
            None for a unit whose channel is not known.
        """
        return None if unit.channel is None else self.channel_ids[unit.channel]

    def to_spikeinterface(self) -> Any:
        """Return the sorting of all groups as one of SpikeInterface, as `Result.to_spikeinterface` does.

        Returns
        -------
        spikeinterface.core.NumpySorting

        Raises
        ------
        UsageError
            SpikeInterface is not installed.
        """
        from spikecrate.sortings.spikeinterface import as_spikeinterface

        return as_spikeinterface(self.sorting, self.units)

    @property
    def warnings(self) -> list[str]:
        """Reasons why a result may not be what you expect, each with its group."""
        return [
            f"group {name}: {warning}" for name, result in self.results.items() for warning in result.warnings
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as `--json` prints it."""
        return {
            "groups": {name: result.as_dict() for name, result in self.results.items()},
            "output": None if self.output is None else str(self.output),
            "units": len(self.units),
            "events": len(self.sorting),
            "units_table": [{**asdict(unit), "channel_id": self.channel_id(unit)} for unit in self.units],
        }
