"""The command that measures the quality of sorters, and its tables."""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import format_bytes
from spikecrate.catalogue.tools import catalogue, find
from spikecrate.cli.choices import Runtime, SorterName
from spikecrate.cli.command import command
from spikecrate.cli.sorters import SORTERS
from spikecrate.cli.text import cell, say, table
from spikecrate.errors import OutputError, UsageError
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.studies.quality import Score

BEGIN: Final = "<!-- quality: begin -->"
END: Final = "<!-- quality: end -->"


def show_quality(scores: "Sequence[Score]") -> None:
    """Print the scores, a table for each recording.

    Parameters
    ----------
    scores : sequence of Score
        The scores, grouped by recording.
    """
    for title, head, rows in _tables(scores):
        say(f"{title}\n")
        table(head, rows)
        say()


@command("sorters.quality", SORTERS, "measuring the sorters", show=show_quality)
def sorters_quality(
    sorter: SorterName = "",
    recording: list[str] | None = None,
    toys: bool = False,
    runtime: Runtime = "auto",
    write: str = "",
    measured: bool = False,
    *,
    progress: Progress,
) -> "list[Score]":
    """Sort recordings whose spikes are known with every sorter, and show how many each found.

    Parameters
    ----------
    sorter : NAMES
        names or aliases, joined by commas; by default the whole catalogue; example: ms4,ms5
    recording : RECORDING
        a recording with its firings_true.mda; by default three toys; example: rec/
    toys : flag
        sort the three toys besides the recordings named
    runtime : RUNTIME
        where to run; auto takes the first that this machine has; example: docker
    write : FILE
        a Markdown page; the tables replace what is between its two markers; example: docs/quality.md
    measured : flag
        write what the runs took into each sorter's folder, for forecasts

    Examples
    --------
    spikecrate sorters.quality --sorter ms4,ms5
    """
    scores = measure(sorter, recording or [], runtime, progress, toys=toys)
    if write:
        write_page(scores, write)
    if measured:
        from spikecrate.steps.estimate import write_measured

        store = open_store()
        for name in sorted({score.sorter for score in scores if not score.failure}):
            progress.note(f"{write_measured(find(name), store)} is written")
    return scores


def measure(
    sorter: str, recording: list[str], runtime: str, progress: Progress, *, toys: bool
) -> "list[Score]":
    """Sort recordings with ground truth with every sorter.

    Parameters
    ----------
    sorter : str
        Names or aliases, joined by commas; empty for the whole catalogue.
    recording : list of str
        Paths of recordings.
    runtime : str
        The runtime of every run.
    progress : Progress
        Shows how far the runs are.
    toys : bool
        Whether to add the three toy recordings; without recordings they are always sorted.

    Returns
    -------
    list of Score

    Raises
    ------
    UsageError
        Two recordings have the same name.
    """
    from spikecrate.studies import quality

    names = [name.strip() for name in sorter.split(",") if name.strip()]
    chosen = [find(name) for name in names] or list(catalogue().values())
    named = {Path(path).resolve().name: Path(path) for path in recording}
    if len(named) < len(recording):
        message = "two of the recordings have the same name"
        advice = "rename one: the table tells recordings apart by their folders' names"
        raise UsageError(message, next_step=advice)
    # A temporary folder will do: the key depends on the samples, not on their path.
    with tempfile.TemporaryDirectory(prefix="spikecrate-quality-") as folder:
        made = quality.toys(Path(folder), progress) if toys or not named else {}
        return list(quality.measure(chosen, made | named, runtime=runtime, progress=progress))


def markdown(scores: "Sequence[Score]") -> str:
    """Return the scores as Markdown, a table for each recording.

    Parameters
    ----------
    scores : sequence of Score
        The scores, grouped by recording.
    """
    lines: list[str] = []
    for title, head, rows in _tables(scores):
        rule = ["---", *["--:"] * (len(head) - 1)]
        lines += [f"### {title}", "", *map(_row, (head, rule, *rows)), ""]
    return "\n".join(lines)


def write_page(scores: "Sequence[Score]", page: str) -> None:
    """Write the tables between the markers of a page.

    Parameters
    ----------
    scores : sequence of Score
        The scores, grouped by recording.
    page : str
        Path of a Markdown page.

    Raises
    ------
    OutputError
        The page has no markers, or cannot be written.
    """
    path = Path(page)
    try:
        before, found, rest = path.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
        _, closed, after = rest.partition(END)
        if not found or not closed:
            message = f"{page} has no line {BEGIN} with a line {END} after it"
            raise OutputError(message, next_step="add both lines where the tables belong")
        path.write_text(f"{before}{BEGIN}\n\n{markdown(scores)}\n{END}{after}", encoding="utf-8")
    except OSError as error:
        message = f"{page}: {error.strerror}"
        raise OutputError(message, next_step="name a page that can be read and written") from None


def _tables(scores: "Sequence[Score]") -> "Iterator[tuple[str, list[str], list[tuple[Any, ...]]]]":
    """Yield each recording's title, the heads of the columns, and a row a sorter, the best first."""
    from spikecrate.studies.quality import GOOD

    head = ["sorter", "true units", "found units", "mean accuracy", f"units above {GOOD}"]
    head += ["wall time", "peak memory"]
    for recording, group in groupby(scores, key=lambda score: score.recording):
        rows = sorted(group, key=_rank)
        channels = f"{rows[0].channels} channel{'s' if rows[0].channels > 1 else ''}"
        yield f"{recording}: {channels}, {rows[0].duration_s:g} s", head, [_cells(score) for score in rows]


def _rank(score: "Score") -> tuple[Any, ...]:
    return score.units_above is None, -(score.units_above or 0), -(score.mean_accuracy or 0), score.sorter


def _cells(score: "Score") -> tuple[Any, ...]:
    name, memory = f"{score.sorter} {score.version}", score.peak_memory_bytes
    if score.failure:
        return (name, score.true_units, score.failure, *[None] * 4)
    wall = f"{score.wall_s:.1f} s ({score.runtime}, {score.cores} core{'s' if score.cores != 1 else ''})"
    counts = score.true_units, score.found_units, score.mean_accuracy, score.units_above
    return (name, *counts, wall, None if memory is None else format_bytes(memory))


def _row(cells: Sequence[Any]) -> str:
    escaped = [cell(value, "–").replace("|", r"\|") for value in cells]
    return f"| {' | '.join(escaped)} |"
