"""Compare sortings with ground truth and with each other, by the comparison of spikecrate itself.

The output folder has the tables `truth.csv`, `units.csv`, `agreement.csv` and `consensus.csv`; `comparison.json` with the numbers of
each sorting and the meaning of each column; `labels.npz`, the label of each spike; and `consensus.mda`, the spikes that
enough sortings have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecrate.sortings.comparison.against_truth import Settings
from spikecrate.sortings.comparison.several import compare_all
from spikecrate.sortings.model import read_firings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate_harness.resources import Resources


def run(inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path, resources: Resources) -> None:
    """Compare sortings, and write the tables to `out`.

    Parameters
    ----------
    inputs : mapping
        `sortings`, a list of folders, and, where there is one, `truth`, a folder.
    parameters : mapping
        Those of tool.json.
    out : Path
        An empty folder.
    resources : Resources
        Not used: one process compares millions of events in seconds.

    Raises
    ------
    ValueError
        A parameter is missing, or does not fit the inputs.
    spikecrate.errors.SpikecrateError
        A sorting cannot be read, or the sortings cannot be compared.
    """
    del resources
    rate, duration = parameters["sampling_frequency"], parameters["duration_s"]
    if rate is None:
        message = "sampling_frequency is not set: firings.mda has none"
        raise ValueError(message)
    samples = None if duration is None else round(duration * rate)
    names, files, folders = parameters["names"], parameters["files"], inputs["sortings"]
    if not len({*names}) == len(names) == len(files) == len(folders):
        message = f"{len(folders)} sortings need as many different names and as many files: {names}, {files}"
        raise ValueError(message)
    paths = [folder / file for folder, file in zip(folders, files, strict=True)]
    found = {
        name: read_firings(path, rate, num_samples=samples) for name, path in zip(names, paths, strict=True)
    }
    truth = None
    if "truth" in inputs:
        truth = read_firings(inputs["truth"] / parameters["truth_file"], rate, num_samples=samples)
    compared = compare_all(found, truth, Settings.chosen(parameters))
    compared.write(out)
    for score in compared.summary["with_truth"]:
        print("{sorting}: {assigned_units} of {true_units} true units assigned".format(**score))
