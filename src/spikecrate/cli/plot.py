"""The command that draws a sorting."""

from typing import TYPE_CHECKING, Annotated

from spikecrate._util.progress import Progress
from spikecrate.cli.choices import JobKey, Time
from spikecrate.cli.command import command
from spikecrate.cli.option import Words
from spikecrate.cli.show_sort import told_run
from spikecrate.cli.sort import SORTING
from spikecrate.cli.step_options import RunOptions
from spikecrate.cli.text import say

if TYPE_CHECKING:
    from spikecrate.api.plot import Picture

What = Annotated[str, Words(one_of=("units", "traces", "metrics", "comparison"))]
Format = Annotated[str, Words(one_of=("png", "svg", "pdf"))]


def show_picture(done: "Picture") -> None:
    """Print how the picture was made, the key and the path.

    Parameters
    ----------
    done : Picture
        The picture.
    """
    result = done.result
    say(told_run(result, "drawn"))
    say(f"key      {result.key}")
    say(f"picture  {done.path}")


@command("plot", SORTING, "drawing {result}", show=show_picture)
def plot(
    result: JobKey,
    options: RunOptions,
    what: What | None = None,
    format: Format | None = None,
    page: int | None = None,
    start: Time | None = None,
    end: Time | None = None,
    recording: str | None = None,
    output: str = "",
    *,
    progress: Progress,
) -> "Picture":
    """Draw the units of a sorting, its events on the traces, its metrics, or a comparison of sortings.

    Units and metrics need an analysis, which is made first. The same command again is a cache hit.

    Parameters
    ----------
    result : RESULT
        the first digits of the job key of a sorting, an analysis or a comparison, or its result folder;
        example: 0123abcd
    what : WHAT
        what is drawn; by default the comparison of one, else units; example: traces
    format : FORMAT
        format of the file; by default by its name, else png; example: svg
    page : N
        which 20 units are drawn, from the largest; example: 2
    start : TIME
        begin of the traces; by default of a second with many events; example: 12.5
    end : TIME
        end of the traces; by default a second after their begin; example: 12.7
    recording : RECORDING
        where the recording is now; by default where it was sorted; example: /nas/rec
    output : FILE
        a file for the picture, or a folder for a copy of the result; by default it stays in the store;
        example: units.png

    Examples
    --------
    spikecrate plot 0123abcd --output units.png
    spikecrate plot 89abcdef --output comparison.png
    spikecrate plot 0123abcd --what traces --start 12.5 --end 12.7 --output traces.svg
    """
    from spikecrate import api

    return api.plot(
        result,
        what=what or "",
        format=format or "",
        page=page,
        start=start,
        end=end,
        recording=recording,
        output=output or None,
        progress=progress,
        **options.fields("plot"),
    )
