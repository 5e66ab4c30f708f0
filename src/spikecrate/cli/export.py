"""The command that exports a sorting to another program."""

from typing import TYPE_CHECKING, Annotated

from spikecrate._util.progress import Progress
from spikecrate.cli.choices import JobKey
from spikecrate.cli.command import command
from spikecrate.cli.option import Words
from spikecrate.cli.show_sort import told_run
from spikecrate.cli.sort import SORTING, default_folder
from spikecrate.cli.step_options import RunOptions
from spikecrate.cli.text import say

if TYPE_CHECKING:
    from spikecrate.api.export import Export

Format = Annotated[str, Words(one_of=("phy", "nwb", "spikeinterface", "csv", "npz"))]


def show_export(done: "Export") -> None:
    """Print the key, the folder, and what opens it.

    Parameters
    ----------
    done : Export
        The export.
    """
    result = done.result
    say(f"{done.to}; {told_run(result, 'exported')}")
    say(f"key     {result.key}")
    say(f"result  {done.folder}")
    say(f"open    {done.opened_by}")
    if done.analysis is not None:
        say(f"metrics {done.analysis}, a SortingAnalyzer")
    for warning in result.warnings:
        say(f"warning: {warning}")


@command("export", SORTING, "exporting {result}", show=show_export)
def export(
    result: JobKey,
    options: RunOptions,
    to: Format = "phy",
    recording: str | None = None,
    analysis: str | None = None,
    copy_traces: bool = False,
    session_start: str | None = None,
    metadata: str | None = None,
    append_to: str | None = None,
    units_name: str = "units",
    output: str = "",
    *,
    progress: Progress,
) -> "Export":
    """Write a sorting in the files of phy, NWB, SpikeInterface, csv or npz.

    phy reads the recording where it lies. A folder that has changed since it was exported, as phy changes it, is left
    alone; --force replaces it.

    Parameters
    ----------
    result : RESULT
        the first digits of the job key of a sorting, or its result folder; example: 0123abcd
    to : FORMAT
        the format; example: phy
    recording : RECORDING
        where the recording is now; by default where it was sorted; example: /nas/rec
    analysis : RESULT
        the analysis with the metrics; phy makes one where none is named; example: 89abcdef
    copy_traces : flag
        copy the traces into the export to phy, for files that phy cannot read
    session_start : TIME
        NWB: when the session began, with its time zone; example: 2024-05-01T14:30:00+02:00
    metadata : FILE
        NWB: a JSON file of NWBFile, Subject, Device and ElectrodeGroup; example: session.json
    append_to : FILE
        NWB: a file that is copied, with the units added to the copy; example: session.nwb
    units_name : NAME
        NWB: the table of units in a copy that has one already; example: units_ms5
    output : DIR
        folder of the export, - for none; by default sortings/<recording>/export-<format>-<key>; example: phy/

    Examples
    --------
    spikecrate export 0123abcd --to phy
    spikecrate export 0123abcd --to csv --output tables/
    spikecrate export 0123abcd --to nwb --session-start 2024-05-01T14:30:00+02:00 --metadata session.json
    """
    from spikecrate import api

    return api.export(
        result,
        to=to,
        recording=recording,
        analysis=analysis,
        copy_traces=copy_traces,
        session_start=session_start,
        metadata=metadata,
        append_to=append_to,
        units_name=units_name,
        output=output or default_folder(progress, f"-{to}"),
        progress=progress,
        **options.fields("export"),
    )
