"""The command that analyzes a sorting."""

from typing import TYPE_CHECKING

from spikecrate._util.progress import Progress
from spikecrate.catalogue.parameters import parse_assignments
from spikecrate.catalogue.tools import find
from spikecrate.cli.choices import JobKey, Memory, Runtime, Time
from spikecrate.cli.command import command
from spikecrate.cli.show_sort import HOW
from spikecrate.cli.sort import SORTING, read_parameters
from spikecrate.cli.text import say, table

if TYPE_CHECKING:
    from spikecrate.steps.analysis import Analysis


def show_analysis(done: "Analysis") -> None:
    """Print the table of units, the key and the folder.

    Parameters
    ----------
    done : Analysis
        The analysis.
    """
    head = ("unit", "events", "rate (Hz)", "channel", "SNR", "ISI viol.", "ampl. (uV)", "x (um)", "y (um)")
    rows = [
        (
            unit.unit,
            unit.events,
            unit.rate,
            done.channel_id(unit),
            unit.snr,
            unit.isi_violations,
            unit.amplitude,
            unit.x,
            unit.y,
        )
        for unit in done.units
    ]
    table(head, rows)
    result = done.result
    took = f"analyzed in {result.record['wall_s']:.1f} s"
    how = f"{took} ({result.record['runtime']})" if result.status == "ran" else f"{HOW['cached']} ({took})"
    say(f"{len(rows)} units, {result.record['events']} events; {how}")
    say(f"key     {result.key}")
    say(f"result  {result.output or done.folder}")


@command("analyze", SORTING, "analyzing {result}", show=show_analysis)
def analyze(
    result: JobKey,
    recording: str | None = None,
    param: list[str] | None = None,
    params: str = "",
    runtime: Runtime = "auto",
    cores: int | None = None,
    memory: Memory | None = None,
    timeout: Time | None = None,
    seed: int = 0,
    force: bool = False,
    output: str = "",
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
    param : NAME=VALUE
        one parameter; spikecrate sorters.show analyze lists them; example: pca=true
    params : FILE
        a JSON file of parameters; --param wins over it; example: mine.json
    runtime : RUNTIME
        where to run; auto takes the first that this machine has; example: docker
    cores : N
        processors; by default all that this process may use; example: 4
    memory : SIZE
        memory limit; by default none; example: 8G
    timeout : TIME
        time limit; by default none; example: 2h
    seed : N
        seed of the sampling of waveforms and noise; part of the job key; example: 1
    force : flag
        run the job despite a cache hit, and replace the result
    output : DIR
        folder for a copy of the result; by default it stays in the store; example: analyzed/

    Examples
    --------
    spikecrate analyze 0123abcd
    spikecrate analyze 0123abcd --param pca=true --output analyzed/
    """
    from spikecrate import api

    return api.analyze(
        result,
        recording=recording,
        params={**read_parameters(params), **parse_assignments(find("analyze"), param or [])},
        runtime=runtime,
        output=output or None,
        cores=cores,
        memory_bytes=memory,
        timeout_s=timeout,
        seed=seed,
        force=force,
        progress=progress,
    )
