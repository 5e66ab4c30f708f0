"""From the words of `sorters.quality` to the library's arguments."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from spikecrate._util.progress import Terminal
from spikecrate.catalogue.tools import catalogue, find
from spikecrate.errors import UsageError
from spikecrate.studies import quality

if TYPE_CHECKING:
    from spikecrate.studies.quality import Score


def measure(sorter: str, recording: list[str], runtime: str, *, toys: bool) -> list[Score]:
    """Sort recordings whose spikes are known: those named, and toy recordings where wanted or none is named.

    Raises
    ------
    UsageError
        For two recordings of one name.
    """
    names = [name.strip() for name in sorter.split(",") if name.strip()]
    chosen = [find(name) for name in names] or list(catalogue().values())
    named = {Path(path).resolve().name: Path(path) for path in recording}
    if len(named) < len(recording):
        message = "two of the recordings have the same name"
        raise UsageError(message, next_step="the table tells them apart by their folders' names: rename one")
    progress = Terminal()
    # A result is found again by the samples, wherever they lay.
    with tempfile.TemporaryDirectory(prefix="spikecrate-quality-") as folder:
        made = quality.toys(Path(folder), progress) if toys or not named else {}
        return list(quality.measure(chosen, made | named, runtime=runtime, progress=progress))


def write_measured(scores: list[Score]) -> None:
    """Write what each sorter's runs took into its folder, for the forecasts of runs to come."""
    from spikecrate.steps.estimate import write_measured as write
    from spikecrate.store import open_store

    store, progress = open_store(), Terminal()
    for name in sorted({score.sorter for score in scores if not score.failure}):
        progress.note(f"{write(find(name), store)} is written")
