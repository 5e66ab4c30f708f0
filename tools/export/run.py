"""A sorting in the files of another program: phy, NWB, SpikeInterface, csv or npz."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from sorted_units import SortedUnits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate_harness.resources import Resources


def run(inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path, resources: Resources) -> None:
    """Export a sorting.

    Parameters
    ----------
    inputs : mapping
        `recording`, a TraceReader; `sorting`, a folder with `firings.mda` and perhaps `units.csv`; perhaps
        `analysis`, the output of the tool `analyze` for this sorting.
    parameters : mapping
        Those of tool.json.
    out : Path
        An empty folder.
    resources : Resources
        Takes the warnings.

    Raises
    ------
    ValueError
        The events are not of the recording, the analysis is not of the sorting, or the format cannot hold the sorting.
    """
    # What the packages plan to change is for their developers.
    for category in (FutureWarning, DeprecationWarning):
        warnings.simplefilter("ignore", category)
    match parameters["to"]:
        case "nwb":
            from nwb import write_nwb

            write_nwb(inputs, parameters, out, resources)
        case "phy":
            from phy import write_phy

            write_phy(inputs, parameters, out)
        case _:
            import plain

            units = SortedUnits.read(inputs, parameters)
            getattr(plain, f"write_{parameters['to']}")(units, out)
