"""How the table of the sorters' quality is printed, and put into a page."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.quantities import format_bytes
from spikecrate.cli.text import as_json, say, table
from spikecrate.errors import OutputError
from spikecrate.studies.quality import GOOD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spikecrate.studies.quality import Score

BEGIN: Final = "<!-- quality: begin -->"
END: Final = "<!-- quality: end -->"
COLUMNS: Final = (
    *(
        "sorter",
        "true units",
        "found units",
        "mean accuracy",
        f"units above {GOOD}",
        "wall time",
        "peak memory",
    ),
)


def quality(scores: Sequence[Score], *, to_json: bool) -> None:
    """Print the scores, a table for each recording."""
    if to_json:
        as_json([score.as_dict() for score in scores])
        return
    for title, rows in _tables(scores):
        say(f"{title}\n")
        table(COLUMNS, rows)
        say("")


def markdown(scores: Sequence[Score]) -> str:
    """Write the scores as Markdown, a table for each recording."""
    lines: list[str] = []
    for title, rows in _tables(scores):
        lines += [f"### {title}", "", _row(COLUMNS), _row(["---", *["--:"] * (len(COLUMNS) - 1)])]
        lines += [*map(_row, rows), ""]
    return "\n".join(lines)


def write(scores: Sequence[Score], page: str) -> None:
    """Put the tables between the markers of a page.

    Raises
    ------
    OutputError
        Where the page has no markers, or cannot be written.
    """
    path = Path(page)
    try:
        before, found, rest = path.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
        _, closed, after = rest.partition(END)
        if not found or not closed:
            message = f"{page} has no line {BEGIN} with a line {END} after it"
            raise OutputError(message, next_step="add both lines where the tables are to stand")
        path.write_text(f"{before}{BEGIN}\n\n{markdown(scores)}\n{END}{after}", encoding="utf-8")
    except OSError as error:
        message = f"{page}: {error.strerror}"
        raise OutputError(message, next_step="name a page that can be read and written") from None


def _tables(scores: Sequence[Score]) -> list[tuple[str, list[list[str]]]]:
    """Give each recording's title and its rows of text, the best sorter first."""
    return [
        (_title(rows[0]), [_cells(score) for score in sorted(rows, key=_rank)])
        for rows in (list(group) for _, group in groupby(scores, key=lambda score: score.recording))
    ]


def _title(score: Score) -> str:
    channels = f"{score.channels} channel{'s' if score.channels > 1 else ''}"
    return f"{score.recording}: {channels}, {score.duration_s:g} s"


def _rank(score: Score) -> tuple[Any, ...]:
    return score.units_above is None, -(score.units_above or 0), -(score.mean_accuracy or 0), score.sorter


def _cells(score: Score) -> list[str]:
    name = f"{score.sorter} {score.version}"
    if score.failure:
        return [name, str(score.true_units), score.failure, *["–"] * (len(COLUMNS) - 3)]
    wall = f"{score.wall_s:.1f} s ({score.runtime}, {score.cores} core{'s' if score.cores != 1 else ''})"
    memory = "–" if score.peak_memory_bytes is None else format_bytes(score.peak_memory_bytes)
    return [
        *(name, str(score.true_units), str(score.found_units)),
        *(f"{score.mean_accuracy:.2f}", str(score.units_above), wall, memory),
    ]


def _row(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"
