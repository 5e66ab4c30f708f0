"""From the words of the tasks on finished jobs to the library's arguments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate._util.progress import Terminal
from spikecrate.cli.request_words import whole_number
from spikecrate.steps.resolve import find_job, is_key
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.steps.rerun import RerunOutcome


def rerun(
    job: str, *, runtime: str, recording: str, cores: str, keep: bool, output: str = ""
) -> RerunOutcome:
    """Run a finished job once more; with `keep` the result goes where a result goes, and to `output`."""
    from spikecrate.steps import rerun as again
    from spikecrate.steps.output import put

    store, progress = open_store(), Terminal()
    done = again.rerun(
        find_job(job, store, progress),
        runtime=runtime,
        recording=recording or None,
        cores=whole_number("--cores", cores),
        keep=keep,
        store=store,
        progress=progress,
    )
    if output and done.folder is not None:
        put(find_job(done.key, store, progress), Path(output), store)
    return done


def difference(first: str, second: str) -> dict[str, Any]:
    """Name what differs between two finished jobs."""
    from spikecrate.steps import diff as differences

    store, progress = open_store(), Terminal()
    one, other = (find_job(word, store, progress) for word in (first, second))
    return differences.difference(one, other, store)


def explain(job: str, **words: Any) -> dict[str, Any]:
    """Say why a run would be, or was, no hit.

    Parameters
    ----------
    job : str
        A recording, or the first digits of a key.
    **words
        As `spikecrate.cli.request_sort.read` takes them.
    """
    from spikecrate.cli.request_sort import read
    from spikecrate.steps import explain as explaining

    store = open_store()
    if is_key(job):
        return explaining.explain_past(job, store)
    asked, progress = read(job, **words), Terminal()
    return explaining.explain(asked.job(store, progress), store, progress, force=asked.force)
