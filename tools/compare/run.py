"""Compare sortings with ground truth and with each other, by the comparison of spikecrate itself.

The output folder has the tables `truth.csv`, `units.csv`, `agreement.csv` and `consensus.csv`; `comparison.json` with the numbers of
each sorting and the meaning of each column; `labels.npz`, the label of each spike; and `consensus.mda`, the spikes that
enough sortings have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecrate.sortings.compared import compare_all
from spikecrate.sortings.judged import Settings
from spikecrate.sortings.model import read_firings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate_harness.resources import Resources

FIRINGS = ("firings.mda", "firings_true.mda")


def run(inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path, resources: Resources) -> None:
    """Compare sortings, and write the tables to `out`.

    Parameters
    ----------
    inputs : mapping
        `sortings`, a list of folders, and, where there is one, `truth`, a folder. Each has a `firings.mda`, a
        `firings_true.mda`, or a single other .mda file.
    parameters : mapping
        Those of tool.json.
    out : Path
        An empty folder.
    resources : Resources
        Not used: one process compares millions of events in seconds.

    Raises
    ------
    ValueError
        A parameter is missing, or a folder has no sorting.
    spikecrate.errors.SpikecrateError
        A sorting cannot be read, or the sortings cannot be compared.
    """
    del resources
    rate, duration = parameters["sampling_frequency"], parameters["duration_s"]
    if rate is None:
        message = "sampling_frequency is not set: firings.mda has none"
        raise ValueError(message)
    samples = None if duration is None else round(duration * rate)
    names = parameters["names"] or [str(number) for number in range(1, len(inputs["sortings"]) + 1)]
    if len({*names}) != len(inputs["sortings"]):
        message = f"names has {len({*names})} different names for {len(inputs['sortings'])} sortings"
        raise ValueError(message)
    found = {
        name: read_firings(firings(folder), rate, num_samples=samples)
        for name, folder in zip(names, inputs["sortings"], strict=True)
    }
    truth = None
    if "truth" in inputs:
        truth = read_firings(firings(inputs["truth"]), rate, num_samples=samples)
    compared = compare_all(found, truth, Settings.chosen(parameters))
    compared.write(out)
    for score in compared.summary["with_truth"]:
        print("{sorting}: {assigned_units} of {true_units} true units assigned".format(**score))


def firings(folder: Path) -> Path:
    """Return the file of a sorting in a folder.

    Raises
    ------
    ValueError
        There is none, or several of other names.
    """
    for name in FIRINGS:
        if (folder / name).is_file():
            return folder / name
    files = sorted(folder.glob("*.mda"))
    if len(files) != 1:
        message = f"{folder} has no firings.mda"
        raise ValueError(message)
    return files[0]
