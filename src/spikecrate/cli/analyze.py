"""The command that analyzes a sorting."""

from typing import TYPE_CHECKING

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import counted
from spikecrate.cli.choices import JobKey
from spikecrate.cli.command import command
from spikecrate.cli.show_sort import told_run
from spikecrate.cli.show_units import HEAD, unit_cells
from spikecrate.cli.sort import SORTING
from spikecrate.cli.step_options import StepOptions
from spikecrate.cli.text import say, table

if TYPE_CHECKING:
    from spikecrate.api.analyze import Analysis


def show_analysis(done: "Analysis") -> None:
    """Print the table of units, the key and the folder.

    Parameters
    ----------
    done : Analysis
        The analysis.
    """
    rows = [(*unit_cells(done, unit), unit.x, unit.y) for unit in done.units]
    table((*HEAD, "x (um)", "y (um)"), rows)
    result = done.result
    say(
        f"{counted(len(rows), 'unit')}, {counted(result.record['events'], 'event')}; {told_run(result, 'analyzed')}"
    )
    say(f"key     {result.key}")
    say(f"result  {result.output or done.folder}")


@command("analyze", SORTING, "analyzing {result}", show=show_analysis)
def analyze(
    result: JobKey,
    options: StepOptions,
    recording: str | None = None,
    *,
    progress: Progress,
) -> "Analysis":
    """Compute quality metrics, templates, correlograms and locations of the units of a sorting.

    The folder opens in SpikeInterface. The same command again is a cache hit.

    Parameters
    ----------
    result : RESULT
        the first digits of the job key of a sorting, or its result folder; example: 0123abcd
    recording : RECORDING
        where the recording is now; by default where it was sorted; example: /nas/rec

    Examples
    --------
    spikecrate analyze 0123abcd
    spikecrate analyze 0123abcd --param pca=true --output analyzed/
    """
    from spikecrate import api

    return api.analyze(result, recording=recording, progress=progress, **options.fields("analyze"))
